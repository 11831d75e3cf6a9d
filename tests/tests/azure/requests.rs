//! Compares the SDK's requests with the official client's, member by member, for the same
//! environments and the same job.

use azureml::prelude::*;
use end_to_end::{LocalWorkspace, as_client, env, run_client_in};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Allowed differences and their reasons. Each of them must occur: an entry without a difference
/// must be removed.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    (
        "/codes/",
        "/properties/properties/hash_version",
        "the service's schema says string; it takes the official client's number as one",
    ),
    (
        "/environments/built/",
        "/properties/build/contextUri",
        "on loopback the account is part of the path, which the official client leaves out; on Azure it is the host's name for both",
    ),
    ("/environments/", "/properties/isAnonymous", DEFAULT),
    ("/environments/", "/properties/isArchived", DEFAULT),
    ("/jobs/", "/properties/isArchived", DEFAULT),
    ("/jobs/", "/properties/properties", NONE),
    ("/jobs/", "/properties/resources/properties", NONE),
];
const DEFAULT: &str = "false is the service's default, which ours leaves to it";
const NONE: &str = "there are none, and ours says nothing instead of an empty object";

/// Writes the files that both clients submit.
fn write_files(folder: &Path) {
    for (path, content) in [
        ("source/main.py", "print('hi')\n"),
        ("source/sub/helper.txt", "from a folder\n"),
        ("source/left-out.tmp", "not sent\n"),
        ("source/.amlignore", "*.tmp\n"),
        ("dataset/numbers.txt", "7 8 9\n"),
        ("dataset/more/numbers.txt", "1 2 3\n"),
        ("table.csv", "a,b\n"),
        ("context/Dockerfile", "FROM ubuntu:24.04\n"),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Submits the same as `azure_ai_ml_submits.py`.
fn submit() {
    write_files(Path::new("."));
    let ws = Workspace::from_config().unwrap();
    let image = Environment::from_docker_image("image", "ubuntu:24.04")
        .with_description("an image")
        .register(&ws)
        .unwrap();
    Environment::from_dockerfile("built", "context/Dockerfile")
        .unwrap()
        .register(&ws)
        .unwrap();
    let far = "azureml://datastores/workspaceblobstore/paths/far/";
    let named = "azureml://datastores/workspaceblobstore/paths/out/named.txt";
    let config = ScriptRunConfig::new("source")
        .command(
            "python main.py ${{inputs.rate}} ${{inputs.folder}} ${{inputs.table}} ${{inputs.far}} \
             ${{outputs.result}} ${{outputs.named}}",
        )
        .environment(&image)
        .compute_target("cpu-cluster")
        .display_name("a job")
        .description("the same from two clients")
        .tags([("lab", "02"), ("kind", "compared")])
        .environment_variables([("EPOCHS", "3"), ("NAME", "a b")])
        .input("rate", Input::literal(0.5))
        .input("count", Input::literal(3))
        .input("word", Input::literal("two words"))
        .input("folder", Input::folder("dataset").download())
        .input("table", Input::file("table.csv"))
        .input("far", Input::folder(far).direct())
        .input("mounted", Input::folder(far).mount())
        .output("result", Output::folder().upload())
        .output("named", Output::file().to(named).mount())
        .output("kept", Output::folder().register_as("kept"))
        .distribution(Distribution::pytorch(2))
        .node_count(2)
        .instance_type("Standard_D4s_v3")
        .shared_memory("4g")
        .docker_arguments("--ipc=host")
        .max_run_duration_seconds(300);
    Experiment::new(&ws, "compared").submit(&config).unwrap();
}

#[test]
fn what_is_sent_is_what_the_official_client_sends() {
    let workspace = LocalWorkspace::start();
    let printed = as_client(
        "requests::what_is_sent_is_what_the_official_client_sends",
        |command| workspace.apply(command),
    );
    if printed.is_none() {
        return submit();
    }
    let ours = sent(&workspace, true);

    let workspace = LocalWorkspace::start();
    let folder = TempDir::new().unwrap();
    write_files(folder.path());
    run_client_in(
        env::PYTHON_AZURE_AI_ML,
        "azure_ai_ml_submits.py",
        &workspace,
        folder.path(),
    );
    let official = sent(&workspace, false);

    let calls = |requests: &BTreeMap<String, Value>| requests.keys().cloned().collect::<Vec<_>>();
    assert_eq!(calls(&ours), calls(&official));
    assert!(calls(&ours).len() >= 5, "{:?}", calls(&ours));
    let mut differing = BTreeSet::new();
    let mut unexpected = Vec::new();
    for (call, request) in &official {
        compare(request, &ours[call], "", &mut |member, official, ours| {
            let known = DIFFERENCES
                .iter()
                .position(|(of, path, _)| call.contains(of) && *path == member);
            match known {
                Some(known) => drop(differing.insert(known)),
                None => unexpected.push(format!(
                    "{call}: {member} is {} for the official client and {} for ours",
                    shown(official),
                    shown(ours)
                )),
            }
        });
    }
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
    for (number, (call, member, _)) in DIFFERENCES.iter().enumerate() {
        assert!(
            differing.contains(&number),
            "{call}: {member} no longer differs"
        );
    }
}

/// The write requests of one client, by call. Generated names are replaced.
fn sent(workspace: &LocalWorkspace, by_us: bool) -> BTreeMap<String, Value> {
    let url = workspace.server().expect("it runs").url;
    let trace = fs::read_to_string(workspace.trace()).expect("exchanges are recorded");
    let exchanges: Vec<Value> = trace
        .lines()
        .map(|line| serde_json::from_str(line).expect("an exchange a line"))
        .collect();
    // The name of the code asset. The official client draws it at random, the SDK derives it from
    // the content: the service looks code up by its hash.
    let upload = exchanges
        .iter()
        .find(|exchange| is_upload(exchange))
        .expect("the code was uploaded");
    let container = text(upload, "/response/blobReferenceForConsumption/blobUri");
    let code = text(upload, "/path").split('/').nth_back(3).unwrap();
    let job = text(exchanges.last().unwrap(), "/path")
        .rsplit('/')
        .next()
        .unwrap();
    let names = [
        (container, "CONTAINER"),
        (&url, "HOST"),
        (code, "CODE"),
        (job, "JOB"),
    ];
    let mut requests = BTreeMap::new();
    for exchange in &exchanges {
        let client = exchange["client"].as_str().unwrap_or_default();
        assert_eq!(client.starts_with("azureml-rust/"), by_us, "{client}");
        if text(exchange, "/method") != "PUT" && !is_upload(exchange) {
            continue;
        }
        let call = format!("{} {}", text(exchange, "/method"), text(exchange, "/path"));
        let mut call_and_body = [call, exchange["request"].to_string()];
        for (name, general) in names {
            for text in &mut call_and_body {
                *text = text.replace(name, general);
            }
        }
        let [call, body] = call_and_body;
        let body = without_hashes(&body);
        let before = requests.insert(call, serde_json::from_str(&body).unwrap());
        assert!(before.is_none(), "a call was made twice: {requests:?}");
    }
    requests
}

/// Replaces the hash of the content in paths of uploads: each client computes it by a different
/// rule.
fn without_hashes(body: &str) -> String {
    let mut parts = body.split("LocalUpload/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let (hash, rest) = part.split_at_checked(64).unwrap_or((part, ""));
        assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        text + "LocalUpload/HASH" + rest
    })
}

fn is_upload(exchange: &Value) -> bool {
    text(exchange, "/path").ends_with("/startPendingUpload")
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Reports every member in which two values differ, by its path.
fn compare(
    official: &Value,
    ours: &Value,
    path: &str,
    tell: &mut impl FnMut(&str, Option<&Value>, Option<&Value>),
) {
    match (official, ours) {
        (Value::Object(official), Value::Object(ours)) => {
            let names: BTreeSet<&String> = official.keys().chain(ours.keys()).collect();
            for name in names {
                let path = format!("{path}/{name}");
                match (official.get(name), ours.get(name)) {
                    (Some(official), Some(ours)) => compare(official, ours, &path, tell),
                    (official, ours) => tell(&path, official, ours),
                }
            }
        }
        _ if official == ours => {}
        _ => tell(path, Some(official), Some(ours)),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_owned(), Value::to_string)
}

#[test]
fn a_difference_is_told_wherever_it_is() {
    let official = serde_json::json!({"a": {"b": [1, 2], "c": 1}, "d": null});
    let ours = serde_json::json!({"a": {"b": [1, 3], "e": 1}, "d": Map::new()});
    let mut told = Vec::new();
    compare(&official, &ours, "", &mut |path, _, _| {
        told.push(path.to_owned());
    });
    assert_eq!(told, ["/a/b", "/a/c", "/a/e", "/d"]);
}
