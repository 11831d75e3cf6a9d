//! Finds runs.

use super::{Run, Workspace};
use crate::client::Call;
use crate::error::{Error, Result};
use crate::near::{did_you_mean, near};
use crate::run::RunFilter;
use azureml_wire::Bag;
use azureml_wire::arm::Resource;
use azureml_wire::job::{Job, JobStatus};
use reqwest::Method;

impl Workspace {
    /// A run by its id.
    pub async fn run(&self, id: &str) -> Result<Run> {
        let what = format!("reading run `{id}`");
        let path = self.client().scope().path(["jobs", id]);
        let found: Option<Resource<Job>> = self
            .client()
            .find(Call::management(&what, Method::GET, path))
            .await?;
        match found {
            Some(job) => Ok(Run::from_resource(self, id, job)),
            None => Err(self.no_run(id).await?),
        }
    }

    async fn no_run(&self, id: &str) -> Result<Error> {
        let jobs = self.jobs().await?;
        let near = near(id, jobs.iter().filter_map(|job| job.name.as_deref()));
        let hint = match near.as_slice() {
            [] => "`Run::list(&ws, \"train-model\")` shows the runs of an experiment".to_owned(),
            near => did_you_mean(near),
        };
        Ok(Error::NotFound {
            kind: "run",
            name: id.to_owned(),
            workspace: self.name().to_owned(),
            known: Vec::new(),
            hint,
        })
    }

    async fn jobs(&self) -> Result<Vec<Resource<Job>>> {
        self.client().list(self.listing("ActiveOnly")).await
    }

    /// The request that lists jobs, the newest first.
    fn listing(&self, view: &'static str) -> Call<'static> {
        let path = self.client().scope().path(["jobs"]);
        Call::management("listing runs", Method::GET, path).query("listViewType", view)
    }

    /// Lists the runs of an experiment, the newest first.
    pub async fn runs(&self, experiment: &str) -> Result<Vec<Run>> {
        self.find_runs(&RunFilter::new().experiment(experiment))
            .await
    }

    /// Lists the runs that match a filter, the newest first. Child runs are not included: list them
    /// through their parent.
    pub async fn find_runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        let most = filter.most();
        let mut found = Vec::new();
        let call = self.listing(filter.view());
        self.client()
            .pages(call, |page: Vec<Resource<Job>>| {
                for job in page {
                    let (experiment, status, tags) = match &job.properties {
                        Job::Command(job) => (&job.experiment_name, job.status, &job.tags),
                        Job::Sweep(job) => (&job.experiment_name, job.status, &job.tags),
                        Job::Other => continue,
                    };
                    let experiment = experiment.as_deref().unwrap_or("Default");
                    let status = status.unwrap_or(JobStatus::Unknown);
                    let empty = Bag::new();
                    if found.len() < most
                        && filter.wants(experiment, status, tags.as_ref().unwrap_or(&empty))
                        && let Some(id) = job.name.clone()
                    {
                        found.push(Run::from_resource(self, &id, job));
                    }
                }
                found.len() < most
            })
            .await?;
        Ok(found)
    }
}
