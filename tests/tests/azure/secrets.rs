//! Secrets do not leak: none is in logs at any level, errors, `Debug` texts, output, or the files
//! of the local workspace.

use super::azurite::{FOLDER, TOKEN, in_workspace, job};
use azureml::prelude::*;
use azureml_wire::local;
use end_to_end::azurite::{Azurite, KEY};
use end_to_end::{LocalWorkspace, as_client, env, run_client};
use serde_json::json;
use std::fmt::{Debug, Display};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A secret that the user passes to a job.
const PASSWORD: &str = "planted-password-of-the-test";

/// Writes all logs of this process and its libraries to a file.
fn log_everything() -> PathBuf {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let log = fs::File::create(folder.join("client.log")).unwrap();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(std::sync::Mutex::new(log))
        .init();
    folder
}

fn say(error: impl Debug + Display) {
    println!("{error}\n{error:?}");
}

/// The files below a folder, each with its content.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            all.extend(contents(&path));
        } else if path.is_file() {
            let content = fs::read(&path).unwrap();
            all.push((path, content));
        }
    }
    all
}

fn holds(content: &[u8], secret: &[u8]) -> bool {
    content.windows(secret.len()).any(|window| window == secret)
}

/// Checks that no file contains a secret, except where `keeps` allows it.
fn none_is_in(
    files: &[(PathBuf, Vec<u8>)],
    secrets: &[Vec<u8>],
    keeps: impl Fn(&Path, &[u8]) -> bool,
) {
    for (path, content) in files {
        for secret in secrets {
            let text = String::from_utf8_lossy(secret);
            assert!(
                !holds(content, secret) || keeps(path, secret),
                "{} holds {text}",
                path.display()
            );
        }
        // A signature that is not in the list of secrets.
        let mut rest = content.as_slice();
        while let Some(at) = rest.windows(4).position(|window| window == b"sig=") {
            rest = &rest[at + 4..];
            let value = rest
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'%');
            assert!(value.count() < 16, "{} holds a signature", path.display());
        }
    }
}

#[test]
fn nothing_is_left_of_what_opens_a_blob_service() {
    let test = "secrets::nothing_is_left_of_what_opens_a_blob_service";
    let mut started = None;
    let printed = as_client(test, |command| {
        let (azurite, folder) = (Azurite::start(), TempDir::new().unwrap());
        for (name, file) in [
            ("source", "a"),
            ("data", "a"),
            ("no", "forbidden"),
            ("cut", "broken"),
        ] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join(file), name).unwrap();
        }
        azurite.apply(command);
        command.env(FOLDER, folder.path());
        started = Some((azurite, folder));
    });
    if printed.is_none() {
        let folder = log_everything();
        return in_workspace(async |ws| {
            let config = job().environment_variable("PASSWORD", PASSWORD);
            let run = ws.submit("secrets", &config).await.unwrap();
            println!("{ws:?}\n{run:?}\n{config:?}\n{:?}", run.details().await);
            println!("{:?}", run.logs().await);
            let model = ws.model("any").await.unwrap();
            println!(
                "{model:?}\n{:?}",
                ws.download_model(&model, folder.join("to")).await
            );
            for refused in ["no", "cut"] {
                let input = Input::folder(folder.join(refused).to_str().unwrap());
                let config = config.clone().input("more", input);
                say(ws.submit("secrets", &config).await.unwrap_err());
            }
        });
    }
    let (mut azurite, folder) = started.unwrap();
    let printed = printed.unwrap();
    assert!(printed.contains("AuthenticationFailed"), "{printed}");
    let passed = azurite.ask(json!(["secrets"]));
    let passed = passed.as_array().unwrap().iter();
    let mut secrets: Vec<Vec<u8>> = passed
        .map(|secret| secret.as_str().unwrap().into())
        .collect();
    assert!(secrets.len() > 4, "{} signatures", secrets.len());
    secrets.extend([TOKEN.into(), KEY.into(), PASSWORD.into()]);
    let mut files = contents(folder.path());
    let logged = files.iter().find(|(path, _)| path.ends_with("client.log"));
    assert!(holds(&logged.unwrap().1, b"TRACE"), "everything is logged");
    files.push(("what was printed".into(), printed.into_bytes()));
    none_is_in(&files, &secrets, |_, _| false);
}

#[test]
fn nothing_is_left_of_what_opens_a_local_workspace() {
    let test = "secrets::nothing_is_left_of_what_opens_a_local_workspace";
    let mut started = None;
    let printed = as_client(test, |command| {
        let (workspace, folder) = (LocalWorkspace::new(), TempDir::new().unwrap());
        workspace.apply(command);
        command
            .env(local::env::LOG, "trace")
            .env(FOLDER, folder.path());
        started = Some((workspace, folder));
    });
    if printed.is_none() {
        let folder = log_everything();
        fs::create_dir("source").unwrap();
        let script = "echo \"$AZUREML_RUN_TOKEN\" > \"$TO/token\"; mkdir -p outputs; echo x > outputs/model.txt\n";
        fs::write("source/job.sh", script).unwrap();
        let ws = Workspace::from_config().unwrap();
        let config = ScriptRunConfig::new("source")
            .script("job.sh")
            .input("data", Input::folder("source"))
            .environment_variable("TO", folder.display())
            .environment("rust-tch-gpu")
            .compute_target("cpu-cluster");
        let run = Experiment::new(&ws, "secrets").submit(&config).unwrap();
        println!("{:?}", run.wait_for_completion(true).unwrap());
        println!("{ws:?}\n{run:?}\n{:?}\n{:?}", run.logs(), run.file_names());
        println!("{:?}", run.register_model("secret", "outputs/model.txt"));
        println!(
            "{:?}",
            run.download_file("outputs/model.txt", folder.join("model.txt"))
        );
        return say(run
            .download_file("outputs/none.txt", "none.txt")
            .unwrap_err());
    }
    let (workspace, folder) = started.unwrap();
    // Also the files that the official client leaves there.
    run_client(env::PYTHON_AZURE_AI_ML, "azure_ai_ml_client.py", &workspace);
    let server = workspace.server().unwrap().token;
    let key = fs::read(workspace.home().join("key")).unwrap();
    let token = fs::read_to_string(folder.path().join("token")).unwrap();
    let token = token.trim();
    assert!(
        token.len() > 16 && server.len() > 16 && key.len() >= 32,
        "they are secrets"
    );
    let secrets = [server.as_bytes(), &key, token.as_bytes()].map(<[u8]>::to_vec);
    let mut files = contents(workspace.home());
    let logged = files.iter().find(|(path, _)| path.ends_with("server.log"));
    let logged = logged.map(|(_, content)| content.as_slice());
    assert!(
        holds(logged.unwrap_or_default(), b"TRACE"),
        "everything is logged"
    );
    let kept = files.iter().find(|(path, _)| path.ends_with("server.json"));
    assert!(
        holds(&kept.unwrap().1, &secrets[0]),
        "what is there is found"
    );
    files.extend(contents(folder.path()));
    files.push(("what was printed".into(), printed.unwrap().into_bytes()));
    none_is_in(&files, &secrets, |path, secret| {
        let name = path.file_name().unwrap_or_default();
        // The files that must contain a secret. Other users cannot read the home folder.
        (name == "server.json" && secret == server.as_bytes())
            || (name == "key" && secret == key)
            || path == folder.path().join("token")
    });
}
