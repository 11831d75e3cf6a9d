//! The SDK with the real local workspace: jobs from submission to model, and error messages.
//!
//! Each test is a separate client with a private local workspace: the test runs again in a process
//! whose environment points there (see [`client`]), and checks the output of that process.

use azureml::prelude::*;
use azureml::{Error, RunStatus};
use azureml_wire::local;
use azureml_wire::mlflow::GetRun;
use end_to_end::impostor::{self, Impostor, Kind};
use end_to_end::{LocalWorkspace, alive, kill, wait_for};
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use tempfile::TempDir;

/// Variable that makes the test's second process the client.
const INSIDE: &str = "AZUREML_TEST_INSIDE";

/// Runs `body` as a client in a separate process, in an empty folder; returns its output. In the
/// client's process, returns `None`.
fn client(test: &str, body: impl FnOnce()) -> Option<Printed> {
    client_with(test, |_| {}, body)
}

/// Like [`client`]; `configure` changes the environment of the process.
fn client_with(
    test: &str,
    configure: impl FnOnce(&mut Command),
    body: impl FnOnce(),
) -> Option<Printed> {
    if std::env::var_os(INSIDE).is_some() {
        body();
        return None;
    }
    let workspace = LocalWorkspace::new();
    let folder = TempDir::new().expect("a temporary folder can be made");
    let mut command = this_test(test);
    workspace.apply(&mut command);
    command.env(INSIDE, test).current_dir(folder.path());
    configure(&mut command);
    let output = command.output().expect("the test starts again");
    let printed = Printed::of(&output);
    assert!(
        output.status.success(),
        "{}\n{}",
        printed.stdout,
        printed.stderr
    );
    let exchanges = workspace.validate_trace();
    // If a local workspace was started, calls were made, and all of them are recorded.
    let was_started = workspace.home().join("workspace.db").exists();
    assert_eq!(exchanges > 0, was_started, "{exchanges} exchanges");
    Some(printed)
}

/// A command that runs one test of this program.
fn this_test(test: &str) -> Command {
    let mut command =
        Command::new(std::env::current_exe().expect("the path of the running test is known"));
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null());
    command
}

struct Printed {
    stdout: String,
    stderr: String,
}

impl Printed {
    fn of(output: &process::Output) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks that stdout contains these texts in this order.
    fn in_order(&self, texts: &[&str]) {
        let mut from = 0;
        for text in texts {
            let found = self.stdout[from..].find(text);
            from += found
                .unwrap_or_else(|| panic!("{text:?} after byte {from} of:\n{}", self.stdout))
                + text.len();
        }
    }

    fn count(&self, line: &str) -> usize {
        self.stdout.lines().filter(|l| *l == line).count()
    }
}

/// Writes a file below the current folder and creates its parent folders.
fn write(path: &str, content: &str) {
    let path = Path::new(path);
    std::fs::create_dir_all(path.parent().expect("a file has a folder"))
        .expect("the folder is ours");
    std::fs::write(path, content).expect("the folder is ours");
}

/// A job that runs `sh job.sh` of the folder `source`.
fn shell_job(script: &str) -> ScriptRunConfig {
    write("source/job.sh", script);
    ScriptRunConfig::new("source")
        .script("job.sh")
        .compute_target("cpu-cluster")
        .environment("rust-tch-gpu")
}

fn submit(config: &ScriptRunConfig) -> Run {
    let ws = Workspace::from_config().expect("the workspace opens");
    let experiment = Experiment::new(&ws, "sdk");
    experiment.submit(config).expect("the job is submitted")
}

fn error<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("this is to fail"),
        Err(error) => error.to_string(),
    }
}

/// The error's text, which must have exactly one hint.
fn hinted<T>(result: Result<T, Error>) -> String {
    let text = error(result);
    assert_eq!(text.matches("\nhint: ").count(), 1, "{text}");
    text
}

/// Waits until the run's command has started.
fn wait_until_running(run: &Run) {
    wait_for("the start", || {
        let status = run.status().expect("the run has a status");
        let logs = run.logs().expect("the run has a log");
        (status == RunStatus::Running && logs.contains("started")).then_some(())
    });
}

/// The current server of the client's local workspace.
fn server() -> local::Server {
    let path = local::home()
        .expect("the test sets it")
        .join(local::SERVER_FILE);
    serde_json::from_slice(&std::fs::read(path).expect("it has been started")).expect("it is JSON")
}

/// The run's parameters, read through MLflow's REST API.
fn params(run: &Run) -> Vec<(String, String)> {
    let server = server();
    let url = format!(
        "{}{}?run_id={}",
        server.url,
        local::scope().mlflow("runs/get"),
        run.id()
    );
    let (host, path) = url
        .split_once("//")
        .expect("it answers")
        .1
        .split_once('/')
        .expect("it answers");
    let mut stream = TcpStream::connect(host).expect("it answers");
    write!(
        stream,
        "GET /{path} HTTP/1.0\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\r\n",
        server.token
    )
    .expect("it answers");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (_, body) = answer.split_once("\r\n\r\n").expect("it answers");
    let found: GetRun = serde_json::from_str(body).expect("it answers");
    let params = found.run.data.params.into_iter();
    params.map(|param| (param.key, param.value)).collect()
}

// From submission to model.

/// Not a separate test: the training program of the job below, which runs it.
#[test]
fn training_program() {
    let run = Run::get_context();
    if run.is_offline() {
        return;
    }
    run.log_param("lr", 1.0);
    run.set_tag("stage", "training");
    for (epoch, accuracy) in [(1, 98.25), (2, 98.75)] {
        println!("epoch {epoch}");
        run.log_step("Accuracy", accuracy, epoch);
        run.log("Test loss", 1.0 / f64::from(epoch));
    }
    std::fs::create_dir_all("outputs/model").unwrap();
    std::fs::write("outputs/model/model.pt", "weights").unwrap();
    std::fs::write("labels.txt", "zero\none\n").unwrap();
    run.upload_file("outputs/early/labels.txt", "labels.txt")
        .unwrap();
    run.flush().unwrap();
}

#[test]
fn a_job_goes_from_submit_to_model() {
    let printed = client("a_job_goes_from_submit_to_model", || {
        let ws = Workspace::from_config().unwrap();
        assert!(ws.is_local());
        let env = Environment::get(&ws, "rust-tch-gpu").unwrap();
        assert_eq!(env.version(), Some("1"));
        write("source/readme.txt", "hello");
        let this = std::env::current_exe().unwrap();
        let src = ScriptRunConfig::new("source")
            .command(format!(
                "{} training_program --exact --nocapture",
                this.display()
            ))
            .compute_target("cc-aml-gpu")
            .environment(&env)
            .display_name("two epochs")
            .tag("lab", "02");
        let run = Experiment::new(&ws, "train-model").submit(&src).unwrap();
        let details = run.wait_for_completion(true).unwrap();
        assert_eq!(details.status, RunStatus::Completed);

        let metrics = run.metrics().unwrap();
        assert_eq!(metrics.names(), ["Accuracy", "Test loss"]);
        assert_eq!(metrics.latest("Accuracy"), Some(98.75));
        assert_eq!(params(&run), [("lr".to_owned(), "1".to_owned())]);
        let steps: Vec<(i64, f64)> = metrics
            .history("Accuracy")
            .iter()
            .map(|point| (point.step, point.value))
            .collect();
        assert_eq!(steps, [(1, 98.25), (2, 98.75)]);
        let steps: Vec<i64> = metrics
            .history("Test loss")
            .iter()
            .map(|point| point.step)
            .collect();
        assert_eq!(steps, [0, 1]);

        let files = run.file_names().unwrap();
        let names: Vec<String> = files.iter().map(ToString::to_string).collect();
        for name in [
            "outputs/model/model.pt",
            "outputs/early/labels.txt",
            "user_logs/std_log.txt",
        ] {
            assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
        }
        let model = files
            .iter()
            .find(|file| file.path == "outputs/model/model.pt")
            .unwrap();
        assert_eq!(model.size, Some(7));
        assert_eq!(
            run.download_file("outputs/early/labels.txt", "labels")
                .unwrap(),
            Path::new("labels")
        );
        assert_eq!(std::fs::read_to_string("labels").unwrap(), "zero\none\n");
        let paths = run.download_files("outputs/model", "here").unwrap();
        assert_eq!(*paths, [PathBuf::from("here/outputs/model/model.pt")]);
        assert_eq!(std::fs::read_to_string(&paths[0]).unwrap(), "weights");
        insta::assert_snapshot!(hinted(run.download_file("outputs/model/modle.pt", ".")).replace(run.id(), "RUN"), @r"
        run `RUN` has no file outputs/model/modle.pt
        hint: did you mean `outputs/model/model.pt`?
        ");

        assert!(run.logs().unwrap().contains("epoch 1\nepoch 2\n"));
        run.tag("note", "good").unwrap();
        let tags = run.tags().unwrap();
        for (name, value) in [("note", "good"), ("lab", "02"), ("stage", "training")] {
            assert_eq!(tags.get(name).map(String::as_str), Some(value), "{tags:?}");
        }

        let model = run.register_model("mnist", "outputs/model").unwrap();
        assert_eq!((model.version(), model.run_id()), ("1", Some(run.id())));
        assert_eq!(
            run.register_model("mnist", "outputs/model")
                .unwrap()
                .version(),
            "2"
        );
        let found = Model::get(&ws, "mnist").unwrap();
        assert_eq!(found.version(), "2");
        assert_eq!(
            *found.download("model").unwrap(),
            [PathBuf::from("model/model.pt")]
        );
        let listed = Model::list(&ws).unwrap();
        assert_eq!(
            *listed[0].download("again").unwrap(),
            [PathBuf::from("again/model.pt")]
        );
        hinted(run.register_model("mnist", "outputs/nothing"));

        // A registered model is the input of another job.
        for address in ["azureml:mnist:1", "azureml:mnist", "azureml:mnist@latest"] {
            let config = shell_job("cat \"$1/model.pt\"\n")
                .arguments(["${{inputs.model}}"])
                .input("model", Input::model(address));
            let reading = submit(&config);
            reading.wait_for_completion(false).unwrap();
            assert_eq!(reading.logs().unwrap(), "weights", "{address}");
        }
        let config = shell_job("true\n").input("model", Input::model("azureml:minst:1"));
        assert!(
            hinted(Experiment::new(&ws, "sdk").submit(&config)).contains("did you mean `mnist`?")
        );
        assert!(hinted(Model::get(&ws, "minst")).contains("did you mean `mnist`?"));
        assert!(hinted(Model::get(&ws, "mnist:9")).contains("the newest version of `mnist` is 2"));

        // The same code is not uploaded again.
        println!("submitting again");
        let again = Experiment::new(&ws, "train-model").submit(&src).unwrap();
        again.wait_for_completion(false).unwrap();
        let runs = Run::list(&ws, "train-model").unwrap();
        let ids: Vec<&str> = runs.iter().map(Run::id).collect();
        assert_eq!(ids, [again.id(), run.id()]);
        let attached = Run::get(&ws, run.id()).unwrap();
        assert_eq!(attached.status().unwrap(), RunStatus::Completed);
        assert_eq!(attached.display_name(), "two epochs");
        assert_eq!(attached.metrics().unwrap(), metrics);
    });
    let Some(printed) = printed else { return };
    printed.in_order(&[
        "RunId: train-model_",
        "Web View: http",
        "Queued",
        "Preparing",
        "Running",
        "Streaming user_logs/std_log.txt\n===============================\n",
        "epoch 1\nepoch 2\n",
        "Finalizing",
        "Completed",
        "Execution Summary\n=================\nRunId: train-model_",
        "submitting again",
    ]);
    assert_eq!(
        printed
            .stderr
            .matches("Uploaded code (1 file, 5 B)")
            .count(),
        1,
        "{}",
        printed.stderr
    );
    assert_eq!(
        printed.stderr.matches("Submitted train-model_").count(),
        2,
        "{}",
        printed.stderr
    );
    assert!(!printed.stdout.contains("token"), "{}", printed.stdout);
}

#[test]
fn inputs_and_arguments_arrive_as_they_are() {
    client("inputs_and_arguments_arrive_as_they_are", || {
        write("data set/a.txt", "A\n");
        write("data set/sub/b.txt", "B\n");
        write("one file.txt", "ONE\n");
        let config = shell_job(
            "for argument in \"$@\"; do printf '[%s]\\n' \"$argument\"; done\n\
             cat \"$6/a.txt\" \"$6/sub/b.txt\" \"$7\"\necho \"$GREETING\"\necho made > \"$8/made.txt\"\n",
        )
        .environment_variable("GREETING", "hello world")
        .output("result", Output::folder());
        let mut arguments: Vec<String> = ["--name", "it's a \"test\"", "", "$HOME", "*"].map(str::to_owned).to_vec();
        arguments.extend(["${{inputs.data}}", "${{inputs.file}}", "${{outputs.result}}", "lr=${{inputs.lr}}"].map(str::to_owned));
        let config = config
            .arguments(arguments)
            .input("data", Input::folder("data set"))
            .input("file", Input::file("one file.txt"))
            .input("lr", Input::literal(0.5));
        let run = submit(&config);
        run.wait_for_completion(false).unwrap();
        let logs = run.logs().unwrap();
        let expected = ["[--name]", "[it's a \"test\"]", "[]", "[$HOME]", "[*]", "[lr=0.5]", "A", "B", "ONE", "hello world"];
        for line in expected {
            assert_eq!(logs.lines().filter(|l| *l == line).count(), 1, "{line:?} in {logs}");
        }
        // The same data is not uploaded again.
        submit(&config).wait_for_completion(false).unwrap();
    })
    .inspect(|printed| {
        assert_eq!(printed.stderr.matches("Uploaded data (2 files, 4 B)").count(), 1, "{}", printed.stderr);
        assert_eq!(printed.stderr.matches("Uploaded file (1 file, 4 B)").count(), 1, "{}", printed.stderr);
    });
}

#[test]
fn a_python_script_runs() {
    client("a_python_script_runs", || {
        write(
            "source/train.py",
            "import sys\nprint('python', sys.argv[1])\n",
        );
        let config = ScriptRunConfig::new("source")
            .script("train.py")
            .arguments(["a b"])
            .compute_target("cpu-cluster")
            .environment("rust-tch-gpu");
        let run = submit(&config);
        run.wait_for_completion(false).unwrap();
        assert!(run.logs().unwrap().contains("python a b\n"));
    });
}

#[test]
fn a_log_is_streamed_without_gaps_and_without_doubled_lines() {
    let printed = client(
        "a_log_is_streamed_without_gaps_and_without_doubled_lines",
        || {
            let config = shell_job(
                "i=0\nwhile [ $i -lt 3000 ]; do echo \"line $i 한글\"; i=$((i+1)); done\n\
             printf 'half'; while [ ! -e \"$GATE\" ]; do sleep 0.05; done; printf ' whole\\n'\nprintf 'no end'\n",
            );
            let gate = std::env::current_dir().unwrap().join("gate");
            let run = submit(&config.environment_variable("GATE", gate.display()));
            let waiting = run.clone();
            let waiter = std::thread::spawn(move || waiting.wait_for_completion(true).unwrap());
            // The log ends with the incomplete line until the gate opens.
            wait_for("the half line", || {
                run.logs().unwrap().ends_with("half").then_some(())
            });
            std::fs::write(gate, "").unwrap();
            waiter.join().unwrap();
        },
    );
    let Some(printed) = printed else { return };
    for i in [0, 1, 1500, 2999] {
        assert_eq!(printed.count(&format!("line {i} 한글")), 1, "line {i}");
    }
    let lines = printed
        .stdout
        .lines()
        .filter(|line| line.starts_with("line "))
        .count();
    assert_eq!(lines, 3000);
    assert_eq!(printed.stdout.matches("half").count(), 1);
    printed.in_order(&["half", " whole\n", "no end\nFinalizing", "Completed"]);
}

#[test]
fn a_run_can_be_canceled() {
    let printed = client("a_run_can_be_canceled", || {
        let run = submit(&shell_job("echo started\nsleep 600\n"));
        wait_until_running(&run);
        run.cancel().unwrap();
        let text = hinted(run.wait_for_completion(true));
        assert!(
            text.starts_with(&format!("run {} was canceled", run.id())),
            "{text}"
        );
        assert_eq!(run.status().unwrap(), RunStatus::Canceled);
        let details = run
            .wait_for_completion_with(WaitOptions {
                show_output: false,
                raise_on_error: false,
            })
            .unwrap();
        assert_eq!(details.status, RunStatus::Canceled);
        assert!(hinted(run.cancel()).contains("has ended already: it is Canceled"));
    });
    let Some(printed) = printed else { return };
    printed.in_order(&["Running", "started\n", "Canceled", "Execution Summary"]);
}

#[test]
fn a_program_that_fails_is_an_error_with_the_end_of_its_log() {
    client(
        "a_program_that_fails_is_an_error_with_the_end_of_its_log",
        || {
            let run = submit(&shell_job("seq 1 100\necho 'no more data' >&2\nexit 3\n"));
            let text = hinted(run.wait_for_completion(false));
            assert!(
                text.starts_with(&format!("run {} failed: ", run.id())),
                "{text}"
            );
            assert!(
                text.contains("the command exited with code 3\n\nthe last lines of its log:\n"),
                "{text}"
            );
            assert!(
                text.contains("\n  100\n  no more data\n") && !text.contains("\n  50\n"),
                "{text}"
            );
            assert_eq!(run.status().unwrap(), RunStatus::Failed);
        },
    );
}

#[test]
fn the_instance_is_stopped_and_started() {
    client("the_instance_is_stopped_and_started", || {
        let ws = Workspace::from_config().unwrap();
        let instance = ComputeTarget::get(&ws, "ci-aml-workshop").unwrap();
        assert_eq!(instance.state(), Some("Running"));
        assert_eq!(instance.stop().unwrap().state(), Some("Stopped"));
        assert_eq!(instance.start().unwrap().state(), Some("Running"));
        let cluster = ComputeTarget::get(&ws, "cc-aml-gpu").unwrap();
        assert!(hinted(cluster.stop()).contains("`cc-aml-gpu` is no compute instance"));
    });
}

#[test]
fn environments_are_registered_once() {
    client("environments_are_registered_once", || {
        let ws = Workspace::from_config().unwrap();
        let made = Environment::from_docker_image("mine", "ubuntu:24.04");
        assert_eq!(made.version(), None);
        assert_eq!(made.register(&ws).unwrap().version(), Some("1"));
        assert_eq!(made.register(&ws).unwrap().version(), Some("1"));
        let other = Environment::from_docker_image("mine", "ubuntu:26.04");
        assert_eq!(other.register(&ws).unwrap().version(), Some("2"));
        assert_eq!(
            Environment::get(&ws, "mine").unwrap().image(),
            Some("ubuntu:26.04")
        );
        assert_eq!(
            Environment::get(&ws, "mine:1").unwrap().image(),
            Some("ubuntu:24.04")
        );
        write("docker/Dockerfile", "FROM ubuntu:24.04\n");
        let built = Environment::from_dockerfile("built", "docker/Dockerfile").unwrap();
        assert_eq!(built.register(&ws).unwrap().version(), Some("1"));
        // The same folder is the same version; changed content is a new version.
        assert_eq!(built.register(&ws).unwrap().version(), Some("1"));
        write("docker/Dockerfile", "FROM ubuntu:26.04\n");
        assert_eq!(built.register(&ws).unwrap().version(), Some("2"));
        let second = Environment::get_version(&ws, "mine", "2").unwrap();
        assert_eq!(second.image(), Some("ubuntu:26.04"));
        hinted(Environment::get_version(&ws, "mine", "9"));
        let listed = Environment::list(&ws).unwrap();
        let listed: Vec<(&str, Option<&str>)> = listed
            .iter()
            .map(|environment| (environment.name(), environment.version()))
            .collect();
        for known in [
            ("mine", Some("2")),
            ("built", Some("2")),
            ("rust-tch-gpu", Some("1")),
        ] {
            assert!(listed.contains(&known), "{known:?} in {listed:?}");
        }
        hinted(Environment::from_dockerfile("built", "docker"));
        let curated = "azureml://registries/azureml/environments/acpt/versions/1";
        assert_eq!(Environment::get(&ws, curated).unwrap().id(), Some(curated));
        let curated = Environment::get(&ws, "AzureML-some:33").unwrap();
        assert_eq!(curated.id(), Some("azureml:AzureML-some:33"));
    });
}

#[test]
fn the_stop_button_stops_the_streaming_and_not_the_run() {
    let name = "the_stop_button_stops_the_streaming_and_not_the_run";
    client_with(
        name,
        |command| {
            // As in a cell: the file descriptors for the display and for the stop button are open.
            let program = command.get_program().to_owned();
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            let mut shell = Command::new("sh");
            shell
                .args(["-c", "exec 9>display.jsonl 8<>stop; exec \"$@\"", "sh"])
                .arg(program)
                .args(arguments);
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => shell.env(name, value),
                    None => shell.env_remove(name),
                };
            }
            shell
                .env("NOTEBOOK_DISPLAY_FD", "9")
                .env("NOTEBOOK_STOP_FD", "8")
                .stdin(Stdio::null());
            if let Some(folder) = command.get_current_dir() {
                shell.current_dir(folder);
            }
            *command = shell;
        },
        || {
            let config = shell_job("echo started\nwhile [ ! -e \"$GATE\" ]; do sleep 0.05; done\n");
            let gate = std::env::current_dir().unwrap().join("gate");
            let run = submit(&config.environment_variable("GATE", gate.display()));
            let waiting = run.clone();
            let waiter = std::thread::spawn(move || waiting.wait_for_completion(true));
            // The card changes after the first poll of the run; the wait listens for a stop from
            // before that.
            wait_for("the card to change", || {
                let shown = std::fs::read_to_string("display.jsonl").ok()?;
                (shown.contains(r#""kind":"update""#) && shown.contains("Running")).then_some(())
            });
            std::fs::write("stop", [1]).unwrap();
            assert!(matches!(waiter.join().unwrap(), Err(Error::Interrupted)));
            std::fs::write("stop", [0]).unwrap();
            assert_eq!(run.status().unwrap(), RunStatus::Running);
            std::fs::write(gate, "").unwrap();
            run.wait_for_completion(true).unwrap();
            // The card above the log changed with the run's status.
            let shown = std::fs::read_to_string("display.jsonl").unwrap();
            assert!(
                shown.contains(r#""kind":"update""#) && shown.contains("Completed"),
                "{shown}"
            );
        },
    );
}

#[test]
fn processes_nodes_and_limits_are_the_jobs() {
    client("processes_nodes_and_limits_are_the_jobs", || {
        let config = shell_job("echo \"$RANK of $WORLD_SIZE on node $NODE_RANK\"\n");
        let wide = config
            .clone()
            .distribution(Distribution::pytorch(2))
            .node_count(2);
        let run = submit(&wide);
        run.wait_for_completion(false).unwrap();
        let of_rank = |rank: u32| {
            format!(
                "==> user_logs/std_log_process_0{rank}.txt <==\n{rank} of 4 on node {}\n",
                rank / 2
            )
        };
        assert_eq!(run.logs().unwrap(), (0..4).map(of_rank).collect::<String>());
        let names = run.file_names().unwrap();
        let logs = names
            .iter()
            .filter(|file| file.path.starts_with("user_logs/std_log_process_"));
        assert_eq!(logs.count(), 4);
        let slow = shell_job("sleep 600\n").max_run_duration_seconds(1);
        let text = hinted(submit(&slow).wait_for_completion(false));
        assert!(
            text.contains("longer than its limit of 1 seconds"),
            "{text}"
        );
        let crowd = config.distribution(Distribution::mpi(65));
        let ws = Workspace::from_config().unwrap();
        let text = hinted(Experiment::new(&ws, "sdk").submit(&crowd));
        assert!(text.contains("up to 64 processes of a job"), "{text}");
    });
}

#[test]
fn all_processes_are_heard_and_each_line_tells_whose_it_is() {
    let script = "printf 'begin\\nwait'\n\
        until [ -e \"$GATE\" ]; do sleep 0.05; done\n\
        echo ing; echo \"end of $RANK\"\n";
    let printed = client(
        "all_processes_are_heard_and_each_line_tells_whose_it_is",
        || {
            let gate = std::env::current_dir().unwrap().join("gate");
            let config = shell_job(script)
                .environment_variable("GATE", gate.display())
                .distribution(Distribution::pytorch(3));
            let run = submit(&config);
            let waiting = run.clone();
            let waiter = std::thread::spawn(move || waiting.wait_for_completion(true).unwrap());
            wait_for("all three", || {
                let logs = run.logs().unwrap();
                (logs.matches("wait").count() == 3).then_some(())
            });
            std::fs::write(gate, "").unwrap();
            waiter.join().unwrap();
        },
    );
    let Some(printed) = printed else { return };
    assert_eq!(printed.stdout.matches("Streaming ").count(), 1);
    printed.in_order(&[
        "Running",
        "Streaming user_logs/std_log_process_*.txt\n=========================================\n",
        "Execution Summary",
    ]);
    for rank in 0..3 {
        // A process that pauses in the middle of a line does not mix with the lines of the others.
        for line in ["begin", &format!("end of {rank}")] {
            assert_eq!(
                printed.count(&format!("[rank {rank}] {line}")),
                1,
                "{}",
                printed.stdout
            );
        }
        let own = format!("[rank {rank}] ");
        let said: String = printed
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix(&own))
            .collect();
        assert_eq!(
            said,
            format!("beginwaitingend of {rank}"),
            "{}",
            printed.stdout
        );
    }
}

#[test]
fn a_run_tells_about_itself() {
    client("a_run_tells_about_itself", || {
        let ws = Workspace::from_config().unwrap();
        let run = submit(&shell_job("true\n").display_name("short"));
        run.wait_for_completion(false).unwrap();
        let details = run.details().unwrap();
        assert_eq!(details.status, RunStatus::Completed);
        let path: Vec<&str> = details
            .status_history
            .iter()
            .map(|change| change.status.as_str())
            .collect();
        assert_eq!(
            path,
            ["Queued", "Preparing", "Running", "Finalizing", "Completed"]
        );
        let url = run.portal_url().unwrap();
        assert!(
            url.starts_with(&server().url) && url.contains(run.id()),
            "{url}"
        );
        let runs = Experiment::new(&ws, "sdk").runs().unwrap();
        let ids: Vec<&str> = runs.iter().map(Run::id).collect();
        assert_eq!(ids, [run.id()]);
        assert!(Experiment::new(&ws, "other").runs().unwrap().is_empty());
    });
}

#[test]
fn outputs_go_where_they_are_sent_and_are_registered() {
    client("outputs_go_where_they_are_sent_and_are_registered", || {
        let place = "azureml://datastores/workspaceblobstore/paths/kept/words.txt";
        let config =
            shell_job("echo folder > \"$1/a.txt\"; echo file > \"$2\"; echo placed > \"$3\"\n")
                .arguments([
                    "${{outputs.folder}}",
                    "${{outputs.file}}",
                    "${{outputs.placed}}",
                ])
                .output("folder", Output::folder().register_as("digits"))
                .output("file", Output::file().register_as("labels"))
                .output("placed", Output::file().to(place));
        for _ in 0..2 {
            submit(&config).wait_for_completion(false).unwrap();
        }
        write("model/weights.txt", "weights\n");
        let config = shell_job("cat \"$1/a.txt\" \"$2\" \"$3\" \"$4/weights.txt\"; echo \"$5\"\n")
            .arguments([
                "${{inputs.folder}}",
                "${{inputs.file}}",
                "${{inputs.uri}}",
                "${{inputs.model}}",
                "${{inputs.direct}}",
            ])
            .input("folder", Input::folder("azureml:digits:1").mount())
            .input("file", Input::file("azureml:labels").download())
            .input("uri", Input::uri(place))
            .input("model", Input::mlflow_model("model"))
            .input("direct", Input::uri(place).direct());
        let run = submit(&config);
        run.wait_for_completion(false).unwrap();
        assert_eq!(
            run.logs().unwrap(),
            format!("folder\nfile\nplaced\nweights\n{place}\n")
        );
        let ws = Workspace::from_config().unwrap();
        let unknown = shell_job("true\n").input("x", Input::folder("azureml:nothing"));
        let text = hinted(Experiment::new(&ws, "sdk").submit(&unknown));
        assert!(
            text.contains("data `nothing` is not in workspace"),
            "{text}"
        );
        let elsewhere =
            shell_job("true\n").output("x", Output::folder().to("https://example.com/x"));
        let text = hinted(Experiment::new(&ws, "sdk").submit(&elsewhere));
        assert!(
            text.contains("the local workspace has one datastore"),
            "{text}"
        );
    });
}

#[test]
fn models_that_are_registered_at_once_have_versions_of_their_own() {
    client(
        "models_that_are_registered_at_once_have_versions_of_their_own",
        || {
            let config = shell_job("mkdir -p outputs\necho m > outputs/m.pt\n");
            let runs: Vec<Run> = (0..6).map(|_| submit(&config)).collect();
            for run in &runs {
                run.wait_for_completion(false).unwrap();
            }
            let begin = std::sync::Barrier::new(runs.len());
            let mut versions: Vec<String> = std::thread::scope(|scope| {
                let register = |run: &Run| {
                    begin.wait();
                    run.register_model("net", "outputs/m.pt")
                        .unwrap()
                        .version()
                        .to_owned()
                };
                let threads: Vec<_> = runs
                    .iter()
                    .map(|run| scope.spawn(move || register(run)))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .collect()
            });
            versions.sort_unstable();
            assert_eq!(versions, ["1", "2", "3", "4", "5", "6"]);
        },
    );
}

// Sweeps.

/// Not a separate test: the training program of the sweep below, which its trials run.
#[test]
fn sweeping_program() {
    let run = Run::get_context();
    if run.is_offline() {
        return;
    }
    let number = |name: &str| std::env::var(name).unwrap().parse::<f64>().unwrap();
    let (lr, gamma) = (number("LR"), number("GAMMA"));
    for epoch in 1..=2 {
        run.log_step("Accuracy", lr * gamma * f64::from(epoch), epoch);
    }
    std::fs::create_dir_all("outputs").unwrap();
    std::fs::write("outputs/lr.txt", lr.to_string()).unwrap();
    run.flush().unwrap();
}

#[test]
fn a_sweep_is_submitted_watched_and_compared() {
    let printed = client("a_sweep_is_submitted_watched_and_compared", || {
        let ws = Workspace::from_config().unwrap();
        write("source/readme.txt", "hello");
        let this = std::env::current_exe().unwrap();
        let src = ScriptRunConfig::new("source")
            .command(format!(
                "LR=${{{{inputs.lr}}}} GAMMA=${{{{search_space.gamma}}}} {} sweeping_program --exact --nocapture",
                this.display()
            ))
            .compute_target("cpu-cluster")
            .environment("rust-tch-gpu")
            .tag("lab", "02");
        let sweep = SweepConfig::new(&src)
            .choice("lr", [0.5, 1.0])
            .choice("gamma", [0.25, 0.5])
            .primary_metric("Accuracy", Goal::Maximize)
            .max_concurrent_trials(2);
        let experiment = Experiment::new(&ws, "sweeps");
        let run = experiment.submit(&sweep).unwrap();
        assert_eq!(
            run.wait_for_completion(true).unwrap().status,
            RunStatus::Completed
        );

        let trials = run.trials().unwrap();
        assert_eq!((trials.len(), trials.primary_metric()), (4, "Accuracy"));
        let best = trials.best().unwrap();
        assert_eq!(
            (best.label().as_str(), best.best),
            ("gamma=0.5 lr=1.0", Some(1.0))
        );
        assert_eq!(best.values.len(), 2);
        let best = run.best_child().unwrap().expect("there is a best one");
        assert_eq!(best.id(), trials.best().unwrap().id);
        assert_eq!(best.metrics().unwrap().latest("Accuracy"), Some(1.0));
        best.download_file("outputs/lr.txt", "best.txt").unwrap();
        assert_eq!(std::fs::read_to_string("best.txt").unwrap(), "1");
        let model = best.register_model("best", "outputs").unwrap();
        assert_eq!(model.run_id(), Some(best.id()));

        let children = run.children().unwrap();
        let ids: Vec<String> = (0..4)
            .map(|number| format!("{}_{number}", run.id()))
            .collect();
        assert_eq!(children.iter().map(Run::id).collect::<Vec<_>>(), ids);
        let child = &children[0];
        assert_eq!(child.status().unwrap(), RunStatus::Completed);
        assert_eq!(child.experiment_name(), "sweeps");
        assert_eq!(
            child.tags().unwrap()["hyperparameters"],
            r#"{"gamma":0.25,"lr":0.5}"#
        );
        let parent = child.parent().unwrap().expect("it has one");
        assert_eq!(parent.id(), run.id());
        assert_eq!(best.parent().unwrap().expect("it has one").id(), run.id());
        assert!(run.parent().unwrap().is_none());
        assert_eq!(run.tags().unwrap()["lab"], "02");
        assert!(child.children().unwrap().is_empty());
        // A list of runs contains the sweep; a run that is fetched again is still a sweep.
        assert_eq!(experiment.runs().unwrap().len(), 1);
        let again = Run::get(&ws, run.id()).unwrap();
        assert_eq!(again.trials().unwrap(), trials);
        assert!(hinted(child.trials()).contains("is no sweep"));

        // An invalid configuration is not sent; an error of the service is reported.
        let unnamed = SweepConfig::new(&src.clone().command("train")).choice("lr", [1]);
        hinted(experiment.submit(&unnamed.clone()));
        assert!(
            hinted(experiment.submit(&unnamed.primary_metric("a", Goal::Minimize)))
                .contains("`lr` stands nowhere in the command")
        );
        assert!(
            hinted(experiment.submit(&sweep.clone().sampling(azureml::Sampling::Bayesian)))
                .contains("not by Bayesian")
        );
    });
    let Some(printed) = printed else { return };
    assert_eq!(
        printed.count("Trial 0   Completed   gamma=0.25 lr=0.5  Accuracy 0.25"),
        1
    );
    printed.in_order(&[
        "RunId: sweeps_",
        "Queued",
        "Running",
        "Completed   gamma=0.5 lr=1.0  Accuracy 1\n",
        "Completed   after",
        "Trial ",
        "Execution Summary",
    ]);
}

#[test]
fn a_canceled_sweep_takes_its_trials_with_it() {
    client("a_canceled_sweep_takes_its_trials_with_it", || {
        let src = shell_job("echo started\nsleep 600\n");
        let sweep = SweepConfig::new(&src)
            .uniform("lr", 0.1, 1.0)
            .max_trials(3)
            .primary_metric("Accuracy", Goal::Maximize);
        let ws = Workspace::from_config().unwrap();
        let run = Experiment::new(&ws, "sweeps").submit(&sweep).unwrap();
        let children = wait_for("the trials", || {
            let children = run.children().unwrap();
            (children.len() == 3).then_some(children)
        });
        wait_until_running(&children[0]);
        run.cancel().unwrap();
        let ended = hinted(run.wait_for_completion(false));
        assert!(ended.contains("canceled"), "{ended}");
        for child in &children {
            assert_eq!(child.status().unwrap(), RunStatus::Canceled);
        }
        assert!(run.best_child().unwrap().is_none());
        assert!(run.trials().unwrap().best().is_none());
    });
}

// Large files, interrupted transfers, and a full disk.

/// Writes a file whose blocks all differ, so that none can be confused with another.
fn large_file(path: &str, size: u64) {
    let mut file =
        std::io::BufWriter::new(std::fs::File::create(path).expect("the folder is ours"));
    for number in 0..size / 8 {
        file.write_all(&(number * 2_654_435_761).to_le_bytes())
            .expect("the folder is ours");
    }
    file.write_all(&vec![7; (size % 8) as usize])
        .expect("the folder is ours");
}

#[test]
fn a_large_file_arrives_whole() {
    client("a_large_file_arrives_whole", || {
        // Two full blocks and a short one.
        large_file("large.bin", (33 << 20) + 3);
        let here = std::env::current_dir().unwrap().join("large.bin");
        let config = shell_job("cmp \"$1\" \"$2\" && wc -c < \"$1\"\n")
            .arguments(["${{inputs.data}}".to_owned(), here.display().to_string()])
            .input("data", Input::file("large.bin"));
        // Two clients that upload it at the same time do not interfere.
        let submitted = std::thread::scope(|scope| {
            let threads = [(); 2].map(|()| scope.spawn(|| submit(&config)));
            threads.map(|thread| thread.join().unwrap())
        });
        for run in submitted {
            run.wait_for_completion(false).unwrap();
            assert_eq!(run.logs().unwrap().trim(), ((33 << 20) + 3).to_string());
        }
        // Only the record of the committed block list stays.
        let blocks = local::home().unwrap().join("blocks");
        let left: u64 = std::fs::read_dir(blocks)
            .unwrap()
            .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|file| file.unwrap().metadata().unwrap().len())
            .sum();
        assert!(left < 1024, "{left} bytes of blocks are left");
    });
}

/// Not a separate test: the training program of the job below, which runs it.
#[test]
fn uploading_training_program() {
    if let Some(path) = std::env::var_os("LARGE") {
        Run::get_context()
            .upload_file("outputs/early/large.bin", path)
            .unwrap();
    }
}

#[test]
fn a_large_file_of_a_run_arrives_whole() {
    client("a_large_file_of_a_run_arrives_whole", || {
        large_file("large.bin", (17 << 20) + 1);
        write("source/readme.txt", "hello");
        let this = std::env::current_exe().unwrap();
        let config = ScriptRunConfig::new("source")
            .command(format!(
                "{} uploading_training_program --exact --nocapture",
                this.display()
            ))
            .compute_target("cpu-cluster")
            .environment("rust-tch-gpu")
            .environment_variable(
                "LARGE",
                std::env::current_dir().unwrap().join("large.bin").display(),
            );
        let run = submit(&config);
        run.wait_for_completion(false)
            .unwrap_or_else(|error| panic!("{error}\n{}", run.logs().unwrap_or_default()));
        run.download_file("outputs/early/large.bin", "back.bin")
            .unwrap();
        assert!(std::fs::read("large.bin").unwrap() == std::fs::read("back.bin").unwrap());
    });
}

#[test]
fn a_large_log_is_streamed_whole_and_its_end_is_in_the_error() {
    let printed = client(
        "a_large_log_is_streamed_whole_and_its_end_is_in_the_error",
        || {
            // More than two reads of the log.
            let run = submit(&shell_job("seq 1 1300000\nexit 3\n"));
            let text = hinted(run.wait_for_completion(true));
            assert!(
                text.contains("the last lines of its log:\n  1299989\n")
                    && text.contains("\n  1300000\n"),
                "{text}"
            );
            let logs = run.logs().unwrap();
            assert!(logs.len() > 2 * (4 << 20));
            assert!(
                logs.lines()
                    .map(str::to_owned)
                    .eq((1..=1_300_000).map(|line| line.to_string()))
            );
        },
    );
    let Some(printed) = printed else { return };
    let lines = printed
        .stdout
        .lines()
        .filter_map(|line| line.parse::<u32>().ok());
    assert!(lines.eq(1..=1_300_000));
}

/// Not a separate test: a client that is killed during its upload.
#[test]
fn interrupted_client() {
    if std::env::var_os("AZUREML_TEST_BODY").is_some() {
        submit(&shell_job("cat parts/* | wc -c\n"));
    }
}

#[test]
fn an_upload_that_was_cut_off_is_not_taken_for_whole() {
    let printed = client("an_upload_that_was_cut_off_is_not_taken_for_whole", || {
        use std::os::unix::process::ExitStatusExt;
        Workspace::from_config().unwrap();
        for number in 0..1500 {
            write(&format!("source/parts/{number}"), &"x".repeat(20_000));
        }
        let blobs = local::home().unwrap().join("blobs");
        let uploaded = || {
            let containers = std::fs::read_dir(&blobs).unwrap().flatten();
            let files = |container: std::fs::DirEntry| {
                let parts = container.path().join("source/parts");
                std::fs::read_dir(parts).map_or(0, Iterator::count)
            };
            containers.map(files).sum::<usize>()
        };
        let mut child = this_test("interrupted_client")
            .env("AZUREML_TEST_BODY", "1")
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the first files", || (uploaded() > 0).then_some(()));
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9), "it was at work");
        assert!(uploaded() < 1500);
        let run = submit(&shell_job("cat parts/* | wc -c\n"));
        run.wait_for_completion(false).unwrap();
        assert_eq!(run.logs().unwrap().trim(), "30000000");
    });
    let Some(printed) = printed else { return };
    assert!(
        printed.stderr.contains("Uploaded code (1501 files"),
        "{}",
        printed.stderr
    );
}

#[test]
fn a_full_disk_is_told_with_a_way_out() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("azureml-local");
    // A limit on the file size has the same effect on the server as a full disk.
    script(
        &program,
        &format!(
            "ulimit -f 8192\nexec '{}' \"$@\"\n",
            end_to_end::binary("azureml-local").display()
        ),
    );
    client_with(
        "a_full_disk_is_told_with_a_way_out",
        |command| {
            command.env(local::env::BIN, &program);
        },
        || {
            let ws = Workspace::from_config().unwrap();
            large_file("large.bin", 12 << 20);
            let config = shell_job("true\n").input("data", Input::file("large.bin"));
            let text = hinted(Experiment::new(&ws, "sdk").submit(&config));
            assert!(
                text.starts_with("uploading ")
                    && text.contains("no space is left on the disk of the local workspace")
                    && text.contains("InsufficientStorage, HTTP 507")
                    && text.contains("\nhint: free some space there"),
                "{text}"
            );
            assert!(Run::list(&ws, "sdk").unwrap().is_empty());
            // Requests that need little space still succeed.
            submit(&shell_job("true\n"))
                .wait_for_completion(false)
                .unwrap();
        },
    );
}

/// Writes a shell script.
fn script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, format!("#!/bin/sh\n{text}")).expect("the folder is ours");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .expect("the folder is ours");
}

// Rust scripts.

const MANIFEST: &str = "[package]\nname = \"lab\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n\n[[bin]]\nname = \"train\"\npath = \"train.rs\"\n";

fn rust_job(program: &str) -> ScriptRunConfig {
    write("script/Cargo.toml", MANIFEST);
    write("script/train.rs", program);
    write("script/labels.txt", "zero one\n");
    ScriptRunConfig::new("script")
        .script("train.rs")
        .compute_target("cpu-cluster")
        .environment("rust-tch-gpu")
}

#[test]
fn a_rust_script_is_built_here_and_its_binary_runs_there() {
    let printed = client(
        "a_rust_script_is_built_here_and_its_binary_runs_there",
        || {
            let config = rust_job(
                "fn main() {\n    let arguments: Vec<String> = std::env::args().skip(1).collect();\n    \
             println!(\"{arguments:?} {}\", std::fs::read_to_string(\"labels.txt\").unwrap());\n    \
             println!(\"{}\", std::path::Path::new(\"train.rs\").exists());\n}\n",
            );
            let run = submit(&config.arguments(["--epochs", "2", "a b"]));
            run.wait_for_completion(false).unwrap();
            let logs = run.logs().unwrap();
            assert!(
                logs.contains("[\"--epochs\", \"2\", \"a b\"] zero one\n\nfalse\n"),
                "{logs}"
            );
        },
    );
    let Some(printed) = printed else { return };
    for line in [
        "Building train.rs",
        "Built train.rs in ",
        "Uploaded code (3 files",
    ] {
        assert!(
            printed.stderr.contains(line),
            "{line} in {}",
            printed.stderr
        );
    }
}

#[test]
fn a_rust_script_that_does_not_compile_is_rustcs_error() {
    client(
        "a_rust_script_that_does_not_compile_is_rustcs_error",
        || {
            let ws = Workspace::from_config().unwrap();
            let config = rust_job("fn main() {\n    let x: u32 = \"one\";\n}\n");
            let text = hinted(Experiment::new(&ws, "sdk").submit(&config));
            insta::assert_snapshot!(text, @r#"
        train.rs does not compile, so nothing was submitted

        error[E0308]: mismatched types
         --> train.rs:2:18
          |
        2 |     let x: u32 = "one";
          |            ---   ^^^^^ expected `u32`, found `&str`
          |            |
          |            expected due to this

        For more information about this error, try `rustc --explain E0308`.
        error: could not compile `lab` (bin "train") due to 1 previous error

        hint: `cargo build --release --bin train` in script shows the same
        "#);
            assert!(Run::list(&ws, "sdk").unwrap().is_empty());
            std::fs::remove_file("script/Cargo.toml").unwrap();
            assert!(
                hinted(Experiment::new(&ws, "sdk").submit(&config))
                    .contains("script has no Cargo.toml")
            );
            write("script/Cargo.toml", "[package]\nname = \n");
            assert!(
                hinted(Experiment::new(&ws, "sdk").submit(&config))
                    .contains("cannot be read by cargo")
            );
        },
    );
}

#[test]
fn a_rust_script_that_panics_is_a_failed_run() {
    client("a_rust_script_that_panics_is_a_failed_run", || {
        let run = submit(&rust_job(
            "fn main() {\n    panic!(\"out of digits\");\n}\n",
        ));
        let text = hinted(run.wait_for_completion(false));
        assert!(text.contains("out of digits"), "{text}");
        assert_eq!(run.status().unwrap(), RunStatus::Failed);
    });
}

#[test]
fn a_missing_or_wrong_libtorch_is_said_before_the_training() {
    let name = "a_missing_or_wrong_libtorch_is_said_before_the_training";
    let libtorch = TempDir::new().unwrap();
    std::fs::create_dir(libtorch.path().join("lib")).unwrap();
    std::fs::write(libtorch.path().join("lib/libtorch_cpu.so"), "").unwrap();
    std::fs::write(libtorch.path().join("build-version"), "2.9.1+cpu\n").unwrap();
    client_with(
        name,
        |command| {
            command.env(local::env::LIBTORCH, libtorch.path());
        },
        || {
            // A package in place of the real one: the test only needs a program that links with it.
            write(
                "torch-sys/Cargo.toml",
                "[package]\nname = \"torch-sys\"\nversion = \"0.24.0\"\nedition = \"2024\"\n\n[workspace]\n",
            );
            write("torch-sys/src/lib.rs", "pub fn zeros() {}\n");
            let config = rust_job(
                "fn main() {\n    torch_sys::zeros();\n    println!(\"it has started\");\n}\n",
            );
            write(
                "script/Cargo.toml",
                &format!("{MANIFEST}\n[dependencies]\ntorch-sys = {{ path = \"../torch-sys\" }}\n"),
            );
            let libtorch = std::env::var(local::env::LIBTORCH).unwrap();
            let run = submit(&config);
            let text = hinted(run.wait_for_completion(false));
            let wanted = format!(
                "this program was built with tch 0.24 and needs libtorch 2.11, but the environment has 2.9.1+cpu in {libtorch}"
            );
            assert!(
                text.contains("exited with code 78") && text.contains(&wanted),
                "{text}"
            );
            assert!(text.ends_with("hint: use an environment with PyTorch 2.11, or build the program with the tch for libtorch 2.9.1+cpu"), "{text}");
            std::fs::remove_file(format!("{libtorch}/lib/libtorch_cpu.so")).unwrap();
            let text = hinted(submit(&config).wait_for_completion(false));
            assert!(
                text.contains("where there is no lib/libtorch_cpu.so"),
                "{text}"
            );
            std::fs::write(format!("{libtorch}/lib/libtorch_cpu.so"), "").unwrap();
            std::fs::write(format!("{libtorch}/build-version"), "2.11.0+cpu\n").unwrap();
            let run = submit(&config);
            run.wait_for_completion(false).unwrap();
            assert_eq!(run.logs().unwrap(), "it has started\n");
        },
    );
}

// Errors and their hints.

#[test]
fn what_is_not_there_is_named_with_what_is_near() {
    client("what_is_not_there_is_named_with_what_is_near", || {
        let ws = Workspace::from_config().unwrap();
        let unknown = [
            hinted(Environment::get(&ws, "rust-thc-gpu")),
            hinted(Environment::get(&ws, "rust-tch-gpu:9")),
            hinted(ComputeTarget::get(&ws, "cpu-clutser")),
            hinted(ComputeTarget::get(&ws, "gpu")),
            hinted(Run::get(&ws, "no-such-run")),
        ];
        insta::assert_snapshot!(unknown.join("\n\n"), @r#"
        environment `rust-thc-gpu` is not in workspace `local`
        hint: did you mean `rust-tch-gpu`?

        environment `rust-tch-gpu:9` is not in workspace `local`
        hint: the newest version of `rust-tch-gpu` is 1

        compute target `cpu-clutser` is not in workspace `local`; there is cc-aml-gpu, ci-aml-workshop, cpu-cluster
        hint: did you mean `cpu-cluster`?

        compute target `gpu` is not in workspace `local`; there is cc-aml-gpu, ci-aml-workshop, cpu-cluster
        hint: did you mean `cc-aml-gpu`?

        run `no-such-run` is not in workspace `local`
        hint: `Run::list(&ws, "train-model")` shows the runs of an experiment
        "#);
        let config = shell_job("true\n");
        let wrong = [
            hinted(Experiment::new(&ws, "sdk").submit(&config.clone().environment("rust-tch"))),
            hinted(Experiment::new(&ws, "sdk").submit(&config.clone().compute_target("a100"))),
            hinted(Experiment::new(&ws, "sdk").submit(&config.clone().script("train.rs"))),
            hinted(Experiment::new(&ws, "my experiment").submit(&config)),
            hinted(
                Experiment::new(&ws, "sdk")
                    .submit(&config.clone().input("x", Input::file("source"))),
            ),
        ];
        insta::assert_snapshot!(wrong.join("\n\n"), @r"
        environment `rust-tch` is not in workspace `local`
        hint: did you mean `rust-tch-gpu`?

        compute target `a100` is not in workspace `local`; there is cc-aml-gpu, ci-aml-workshop, cpu-cluster
        hint: choose one of them; `ComputeTarget::list(&ws)` shows what they are

        train.rs is not in source; there is job.sh
        hint: the script is named relative to the source directory

        `my experiment` cannot be the name of an experiment
        hint: it begins with a letter or digit and holds letters, digits, `-`, `_` and `.`, at most 255

        input `x`: source is a folder
        hint: use `Input::folder`
        ");
        hinted(
            Experiment::new(&ws, "sdk")
                .submit(&config.clone().input("x", Input::folder("nowhere"))),
        );
        assert!(
            Run::list(&ws, "sdk").unwrap().is_empty(),
            "nothing was submitted"
        );
    });
}

#[test]
fn no_config_and_no_local_workspace_is_an_error() {
    client_with(
        "no_config_and_no_local_workspace_is_an_error",
        |command| {
            command.env(local::env::SWITCH, "off");
        },
        || {
            let here = std::env::current_dir().unwrap();
            let text =
                hinted(Workspace::from_config()).replace(&here.display().to_string(), "HERE");
            insta::assert_snapshot!(text, @r"
            no config.json in HERE or any folder above it, and AZUREML_LOCAL=off forbids the local workspace
            hint: download config.json from the workspace's page in Azure's portal into this folder, or unset AZUREML_LOCAL
            ");
            hinted(Workspace::local());
        },
    );
}

#[test]
fn a_config_names_the_workspace() {
    client("a_config_names_the_workspace", || {
        write(
            ".azureml/config.json",
            r#"{"subscription_id": "00000000-0000-0000-0000-000000000000", "resource_group": "local", "workspace_name": "local"}"#,
        );
        assert!(Workspace::from_config().unwrap().is_local());
        assert!(Workspace::from_config_path(".").unwrap().is_local());
        assert!(
            Workspace::get("local", "00000000-0000-0000-0000-000000000000", "local")
                .unwrap()
                .is_local()
        );
        write(
            ".azureml/config.json",
            "{\"subscription_id\": \"1\",\n\"resource_group\"}",
        );
        let here = std::env::current_dir().unwrap();
        let text = hinted(Workspace::from_config()).replace(&here.display().to_string(), "HERE");
        insta::assert_snapshot!(text, @r"
        HERE/.azureml/config.json:2: this is no JSON: expected `:` (column 17)
        hint: mend that line, or download config.json again from the workspace's page in Azure's portal
        ");
        hinted(Workspace::from_config_path("nowhere.json"));
    });
}

// Start, end and restart of the local workspace.

#[test]
fn a_killed_local_workspace_is_back_on_the_next_call() {
    client("a_killed_local_workspace_is_back_on_the_next_call", || {
        let config = shell_job(
            "echo started\nwhile [ ! -e \"$GATE\" ]; do sleep 0.05; done\nmkdir -p outputs\necho kept > outputs/kept.txt\n",
        );
        let gate = std::env::current_dir().unwrap().join("gate");
        let run = submit(&config.environment_variable("GATE", gate.display()));
        wait_until_running(&run);
        let before = server();
        kill(before.pid);
        // The same `Run` works on after its server is gone.
        assert_eq!(run.status().unwrap(), RunStatus::Running);
        assert_ne!(server().pid, before.pid);
        kill(server().pid);
        std::fs::write(gate, "").unwrap();
        run.wait_for_completion(false).unwrap();
        assert_eq!(run.logs().unwrap(), "started\n");
        kill(server().pid);
        run.download_file("outputs/kept.txt", "kept.txt").unwrap();
        assert_eq!(std::fs::read_to_string("kept.txt").unwrap(), "kept\n");
    });
}

#[test]
fn a_local_workspace_that_is_killed_while_it_starts_is_started_again() {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let program = folder.path().join("azureml-local");
    let script = format!(
        "#!/bin/sh\nmkdir '{}' 2>/dev/null && kill -9 $$\nexec '{}' \"$@\"\n",
        folder.path().join("killed").display(),
        end_to_end::binary("azureml-local").display()
    );
    std::fs::write(&program, script).expect("the folder is ours");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("the file is ours");
    let name = "a_local_workspace_that_is_killed_while_it_starts_is_started_again";
    let started = client_with(
        name,
        |command| {
            command.env(local::env::BIN, &program);
        },
        || {
            Workspace::from_config().expect("the second start comes through");
        },
    );
    assert!(started.is_none() || folder.path().join("killed").is_dir());
}

#[test]
fn a_workspace_that_another_client_has_started_is_used_on() {
    client(
        "a_workspace_that_another_client_has_started_is_used_on",
        || {
            let config = shell_job("echo started\nwhile [ ! -e \"$GATE\" ]; do sleep 0.05; done\n");
            let gate = std::env::current_dir().unwrap().join("gate");
            let run = submit(&config.environment_variable("GATE", gate.display()));
            wait_until_running(&run);
            let ws = Workspace::from_config().unwrap();
            let start_again = || {
                let before = server();
                kill(before.pid);
                Workspace::local().unwrap();
                let after = server();
                // Only the token differs between the new server and the old one.
                assert_eq!(after.url, before.url);
                assert_ne!(after.token, before.token);
            };
            start_again();
            ComputeTarget::get(&ws, "cpu-cluster").unwrap();
            start_again();
            assert_eq!(run.status().unwrap(), RunStatus::Running);
            let waiting = run.clone();
            let waiter = std::thread::spawn(move || waiting.wait_for_completion(false).unwrap());
            start_again();
            std::fs::write(gate, "").unwrap();
            assert_eq!(waiter.join().unwrap().status, RunStatus::Completed);
        },
    );
}

/// Not a separate test: the training program of the job below, which runs it.
#[test]
fn patient_training_program() {
    let run = Run::get_context();
    let Some(gate) = std::env::var_os("GATE") else {
        return;
    };
    println!("started");
    run.log_step("loss", 2.0, 1);
    run.flush().unwrap();
    wait_for("the gate", || Path::new(&gate).exists().then_some(()));
    // At first, no server listens.
    run.log_step("loss", 1.0, 2);
    run.flush().unwrap();
}

/// Lets a job log one value, kills the local workspace, calls `meanwhile` with its former address,
/// and lets the job log another value.
fn metrics_of_a_killed_workspace(meanwhile: impl FnOnce(&local::Server)) {
    let ws = Workspace::from_config().expect("the workspace opens");
    let gate = std::env::current_dir().expect("it is there").join("gate");
    let this = std::env::current_exe().expect("the path of the running test is known");
    write("source/readme.txt", "hello");
    let src = ScriptRunConfig::new("source")
        .command(format!(
            "{} patient_training_program --exact --nocapture",
            this.display()
        ))
        .compute_target("cpu-cluster")
        .environment("rust-tch-gpu")
        .environment_variable("GATE", gate.display());
    let run = Experiment::new(&ws, "sdk")
        .submit(&src)
        .expect("the job is submitted");
    wait_until_running(&run);
    wait_for("the first value", || {
        run.metrics().expect("they are there").latest("loss")
    });
    let killed = server();
    kill(killed.pid);
    meanwhile(&killed);
    std::fs::write(gate, "").expect("they are there");
    run.wait_for_completion(false)
        .unwrap_or_else(|error| panic!("{error}\n{}", run.logs().unwrap_or_default()));
    let metrics = run.metrics().expect("they are there");
    assert_eq!(
        metrics.get("loss").expect("they are there").values(),
        [2.0, 1.0]
    );
}

#[test]
fn metrics_outlive_the_local_workspace() {
    client("metrics_outlive_the_local_workspace", || {
        metrics_of_a_killed_workspace(|_| ());
    });
}

/// Not a separate test: the training program of the job below, which runs it.
#[test]
fn careless_training_program() {
    let run = Run::get_context();
    if run.is_offline() {
        return;
    }
    // All of these wait while the first one is sent, and go as one batch.
    for number in 0..50 {
        run.log_param(&format!("p{number}"), number);
    }
    run.log_param("p7", "another value");
    run.log_param("last", 1);
    let text = error(run.flush());
    assert!(
        text.starts_with("logging parameter `p7` failed: 400"),
        "{text}"
    );
    println!("refused");
}

#[test]
fn a_refused_parameter_takes_no_other_with_it() {
    client("a_refused_parameter_takes_no_other_with_it", || {
        let this = std::env::current_exe().unwrap();
        write("source/readme.txt", "hello");
        let src = ScriptRunConfig::new("source")
            .command(format!(
                "{} careless_training_program --exact --nocapture",
                this.display()
            ))
            .compute_target("cpu-cluster")
            .environment("rust-tch-gpu");
        let ws = Workspace::from_config().unwrap();
        let run = Experiment::new(&ws, "sdk").submit(&src).unwrap();
        run.wait_for_completion(false).unwrap();
        assert!(run.logs().unwrap().contains("refused"));
        let mut logged = params(&run);
        logged.sort();
        let mut expected: Vec<_> = (0..50)
            .map(|number| (format!("p{number}"), number.to_string()))
            .collect();
        expected.push(("last".to_owned(), "1".to_owned()));
        expected.sort();
        assert_eq!(logged, expected);
    });
}

#[test]
fn links_out_of_the_folder_arrive_as_what_they_lead_to() {
    client(
        "links_out_of_the_folder_arrive_as_what_they_lead_to",
        || {
            write("shared/common.sh", "echo common");
            write("shared/data/far.txt", "far\n");
            write(
                "source/job.sh",
                ". ./common.sh; cat lib/far.txt \"$1\"/in/far.txt",
            );
            write("input/readme.txt", "hello");
            symlink("../shared/common.sh", "source/common.sh").unwrap();
            symlink("../shared/data", "source/lib").unwrap();
            symlink("../shared/data", "input/in").unwrap();
            let config = |command: &str| {
                ScriptRunConfig::new("source")
                    .command(command)
                    .compute_target("cpu-cluster")
                    .environment("rust-tch-gpu")
            };
            let submitted =
                config("sh job.sh ${{inputs.data}}").input("data", Input::folder("input"));
            let run = submit(&submitted);
            run.wait_for_completion(false).unwrap();
            assert_eq!(run.logs().unwrap(), "common\nfar\nfar\n");
            let ws = Workspace::from_config().unwrap();
            let data = Data::from_folder("linked", "input").register(&ws).unwrap();
            data.download("copy").unwrap();
            let copied = std::fs::read_to_string("copy/in/far.txt");
            assert_eq!(copied.unwrap(), "far\n");

            // A broken or circular link is reported before anything is sent.
            symlink("../shared/gone.sh", "source/gone.sh").unwrap();
            symlink("..", "input/loop").unwrap();
            let text = hinted(Experiment::new(&ws, "sdk").submit(&config("true")));
            assert!(
                text.contains("source/gone.sh leads to ../shared/gone.sh, which cannot be read"),
                "{text}"
            );
            let text = hinted(Data::from_folder("looped", "input").register(&ws));
            assert!(
                text.contains("leads back to a folder that it lies in"),
                "{text}"
            );
        },
    );
}

#[test]
fn metrics_find_a_local_workspace_that_is_back_at_another_address() {
    client(
        "metrics_find_a_local_workspace_that_is_back_at_another_address",
        || {
            metrics_of_a_killed_workspace(|killed| {
                // Without this file, the next server does not know the former port.
                std::fs::remove_file(local::home().unwrap().join("port")).unwrap();
                Workspace::local().unwrap();
                assert_ne!(server().url, killed.url);
            });
        },
    );
}

/// Not a separate test: the process of another user in the tests below, which run it.
#[test]
fn impostor_of_the_local_workspace() {
    impostor::serve();
}

/// An impostor at the address of a former local workspace; `None` when the address is in use.
fn impostor_at(url: &str, kind: Kind) -> Option<Impostor> {
    let truth = || server().url;
    Impostor::at(url, kind, "impostor_of_the_local_workspace", truth)
}

/// Submits a job with a secret in each part, and waits for it.
fn submit_secrets(ws: &Workspace) -> Run {
    write("secrets/job.sh", "echo started $PLANTED planted-source");
    let config = ScriptRunConfig::new("secrets")
        .command("sh job.sh planted-command")
        .compute_target("cpu-cluster")
        .environment("rust-tch-gpu")
        .environment_variable("PLANTED", "planted-variable");
    let run = Experiment::new(ws, "sdk")
        .submit(&config)
        .expect("the job is submitted");
    run.wait_for_completion(false).expect("it ends well");
    assert_eq!(
        run.logs().expect("it has a log"),
        "started planted-variable planted-source\n"
    );
    run
}

#[test]
fn an_impostor_is_sent_nothing_when_a_notebook_opens() {
    client("an_impostor_is_sent_nothing_when_a_notebook_opens", || {
        for kind in [Kind::OtherUser, Kind::Relay] {
            Workspace::local().unwrap();
            let before = server();
            kill(before.pid);
            let impostor = wait_for("its port", || impostor_at(&before.url, kind));
            let ws = Workspace::from_config().unwrap();
            assert_ne!(server().url, before.url);
            submit_secrets(&ws);
            assert_eq!(impostor.heard(), "", "{kind:?}");
            kill(server().pid);
        }
    });
}

#[test]
fn an_impostor_is_sent_nothing_by_an_open_notebook() {
    client("an_impostor_is_sent_nothing_by_an_open_notebook", || {
        let ws = Workspace::from_config().unwrap();
        let run = submit_secrets(&ws);
        for kind in [Kind::OtherUser, Kind::Relay] {
            let before = server();
            kill(before.pid);
            let impostor = wait_for("its port", || impostor_at(&before.url, kind));
            // Values from before the restart.
            assert_eq!(run.status().unwrap(), RunStatus::Completed);
            assert!(run.logs().unwrap().contains("planted-source"));
            run.tag("a", "planted-tag").unwrap();
            write("data.txt", "planted-data");
            Data::from_file("planted", "data.txt")
                .register(&ws)
                .unwrap();
            submit_secrets(&ws);
            assert_ne!(server().url, before.url);
            assert_eq!(impostor.heard(), "", "{kind:?}");
        }
    });
}

#[test]
fn an_impostor_does_not_get_the_port_of_a_running_job() {
    client("an_impostor_does_not_get_the_port_of_a_running_job", || {
        metrics_of_a_killed_workspace(|killed| {
            // A job's client knows only the port. The port stays reserved, so that connections fail
            // until its own local workspace is back.
            assert!(impostor_at(&killed.url, Kind::OtherUser).is_none());
            let address = killed.url.strip_prefix("http://").unwrap();
            let error = TcpListener::bind(address).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
            assert!(TcpStream::connect(address).is_err());
            Workspace::local().unwrap();
            assert_eq!(server().url, killed.url);
        });
        // No job needs the port any more.
        let ended = server();
        kill(ended.pid);
        let address = ended.url.strip_prefix("http://").unwrap();
        wait_for("its port", || TcpListener::bind(address).ok());
    });
}

#[test]
fn a_home_folder_of_another_user_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: this test is not run by root");
        return;
    }
    client("a_home_folder_of_another_user_is_not_used", || {
        let home = local::home().unwrap();
        std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
        let text = hinted(Workspace::local());
        assert!(
            text.contains("belongs to another user (uid 65534)"),
            "{text}"
        );
        std::os::unix::fs::chown(&home, Some(0), Some(0)).unwrap();
    });
}

#[test]
fn a_server_file_that_others_could_write_is_not_believed() {
    client(
        "a_server_file_that_others_could_write_is_not_believed",
        || {
            let home = local::home().unwrap();
            Workspace::local().unwrap();
            let true_one = server();
            kill(true_one.pid);
            // Until then it holds the lock, and the next server could not take the folder.
            wait_for("the end of the killed server", || {
                (!alive(true_one.pid)).then_some(())
            });
            std::fs::set_permissions(&home, Permissions::from_mode(0o777)).unwrap();
            // A socket of another process.
            let socket = home.join(local::SOCKET_FILE);
            let _ = std::fs::remove_file(&socket);
            let listener = UnixListener::bind(&socket).unwrap();
            Workspace::local().unwrap();
            let mode = std::fs::metadata(&home).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            listener.set_nonblocking(true).unwrap();
            assert!(listener.accept().is_err(), "nobody came");
            assert_ne!(server().pid, true_one.pid);
        },
    );
}

#[test]
fn a_home_folder_with_a_long_path_is_used() {
    client("a_home_folder_with_a_long_path_is_used", || {
        let short = local::home().unwrap();
        let home = short.join("long".repeat(30)).join("home");
        assert!(home.as_os_str().len() > 108);
        let done = this_test("a_home_folder_with_a_long_path_is_used_body")
            .env(local::env::HOME, &home)
            .env_remove(local::env::TRACE)
            .env("AZUREML_TEST_BODY", "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{text}");
    });
}

/// Not a separate test: the client above, which runs it.
#[test]
fn a_home_folder_with_a_long_path_is_used_body() {
    if std::env::var_os("AZUREML_TEST_BODY").is_some() {
        metrics_of_a_killed_workspace(|_| ());
        kill(server().pid);
    }
}

#[test]
fn a_stale_server_file_is_not_believed() {
    client("a_stale_server_file_is_not_believed", || {
        let home = local::home().unwrap();
        std::fs::create_dir_all(&home).unwrap();
        let file = home.join(local::SERVER_FILE);
        for stale in [
            "",
            "{",
            // A port without a listener, and a process that does not exist.
            r#"{"url": "http://127.0.0.1:9", "token": "t", "pid": 4194303, "version": "0.1.0"}"#,
        ] {
            std::fs::write(&file, stale).unwrap();
            assert!(Workspace::local().unwrap().is_local(), "{stale}");
            kill(server().pid);
        }
        // An idle server of another version is replaced.
        Workspace::local().unwrap();
        let mut old = server();
        old.version = "0.0.1".to_owned();
        std::fs::write(&file, serde_json::to_vec(&old).unwrap()).unwrap();
        Workspace::local().unwrap();
        assert_ne!(server().pid, old.pid);
    });
}

#[test]
fn clients_that_start_it_at_once_share_one() {
    client("clients_that_start_it_at_once_share_one", || {
        let started: Vec<_> = (0..4)
            .map(|_| {
                this_test("clients_that_start_it_at_once_share_one_body")
                    .env("AZUREML_TEST_BODY", "1")
                    .stdout(Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for child in started {
            let output = child.wait_with_output().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
            let pid = server().pid;
            assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("pid {pid}\n")));
        }
    });
}

/// Not a separate test: one of the clients above, which run it.
#[test]
fn clients_that_start_it_at_once_share_one_body() {
    if std::env::var_os("AZUREML_TEST_BODY").is_some() {
        Workspace::local().unwrap();
        println!("pid {}", server().pid);
    }
}

#[test]
fn a_missing_program_is_named() {
    client_with(
        "a_missing_program_is_named",
        |command| {
            command.env(local::env::BIN, "/nonexistent/azureml-local");
        },
        || {
            let text = hinted(Workspace::local());
            assert!(
                text.contains(
                    "AZUREML_LOCAL_BIN names /nonexistent/azureml-local, which is not there"
                ),
                "{text}"
            );
        },
    );
}

#[test]
fn a_local_workspace_that_cannot_start_says_why() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("azureml-local");
    script(&program, "echo 'error: the disk is full' >&2\nexit 1\n");
    client_with(
        "a_local_workspace_that_cannot_start_says_why",
        |command| {
            command.env(local::env::BIN, &program);
        },
        || {
            let text = hinted(Workspace::local());
            assert!(
                text.contains(
                    "ended with exit status: 1\n  error: the disk is full\nhint: its log is "
                ),
                "{text}"
            );
        },
    );
}

// Async programs.

#[test]
fn async_programs_have_the_same_calls() {
    client("async_programs_have_the_same_calls", || {
        let config = shell_job("echo async\n");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            assert!(matches!(
                Workspace::local(),
                Err(Error::BlockingInsideRuntime)
            ));
            let ws = azureml::asynchronous::Workspace::from_config()
                .await
                .unwrap();
            let run = ws.submit("sdk", &config).await.unwrap();
            run.wait_for_completion(false).await.unwrap();
            assert_eq!(run.logs().await.unwrap(), "async\n");
        });
    });
}
