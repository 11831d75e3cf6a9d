//! Tests of the local workspace as a separate process with its own home folder, over plain HTTP.
//!
//! When a workspace is dropped, all exchanges on its ARM routes are validated against the service's
//! schema.

mod access;
mod again;
mod assets;
mod blobs;
mod fuzz;
mod home;
mod jobs;
mod leftovers;
mod life;
mod migration;
mod mlflow;
mod orphans;
mod outputs;
mod races;
mod refusals;
mod removal;
mod routes;
mod sdk_v1;
mod seal;
mod studio;
mod support;
mod sweeps;
mod traversal;
