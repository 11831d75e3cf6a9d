//! Exports the symbols of static C libraries from a prebuilt set, so that cells can call them.
//!
//! `rustc` hides the symbols of a static library that a build script links. Generic Rust code, and
//! Rust code inlined into a cell, calls these symbols from the cell's crate. The set is therefore
//! linked a second time with a list of the symbols of its static libraries.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The output of a build script, as reported by cargo.
#[derive(Deserialize)]
struct BuildScript {
    linked_libs: Vec<String>,
    linked_paths: Vec<String>,
}

/// Returns the linker argument that exports the symbols of the static libraries in cargo's
/// `messages`, or `None` if there are no symbols. Writes its files into `folder`.
pub(super) fn exports(messages: &str, folder: &Path) -> Option<String> {
    let symbols: Vec<String> = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<BuildScript>(line).ok())
        .flat_map(|script| archives(&script))
        .filter_map(|archive| match symbols(&archive) {
            Ok(symbols) => Some(symbols),
            Err(error) => {
                tracing::warn!(%error, archive = %archive.display(), "a static library cannot be read");
                None
            }
        })
        .flatten()
        .filter(|symbol| is_c(symbol))
        .collect();
    if symbols.is_empty() {
        return None;
    }
    write(&symbols, folder)
        .inspect_err(
            |error| tracing::warn!(%error, folder = %folder.display(), "cannot be written"),
        )
        .ok()
}

fn write(symbols: &[String], folder: &Path) -> io::Result<String> {
    let script = folder.join("exports");
    let mut shown = "{ global:\n".to_owned();
    // `-u` makes the linker include symbols that nothing in the set refers to.
    let mut arguments = format!("\"-Wl,--version-script={}\"\n", script.display());
    for symbol in symbols {
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "{symbol};");
        let _ = writeln!(arguments, "-Wl,-u,{symbol}");
    }
    shown.push_str("};\n");
    fs::write(&script, shown)?;
    // A response file, because the arguments may exceed the maximum length of a command line.
    let file = folder.join("link-arguments");
    fs::write(&file, arguments)?;
    Ok(format!("-Clink-arg=@{}", file.display()))
}

/// Returns the static libraries that a build script links.
fn archives(script: &BuildScript) -> Vec<PathBuf> {
    let folders: Vec<&str> = script
        .linked_paths
        .iter()
        .map(|path| path.split_once('=').map_or(path.as_str(), |(_, path)| path))
        .collect();
    script
        .linked_libs
        .iter()
        .filter_map(|library| {
            let (kind, name) = library.split_once('=')?;
            let is_static = kind == "static" || kind.starts_with("static:");
            let name = name.split(':').next()?;
            is_static.then(|| {
                folders
                    .iter()
                    .map(|folder| Path::new(folder).join(format!("lib{name}.a")))
                    .find(|archive| archive.is_file())
            })?
        })
        .collect()
}

/// Returns whether a symbol is a C name and not a mangled C++ name. Rust calls only C names.
fn is_c(symbol: &str) -> bool {
    !symbol.starts_with("_Z")
        && symbol
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Returns the names in the symbol index of an `ar` archive. The member `/` contains a big-endian
/// count, that number of offsets, and that number of NUL-terminated names.
fn symbols(archive: &Path) -> io::Result<Vec<String>> {
    let mut file = fs::File::open(archive)?;
    let mut head = [0; 8 + 60];
    file.read_exact(&mut head)?;
    let (magic, member) = head.split_at(8);
    if magic != b"!<arch>\n" || !member.starts_with(b"/ ") {
        return Ok(Vec::new());
    }
    let size = std::str::from_utf8(&member[48..58])
        .ok()
        .and_then(|size| size.trim().parse::<u64>().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut count = [0; 4];
    file.read_exact(&mut count)?;
    let count = u64::from(u32::from_be_bytes(count));
    file.seek(SeekFrom::Start(8 + 60 + 4 + 4 * count))?;
    let mut names = Vec::new();
    file.take(size.saturating_sub(4 + 4 * count))
        .read_to_end(&mut names)?;
    Ok(names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cplusplus_are_left_out() {
        for (name, c) in [
            ("at_tensor_of_data", true),
            ("seven", true),
            ("_ZN2at6TensorC1Ev", false),
            ("a.b", false),
        ] {
            assert_eq!(is_c(name), c, "{name}");
        }
    }

    #[test]
    fn what_is_no_archive_has_no_names() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("libx.a");
        fs::write(&path, [b'x'; 100]).expect("the folder is ours");
        assert!(symbols(&path).expect("it can be read").is_empty());
        fs::write(&path, "!<arch>").expect("the folder is ours");
        assert!(symbols(&path).is_err());
    }
}
