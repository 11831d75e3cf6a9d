//! The REST subset of Azure Machine Learning that the client (`azureml`) and the local workspace (`azureml-local`) share.
//!
//! Types carry the member names of the service's 2025-12-01 models. Absent members are left out, never sent as `null`.
//! Nothing here knows an HTTP stack or a store: [`routes`] builds paths, the other modules hold what travels.
//!
//! Reading is lenient (the service adds members at will); the local workspace adds the strictness of the real
//! service (unknown members are refused) where it reads requests.

pub mod arm;
pub mod code;
pub mod compute;
pub mod data;
pub mod datastore;
pub mod environment;
pub mod error;
pub mod job;
mod lenient;
pub mod local;
pub mod mlflow;
pub mod model;
pub mod routes;
pub mod run_history;
pub mod sweep;
pub mod workspace;

/// A bag of strings: tags, properties, environment variables. Sorted, so that requests are reproducible.
pub type Bag = std::collections::BTreeMap<String, String>;
