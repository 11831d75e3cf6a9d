//! Artifacts: the files of a run.

use super::caller::Caller;
use super::folder::Folder;
use super::uri::ACCOUNT;
use super::{Workspace, blocking};
use crate::blob::{self, Found};
use crate::dir::{Dir, is_absent, part};
use crate::error::{Error, Result};
use crate::name::{DEFAULT_CONTAINER, RunName};
use crate::signer::Access;
use crate::store::mlflow;
use azureml_wire::routes::encode_path;
use std::collections::BTreeMap;
use std::io;

/// The files of a run, both collected and still in the job's working folder.
pub struct Artifacts<'a> {
    app: &'a Workspace,
    run: &'a RunName,
}

impl<'a> Artifacts<'a> {
    /// The files of a run.
    pub fn of(app: &'a Workspace, run: &'a RunName) -> Self {
        Self { app, run }
    }

    /// All files by path, including those that a running job has just written.
    pub async fn all(&self) -> Result<BTreeMap<String, Found>> {
        let (home, run) = (self.app.home.clone(), self.run.clone());
        blocking(move || {
            let mut found = Vec::new();
            // Collected files come last, because they replace working files with the same path.
            if let Some(work) = there(Folder::open_work(&home, &run))? {
                for name in [part::OUTPUTS, part::LOGS] {
                    if let Some(folder) = there(work.dir(&name))? {
                        blob::walk(&folder, Some(&name.into()), &mut found)?;
                    }
                }
            }
            if let Some(artifacts) = there(Folder::open_artifacts(&home, &run))? {
                blob::walk(&artifacts, None, &mut found)?;
            }
            Ok(found
                .into_iter()
                .map(|found| (found.name.clone(), found))
                .collect())
        })
        .await
    }

    /// The log files by path, each with a signed URL.
    pub async fn logs(&self) -> Result<BTreeMap<String, String>> {
        let (home, run) = (self.app.home.clone(), self.run.clone());
        let found = blocking(move || {
            let mut found = Vec::new();
            let name = part::USER_LOGS;
            let logs = Folder::open_artifacts(&home, &run).and_then(|all| all.dir(&name));
            if let Some(logs) = there(logs)? {
                blob::walk(&logs, Some(&name.into()), &mut found)?;
            }
            Ok(found)
        })
        .await?;
        Ok(found
            .into_iter()
            .map(|found| {
                let url = self.url(&found.name, Access::Read);
                (found.name, url)
            })
            .collect())
    }

    /// A signed URL of one file.
    pub fn url(&self, path: &str, access: Access) -> String {
        let name = format!("{}/{path}", self.run.artifacts());
        format!(
            "{}/{ACCOUNT}/{DEFAULT_CONTAINER}/{}?{}",
            self.app.url(),
            encode_path(&name),
            self.app.signer.sas(DEFAULT_CONTAINER, Some(&name), access)
        )
    }

    /// The run.
    pub fn run(&self) -> &RunName {
        self.run
    }
}

/// The folder, or `None` if it does not exist or the job has put something else in its place.
fn there(opened: io::Result<Dir>) -> Result<Option<Dir>> {
    match opened {
        Ok(folder) => Ok(Some(folder)),
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::PermissionDenied => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Parses the name of a run. Returns an error if it does not exist or the caller has no access to
/// it.
pub async fn check(app: &Workspace, caller: Caller, run: &str) -> Result<RunName> {
    let run = RunName::parse(run)?;
    app.db(move |store| {
        caller.may_use(store, run.as_ref())?;
        match mlflow::get_run(store, run.as_ref())? {
            Some(_) => Ok(run),
            None => Err(Error::not_found(format!(
                "there is no run \"{run}\" in this workspace"
            ))),
        }
    })
    .await
}

/// Removes `.` and empty segments from a path. A `..` stays, and matches no file.
pub fn plain(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    parts.join("/")
}
