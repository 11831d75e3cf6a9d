//! The subset of the Azure Machine Learning REST API that the client (`azureml`) and the local
//! workspace (`azureml-local`) share.
//!
//! Types use the member names of the service's 2025-12-01 models. Absent members are omitted, never
//! sent as `null`. This crate contains neither an HTTP client nor storage: [`routes`] builds paths,
//! the other modules define request and response bodies.
//!
//! Deserialization is lenient, because the service adds members at any time. The local workspace
//! itself adds the strictness of the real service (unknown members are rejected) when it reads
//! requests.

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

/// A map of strings: tags, properties, environment variables. Sorted, so that requests are
/// reproducible.
pub type Bag = std::collections::BTreeMap<String, String>;
