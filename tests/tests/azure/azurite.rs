//! The SDK with a real blob service: uploads, downloads, and streaming a log that grows there.

use azureml::asynchronous::Workspace;
use azureml::credential::{AccessToken, Credential};
use azureml::{Input, Result, ScriptRunConfig};
use azureml_wire::local;
use end_to_end::azurite::Azurite;
use end_to_end::{as_client, client_of, wait_for};
use serde_json::{Value, json};
use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

/// Variable with the folder that a test and its client share.
pub const FOLDER: &str = "AZUREML_TEST_FOLDER";
/// The token in the client's requests.
pub const TOKEN: &str = "planted.token.of-the-test";
/// Three blocks: too large for a single upload request.
const LARGE: usize = 40 << 20;

#[derive(Debug)]
struct Fixed;

impl Credential for Fixed {
    fn token(&self) -> Pin<Box<dyn Future<Output = Result<AccessToken>> + Send + '_>> {
        let ends = SystemTime::now() + Duration::from_hours(1);
        Box::pin(async move { Ok(AccessToken::new(TOKEN, ends)) })
    }
}

/// Runs `work` in the workspace of the client's environment.
pub fn in_workspace<T>(work: impl AsyncFnOnce(Workspace) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let scope = local::scope();
        let (name, subscription) = (&scope.workspace_name, &scope.subscription_id);
        let credential = Arc::new(Fixed);
        let ws = Workspace::get_with(name, subscription, &scope.resource_group, credential).await;
        work(ws.unwrap()).await
    })
}

pub fn job() -> ScriptRunConfig {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    ScriptRunConfig::new(folder.join("source"))
        .command("true")
        .input("data", Input::folder(folder.join("data").to_str().unwrap()))
        .environment("AzureML-Judged:1")
        .compute_target("serverless")
}

/// Writes a folder with one file of each kind that is difficult to upload, and many others.
fn write_files(folder: &Path) {
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    for (name, size) in [
        ("empty", 0),
        ("deep/er/two words & more+.txt", 7),
        ("100%?#.txt", 3),
        ("학습.txt", 5),
        ("large.bin", LARGE),
    ] {
        // No two blocks are equal.
        let content: Vec<u8> = (0..size)
            .map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8)
            .collect();
        fs::write(folder.join(name), content).unwrap();
    }
    for number in 0..60 {
        fs::write(
            folder.join(format!("deep/{number}.txt")),
            format!("file {number}"),
        )
        .unwrap();
    }
}

fn files() -> TempDir {
    let folder = TempDir::new().unwrap();
    write_files(&folder.path().join("source"));
    write_files(&folder.path().join("data"));
    // Different content from the code's.
    fs::write(folder.path().join("data/only-data.txt"), "data").unwrap();
    folder
}

/// Checks that the last job's code and data in the blob service equal the local files.
fn is_whole(azurite: &mut Azurite, folder: &Path) {
    let codes = azurite.ask(json!(["codes"]));
    let (container, name) = codes[0].as_str().unwrap().split_once('/').unwrap();
    assert_eq!((codes.as_array().unwrap().len(), name), (1, "source"));
    let data = azurite.ask(json!(["job"]))["inputs"]["data"]["uri"].clone();
    let (_, data) = data.as_str().unwrap().split_once("/paths/").unwrap();
    for (container, prefix, here) in [(container, "source/", "source"), ("data", data, "data")] {
        let differences = azurite.ask(json!(["differences", container, prefix, folder.join(here)]));
        assert_eq!(differences, json!([]), "{here}");
        let blocks = azurite.ask(json!(["blocks", container, format!("{prefix}large.bin")]));
        assert_eq!(blocks, 3, "{here}");
        // The metadata that marks a complete upload: the official client reads it from the first
        // blob.
        let marked = azurite.ask(json!([
            "metadata",
            container,
            format!("{prefix}100%?#.txt")
        ]));
        assert_eq!(marked["upload_status"], "completed", "{here}");
    }
}

#[test]
fn files_go_to_a_real_blob_service_once_and_come_back_the_same() {
    let test = "azurite::files_go_to_a_real_blob_service_once_and_come_back_the_same";
    let mut started = None;
    let printed = as_client(test, |command| {
        let (azurite, folder) = (Azurite::start(), files());
        azurite.apply(command);
        command.env(FOLDER, folder.path());
        started = Some((azurite, folder));
    });
    if printed.is_none() {
        return in_workspace(async |ws| {
            ws.submit("azurite", &job()).await.unwrap();
            ws.submit("azurite", &job()).await.unwrap();
            let model = ws.model("whatever").await.unwrap();
            let to = PathBuf::from(std::env::var_os(FOLDER).unwrap()).join("downloaded");
            ws.download_model(&model, &to).await.unwrap();
        });
    }
    let (mut azurite, folder) = started.unwrap();
    is_whole(&mut azurite, folder.path());
    let uploads = azurite.ask(json!(["uploads"]));
    assert_eq!(
        uploads.as_array().unwrap().len(),
        1,
        "the second job has the same code"
    );
    let difference = Command::new("diff")
        .arg("-r")
        .args(["data", "downloaded"].map(|name| folder.path().join(name)))
        .output()
        .unwrap();
    assert!(difference.status.success(), "{difference:?}");
}

#[test]
fn an_upload_that_was_killed_is_not_taken_for_whole() {
    let test = "azurite::an_upload_that_was_killed_is_not_taken_for_whole";
    let mut started = None;
    let printed = as_client(test, |command| {
        let (mut azurite, folder) = (Azurite::start(), files());
        let interrupted = |azurite: &mut Azurite, after: u32| {
            azurite.ask(json!(["hold", after]));
            let before = azurite.ask(json!(["held"]));
            let mut client = client_of(test);
            azurite.apply(&mut client);
            client
                .env(FOLDER, folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let mut client = client.spawn().unwrap();
            wait_for("an upload in the middle", || {
                (azurite.ask(json!(["held"])) != before).then_some(())
            });
            client.kill().unwrap();
            client.wait().unwrap();
            azurite.ask(json!(["hold", null]));
        };
        // Interrupted in the middle of the code, then in the middle of the data.
        interrupted(&mut azurite, 20);
        let first = azurite.ask(json!(["uploads"]))[0].clone();
        let names = azurite.ask(json!(["names", first, ""]));
        assert!(
            !names.as_array().unwrap().is_empty(),
            "some files had arrived"
        );
        assert_eq!(azurite.ask(json!(["codes"])), json!([]));
        interrupted(&mut azurite, 90);
        let codes = azurite.ask(json!(["codes"]));
        let container = codes[0].as_str().unwrap().split('/').next().unwrap();
        assert_ne!(container, first, "what was begun is not gone on with");
        let names = azurite.ask(json!(["names", "data", "LocalUpload/"]));
        assert!(
            !names.as_array().unwrap().is_empty(),
            "some files had arrived"
        );
        azurite.apply(command);
        command.env(FOLDER, folder.path());
        started = Some((azurite, folder));
    });
    if printed.is_none() {
        return in_workspace(async |ws| {
            ws.submit("azurite", &job()).await.unwrap();
        });
    }
    let (mut azurite, folder) = started.unwrap();
    is_whole(&mut azurite, folder.path());
}

#[test]
fn lines_of_a_log_are_shown_while_it_grows_each_once() {
    let test = "azurite::lines_of_a_log_are_shown_while_it_grows_each_once";
    if std::env::var_os(FOLDER).is_some() {
        return in_workspace(async |ws| {
            let run = ws.submit("azurite", &job()).await.unwrap();
            run.wait_for_completion(true).await.unwrap();
        });
    }
    let mut azurite = Azurite::start();
    let folder = TempDir::new().unwrap();
    for name in ["source", "data"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("a.txt"), name).unwrap();
    }
    // From here on, every third response is cut off in the middle.
    azurite.ask(json!(["log"]));
    let mut client = client_of(test);
    azurite.apply(&mut client);
    let mut client = client
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let shown = BufReader::new(client.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in shown.lines().map_while(std::io::Result::ok) {
            // After a failure, the receiver is gone.
            let _ = sender.send(line);
        }
    });
    let mut seen = Vec::new();
    let mut see = |line: &str| loop {
        let next = lines.recv_timeout(Duration::from_mins(1));
        seen.push(next.unwrap_or_else(|_| panic!("{line:?} after {seen:?}")));
        if seen.last().is_some_and(|last| last == line) {
            break;
        }
    };
    let mut delays = Vec::new();
    let mut expected = Vec::new();
    for number in 0..20 {
        // Each line is written only after the previous one was received. Some are long, so that a
        // response is cut in the middle of a line.
        let line = format!("line {number} {}", "학".repeat(number * 40));
        let written = Instant::now();
        azurite.ask(json!(["append", format!("{line}\n")]));
        see(&line);
        delays.push(written.elapsed());
        expected.push(line);
    }
    let burst: Vec<String> = (0..2000).map(|number| format!("burst {number}")).collect();
    for lines in burst.chunks(50) {
        azurite.ask(json!(["append", lines.join("\n") + "\n"]));
    }
    expected.extend(burst);
    azurite.ask(json!(["append", "no end"]));
    expected.push("no end".to_owned());
    azurite.ask(json!(["status", "Completed"]));
    assert!(client.wait().unwrap().success());
    reader.join().unwrap();
    seen.extend(lines.try_iter());
    let is_of_log = |line: &&String| {
        ["line ", "burst ", "no end"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let of_log: Vec<&String> = seen.iter().filter(is_of_log).collect();
    assert_eq!(of_log, expected.iter().collect::<Vec<_>>());

    let counted = azurite.ask(json!(["seen"]));
    let reads: Vec<u64> = counted["reads"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    assert!(
        reads.is_sorted(),
        "what was read is not read again: {reads:?}"
    );
    assert!(
        reads.len() as u64 > counted["details"].as_u64().unwrap(),
        "{counted}"
    );
    delays.sort();
    println!(
        "a line was seen after {:?}, {:?} at most",
        delays[delays.len() / 2],
        delays[delays.len() - 1]
    );
}
