//! The conformance checks. Every function holds for any workspace and creates resources with unique
//! names.

#![allow(
    clippy::unwrap_used,
    reason = "all of this is tests, and the SDK's errors say what went wrong"
)]

use azureml::asynchronous::Workspace;
use azureml::{
    AmlCompute, Data, Environment, Error, Goal, Input, Output, RunFilter, RunStatus,
    ScriptRunConfig, SweepConfig,
};
use std::path::{Path, PathBuf};

/// Runs all checks.
pub async fn all(ws: &Workspace) {
    what_is_there_is_found(ws).await;
    environments_are_registered_once(ws).await;
    clusters_are_made_changed_and_deleted(ws).await;
    data_is_registered_found_and_downloaded(ws).await;
    a_job_goes_from_submit_to_model(ws).await;
    a_job_is_canceled(ws).await;
    a_job_fails_with_the_end_of_its_log(ws).await;
    a_sweep_tries_every_combination(ws).await;
}

/// The compute target of the jobs.
fn compute() -> String {
    std::env::var("AZUREML_TEST_COMPUTE").unwrap_or_else(|_| "cpu-cluster".to_owned())
}

/// A unique name.
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

/// A job that runs `script`; its code differs from the code of all other jobs.
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
    // Retries must not hide that a resource does not exist.
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
    // A retry after a lost response must not create another version.
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

async fn clusters_are_made_changed_and_deleted(ws: &Workspace) {
    let name = format!("c-{}", std::process::id());
    let cluster = AmlCompute::new(&name, "STANDARD_DS3_V2")
        .max_nodes(2)
        .low_priority()
        .idle_seconds_before_scaledown(120);
    let made = ws.create_compute(&cluster).await.unwrap();
    let nodes = made.nodes().unwrap();
    assert_eq!((nodes.min, nodes.max, nodes.current), (0, 2, 0));
    assert!(made.is_low_priority());
    let changed = ws.create_compute(&cluster.max_nodes(3)).await.unwrap();
    assert_eq!(changed.nodes().unwrap().max, 3);
    ws.delete_compute(&name).await.unwrap();
    let gone = ws.compute(&name).await.unwrap_err();
    assert!(matches!(gone, Error::NotFound { .. }), "{gone}");
}

async fn data_is_registered_found_and_downloaded(ws: &Workspace) {
    let (name, folder) = (unique("data"), unique("folder"));
    write(&format!("{folder}/a.txt"), "one");
    write(&format!("{folder}/sub/b.txt"), "two");
    let data = Data::from_folder(&name, &folder)
        .with_description("two files")
        .with_tag("kind", "conformance");
    let first = ws.register_data(&data).await.unwrap();
    assert_eq!((first.version(), first.kind()), (Some("1"), "uri_folder"));
    assert_eq!(ws.register_data(&data).await.unwrap().version(), Some("1"));
    write(&format!("{folder}/a.txt"), "three");
    assert_eq!(ws.register_data(&data).await.unwrap().version(), Some("2"));

    let newest = ws.data(&name).await.unwrap();
    assert_eq!(
        (newest.version(), newest.description()),
        (Some("2"), Some("two files"))
    );
    assert_eq!(newest.tags()["kind"], "conformance");
    let versions = ws.data_versions(&name).await.unwrap();
    let versions: Vec<_> = versions.iter().filter_map(Data::version).collect();
    assert_eq!(versions, ["2", "1"]);
    let all = ws.all_data().await.unwrap();
    let listed = all.iter().find(|one| one.name() == name).unwrap();
    let to = unique("download");
    let paths = ws.download_data(listed, &to).await.unwrap();
    assert_eq!(paths.len(), 2);
    let read = |path: &str| std::fs::read_to_string(Path::new(&to).join(path)).unwrap();
    assert_eq!(
        (read("a.txt"), read("sub/b.txt")),
        ("three".into(), "two".into())
    );
    let missing = ws.data(&format!("{name}:9")).await.unwrap_err();
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");

    let single = Data::from_file(format!("{name}-file"), format!("{folder}/a.txt"));
    let single = ws.register_data(&single).await.unwrap();
    let paths = ws.download_data(&single, &to).await.unwrap();
    assert_eq!(*paths, [Path::new(&to).join("a.txt")]);

    // A job takes a version as its input.
    let config = job("cat \"$1/a.txt\"\n")
        .arguments(["${{inputs.data}}"])
        .input("data", first.as_input());
    let run = ws.submit("conformance", &config).await.unwrap();
    run.wait_for_completion(false).await.unwrap();
    assert!(run.logs().await.unwrap().contains("one"));
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

    // Despite lost responses, exactly one job exists.
    let runs = ws.runs(&experiment).await.unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    let filter = RunFilter::new().experiment(&experiment).limit(5);
    for (filter, count) in [
        (
            filter
                .clone()
                .status(RunStatus::Completed)
                .tag("kind", "conformance"),
            1,
        ),
        (filter.clone().status(RunStatus::Failed), 0),
        (filter.clone().tag("kind", "other"), 0),
        (filter.clone().archived(), 0),
        (filter.with_archived(), 1),
        (RunFilter::new().limit(1), 1),
    ] {
        let found = ws.find_runs(&filter).await.unwrap();
        assert_eq!(found.len(), count, "{filter:?}");
    }
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

async fn a_sweep_tries_every_combination(ws: &Workspace) {
    let experiment = unique("sweep");
    let script = job("echo \"$@\"\n[ \"$4\" != b ]\n").arguments(["--fixed", "1"]);
    let sweep = SweepConfig::new(&script)
        .choice("kind", ["a", "b", "c d"])
        .primary_metric("Accuracy", Goal::Maximize)
        .max_concurrent_trials(2);
    let run = ws.submit(&experiment, &sweep).await.unwrap();
    let details = run.wait_for_completion(true).await.unwrap();
    assert_eq!(details.status, RunStatus::Completed);

    let trials = run.trials().await.unwrap();
    let labels: Vec<String> = trials.iter().map(azureml::Trial::label).collect();
    assert_eq!(labels, ["kind=a", "kind=b", "kind=c d"]);
    let statuses: Vec<RunStatus> = trials.iter().map(|trial| trial.status).collect();
    let expected = [
        RunStatus::Completed,
        RunStatus::Failed,
        RunStatus::Completed,
    ];
    assert_eq!(statuses, expected);
    // None of them has logged a metric.
    assert!(trials.best().is_none() && run.best_child().await.unwrap().is_none());
    let children = run.children().await.unwrap();
    assert_eq!(children.len(), 3);
    let logs = children[2].logs().await.unwrap();
    assert!(logs.contains("--fixed 1 --kind c d\n"), "{logs}");
    let parent = children[0].parent().await.unwrap();
    assert_eq!(
        parent.as_ref().map(azureml::asynchronous::Run::id),
        Some(run.id())
    );
    // Despite lost responses, exactly one sweep exists, and its trials are not in the list of runs.
    assert_eq!(ws.runs(&experiment).await.unwrap().len(), 1);
}
