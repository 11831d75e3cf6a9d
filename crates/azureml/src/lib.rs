//! Azure Machine Learning from Rust: workspaces, environments, jobs, runs and models.
//!
//! The names are those of version 1 of the Python SDK, which the workshops teach; the requests use
//! the current REST API. Without an Azure account the same program runs on this machine: a *local
//! workspace*, started on demand, implements the same API.
//!
//! # Train a model
//!
//! ```no_run
//! use azureml::prelude::*;
//!
//! # fn main() -> azureml::Result<()> {
//! let ws = Workspace::from_config()?; // from config.json, else the local workspace
//! let env = Environment::get(&ws, "rust-tch-gpu")?;
//! let src = ScriptRunConfig::new("script")
//!     .script("train.rs") // built here; the job receives the binary
//!     .arguments(["--epochs", "2", "--data", "${{inputs.mnist}}"])
//!     .input("mnist", Input::folder("data"))
//!     .compute_target("cc-aml-gpu")
//!     .environment(&env);
//! let run = Experiment::new(&ws, "train-model").submit(&src)?;
//! run.wait_for_completion(true)?; // prints statuses and log as they arrive
//! # Ok(())
//! # }
//! ```
//!
//! # Tune hyperparameters
//!
//! ```no_run
//! # use azureml::prelude::*;
//! # fn main() -> azureml::Result<()> {
//! # let ws = Workspace::local()?;
//! # let src = ScriptRunConfig::new("script");
//! let sweep = SweepConfig::new(&src)
//!     .choice("lr", [0.5, 1.0]) // `--lr 0.5`, …
//!     .choice("gamma", [0.7, 0.9])
//!     .primary_metric("Accuracy", Goal::Maximize);
//! let run = Experiment::new(&ws, "train-model").submit(&sweep)?;
//! run.wait_for_completion(true)?; // prints the state of the trials
//! let best = run.best_child()?; // a run like any other
//! # Ok(())
//! # }
//! ```
//!
//! # Inspect a run
//!
//! ```no_run
//! # use azureml::prelude::*;
//! # fn main() -> azureml::Result<()> {
//! # let ws = Workspace::local()?;
//! let run = Run::get(&ws, "train-model_1700000000_1a2b3c4d")?; // also in another notebook, later
//! println!("{}", run.status()?);
//! println!("{:?}", run.metrics()?.latest("Accuracy"));
//! for file in &run.file_names()? {
//!     println!("{file}");
//! }
//! run.download_files("outputs/model", "model")?;
//! let model = run.register_model("mnist", "outputs/model")?;
//! # Ok(())
//! # }
//! ```
//!
//! # Log to a run from the training program
//!
//! ```
//! let run = azureml::Run::get_context(); // outside a job: offline, without effect
//! run.log_param("lr", 1.0);
//! run.log_step("Accuracy", 98.5, 1);
//! ```
//!
//! # Stop compute that costs money
//!
//! ```no_run
//! # use azureml::prelude::*;
//! # fn main() -> azureml::Result<()> {
//! # let ws = Workspace::local()?;
//! ComputeTarget::get(&ws, "ci-aml-workshop")?.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! # In a notebook
//!
//! Every value has a rich display as the last expression of a cell: workspaces and runs as cards,
//! lists as tables, metrics as a table with charts, files as a tree. Errors state the failure and,
//! on a line that begins with `hint:`, one action.
//!
//! # In async programs
//!
//! Calls block, which suits notebook cells. Inside an async runtime a blocking call is an error;
//! [`asynchronous`] provides the same API as futures.

pub mod asynchronous;
mod blocking;
mod client;
mod compute;
mod config;
mod context;
pub mod credential;
mod data;
mod duration;
mod env;
mod environment;
mod error;
#[cfg(test)]
mod hostile;
mod http;
mod input;
mod local;
mod model;
mod near;
mod progress;
mod quote;
mod run;
mod runtime;
mod script;
mod script_config;
mod show;
mod snapshot;
mod sweep_config;
mod upload;
mod walk;

pub use azureml_wire::job::JobStatus as RunStatus;
pub use azureml_wire::run_history::StatusChange;
pub use azureml_wire::sweep::Goal;
pub use blocking::{Experiment, Run, Workspace};
pub use compute::{AmlCompute, ComputeTarget, Nodes};
pub use context::RunContext;
pub use data::Data;
pub use environment::{Environment, EnvironmentReference};
pub use error::{Error, Result, ServiceError};
pub use input::{Distribution, Input, Output};
pub use model::Model;
/// Rich output of cells, for your own types.
pub use notebook;
pub use run::{
    FileList, Metric, Metrics, Point, RunDetails, RunFile, RunFilter, Trial, Trials, WaitOptions,
};
pub use script_config::ScriptRunConfig;
pub use show::List;
pub use sweep_config::{JobConfig, Sampling, SweepConfig};

/// The names for notebook cells: `use azureml::prelude::*;`.
pub mod prelude {
    pub use notebook::{MimeBundle, display};

    pub use crate::{
        AmlCompute, ComputeTarget, Data, Distribution, Environment, Experiment, Goal, Input,
        Metrics, Model, Output, Run, RunFilter, RunStatus, Sampling, ScriptRunConfig, SweepConfig,
        WaitOptions, Workspace,
    };
}
