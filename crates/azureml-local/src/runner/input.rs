//! Inputs: copies files of the blob store into a job's folder.

use super::failure::Failure;
use crate::blob::{self, Found};
use crate::error::Error;
use crate::workspace::Workspace;
use crate::workspace::source::Source;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The purpose of copied files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bring {
    /// Read only.
    ReadOnly,
    /// Code: programs become executable.
    Code,
}

/// Copies the files of a source into the new folder `target`; returns their number.
///
/// The copies share their blocks (reflink) if the file system can do that. They are separate files:
/// no action of a job changes the store.
pub fn bring_folder(
    app: &Workspace,
    source: &Source,
    target: &Path,
    how: Bring,
) -> Result<usize, Failure> {
    fs::create_dir_all(target).map_err(Error::from)?;
    let prefix = source.prefix();
    let blobs = blob::list(&app.home, &source.container, &prefix)?;
    for blob in &blobs {
        // Blob names are relative paths without `..`.
        let path = target.join(&blob.name[prefix.len()..]);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::from)?;
        }
        bring(blob, &path, how)?;
    }
    Ok(blobs.len())
}

/// Copies the single file of a source to `target`.
pub fn bring_file(app: &Workspace, source: &Source, target: &Path) -> Result<(), Failure> {
    let found = source.blob(app)?;
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).map_err(Error::from)?;
    }
    bring(&found, target, Bring::ReadOnly)
}

fn bring(from: &Found, to: &Path, how: Bring) -> Result<(), Failure> {
    let mut content = from.open()?.file;
    let mut file = fs::File::create_new(to).map_err(Error::from)?;
    io::copy(&mut content, &mut file).map_err(Error::from)?;
    let mode = match how {
        Bring::ReadOnly => 0o444,
        // Blobs have no file mode.
        Bring::Code if is_program(to) => 0o755,
        Bring::Code => 0o644,
    };
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(Error::from)?;
    Ok(())
}

/// Whether a file begins like a program.
fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut magic = [0; 4];
    fs::File::open(path)
        .and_then(|mut file| file.read(&mut magic))
        .is_ok_and(|length| {
            magic[..length].starts_with(b"\x7fELF") || magic[..length].starts_with(b"#!")
        })
}
