//! The local workspace from outside: a real process in a folder of its own, spoken to by plain HTTP.
//!
//! Every exchange on its ARM routes is validated against the service's schema when a workspace is dropped.

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
