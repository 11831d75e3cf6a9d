//! Lifetimes: jobs survive the end of the kernel; all data and jobs survive the end of the local
//! workspace's process.

use end_to_end::notebook::{Cell, Notebook};
use end_to_end::{LocalWorkspace, kill};
use std::path::Path;
use tempfile::TempDir;

/// A job that prints `started`, waits until the gate is open, and prints `finished`.
struct GatedJob {
    folder: TempDir,
}

impl GatedJob {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder can be made");
        let source = folder.path().join("source");
        std::fs::create_dir(&source).expect("the folder is ours");
        let script = format!(
            "echo started\nwhile [ ! -e '{}' ]; do sleep 0.1; done\nmkdir -p outputs\necho kept > outputs/kept.txt\necho finished\n",
            folder.path().join("gate").display()
        );
        std::fs::write(source.join("job.sh"), script).expect("the folder is ours");
        Self { folder }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn open_gate(&self) {
        std::fs::write(self.folder.path().join("gate"), "").expect("the folder is ours");
    }

    /// Submits the job from cells of a notebook in its folder; returns the run's id.
    fn submit(notebook: &mut Notebook) -> String {
        notebook.run("use azureml::prelude::*;\nlet ws = Workspace::from_config()?;");
        notebook.run(
            "let config = ScriptRunConfig::new(\"source\")
                .command(\"sh job.sh\")
                .compute_target(\"cpu-cluster\")
                .environment(&Environment::get(&ws, \"rust-tch-gpu\")?);
             let run = Experiment::new(&ws, \"survival\").submit(&config)?;",
        );
        let id = notebook.run("println!(\"{}\", run.id());").stdout;
        id.trim().to_owned()
    }
}

/// Whether the cell has received the job's log.
fn streams(cell: &Cell) -> bool {
    cell.stdout.lines().any(|line| line == "started")
}

fn assert_finished(cell: &Cell) {
    assert_eq!(cell.status, "ok", "{}\n{}", cell.traceback(), cell.stdout);
    for line in ["started", "finished"] {
        let count = cell.stdout.lines().filter(|l| *l == line).count();
        assert_eq!(count, 1, "{line} once in {}", cell.stdout);
    }
}

#[test]
fn a_job_outlives_its_kernel_and_a_new_one_attaches() {
    let workspace = LocalWorkspace::new();
    let job = GatedJob::new();
    let mut notebook = Notebook::start(job.folder(), &workspace);
    let id = GatedJob::submit(&mut notebook);

    let pid = notebook.kernel();
    let cell = notebook.execute_watched("run.wait_for_completion(true)?;", |cell| {
        if streams(cell) {
            kill(pid);
        }
    });
    assert_eq!(cell.status, "died");

    notebook.restart();
    notebook.run("use azureml::prelude::*;\nlet ws = Workspace::from_config()?;");
    notebook.run(&format!("let run = Run::get(&ws, \"{id}\")?;"));
    let cell = notebook.execute_watched("run.wait_for_completion(true)?;", |cell| {
        if streams(cell) {
            job.open_gate();
        }
    });
    assert_finished(&cell);
    let status = notebook.run("println!(\"{}\", run.status()?);");
    assert_eq!(status.stdout.trim(), "Completed");
}

#[test]
fn a_killed_local_workspace_is_back_on_the_next_use_and_follows_the_job() {
    let mut workspace = LocalWorkspace::new();
    let job = GatedJob::new();
    let mut notebook = Notebook::start(job.folder(), &workspace);
    let id = GatedJob::submit(&mut notebook);
    let before = workspace.server().expect("it was started on demand").pid;

    // A log stream that is open during the kill continues, too.
    let mut killed = false;
    let cell = notebook.execute_watched("run.wait_for_completion(true)?;", |cell| {
        if streams(cell) && !killed {
            killed = true;
            workspace.kill();
            job.open_gate();
        }
    });
    assert_finished(&cell);
    let after = workspace.server().expect("it is back").pid;
    assert_ne!(before, after);

    let kept = notebook.run(&format!(
        "let run = Run::get(&ws, \"{id}\")?;
         println!(\"{{}}\", run.status()?);
         let files: Vec<String> = run.file_names()?.iter().map(|file| file.to_string()).collect();
         println!(\"{{files:?}}\");"
    ));
    assert!(kept.stdout.starts_with("Completed\n"), "{}", kept.stdout);
    assert!(kept.stdout.contains("outputs/kept.txt"), "{}", kept.stdout);
}
