//! The binary from outside: its commands, and how its process ends.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// The binary, in an environment of its own below `home`.
///
/// Rust itself stays where it is: rustup looks for it in the home folder unless it is told.
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
    let own_home = std::env::home_dir().unwrap_or_default();
    for (name, folder) in [("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")] {
        if std::env::var_os(name).is_none() {
            command.env(name, own_home.join(folder));
        }
    }
    command
        .env("HOME", home)
        .env("VIRTUAL_ENV", environment)
        // What kernels share is built once for all tests.
        .env("AZUREML_KERNEL_CACHE", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> (Output, String, String) {
    let output = command.output().expect("the binary runs");
    let out = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let err = String::from_utf8(output.stderr.clone()).expect("UTF-8");
    (output, out, err)
}

/// The files below a folder, relative to it.
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
        // Twice: the second one replaces the first.
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
        for logo in ["logo-32x32.png", "logo-64x64.png", "logo-svg.svg"] {
            assert!(place.join(logo).is_file(), "{logo}");
        }
        // The build folder may be cleaned: what is started must not be in it.
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

/// Writes a connection file whose sockets are files.
fn connection_file(home: &Path) -> PathBuf {
    let path = home.join("connection.json");
    let connection = json!({
        "ip": home.join("socket"), "transport": "ipc", "key": "k", "signature_scheme": "hmac-sha256",
        "shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5,
    });
    std::fs::write(&path, connection.to_string()).expect("a file");
    path
}

/// Waits until the kernel listens on its last socket, or has ended.
fn wait_until_it_serves(home: &Path, child: &mut Child) {
    while !home.join("socket-2").exists() {
        assert!(
            child.try_wait().expect("a child").is_none(),
            "the kernel has ended"
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
    // Once the log says so, signals are handled.
    let log = log.join(format!("kernel-{}.log", child.id()));
    while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("the kernel serves")) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::TERM).expect("a process");
    let status = child.wait().expect("a child");
    assert!(status.success(), "{status}");
}

#[test]
fn the_kernel_ends_when_who_started_it_is_gone() {
    let home = tempfile::tempdir().expect("a folder");
    let mut parent = Command::new("sh");
    // The shell starts the kernel as its child, says its number, and waits to be killed.
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
    // The kernel holds the other end of the pipe until it ends.
    let mut rest = String::new();
    lines.read_line(&mut rest).expect("the end");
    assert_eq!(rest, "");
}
