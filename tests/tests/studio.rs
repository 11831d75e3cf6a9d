//! The local workspace's pages in a browser: the four visits of Lab 02 during its training,
//! screenshots of every page, and very long logs.

use azureml::prelude::*;
use end_to_end::{LocalWorkspace, env, python, root, sixth_of_mnist};
use std::fs;
use std::process::Command;

/// Variable that makes the test's second process submit the lab's job; its value is a folder for
/// the job's files.
const FOLDER: &str = "AZUREML_TEST_LAB_FOLDER";

/// Runs a scene in a browser; see `tests/python/studio_page.py`.
fn look(workspace: &LocalWorkspace, scene: &str, links: &[&str]) {
    let pictures = root().join("target/test/studio").join(scene);
    fs::create_dir_all(&pictures).expect("a folder");
    let server = workspace.server().expect("it runs");
    let output = Command::new(python(env::PYTHON_FRONT_ENDS))
        .arg(root().join("tests/python/studio_page.py"))
        .args([scene, &server.url, &server.token])
        .arg(&pictures)
        .args(links)
        .output()
        .expect("Python starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\nwhat was to be seen is in {}",
        String::from_utf8_lossy(&output.stderr),
        pictures.display()
    );
    println!("{said}");
}

/// Not a separate test: submits the lab's job as its notebook does, behind a job that occupies the
/// only node.
#[test]
fn submission_of_the_lab() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    let ws = Workspace::local().unwrap();
    let env = Environment::get(&ws, "rust-tch-gpu").unwrap();
    fs::create_dir(folder.join("wait")).unwrap();
    fs::write(folder.join("wait/wait.sh"), "exec sleep 3600").unwrap();
    let waiting = ScriptRunConfig::new(folder.join("wait"))
        .command("sh wait.sh")
        .compute_target("cc-aml-gpu")
        .environment(&env);
    let training = ScriptRunConfig::new(root().join("notebooks/02-train-model/script"))
        .script("train.rs")
        .arguments(["--epochs", "2", "--data", "${{inputs.mnist}}"])
        .input(
            "mnist",
            Input::folder(folder.join("data").display().to_string()),
        )
        .compute_target("cc-aml-gpu")
        .environment(&env);
    for (experiment, src) in [("waiting", waiting), ("train-model", training)] {
        let run = Experiment::new(&ws, experiment).submit(&src).unwrap();
        println!("link {}", run.portal_url().unwrap());
    }
}

#[test]
fn a_learner_visits_the_pages_while_the_lab_trains() {
    let workspace = LocalWorkspace::start();
    let folder = tempfile::tempdir().expect("a folder");
    sixth_of_mnist(&folder.path().join("data"));
    let mut submission = Command::new(std::env::current_exe().expect("this test's path"));
    workspace.apply(&mut submission);
    let output = submission
        .args(["submission_of_the_lab", "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .expect("the test starts again");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let links: Vec<&str> = said
        .lines()
        .filter_map(|line| Some(line.split_once("link ")?.1))
        .collect();
    assert_eq!(links.len(), 2, "{said}");
    look(&workspace, "visits", &links);
}

#[test]
fn every_page_is_for_everybody() {
    look(&LocalWorkspace::start(), "pages", &[]);
}

#[test]
fn a_long_log_is_shown_and_the_server_stays_small() {
    let workspace = LocalWorkspace::start();
    look(&workspace, "long_log", &[]);
    let pid = workspace.server().expect("it runs").pid;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|kilobytes| kilobytes.split_whitespace().next()?.parse::<u64>().ok())
        .expect("Linux counts it");
    println!("the server had at most {} MB", most / 1000);
    assert!(most < 256_000, "{most} kB");
}
