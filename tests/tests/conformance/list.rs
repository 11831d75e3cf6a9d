//! The list. Every function holds for any workspace; what it makes has names of its own.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is tests, and the SDK's errors say what went wrong"
)]

use azureml::asynchronous::Workspace;
use azureml::{Environment, Error, Input, Output, RunStatus, ScriptRunConfig};
use std::path::{Path, PathBuf};

/// Runs the whole list.
pub async fn all(ws: &Workspace) {
    what_is_there_is_found(ws).await;
    environments_are_registered_once(ws).await;
    a_job_goes_from_submit_to_model(ws).await;
    a_job_is_canceled(ws).await;
    a_job_fails_with_the_end_of_its_log(ws).await;
}

/// The compute target of the jobs.
fn compute() -> String {
    std::env::var("AZUREML_TEST_COMPUTE").unwrap_or_else(|_| "cpu-cluster".to_owned())
}

/// A name that nobody else has taken.
fn unique(name: &str) -> String {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let since = since.expect("it is later than 1970").as_millis();
    format!("conformance-{name}-{since}-{}", std::process::id())
}

fn write(path: &str, content: &str) {
    let path = Path::new(path);
    std::fs::create_dir_all(path.parent().expect("a file has a folder"))
        .expect("the folder is ours");
    std::fs::write(path, content).expect("the folder is ours");
}

/// A job that runs `script`, which differs from all others.
fn job(script: &str) -> ScriptRunConfig {
    let folder = unique("source");
    write(&format!("{folder}/job.sh"), script);
    write(&format!("{folder}/name.txt"), &folder);
    ScriptRunConfig::new(folder)
        .script("job.sh")
        .compute_target(compute())
        .environment(Environment::from_docker_image(
            "conformance",
            "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
        ))
}

async fn what_is_there_is_found(ws: &Workspace) {
    let compute = compute();
    assert_eq!(ws.compute(&compute).await.unwrap().name(), compute);
    let all = ws.computes().await.unwrap();
    assert!(all.iter().any(|one| one.name() == compute));
    // What is not there is not there, however patient one is.
    let missing = ws.compute("no-such-compute").await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
}

async fn environments_are_registered_once(ws: &Workspace) {
    let name = unique("image");
    let made = Environment::from_docker_image(&name, "ubuntu:24.04");
    let first = ws.register(&made).await.unwrap();
    assert_eq!(first.version(), Some("1"));
    assert_eq!(ws.register(&made).await.unwrap().version(), Some("1"));
    let other = Environment::from_docker_image(&name, "ubuntu:26.04");
    // A lost answer makes no version that nobody asked for.
    assert_eq!(ws.register(&other).await.unwrap().version(), Some("2"));
    let found = ws.environment_version(&name, "1").await.unwrap();
    assert_eq!(found.image(), Some("ubuntu:24.04"));
    let latest = ws.environment(&name).await.unwrap();
    assert_eq!(latest.image(), Some("ubuntu:26.04"));
    let all = ws.environments().await.unwrap();
    assert!(all.iter().any(|one| one.name() == name));

    let folder = unique("docker");
    write(&format!("{folder}/Dockerfile"), "FROM ubuntu:24.04\n");
    let built = Environment::from_dockerfile(&folder, format!("{folder}/Dockerfile")).unwrap();
    assert_eq!(ws.register(&built).await.unwrap().version(), Some("1"));
}

async fn a_job_goes_from_submit_to_model(ws: &Workspace) {
    let experiment = unique("job");
    write("data/a.txt", "from a folder\n");
    let config = job(
        "cat \"$1/a.txt\"\necho \"lr=$2\"\nmkdir -p outputs/model\necho weights > outputs/model/model.txt\n\
         echo named > \"$3/named.txt\"\n",
    )
    .arguments(["${{inputs.data}}", "${{inputs.lr}}", "${{outputs.result}}"])
    .input("data", Input::folder("data"))
    .input("lr", Input::literal(0.5))
    .output("result", Output::folder())
    .display_name("conformance")
    .tag("kind", "conformance");
    let run = ws.submit(&experiment, &config).await.unwrap();
    let details = run.wait_for_completion(true).await.unwrap();
    assert_eq!(details.status, RunStatus::Completed);
    let logs = run.logs().await.unwrap();
    assert!(logs.contains("from a folder\nlr=0.5\n"), "{logs}");

    // Whatever was lost on the way, one job came of it.
    let runs = ws.runs(&experiment).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let again = ws.run(run.id()).await.unwrap();
    assert_eq!(again.display_name(), "conformance");
    assert_eq!(again.status().await.unwrap(), RunStatus::Completed);

    run.tag("note", "good").await.unwrap();
    let tags = run.tags().await.unwrap();
    for (name, value) in [("kind", "conformance"), ("note", "good")] {
        assert_eq!(tags.get(name).map(String::as_str), Some(value), "{tags:?}");
    }
    assert!(run.metrics().await.unwrap().is_empty());

    let files = run.file_names().await.unwrap();
    let is_there = |path: &str| files.iter().any(|file| file.path == path);
    assert!(is_there("outputs/model/model.txt") && is_there("user_logs/std_log.txt"));
    let paths = run.download_files("outputs/", &experiment).await.unwrap();
    let expected = PathBuf::from(&experiment).join("outputs/model/model.txt");
    assert_eq!((paths.len(), &paths[0]), (1, &expected));
    assert_eq!(std::fs::read_to_string(expected).unwrap(), "weights\n");

    let name = unique("model");
    for version in ["1", "2"] {
        let model = run.register_model(&name, "outputs/model").await.unwrap();
        assert_eq!(model.version(), version);
    }
    let model = ws.model(&name).await.unwrap();
    assert_eq!(model.version(), "2");
    let paths = ws.download_model(&model, &name).await.unwrap();
    assert_eq!(*paths, [PathBuf::from(&name).join("model.txt")]);
}

async fn a_job_is_canceled(ws: &Workspace) {
    let run = ws.submit("conformance", &job("sleep 600\n")).await.unwrap();
    run.cancel().await.unwrap();
    let ended = run.wait_for_completion(false).await.unwrap_err();
    assert!(matches!(ended, Error::RunCanceled { .. }), "{ended}");
    assert_eq!(run.status().await.unwrap(), RunStatus::Canceled);
}

async fn a_job_fails_with_the_end_of_its_log(ws: &Workspace) {
    let config = job("seq 1 100\necho 'no more data' >&2\nexit 3\n");
    let run = ws.submit("conformance", &config).await.unwrap();
    let failed = run.wait_for_completion(true).await.unwrap_err();
    let Error::RunFailed { log, .. } = &failed else {
        panic!("{failed}");
    };
    assert!(log.iter().any(|line| line == "no more data"), "{failed}");
    assert!(failed.to_string().contains("\nhint: "), "{failed}");
}
