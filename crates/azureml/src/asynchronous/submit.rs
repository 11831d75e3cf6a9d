//! Submits jobs.

use super::{Run, Workspace};
use crate::client::Call;
use crate::duration;
use crate::error::{Error, Result};
use crate::input::{Distribution, Input, Registered, Source};
use crate::progress::say;
use crate::script;
use crate::script_config::{Program, ScriptRunConfig};
use crate::sweep_config::JobConfig;
use crate::upload::{self, Code};
use azureml_wire::arm::Resource;
use azureml_wire::job::{CommandJob, CommandJobLimits, Job, JobResources};
use chrono::Utc;
use reqwest::Method;
use std::collections::BTreeMap;
use std::path::Path;

/// The compute target name for serverless compute, which is no resource of the workspace.
const SERVERLESS: &str = "serverless";
/// The longest name of an experiment that the service accepts.
const NAME: usize = 255;

impl Workspace {
    /// Submits a job, or a sweep of jobs, to an experiment. The experiment is created if it does
    /// not exist.
    ///
    /// A Rust script is built first. The code and local inputs are uploaded unless the workspace
    /// already has the same content.
    pub async fn submit(&self, experiment: &str, config: impl Into<JobConfig<'_>>) -> Result<Run> {
        check_experiment(experiment)?;
        let job = match config.into() {
            JobConfig::Script(config) => {
                Job::Command(Box::new(self.command_job(experiment, config).await?))
            }
            JobConfig::Sweep(config) => {
                let script = config.trial_script()?;
                let trial = self.command_job(experiment, &script).await?;
                Job::Sweep(Box::new(config.to_wire(trial)))
            }
        };
        let run = self.put_job(&job_name(experiment), job).await?;
        say(&format!(
            "Submitted {} to experiment {experiment}",
            run.id()
        ));
        if let Some(url) = run.portal_url() {
            say(&format!("Web View: {url}"));
        }
        Ok(run)
    }

    /// The job for a configuration, after its code, inputs and environment have been created in the
    /// workspace.
    async fn command_job(&self, experiment: &str, config: &ScriptRunConfig) -> Result<CommandJob> {
        let program = config.program()?;
        for (name, input) in &config.inputs {
            if let Source::Local(path) = &input.source {
                upload::check_input(name, input, path)?;
            }
        }
        let folder = &config.source_directory;
        // Quick checks come before the slow steps, the build and the uploads.
        let needs =
            async || futures::try_join!(self.compute_id(config), self.environment_of(config));
        let as_it_is = async |command| {
            let code = Code::look_up(self.client(), folder);
            let (needs, code) = futures::try_join!(needs(), code)?;
            Ok::<_, Error>((needs, command, code))
        };
        let staged;
        let ((compute_id, environment_id), command, code) = match program {
            Program::Command(command) => as_it_is(command.to_owned()).await?,
            Program::Python(script) => as_it_is(config.command_line(&["python", script])).await?,
            Program::Shell(script) => as_it_is(config.command_line(&["sh", script])).await?,
            Program::Rust(script) => {
                let needs = needs().await?;
                staged = script::prepare(folder, script).await?;
                let program = format!("./{}", staged.program);
                let command = config.command_line(&["sh", script::LAUNCHER, &program]);
                let code = Code::look_up(self.client(), staged.folder.path()).await?;
                (needs, command, code)
            }
        };
        let code_id = self.upload_code(&code, &folder_name(folder)).await?;
        let mut inputs = BTreeMap::new();
        for (name, input) in &config.inputs {
            let client = self.client();
            if let Some(address) = self.registered(input).await? {
                inputs.insert(name.clone(), input.to_wire(&address));
                continue;
            }
            let input = client
                .surviving(async || upload::input(client, name, input).await)
                .await?;
            inputs.insert(name.clone(), input);
        }
        let outputs: BTreeMap<_, _> = config
            .outputs
            .iter()
            .map(|(name, output)| (name.clone(), output.to_wire()))
            .collect();
        Ok(CommandJob {
            description: config.description.clone(),
            display_name: config.display_name.clone(),
            experiment_name: Some(experiment.to_owned()),
            command,
            code_id: Some(code_id),
            compute_id,
            environment_id,
            environment_variables: some(config.environment_variables.clone()),
            tags: some(config.tags.clone()),
            inputs: some(inputs),
            outputs: some(outputs),
            distribution: config.distribution.map(Distribution::to_wire),
            resources: resources(config),
            limits: config.max_run_duration.map(|limit| CommandJobLimits {
                job_limits_type: "Command".to_owned(),
                timeout: Some(duration::iso(limit)),
            }),
            ..CommandJob::default()
        })
    }

    /// The ARM id of an input that is registered in the workspace; the service requires it in place
    /// of the name.
    async fn registered(&self, input: &Input) -> Result<Option<String>> {
        let scope = self.client().scope();
        match input.registered() {
            Some((Registered::Model, name)) => {
                let model = self
                    .model(name.strip_suffix("@latest").unwrap_or(name))
                    .await?;
                Ok(Some(scope.path([
                    "models",
                    model.name(),
                    "versions",
                    model.version(),
                ])))
            }
            Some((Registered::Data, name)) => {
                let name = name.strip_suffix("@latest").unwrap_or(name);
                let (name, version) = if let Some((name, version)) = name.split_once(':') {
                    (name, version.to_owned())
                } else {
                    let newest = self.data(name).await?;
                    (name, newest.version().unwrap_or_default().to_owned())
                };
                Ok(Some(scope.path(["data", name, "versions", &version])))
            }
            None => Ok(None),
        }
    }

    async fn put_job(&self, name: &str, job: Job) -> Result<Run> {
        let path = self.client().scope().path(["jobs", name]);
        let request = Resource::request(job);
        let what = "submitting the job";
        // The client chooses the name, which makes a repeated request idempotent.
        let answer: Resource<Job> = self
            .client()
            .read(Call::management(what, Method::PUT, path).json(&request))
            .await?;
        Ok(Run::from_resource(self, name, answer))
    }

    async fn compute_id(&self, config: &ScriptRunConfig) -> Result<Option<String>> {
        match config.compute_target.as_deref() {
            Some(SERVERLESS) => Ok(None),
            Some(address) if address.starts_with("/subscriptions/") => Ok(Some(address.to_owned())),
            Some(name) => {
                let compute = self.compute(name).await?;
                Ok(Some(
                    self.client().scope().path(["computes", compute.name()]),
                ))
            }
            None => {
                let all = self.computes().await?;
                let names: Vec<&str> = all.iter().map(crate::ComputeTarget::name).collect();
                Err(Error::invalid(
                    format!(
                        "the job has no compute target; there is {}",
                        names.join(", ")
                    ),
                    "add `.compute_target(\"…\")`",
                ))
            }
        }
    }

    async fn environment_of(&self, config: &ScriptRunConfig) -> Result<String> {
        let Some(environment) = &config.environment else {
            return Err(Error::invalid(
                "the job has no environment",
                "add `.environment(&env)`, or the name of one: `.environment(\"rust-tch-gpu\")`",
            ));
        };
        self.environment_id(environment).await
    }

    async fn upload_code(&self, code: &Code, name: &str) -> Result<String> {
        let client = self.client();
        client
            .surviving(async || upload::code(client, code, name).await)
            .await
    }
}

fn some<K, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}

/// The resources that differ from the default of one node; `None` when nothing differs.
fn resources(config: &ScriptRunConfig) -> Option<JobResources> {
    let resources = JobResources {
        instance_count: config.node_count,
        instance_type: config.instance_type.clone(),
        shm_size: config.shared_memory.clone(),
        docker_args: config.docker_arguments.clone(),
        ..JobResources::default()
    };
    (resources != JobResources::default()).then_some(resources)
}

/// The name of a code folder in the service.
fn folder_name(folder: &Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    absolute
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| {
            name.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        })
        .unwrap_or("code")
        .to_owned()
}

/// A run id in the format of SDK v1: `train-model_1700000000_1a2b3c4d`.
fn job_name(experiment: &str) -> String {
    let name: String = experiment
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(150)
        .collect();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("{name}_{}_{}", Utc::now().timestamp(), &random[..8])
}

fn check_experiment(name: &str) -> Result<()> {
    let is_good = name.len() <= NAME
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_good {
        Ok(())
    } else {
        Err(Error::invalid(
            format!("`{name}` cannot be the name of an experiment"),
            "it begins with a letter or digit and holds letters, digits, `-`, `_` and `.`, at most 255",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_experiments() {
        for (name, good) in [
            ("train-model", true),
            ("7.x_y", true),
            ("", false),
            ("-a", false),
            ("a b", false),
            ("학습", false),
        ] {
            assert_eq!(check_experiment(name).is_ok(), good, "{name}");
        }
        assert!(check_experiment(&"a".repeat(256)).is_err());
    }

    #[test]
    fn names_of_jobs_are_good_and_differ() {
        let (one, two) = (job_name("train.model"), job_name("train.model"));
        assert!(one.starts_with("train_model_") && one != two);
        assert!(
            one.chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        );
    }
}
