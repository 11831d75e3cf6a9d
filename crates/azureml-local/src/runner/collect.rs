//! Finalizing: what a job wrote into `outputs/`, `logs/` and its named outputs becomes part of its run.
//!
//! Everything is brought together beside the run's artifacts first and then put in its place, so that no
//! half of an output is ever seen. Links are followed as long as they stay within the job's own folder.

use super::failure::Failure;
use super::folder::Folder;
use super::output;
use crate::app::App;
use crate::blob;
use crate::error::{Error, disk_full, is_disk_full};
use crate::name::{BlobName, PortName, RunName};
use crate::routes::datastore;
use crate::store::job::Job;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Links that lead from one to the next.
const MOST_DEPTH: usize = 64;

/// Collects what a job has written. Gives what was left out, in words.
pub fn collect(app: &App, job: &Job) -> Result<Vec<String>, Failure> {
    let run = RunName::parse(&job.name)?;
    let folder = Folder::of(&app.home, &run);
    let staging = blob::temporary(&app.home);
    let mut collector = Collector {
        root: fs::canonicalize(folder.work())
            .ok()
            .and_then(|work| work.parent().map(Path::to_owned))
            .unwrap_or_else(|| folder.work()),
        left_out: Vec::new(),
    };
    let artifacts = Folder::artifacts(&app.home, &run);
    let mut moves = Vec::new();
    let staged = (|| -> io::Result<()> {
        for name in ["outputs", "logs"] {
            let to = staging.join(name);
            collector.gather(&folder.work().join(name), &to, name, 0)?;
            moves.push((to, artifacts.join(name)));
        }
        for output in named_outputs(job) {
            let port = PortName::parse(&output.name).map_err(io::Error::other)?;
            let from = folder.output(&port);
            let shown = format!("named-outputs/{}", output.name);
            let to = staging.join(&shown);
            collector.gather(&from, &to, &shown, 0)?;
            moves.push((to, artifacts.join(&shown)));
            if let Some(path) = path_in_datastore(&output.uri) {
                let from = if output.is_file {
                    from.join(&output.name)
                } else {
                    from
                };
                let to = staging.join("datastore").join(&output.name);
                collector.gather(&from, &to, &shown, 0)?;
                moves.push((to, Folder::in_datastore(&app.home, &path)));
            }
        }
        Ok(())
    })();
    let placed = staged.and_then(|()| {
        moves
            .iter()
            .filter(|(from, _)| from.exists())
            .try_for_each(|(from, to)| put(from, to))
    });
    // When it cannot be removed now, it is at the next start.
    let _ = fs::remove_dir_all(&staging);
    match placed {
        Ok(()) => {
            collector.left_out.sort();
            collector.left_out.dedup();
            Ok(collector.left_out)
        }
        Err(error) if is_disk_full(&error) => Err(Failure::disk_full(disk_full(
            "the outputs of the job could not be collected",
        ))),
        Err(error) => Err(Failure::from(Error::from(error))),
    }
}

/// A named output of a job.
pub struct NamedOutput {
    /// Its name.
    pub name: String,
    /// `uri_folder`, `uri_file`, `custom_model`, ….
    pub kind: String,
    /// Whether it is one file, which the job wrote under the output's name.
    pub is_file: bool,
    /// Where it goes in the datastore.
    pub uri: String,
    /// The name that it is registered under.
    pub asset_name: Option<String>,
}

/// The named outputs of a job.
pub fn named_outputs(job: &Job) -> Vec<NamedOutput> {
    let outputs = job.properties.get("outputs").and_then(Value::as_object);
    outputs
        .into_iter()
        .flatten()
        .map(|(name, output)| {
            let text = |member: &str| output.get(member).and_then(Value::as_str);
            let kind = text("jobOutputType").unwrap_or("uri_folder").to_owned();
            let is_file = kind == "uri_file";
            let uri = output::place(text("uri"), &job.name, name, is_file);
            NamedOutput {
                name: name.clone(),
                kind,
                is_file,
                uri,
                asset_name: text("assetName").map(str::to_owned),
            }
        })
        .collect()
}

/// The path that a URI names in the datastore; `None` when it leads elsewhere.
pub fn path_in_datastore(uri: &str) -> Option<BlobName> {
    let (_, rest) = uri.strip_prefix("azureml:")?.split_once("/datastores/")?;
    let (datastore, path) = rest.split_once("/paths/")?;
    let path = path.trim_matches('/');
    BlobName::of(path).filter(|_| datastore::exists(datastore))
}

struct Collector {
    /// The job's folder: what a link may lead to.
    root: PathBuf,
    left_out: Vec<String>,
}

impl Collector {
    /// Brings a file or a folder from the job's folder to the staging place.
    fn gather(&mut self, from: &Path, to: &Path, shown: &str, depth: usize) -> io::Result<()> {
        let metadata = match fs::symlink_metadata(from) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if depth > MOST_DEPTH {
            self.left_out.push(format!(
                "{shown} was not kept: its folders are nested too deeply"
            ));
            return Ok(());
        }
        if metadata.is_symlink() {
            return match fs::canonicalize(from) {
                Ok(target) if target.starts_with(&self.root) => {
                    self.gather(&target, to, shown, depth + 1)
                }
                Ok(_) => {
                    self.left_out.push(format!(
                        "{shown} was not kept: it is a link that leads out of the job's folder"
                    ));
                    Ok(())
                }
                Err(_) => {
                    self.left_out
                        .push(format!("{shown} was not kept: it is a link to nothing"));
                    Ok(())
                }
            };
        }
        if metadata.is_dir() {
            fs::create_dir_all(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    self.left_out.push(format!(
                        "{shown}/{} was not kept: its name is no UTF-8",
                        name.display()
                    ));
                    continue;
                };
                self.gather(
                    &entry.path(),
                    &to.join(name),
                    &format!("{shown}/{name}"),
                    depth + 1,
                )?;
            }
            return Ok(());
        }
        if !metadata.is_file() {
            self.left_out
                .push(format!("{shown} was not kept: it is no file"));
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        // The job has ended and its folder goes: a second name costs no space.
        match fs::hard_link(from, to) {
            Ok(()) => Ok(()),
            Err(error) if is_disk_full(&error) => Err(error),
            Err(_) => fs::copy(from, to).map(|_| ()),
        }
    }
}

/// Puts a staged folder or file in its place: at once when nothing is there, else file by file.
fn put(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    if from.is_file() || !to.exists() {
        return fs::rename(from, to);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() && target.is_dir() {
            put(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(())
}
