//! Finds, creates, starts, stops and deletes compute targets.

use super::Workspace;
use crate::client::Call;
use crate::client::operation::Patience;
use crate::compute::{AmlCompute, ComputeTarget};
use crate::error::{Error, Result};
use crate::near::{did_you_mean, near};
use crate::show::List;
use azureml_wire::arm::Resource;
use azureml_wire::compute::Compute;
use reqwest::Method;
use std::time::Duration;

impl Workspace {
    /// A compute target.
    pub async fn compute(&self, name: &str) -> Result<ComputeTarget> {
        let what = format!("reading compute target `{name}`");
        let path = self.client().scope().path(["computes", name]);
        let found: Option<Resource<Compute>> = self
            .client()
            .find(Call::management(&what, Method::GET, path))
            .await?;
        if let Some(found) = found {
            return Ok(ComputeTarget::from_resource(self, found));
        }
        let all = self.computes().await?;
        let names: Vec<String> = all
            .iter()
            .map(|compute| compute.name().to_owned())
            .collect();
        let hint = match near(name, names.iter().map(String::as_str)).as_slice() {
            [] if names.is_empty() => "make one in Studio, under Compute".to_owned(),
            [] => "choose one of them; `ComputeTarget::list(&ws)` shows what they are".to_owned(),
            near => did_you_mean(near),
        };
        Err(Error::NotFound {
            kind: "compute target",
            name: name.to_owned(),
            workspace: self.name().to_owned(),
            known: names,
            hint,
        })
    }

    /// Lists all compute targets.
    pub async fn computes(&self) -> Result<List<ComputeTarget>> {
        let call = Call::management(
            "listing compute targets",
            Method::GET,
            self.client().scope().path(["computes"]),
        );
        let all: Vec<Resource<Compute>> = self.client().list(call).await?;
        Ok(all
            .into_iter()
            .map(|compute| ComputeTarget::from_resource(self, compute))
            .collect())
    }

    /// Creates a cluster, or updates the cluster of that name, and waits until it is provisioned.
    pub async fn create_compute(&self, cluster: &AmlCompute) -> Result<ComputeTarget> {
        cluster.check()?;
        let name = &cluster.name;
        let what = format!("making compute target `{name}`");
        let path = self.client().scope().path(["computes", name]);
        let request = cluster.to_wire(self.location());
        let call = Call::management(&what, Method::PUT, path).json(&request);
        let answer = self.client().send(call).await?;
        self.client().finish(&what, answer).await?;
        // Eventual consistency: the operation may have ended before all of the service shows the
        // result.
        let patience = Patience::new(&what);
        loop {
            let made = self.compute(name).await?;
            match made.provisioning.as_deref() {
                Some(state @ ("Failed" | "Canceled")) => {
                    return Err(Error::invalid(
                        format!("compute target `{name}` was not made: it is {state}"),
                        "Studio shows the reason, under Compute; a quota that is used up is the most frequent one",
                    ));
                }
                Some("Succeeded") | None => return Ok(made),
                Some(_) => patience.pause(self.pause()).await?,
            }
        }
    }

    /// Deletes a compute target and waits until it is deleted.
    pub async fn delete_compute(&self, name: &str) -> Result<()> {
        // An unknown name is an error that lists the existing compute targets.
        let name = self.compute(name).await?.name().to_owned();
        let what = format!("deleting compute target `{name}`");
        let path = self.client().scope().path(["computes", &name]);
        let call = Call::management(&what, Method::DELETE, path)
            .query("underlyingResourceAction", "Delete");
        match self.client().send(call).await {
            Ok(answer) => self.client().finish(&what, answer).await,
            // The first request succeeded, and its response was lost.
            Err(error) if error.status() == Some(404) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The interval between two polls of a long-running operation.
    fn pause(&self) -> Duration {
        Duration::from_millis(if self.is_local() { 100 } else { 5000 })
    }

    /// Starts a compute instance and waits until it is running.
    pub async fn start_compute(&self, name: &str) -> Result<ComputeTarget> {
        self.turn_compute(name, "start", "Running").await
    }

    /// Stops a compute instance, which then costs nothing, and waits until it has stopped.
    pub async fn stop_compute(&self, name: &str) -> Result<ComputeTarget> {
        self.turn_compute(name, "stop", "Stopped").await
    }

    async fn turn_compute(&self, name: &str, verb: &str, wanted: &str) -> Result<ComputeTarget> {
        let compute = self.compute(name).await?;
        if compute.kind() != "instance" {
            return Err(Error::invalid(
                format!("`{name}` is no compute instance"),
                "a cluster starts and stops its nodes by itself, and with none it costs nothing",
            ));
        }
        if compute.state() == Some(wanted) {
            return Ok(compute);
        }
        let what = format!("asking `{name}` to {verb}");
        let path = self.client().scope().path(["computes", name, verb]);
        self.client()
            .send(Call::management(&what, Method::POST, path))
            .await?;
        let patience = Patience::new(&what);
        loop {
            let compute = self.compute(name).await?;
            match compute.state() {
                Some(state) if state == wanted => return Ok(compute),
                Some(state) if state.ends_with("Failed") || state == "Unusable" => {
                    return Err(Error::invalid(
                        format!("`{name}` did not {verb}: it is {state}"),
                        "Studio shows the reason, under Compute",
                    ));
                }
                _ => patience.pause(self.pause()).await?,
            }
        }
    }
}
