//! A local workspace: a subset of Azure Machine Learning's REST API on loopback, which runs jobs as
//! processes.
//!
//! The server ([`serve`]) holds one home folder ([`home`]) with an `SQLite` database ([`store`])
//! and files ([`blob`]). The middleware ([`server`]) passes each request to its route ([`routes`]).
//! Jobs wait in a queue for the nodes of their compute ([`queue`]). A task ([`runner`]) drives each
//! job to its end, with the help of a supervisor process that is independent of the server. A sweep
//! ([`sweep`]) submits its trials as jobs. HTML pages ([`studio`]) show the workspace in a browser.
//!
//! **Invariants.** Every acknowledged change is in the store. An unfinished job is in the queue or
//! has a supervisor, even after a kill. The processes of a job receive the token of their run,
//! never the token of the workspace. An external name becomes a path only as a type of [`name`],
//! and is opened only below a [`dir::Dir`].

pub mod app;
pub mod blob;
pub mod blocks;
pub mod dir;
pub mod durable;
pub mod error;
pub mod hmac;
pub mod hold;
pub mod home;
pub mod machine;
pub mod name;
pub mod port;
pub mod queue;
pub mod remove;
pub mod routes;
pub mod run_token;
pub mod runner;
pub mod seed;
pub mod serve;
pub mod server;
pub mod signer;
pub mod store;
pub mod studio;
pub mod sweep;
