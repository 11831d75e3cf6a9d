//! The same API for async programs: each blocking call is a future here.
//!
//! ```no_run
//! use azureml::asynchronous::Workspace;
//! use azureml::ScriptRunConfig;
//!
//! # async fn main_() -> azureml::Result<()> {
//! let ws = Workspace::from_config().await?;
//! let config = ScriptRunConfig::new("script")
//!     .script("train.rs")
//!     .compute_target("cc-aml-gpu")
//!     .environment("rust-tch-gpu");
//! let run = ws.submit("train-model", &config).await?;
//! run.wait_for_completion(false).await?;
//! println!("{:?}", run.metrics().await?.latest("Accuracy"));
//! # Ok(())
//! # }
//! ```
//!
//! Futures can be dropped at any point; a submitted job goes on.

mod children;
mod compute;
mod data;
mod model;
mod run;
mod runs;
mod submit;
mod wait;
mod workspace;

pub use run::Run;
pub use workspace::Workspace;
