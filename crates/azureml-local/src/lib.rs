//! A local workspace: a subset of Azure Machine Learning's REST API on loopback, which runs jobs as
//! processes.
//!
//! The layers import downwards only, from the bottom:
//!
//! - the home folder ([`home`]), its files ([`blob`]) and the `SQLite` database ([`store`]);
//! - the functions of a workspace, without HTTP, pages or processes ([`workspace`]): jobs, assets,
//!   computes, artifacts, URIs, and the queue as data;
//! - the effects: [`scheduler`] is the one loop that starts jobs and sweeps, [`runner`] drives each
//!   to its end, with the help of a supervisor process that is independent of the server;
//! - the two faces: JSON ([`routes`]) and HTML pages ([`studio`]);
//! - the middleware in front of both ([`server`]) and the life of the process ([`serve`]).
//!
//! **Invariants.** Every acknowledged change is in the store. An unfinished job is in the queue or
//! has a supervisor, even after a kill. The processes of a job receive the token of their run,
//! never the token of the workspace. An external name becomes a path only as a type of [`name`],
//! and is opened only below a [`dir::Dir`].

pub mod blob;
pub mod blocks;
pub mod dir;
pub mod durable;
pub mod duration;
pub mod error;
pub mod hmac;
pub mod hold;
pub mod home;
pub mod machine;
pub mod name;
pub mod port;
pub mod read;
pub mod remove;
pub mod routes;
pub mod run_token;
pub mod runner;
pub mod scheduler;
pub mod seed;
pub mod serve;
pub mod server;
pub mod signer;
pub mod store;
pub mod studio;
pub mod tickets;
pub mod workspace;
