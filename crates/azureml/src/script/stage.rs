//! The files of a built script's job: the binary, its launcher, and the folder's other small files.

use super::build::Built;
use super::launcher;
use crate::error::{Error, Result};
use crate::progress::say;
use crate::show;
use crate::snapshot;
use std::path::Path;
use tempfile::TempDir;

/// The output folder of cargo, with any content.
const BUILT: &str = "/target/";
/// Larger files are data, which is passed as an input.
const SMALL: u64 = 16 << 20;

/// Stages the files in a temporary folder.
pub fn stage(source: &Path, program: &str, built: &Built) -> Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix("azureml-script-")
        .tempdir()
        .map_err(Error::io("cannot make a folder in", std::env::temp_dir()))?;
    for file in snapshot::files_without(source, Some(BUILT))? {
        if !belongs(&file.name) {
            continue;
        }
        if file.size > SMALL {
            say(&format!(
                "{} ({}) is not sent with the program; give it as an `Input`",
                file.name,
                show::bytes(file.size)
            ));
            continue;
        }
        copy(&file.path, &folder.path().join(&file.name))?;
    }
    copy(&built.binary, &folder.path().join(program))?;
    let path = folder.path().join(launcher::NAME);
    let text = launcher::text(built.torch_sys.as_deref());
    std::fs::write(&path, text).map_err(Error::io("cannot write", path))?;
    Ok(folder)
}

/// Whether the running program may need a file.
fn belongs(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_source = Path::new(file)
        .extension()
        .is_some_and(|extension| extension == "rs");
    let is_cargos = matches!(
        file,
        "Cargo.toml" | "Cargo.lock" | ".gitignore" | ".amlignore"
    );
    !(is_source || is_cargos)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(Error::io("cannot make", folder))?;
    }
    std::fs::copy(from, to)
        .map(drop)
        .map_err(Error::io("cannot copy", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_the_binary_and_small_files_but_no_sources() {
        let source = tempfile::tempdir().unwrap();
        for name in [
            "Cargo.toml",
            "train.rs",
            "src/lib.rs",
            "labels.txt",
            "conf/a.json",
            "target/release/x",
            ".amlignore",
            "big.bin",
        ] {
            let path = source.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink("nowhere", source.path().join("target/broken")).unwrap();
        let big = std::fs::File::options()
            .write(true)
            .open(source.path().join("big.bin"))
            .unwrap();
        big.set_len(SMALL + 1).unwrap();
        let built = Built {
            binary: source.path().join("target/release/x"),
            torch_sys: None,
            duration: std::time::Duration::ZERO,
        };
        let staged = stage(source.path(), "train", &built).unwrap();
        let names: Vec<String> = snapshot::files(staged.path())
            .unwrap()
            .into_iter()
            .map(|file| file.name)
            .collect();
        assert_eq!(names, ["conf/a.json", "labels.txt", "launch.sh", "train"]);
    }
}
