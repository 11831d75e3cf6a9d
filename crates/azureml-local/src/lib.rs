//! A local workspace: Azure Machine Learning's REST subset on loopback, with jobs run as processes.
//!
//! The server ([`serve`]) holds one home folder ([`home`]): an `SQLite` database ([`store`]) and files ([`blob`]).
//! Requests pass one entry ([`server`]) to the calls ([`routes`]). Jobs wait in a queue for the nodes of their compute
//! ([`queue`]), and each is taken to its end by a task ([`runner`]) with the help of a supervisor, a process that does
//! not depend on the server; a sweep ([`sweep`]) makes such jobs of its trials. A browser is shown the same by pages ([`studio`]).
//!
//! **Invariants.** What has been answered is in the store. A job that is not at its end is in the queue or has a
//! supervisor, whatever was killed when. The job's processes know their run's token, never the workspace's. A name
//! that came from outside becomes a path only as a type of [`name`], and is opened only below a [`dir::Dir`].

pub mod app;
pub mod blob;
pub mod blocks;
pub mod dir;
pub mod durable;
pub mod error;
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
