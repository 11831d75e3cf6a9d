//! Tests of the binary from outside: its commands, and the end of its process.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Runs the binary in a private environment below `home`.
///
/// Rust itself stays at its usual place: rustup searches the home folder unless its variables are
/// set.
fn kernel(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_azureml-kernel"));
    for name in [
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "JUPYTER_DATA_DIR",
        "JUPYTER_PATH",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "JPY_PARENT_PID",
    ] {
        command.env_remove(name);
    }
    let environment = home.join("python");
    command
        .env("HOME", home)
        .env("RUSTUP_HOME", rustup_home())
        .env("CARGO_HOME", rust_home("CARGO_HOME", ".cargo"))
        .env("VIRTUAL_ENV", environment)
        // The files that kernels share are built once for all tests.
        .env("AZUREML_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

fn rustup_home() -> String {
    rust_home("RUSTUP_HOME", ".rustup")
}

/// Returns a folder of rustup or cargo: from its variable, otherwise in the home folder.
fn rust_home(variable: &str, folder: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        let home = std::env::home_dir().unwrap_or_default();
        home.join(folder).display().to_string()
    })
}

fn run(command: &mut Command) -> (Output, String, String) {
    let output = command.output().expect("the binary runs");
    let out = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let err = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    (output, out, err)
}

/// Returns the files below a folder, relative to it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                let path = entry.path();
                found.push(path.strip_prefix(folder).expect("below").to_owned());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_installed_is_what_jupyter_needs_and_uninstall_takes_it_away() {
    for (arguments, below) in [
        (vec!["--user"], ".local/share/jupyter/kernels"),
        (vec![], ".local/share/jupyter/kernels"),
        (vec!["--sys-prefix"], "python/share/jupyter/kernels"),
        (vec!["--prefix", "PREFIX"], "prefix/share/jupyter/kernels"),
    ] {
        let home = tempfile::tempdir().expect("a folder");
        let prefix = home.path().join("prefix").display().to_string();
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replace("PREFIX", &prefix))
            .collect();
        // The second installation replaces the first one.
        for _ in 0..2 {
            let (output, out, err) = run(kernel(home.path())
                .arg("install")
                .args(&arguments)
                .arg("--no-crates"));
            assert!(output.status.success(), "{err}");
            assert_eq!(out, "");
            assert!(err.contains("Rust (Azure ML)"), "{err}");
        }
        let kernels = home.path().join(below);
        let place = kernels.join("rust-azureml");
        let text = std::fs::read(place.join("kernel.json")).expect("a kernelspec");
        let spec: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(spec["display_name"], "Rust (Azure ML)");
        assert_eq!(spec["language"], "rust");
        assert_eq!(spec["interrupt_mode"], "message");
        assert_eq!(spec["argv"][3], "{connection_file}");
        assert_eq!(spec["env"]["RUSTUP_HOME"], rustup_home());
        for logo in ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"] {
            assert!(place.join(logo).is_file(), "{logo}");
        }
        // The installed binary must not be in the build folder, which may be cleaned.
        let binary = PathBuf::from(spec["argv"][0].as_str().expect("a path"));
        assert!(binary.starts_with(&place), "{}", binary.display());
        let version = Command::new(&binary).arg("--version").output();
        assert!(version.expect("it runs").status.success());
        let entries = std::fs::read_dir(&kernels).expect("a folder").count();
        assert_eq!(entries, 1, "nothing else is left behind");

        std::fs::write(place.join("notes.txt"), "mine").expect("a file");
        let (output, _, err) = run(kernel(home.path()).arg("uninstall").args(&arguments));
        assert!(output.status.success(), "{err}");
        assert_eq!(files(&kernels), [Path::new("rust-azureml/notes.txt")]);
        std::fs::remove_file(place.join("notes.txt")).expect("a file");
        let (output, _, err) = run(kernel(home.path()).arg("uninstall").args(&arguments));
        assert!(output.status.success());
        assert!(err.contains("Nothing is installed"), "{err}");
    }
}

#[test]
fn installing_where_nothing_can_be_written_is_a_clear_error() {
    let home = tempfile::tempdir().expect("a folder");
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let (output, out, err) = run(kernel(home.path())
        .args(["install", "--no-crates", "--prefix"])
        .arg(&file));
    assert!(!output.status.success());
    assert_eq!(out, "");
    assert!(err.starts_with("error: cannot create "), "{err}");
    assert!(err.contains("\nhint: "), "{err}");
}

#[test]
fn an_installation_that_is_killed_leaves_nothing_that_jupyter_lists() {
    let home = tempfile::tempdir().expect("a folder");
    // Copying the binary exceeds the file size limit, so the system kills the process.
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 1; exec \"$0\" install --user --no-crates"])
        .arg(env!("CARGO_BIN_EXE_azureml-kernel"))
        .env("HOME", home.path())
        .env_remove("XDG_DATA_HOME")
        .env_remove("JUPYTER_DATA_DIR");
    let status = limited.status().expect("a shell");
    assert_eq!(status.signal(), Some(Signal::XFSZ.as_raw()), "{status}");
    let kernels = home.path().join(".local/share/jupyter/kernels");
    assert!(kernels.is_dir());
    assert_eq!(files(&kernels), [""; 0].map(PathBuf::from));
}

/// A toolchain whose compiler only prints its version, without the sources of the standard library.
fn bare_toolchain(folder: &Path) {
    for (name, answer) in [
        ("cargo", "echo cargo 1.0.0"),
        (
            "rustc",
            "case $1 in -vV) echo rustc 1.0.0; echo host: here;; *) echo /nowhere; echo /nowhere;; esac",
        ),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{answer}\n")).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("our file");
    }
}

#[test]
fn install_says_that_rust_src_is_missing_and_how_to_get_it() {
    let home = tempfile::tempdir().expect("a folder");
    bare_toolchain(home.path());
    let (output, _, err) = run(kernel(home.path())
        .args(["install", "--user", "--no-crates"])
        .env("PATH", home.path())
        .env_remove("RUST_SRC_PATH"));
    assert!(output.status.success(), "{err}");
    assert!(
        err.contains("warning: the sources of the standard library (rust-src) are missing"),
        "{err}"
    );
    assert!(err.contains("\nhint: "), "{err}");
    for way in [
        "rustup component add rust-src",
        "rust-web-src",
        "RUST_SRC_PATH",
    ] {
        assert!(err.contains(way), "{way}: {err}");
    }
}

/// Installs with one crate and a binary outside of a checkout, so that nothing else is built.
fn install_one_crate(home: &Path, name: &str) -> Command {
    let write = |file: &str, text: String| {
        let path = home.join(name).join(file);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write(
        "Cargo.toml",
        format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nname = \"lib_{name}\"\n[workspace]\n"
        ),
    );
    write("src/lib.rs", "pub fn answer() -> u32 { 42 }".to_owned());
    let binary = home.join("azureml-kernel");
    std::fs::copy(env!("CARGO_BIN_EXE_azureml-kernel"), &binary).expect("a copy");
    let mut command = kernel(home);
    let environment: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)))
        .collect();
    command = Command::new(binary);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("AZUREML_KERNEL_CACHE", home.join("cache"))
        .current_dir(home)
        .args(["install", "--user", "--crate"])
        .arg(home.join(name));
    command
}

#[test]
fn install_tries_the_crates_that_it_has_built() {
    let home = tempfile::tempdir().expect("a folder");
    let (output, _, err) = run(&mut install_one_crate(home.path(), "first"));
    assert!(output.status.success(), "{err}");
    assert!(
        err.contains("warning: crates/azureml was not found"),
        "{err}"
    );
    assert!(err.contains("hint: run this in a checkout"), "{err}");
    assert!(err.contains("Built first in "), "{err}");
    assert!(err.ends_with("It works.\n"), "{err}");

    // The trial cell of `install` detects a set with a damaged library.
    let sets = home.path().join("cache/helpers");
    let library = files(&sets)
        .into_iter()
        .find(|file| file.ends_with("deps/libhelpers.so"))
        .expect("a library");
    assert!(!library.starts_with("target"), "{}", library.display());
    std::fs::write(sets.join(&library), "not a library").expect("our file");
    let (_, _, err) = run(&mut install_one_crate(home.path(), "first"));
    let (_, tried) = err.split_once("Trying a cell\n").expect("it is tried");
    assert!(tried.contains("warning: "), "{err}");
    assert!(tried.contains("failed: "), "{err}");
    assert!(!tried.contains("It works."), "{err}");

    // Removing the last kernelspec also removes everything that was built for it.
    let mut uninstall = kernel(home.path());
    uninstall
        .env("AZUREML_KERNEL_CACHE", home.path().join("cache"))
        .args(["uninstall", "--user"]);
    let (output, _, err) = run(&mut uninstall);
    assert!(output.status.success(), "{err}");
    assert_eq!(files(&sets), [Path::new("lock")]);
}

#[test]
fn doctor_names_what_is_missing_and_how_to_get_it() {
    let home = tempfile::tempdir().expect("a folder");
    let (output, out, _) = run(kernel(home.path())
        .arg("doctor")
        .env("PATH", home.path())
        .env("AZUREML_KERNEL_CACHE", home.path())
        .env_remove("CARGO_HOME"));
    assert_eq!(output.status.code(), Some(1));
    for name in [
        "rustc",
        "cargo",
        "linker",
        "rust-src",
        "Jupyter",
        "kernelspec",
        "helper crates",
        "cell",
    ] {
        let line = out
            .lines()
            .position(|line| line.starts_with(&format!("✗ {name}: ")))
            .unwrap_or_else(|| panic!("no ✗ for {name}:\n{out}"));
        let hint = out.lines().nth(line + 1).unwrap_or_default();
        assert!(hint.starts_with("  hint: "), "{name}:\n{out}");
    }
    assert!(out.contains("rustup component add rust-src"), "{out}");
    assert!(out.contains("rust-web-src"), "{out}");
}

#[test]
fn doctor_finds_the_kernelspec_and_misses_its_binary() {
    let home = tempfile::tempdir().expect("a folder");
    run(kernel(home.path()).args(["install", "--user", "--no-crates"]));
    let (_, out, _) = run(kernel(home.path()).arg("doctor"));
    assert!(out.contains("✓ kernelspec: "), "{out}");
    let place = home
        .path()
        .join(".local/share/jupyter/kernels/rust-azureml");
    std::fs::remove_dir_all(place.join("bin")).expect("a folder");
    let (output, out, _) = run(kernel(home.path()).arg("doctor"));
    assert_eq!(output.status.code(), Some(1));
    assert!(out.contains("✗ kernelspec: "), "{out}");
}

#[test]
fn a_connection_file_that_is_none_is_a_clear_error() {
    let home = tempfile::tempdir().expect("a folder");
    let broken = home.path().join("broken.json");
    std::fs::write(&broken, "{").expect("a file");
    for file in [home.path().join("missing.json"), broken] {
        let (output, out, err) = run(kernel(home.path())
            .args(["serve", "--connection-file"])
            .arg(&file));
        assert!(!output.status.success());
        assert_eq!(out, "");
        assert!(err.contains(&file.display().to_string()), "{err}");
        assert!(err.contains("\nhint: "), "{err}");
    }
}

/// Writes a connection file with Unix sockets.
fn connection_file(home: &Path) -> PathBuf {
    let path = home.join("connection.json");
    let connection = json!({
        "ip": home.join("socket"), "transport": "ipc", "key": "k", "signature_scheme": "hmac-sha256",
        "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
    });
    std::fs::write(&path, connection.to_string()).expect("a file");
    path
}

/// Waits until the kernel listens on its last socket or has ended.
fn wait_until_it_serves(home: &Path, child: &mut Child) {
    wait_for("the kernel's sockets", || {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "the kernel has ended"
        );
        home.join("socket-2").exists().then_some(())
    });
}

/// Waits until `poll` returns a value; fails after a timeout.
fn wait_for<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = poll() {
            return found;
        }
        assert!(
            begin.elapsed() < Duration::from_mins(1),
            "{what} did not come"
        );
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_ends_the_process_properly() {
    let home = tempfile::tempdir().expect("a folder");
    let mut child = kernel(home.path())
        .args(["serve", "--connection-file"])
        .arg(connection_file(home.path()))
        .process_group(0)
        .spawn()
        .expect("the binary runs");
    wait_until_it_serves(home.path(), &mut child);
    let log = home.path().join(".local/state/azureml-kernel/logs");
    // Signals are handled once this line is in the log.
    let log = log.join(format!("kernel-{}.log", child.id()));
    wait_for("a line in the log", || {
        let text = std::fs::read_to_string(&log).ok()?;
        text.contains("the kernel serves").then_some(())
    });
    kill_process(Pid::from_child(&child), Signal::TERM).expect("a process");
    let status = wait_for("its end", || child.try_wait().expect("a child"));
    assert!(status.success(), "{status}");
}

#[test]
fn the_kernel_ends_when_who_started_it_is_gone() {
    let home = tempfile::tempdir().expect("a folder");
    let mut parent = Command::new("sh");
    // The shell starts the kernel as its child, prints the child's process id, and waits to be
    // killed.
    parent
        .args([
            "-c",
            "JPY_PARENT_PID=$$ \"$0\" serve --connection-file \"$1\" & echo $!; wait",
        ])
        .arg(env!("CARGO_BIN_EXE_azureml-kernel"))
        .arg(connection_file(home.path()))
        .env("HOME", home.path())
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut parent = parent.spawn().expect("a shell");
    let stdout = parent.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    wait_until_it_serves(home.path(), &mut parent);
    parent.kill().expect("it is killed");
    parent.wait().expect("a child");
    // The kernel keeps the other end of the pipe open until it ends.
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let mut rest = String::new();
        lines.read_line(&mut rest).expect("the end");
        ended.send(rest)
    });
    let rest = end.recv_timeout(Duration::from_mins(1));
    assert_eq!(rest.as_deref(), Ok(""));
}
