//! Writing, replacing and removing a kernelspec folder.
//!
//! A new folder is prepared outside of Jupyter's search path and then moved to its place in one
//! step. Jupyter therefore never reads an incomplete folder, and never finds two when the
//! installation is killed. The folder contains a list of its files, so that removal deletes exactly
//! the installed files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jupyter_protocol::JupyterKernelspec;
use serde::{Deserialize, Serialize};

use super::{LOGOS, NAME, spec};

/// The file that lists the installed files.
const MANIFEST: &str = "installed-files.json";

/// The subfolder for binaries.
const BINARIES: &str = "bin";

/// A kernelspec folder could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}\nhint: {hint}", path.display())]
pub struct FolderError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
    hint: &'static str,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    files: Vec<PathBuf>,
}

fn failed<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> FolderError + use<'a> {
    move |source| FolderError {
        action,
        path: path.to_owned(),
        hint: match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "install where you may write: `--user`, or `--prefix` with a folder of yours"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full; free some space and try again"
            }
            _ => {
                "check that the folder exists and may be written, or choose another with `--prefix`"
            }
        },
        source,
    }
}

/// Returns the path of the kernelspec in a folder of kernelspecs.
pub fn path(kernels: &Path) -> PathBuf {
    kernels.join(NAME)
}

/// The binary that an installed kernelspec starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binary {
    /// A binary that stays at its path.
    InPlace(PathBuf),
    /// Binaries that are copied; the first one is started.
    Copied(Vec<PathBuf>),
}

/// Installs the kernelspec, replacing an earlier one; returns the binary that it starts.
pub fn install(
    kernels: &Path,
    binary: &Binary,
    variables: &BTreeMap<String, String>,
) -> Result<PathBuf, FolderError> {
    fs::create_dir_all(kernels).map_err(failed("create", kernels))?;
    let place = path(kernels);
    // The parent folder is on the same file system. The path is resolved first, because the folder
    // of kernelspecs can be a symbolic link.
    let kernels = &kernels.canonicalize().map_err(failed("read", kernels))?;
    let staging = kernels.parent().unwrap_or(kernels);
    let new = tempfile::Builder::new()
        .prefix(&format!(".{NAME}-"))
        .tempdir_in(staging)
        .map_err(failed("write to", staging))?;
    let started = fill(new.path(), &place, binary, variables)?;
    fs::set_permissions(
        new.path(),
        <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755),
    )
    .map_err(failed("write", new.path()))?;
    swap(new, &place)?;
    Ok(started)
}

fn fill(
    new: &Path,
    place: &Path,
    binary: &Binary,
    variables: &BTreeMap<String, String>,
) -> Result<PathBuf, FolderError> {
    let mut manifest = Manifest::default();
    let started = match binary {
        Binary::InPlace(path) => path.clone(),
        Binary::Copied(paths) => {
            let folder = new.join(BINARIES);
            fs::create_dir(&folder).map_err(failed("create", &folder))?;
            for path in paths {
                let name = Path::new(BINARIES).join(path.file_name().unwrap_or_default());
                fs::copy(path, new.join(&name)).map_err(failed("copy", path))?;
                manifest.files.push(name);
            }
            place.join(manifest.files.first().cloned().unwrap_or_default())
        }
    };
    let spec = serde_json::to_vec_pretty(&spec(&started, variables));
    let spec = spec.map_err(io::Error::from);
    let files = LOGOS
        .iter()
        .map(|(name, bytes)| (*name, Ok(bytes.to_vec())))
        .chain([("kernel.json", spec)]);
    for (name, bytes) in files {
        let path = new.join(name);
        bytes
            .and_then(|bytes| fs::write(&path, bytes))
            .map_err(failed("write", &path))?;
        manifest.files.push(PathBuf::from(name));
    }
    let path = new.join(MANIFEST);
    serde_json::to_vec_pretty(&manifest)
        .map_err(io::Error::from)
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(failed("write", &path))?;
    Ok(started)
}

/// Adds a binary to an installed kernelspec, or replaces it; returns its new path. Kernels that run
/// from the folder go on.
pub fn add(kernels: &Path, binary: &Path) -> Result<PathBuf, FolderError> {
    let place = path(kernels);
    let folder = place.join(BINARIES);
    let record = place.join(MANIFEST);
    let mut manifest: Manifest = fs::read(&record)
        .and_then(|text| Ok(serde_json::from_slice(&text)?))
        .map_err(failed("read", &record))?;
    let name = Path::new(BINARIES).join(binary.file_name().unwrap_or_default());
    let added = place.join(&name);
    let copied = tempfile::NamedTempFile::new_in(&folder).map_err(failed("write to", &folder))?;
    fs::copy(binary, copied.path()).map_err(failed("copy", binary))?;
    copied
        .persist(&added)
        .map_err(|error| failed("write", &added)(error.error))?;
    if !manifest.files.contains(&name) {
        manifest.files.push(name);
        let replaced =
            tempfile::NamedTempFile::new_in(&place).map_err(failed("write to", &place))?;
        serde_json::to_writer_pretty(&replaced, &manifest)
            .map_err(io::Error::from)
            .map_err(failed("write", &record))?;
        replaced
            .persist(&record)
            .map_err(|error| failed("write", &record)(error.error))?;
    }
    Ok(added)
}

/// Moves the new folder to its place and removes the old one, if any.
fn swap(new: tempfile::TempDir, place: &Path) -> Result<(), FolderError> {
    if fs::symlink_metadata(place).is_err() {
        fs::rename(new.path(), place).map_err(failed("write", place))?;
        // It was moved, so nothing is left to remove.
        let _ = new.keep();
        return Ok(());
    }
    let is_ours = |folder: &Path| folder.join(MANIFEST).is_file();
    let is_link = fs::symlink_metadata(place).is_ok_and(|about| about.is_symlink());
    if !is_link && !is_ours(place) {
        let source = io::Error::other("`azureml-kernel install` has not written what is there");
        return Err(FolderError {
            action: "replace",
            path: place.to_owned(),
            source,
            hint: "move it away, or install elsewhere with `--prefix`",
        });
    }
    exchange(new.path(), place).map_err(failed("replace", place))
    // Dropping `new` removes the old folder or link, which is now at the path of `new`.
}

#[cfg(target_os = "linux")]
fn exchange(new: &Path, place: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, place, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        // Some network file systems do not support the exchange.
        Err(_) => exchange_in_steps(new, place),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(new: &Path, place: &Path) -> io::Result<()> {
    exchange_in_steps(new, place)
}

fn exchange_in_steps(new: &Path, place: &Path) -> io::Result<()> {
    let aside = new.with_extension("old");
    fs::rename(place, &aside)?;
    fs::rename(new, place)?;
    fs::rename(&aside, new)
}

/// Reads the kernelspec in a folder; `None` when the folder has none.
pub fn read(folder: &Path) -> Option<JupyterKernelspec> {
    let text = fs::read(folder.join("kernel.json")).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Removes the files that [`install`] wrote; returns whether any existed.
pub fn remove(kernels: &Path) -> Result<bool, FolderError> {
    let place = path(kernels);
    let manifest = match fs::read(place.join(MANIFEST)) {
        Ok(text) => serde_json::from_slice::<Manifest>(&text).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed("read", &place)(error)),
    };
    let own = [Path::new(MANIFEST), Path::new("kernel.json")];
    for file in manifest
        .files
        .iter()
        .map(PathBuf::as_path)
        .filter(|file| {
            file.components()
                .all(|part| matches!(part, std::path::Component::Normal(_)))
        })
        .chain(own)
    {
        let path = place.join(file);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
    }
    // A folder that contains other files stays.
    let _ = fs::remove_dir(place.join(BINARIES));
    let _ = fs::remove_dir(&place);
    Ok(true)
}
