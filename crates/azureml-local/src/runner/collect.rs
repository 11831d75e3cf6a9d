//! Finalizing: files in a job's `outputs/`, `logs/` and named outputs become artifacts of its run.
//!
//! All files are first staged in one folder ([`gather`]) and then moved to their final place beside
//! the run's artifacts ([`place`]), so that clients never see a partial output. Files that cannot
//! be kept are reported; the others are kept.

mod gather;
mod place;

use super::failure::Failure;
use crate::blob;
use crate::dir::{Dir, part};
use crate::error::{Error, disk_full, is_disk_full};
use crate::name::{BlobName, ContainerName, Fixed, PortName, Relative, RunName};
use crate::remove;
use crate::store::job::Job;
use crate::workspace::Workspace;
use crate::workspace::folder::Folder;
use crate::workspace::output::named_outputs;
use crate::workspace::uri::path_in_datastore;
use gather::Gatherer;
use std::io;

/// Messages about files that were not kept.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Files that cannot be kept, such as links that lead out of the job's folder.
    pub warnings: Vec<String>,
    /// Names that would be both a file and a folder.
    pub conflicts: Vec<String>,
}

/// Collects the files of a job; returns messages about files that were left out.
pub fn collect(app: &Workspace, job: &Job) -> Result<LeftOut, Failure> {
    let run = RunName::parse(&job.name)?;
    let owner = app.home.owner();
    let temporary = Dir::at(&app.home.temporary()).map_err(Error::from)?;
    let name = BlobName::unique();
    let collected = remove::make(&temporary, &name, owner)
        .and_then(|staging| collect_by(app, &run, job, &staging));
    // If the removal fails, the next start of the server repeats it.
    if let Err(error) = remove::marked(&temporary, &name, owner) {
        tracing::warn!(job = job.name, %error, "what was staged stays");
    }
    match collected {
        Err(error) if is_disk_full(&error) => Err(Failure::disk_full(disk_full(
            "the outputs of the job could not be collected",
        ))),
        Err(error) => Err(Failure::from(Error::from(error))),
        Ok(left_out) => Ok(left_out),
    }
}

/// Collects through a private staging folder.
fn collect_by(app: &Workspace, run: &RunName, job: &Job, staging: &Dir) -> io::Result<LeftOut> {
    let folder = Folder::of(&app.home, run);
    let mut gatherer = Gatherer::new(folder.open()?, folder.root(), staging)?;
    let mut moves = Vec::new();
    for name in [part::OUTPUTS, part::LOGS] {
        let staged = BlobName::from(name);
        let from = BlobName::from(part::WORK).with(&staged);
        gatherer.gather(from, staged.clone(), name.as_str())?;
        moves.push((staged.clone(), run.artifacts().with(&staged)));
    }
    for output in named_outputs(job) {
        let port = PortName::parse(&output.name)
            .map_err(io::Error::other)?
            .to_blob_name();
        let from = BlobName::from(part::OUTPUTS).with(&port);
        let staged = BlobName::from(part::NAMED_OUTPUTS).with(&port);
        gatherer.gather(from.clone(), staged.clone(), staged.as_ref())?;
        moves.push((staged.clone(), run.artifacts().with(&staged)));
        if let Some(path) = path_in_datastore(&output.uri) {
            let from = if output.is_file {
                from.with(&port)
            } else {
                from
            };
            let for_datastore = BlobName::from(DATASTORE).with(&port);
            gatherer.gather(from, for_datastore.clone(), staged.as_ref())?;
            moves.push((for_datastore, path));
        }
    }
    let store = Dir::at(&app.home.blobs())?.dir(&ContainerName::default_datastore())?;
    let mut left_out = LeftOut {
        warnings: gatherer.left_out(),
        ..LeftOut::default()
    };
    for (from, to) in &moves {
        let conflicts = place::put(staging, from, &store, to)?;
        left_out.conflicts.extend(conflicts);
    }
    let places = moves.into_iter().map(|(_, to)| to);
    make_durable(app, &store, places.chain([run.artifacts()]))?;
    Ok(left_out)
}

/// Makes the collected files and the logs durable (fsync), before the job's end is recorded.
fn make_durable(
    app: &Workspace,
    store: &Dir,
    places: impl Iterator<Item = BlobName>,
) -> io::Result<()> {
    let root = app
        .home
        .blobs()
        .join(ContainerName::default_datastore().as_ref());
    for place in places {
        let mut found = Vec::new();
        match store.dir(&place) {
            Ok(folder) => {
                blob::walk(&folder, Some(&place), &mut found).map_err(io::Error::other)?;
            }
            // A single file, or nothing.
            Err(_) => app.home.unsettle(root.join(place.as_str())),
        }
        for file in found {
            app.home.unsettle(root.join(file.name));
        }
    }
    app.home.settle()
}

/// The staging folder of files for the datastore.
const DATASTORE: Fixed = Fixed::new("datastore");
