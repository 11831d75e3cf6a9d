//! `launch.sh`: starts the binary with the libtorch of the job's environment.

/// The name of the file beside the binary.
pub const NAME: &str = "launch.sh";

const START: &str = include_str!("launch.sh");
const TORCH: &str = include_str!("launch-torch.sh");

/// The launcher of a program that links this version of `torch-sys`, or none.
pub fn text(torch_sys: Option<&str>) -> String {
    let Some(torch_sys) = torch_sys else {
        return START.replace("# {torch}\n", "");
    };
    let torch = TORCH
        .replace("{tch}", minor(torch_sys))
        .replace("{torch}", libtorch_of(torch_sys).unwrap_or_default());
    START.replace("# {torch}\n", &torch)
}

/// The libtorch version for a version of `torch-sys`; `None` if it is unknown and not checked.
fn libtorch_of(torch_sys: &str) -> Option<&'static str> {
    match minor(torch_sys) {
        "0.22" => Some("2.9"),
        "0.23" => Some("2.10"),
        "0.24" => Some("2.11"),
        "0.26" => Some("2.13"),
        _ => None,
    }
}

/// The minor version: `0.24` of `0.24.0`.
fn minor(version: &str) -> &str {
    version.rsplit_once('.').map_or(version, |(minor, _)| minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::{Command, Output};

    #[test]
    fn the_environment_of_our_own_has_the_libtorch_of_the_labs() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let read = |path: &str| std::fs::read_to_string(project.join(path)).unwrap();
        let manifest = read("Cargo.toml");
        let tch = manifest
            .lines()
            .find_map(|line| line.strip_prefix("tch = \"="))
            .expect("the labs' tch");
        let torch = libtorch_of(tch.trim_end_matches('"')).expect("its libtorch");
        let dockerfile = read("notebooks/environments/rust-tch-gpu/Dockerfile");
        assert!(
            dockerfile.contains(&format!(" torch=={torch}.")),
            "tch {tch} needs libtorch {torch}: {dockerfile}"
        );
    }

    /// A folder with a launcher and a program that prints its arguments.
    fn job(torch_sys: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), text(torch_sys)).unwrap();
        // Not executable: a blob store does not keep permissions.
        std::fs::write(
            folder.path().join("train"),
            "#!/bin/sh\nprintf '%s|' \"$LD_LIBRARY_PATH\" \"$@\"\n",
        )
        .unwrap();
        folder
    }

    /// Runs the launcher without any Python, with `libtorch` as that of the environment.
    fn launch(job: &Path, libtorch: Option<&Path>) -> Output {
        let tools = job.join("tools");
        std::fs::create_dir_all(&tools).unwrap();
        for tool in ["sh", "chmod", "sed", "cat", "cp", "mktemp"] {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
                .map(|folder| folder.join(tool))
                .find(|path| path.exists());
            let _ = std::os::unix::fs::symlink(found.unwrap(), tools.join(tool));
        }
        let mut command = Command::new("/bin/sh");
        command
            .arg(NAME)
            .args(["./train", "a b", ""])
            .current_dir(job)
            .env_clear()
            .env("PATH", &tools);
        if let Some(libtorch) = libtorch {
            command.env("LIBTORCH", libtorch);
        }
        command.output().unwrap()
    }

    fn libtorch(version_file: &str, content: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        std::fs::write(folder.path().join("lib/libtorch_cpu.so"), "").unwrap();
        std::fs::write(folder.path().join(version_file), content).unwrap();
        folder
    }

    /// The error output, without the name of the temporary folder.
    fn error(output: &Output, folder: &Path) -> String {
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8_lossy(&output.stderr).replace(folder.to_str().unwrap(), "LIB")
    }

    #[test]
    fn a_program_without_libtorch_is_just_started() {
        let job = job(None);
        let output = launch(job.path(), None);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "|a b||");
    }

    #[test]
    fn the_right_libtorch_is_put_on_the_loaders_path() {
        for (file, content) in [
            ("build-version", "2.11.0+cu130\n"),
            ("version.py", "__version__ = '2.11.0'\ndebug = False\n"),
        ] {
            let libtorch = libtorch(file, content);
            let job = job(Some("0.24.0"));
            let output = launch(job.path(), Some(libtorch.path()));
            let expected = format!("{}/lib|a b||", libtorch.path().display());
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                expected,
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }

    #[test]
    fn a_missing_or_wrong_libtorch_is_said_before_the_program_starts() {
        let job = job(Some("0.24.0"));
        insta::assert_snapshot!(error(&launch(job.path(), None), job.path()));
        let wrong = libtorch("build-version", "2.9.1+cpu\n");
        insta::assert_snapshot!(error(&launch(job.path(), Some(wrong.path())), wrong.path()));
        let near = libtorch("build-version", "2.110.0\n");
        assert_eq!(
            launch(job.path(), Some(near.path())).status.code(),
            Some(78)
        );
        let empty = tempfile::tempdir().unwrap();
        insta::assert_snapshot!(error(&launch(job.path(), Some(empty.path())), empty.path()));
    }
}
