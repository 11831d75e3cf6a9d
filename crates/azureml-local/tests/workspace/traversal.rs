//! Path traversal: names and links that lead out of a folder must not give access to files outside.

use crate::support::{Answer, Workspace, ask, cookie, put_blob, until};
use azureml_wire::local::scope;
use end_to_end::wait_for;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// The secret that no response may contain.
const SECRET: &str = "5ecret-0utside-0f-every-r00t";
/// The content that only the owner and its own run may read.
const OF_OTHER: &str = "0f-an0ther-run";

/// Encodings of `../` in a URL, for servers that decode once, twice or not at all.
const UP: [&str; 11] = [
    "../",
    "..%2F",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "%252e%252e%252f",
    "..%5C",
    "..%5c..%2F",
    "..%00%2F",
    ".%2F..%2F",
    "%2F..%2F",
];

struct Attack {
    workspace: Workspace,
    outside: tempfile::TempDir,
    cookie: String,
    run_token: String,
    gate: std::path::PathBuf,
    tried: usize,
}

impl Attack {
    /// Sets up a running job that has created links, a completed job, and links in the store.
    fn set_up() -> Self {
        let workspace = Workspace::start();
        let outside = tempfile::tempdir().expect("a folder");
        fs::write(outside.path().join("secret.txt"), SECRET).expect("room");
        let gate = workspace.gate("gate");
        let other = format!("mkdir -p outputs; echo {OF_OTHER} > outputs/o.txt");
        workspace.submit("other", &other, &json!({}));
        workspace.complete("other");
        let out = outside.path().display();
        workspace.submit(
            "own",
            &format!(
                "mkdir -p outputs/sub logs; ln -s '{out}' outputs/folder; ln -s '{out}/secret.txt' outputs/file; \
                 ln -s '{out}/secret.txt' logs/log.txt; ln -s ../../../../../../server.json outputs/sub/server.json; \
                 ln -s /proc/self/environ outputs/environ; echo mine > outputs/mine.txt; \
                 echo $AZUREML_RUN_TOKEN; {}",
                until(&gate)
            ),
            &json!({}),
        );
        let run_token = wait_for("the token", || {
            let log = workspace.log("own");
            log.ends_with('\n').then(|| log.trim().to_owned())
        });
        let store = workspace.home().join("blobs");
        plant(&store.join("azureml-blobstore"), outside.path());
        plant(
            &store.join("azureml-blobstore/ExperimentRun/dcid.other/outputs"),
            outside.path(),
        );
        symlink(outside.path(), store.join("linked")).expect("a link");
        let cookie = cookie(&workspace, "own");
        Self {
            workspace,
            outside,
            cookie,
            run_token,
            gate,
            tried: 0,
        }
    }

    /// Names that lead to the secret: relative paths, absolute paths and very long ones.
    fn names(&self) -> Vec<String> {
        let outside = self.outside.path().display().to_string();
        let outside = outside.trim_start_matches('/');
        let mut names = Vec::new();
        for up in UP {
            for depth in 1..=7 {
                let ups = up.repeat(depth);
                names.push(format!("{ups}server.json"));
                names.push(format!("own%2F{ups}key"));
            }
            let ups = up.repeat(12);
            names.push(format!("{ups}{}", outside.replace('/', "%2F")));
            names.push(format!("{ups}{outside}/secret.txt"));
        }
        for absolute in ["%2F", "%2F%2F", "/", "%5C", "file:%2F%2F%2F"] {
            names.push(format!("{absolute}{outside}/secret.txt"));
        }
        for link in ["folder", "file", "linked", "environ", "sub%2Fserver.json"] {
            names.push(link.to_owned());
            names.push(format!("{link}%2Fsecret.txt"));
            names.push(format!("outputs%2F{link}"));
            names.push(format!("outputs%2F{link}%2Fsecret.txt"));
        }
        names.push("a".repeat(5000));
        names.push("a%2F".repeat(3000));
        names.push("%00".to_owned());
        names
    }

    fn check(&mut self, what: &str, answer: &Answer) {
        self.tried += 1;
        let (text, server) = (answer.text(), self.workspace.token());
        let key = fs::read(self.workspace.home().join("key")).expect("the key");
        assert!(!text.contains(SECRET), "{what}: {text}");
        assert!(!text.contains(&server), "{what}: {text}");
        assert!(
            !answer.body.windows(key.len()).any(|part| part == key),
            "{what}"
        );
        assert!(answer.status < 500, "{what}: {} {text}", answer.status);
    }

    fn look(&mut self, path: &str) -> Answer {
        let url = format!("{}{path}", self.workspace.url());
        let answer = ask("GET", &url, &[("Cookie", &self.cookie)], &[]);
        self.check(path, &answer);
        answer
    }

    fn rest(&mut self, token: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let url = format!("{}{path}", self.workspace.url());
        let bearer = format!("Bearer {token}");
        let headers = [
            ("Authorization", bearer.as_str()),
            ("x-ms-blob-type", "BlockBlob"),
        ];
        let answer = ask(method, &url, &headers, body);
        self.check(&format!("{method} {path}"), &answer);
        answer
    }
}

/// Creates links that lead out of a folder.
fn plant(folder: &Path, outside: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    symlink(outside, folder.join("folder")).expect("a link");
    symlink(outside.join("secret.txt"), folder.join("file")).expect("a link");
}

/// The REST URLs for reading that contain a name.
fn addresses(name: &str) -> Vec<String> {
    let ws = scope().to_string();
    let mut all = vec![
        format!("/azuremllocal/azureml-blobstore/{name}"),
        format!("/azuremllocal/azureml-blobstore/ExperimentRun/dcid.own/{name}"),
        format!("/azuremllocal/azureml-blobstore/ExperimentRun/dcid.{name}/secret.txt"),
        format!("/azuremllocal/{name}/secret.txt"),
        format!("/azuremllocal/{name}?restype=container&comp=list"),
        format!("/azuremllocal/azureml-blobstore?restype=container&comp=list&prefix={name}/"),
        format!("{}?path={name}", scope().artifacts("tests", "own", "")),
        format!(
            "{}?path={name}",
            scope().artifacts("tests", "own", "/contentinfo")
        ),
        format!("/mlflow/v2.0{ws}/api/2.0/mlflow/artifacts/list?run_id={name}&path=outputs"),
        format!("/mlflow/v2.0{ws}/api/2.0/mlflow/artifacts/list?run_id=own&path={name}"),
    ];
    for run in [name.to_owned(), format!("own%2F{name}")] {
        all.push(format!(
            "/artifact/v2.0{ws}/artifacts/ExperimentRun/dcid.{run}"
        ));
        all.push(format!(
            "/artifact/v2.0{ws}/artifacts/contentinfo/ExperimentRun/dcid.{run}?path=secret.txt"
        ));
        all.push(format!("/history/v1.0{ws}/runs/{run}/details"));
        all.push(format!(
            "/history/v1.0{ws}/experiments/tests/runs/{run}/artifacts"
        ));
        for path in [format!("ExperimentRun/dcid.{run}/secret.txt"), run] {
            let base = format!("/mlflow/v2.0{ws}/api/2.0/mlflow-artifacts/artifacts");
            all.push(format!("{base}/{path}"));
            all.push(format!("{base}?path={path}"));
        }
    }
    all.push(format!(
        "/mlflow/v2.0{ws}/api/2.0/mlflow-artifacts/artifacts/ExperimentRun/dcid.own/{name}"
    ));
    all
}

#[test]
fn traversal_a_pages_cookie_reads_nothing_outside() {
    let mut attack = Attack::set_up();
    for name in attack.names() {
        for path in [
            format!("/studio/jobs/{name}"),
            format!("/studio/jobs/{name}/events"),
            format!("/studio/jobs/{name}/files/server.json?download=1"),
            format!("/studio/jobs/own%2F{name}/files/secret.txt?download=1"),
            format!("/studio/jobs/own/files/{name}?download=1"),
            format!("/studio/jobs/own/files/outputs/{name}?download=1"),
            format!("/studio/jobs/other/files/{name}"),
            format!("/studio/compare?run={name}&run=own"),
            format!("/studio/models/{name}/1/files/secret.txt?download=1"),
            format!("/studio/codes/{name}/{name}/files/{name}"),
        ] {
            // The event stream of a running job does not end.
            if path != "/studio/jobs/own/events" {
                let answer = attack.look(&path);
                assert!(
                    answer.status != 200 || !path.contains("download"),
                    "{path}: {}",
                    answer.text()
                );
            }
        }
    }
    // An attack that disclosed the token in an earlier version.
    for up in UP {
        for depth in 1..8 {
            for file in ["server.json", "key"] {
                let path = format!(
                    "/studio/jobs/own%2F{}/files/{file}?download=1",
                    up.repeat(depth)
                        .trim_end_matches("%2F")
                        .trim_end_matches('/')
                );
                attack.look(&path).expect(404);
            }
        }
    }
    // A file without secrets is served.
    attack
        .look("/studio/jobs/own/files/outputs/mine.txt?download=1")
        .expect(200);
    println!("{} addresses", attack.tried);
    fs::write(&attack.gate, "").expect("the folder is ours");
    attack.workspace.complete("own");
    for link in ["folder/secret.txt", "file", "environ", "sub/server.json"] {
        let path = format!("/studio/jobs/own/files/outputs/{link}?download=1");
        attack.look(&path).expect(404);
    }
}

#[test]
fn traversal_the_rest_calls_read_nothing_outside() {
    let mut attack = Attack::set_up();
    let (owner, run) = (attack.workspace.token(), attack.run_token.clone());
    for name in attack.names() {
        for path in addresses(&name) {
            attack.rest(&owner, "GET", &path, b"");
            let answer = attack.rest(&run, "GET", &path, b"");
            assert!(!answer.text().contains(OF_OTHER), "{path}");
        }
        let blob = format!("/azuremllocal/azureml-blobstore/{name}");
        attack.rest(&owner, "HEAD", &blob, b"");
    }
    println!("{} addresses", attack.tried);
    fs::write(&attack.gate, "").expect("the folder is ours");
}

#[test]
fn traversal_the_rest_calls_write_and_delete_nothing_outside() {
    let mut attack = Attack::set_up();
    let (owner, run) = (attack.workspace.token(), attack.run_token.clone());
    let base = format!("/mlflow/v2.0{}/api/2.0/mlflow-artifacts/artifacts", scope());
    let before = everything(attack.outside.path());
    let home = attack.workspace.home().to_owned();
    let key = fs::read(home.join("key")).expect("the key");
    for name in attack.names() {
        for path in [
            format!("/azuremllocal/azureml-blobstore/{name}"),
            format!("/azuremllocal/azureml-blobstore/folder/{name}"),
            format!("/azuremllocal/azureml-blobstore/{name}?comp=block&blockid=YQ=="),
            format!("/azuremllocal/{name}/secret.txt"),
            format!("/azuremllocal/{name}?restype=container"),
            format!("{base}/ExperimentRun/dcid.own/{name}"),
            format!("{base}/ExperimentRun/dcid.own%2F{name}/secret.txt"),
        ] {
            for method in ["PUT", "DELETE"] {
                attack.rest(&owner, method, &path, b"written");
                attack.rest(&run, method, &path, b"written");
            }
        }
    }
    assert_eq!(everything(attack.outside.path()), before);
    assert_eq!(fs::read(home.join("key")).expect("the key"), key);
    assert!(home.join("server.json").is_file());
    let left = attack.workspace.artifact("other", "outputs/o.txt").text();
    assert_eq!(left.trim(), OF_OTHER);
    println!("{} addresses", attack.tried);
    fs::write(&attack.gate, "").expect("the folder is ours");
}

#[test]
fn traversal_what_is_registered_leads_nowhere_outside() {
    let mut attack = Attack::set_up();
    let home = attack.workspace.home().display().to_string();
    let account = format!("{}/azuremllocal", attack.workspace.url());
    let datastore = "azureml://datastores/workspaceblobstore/paths";
    for (number, uri) in [
        format!("{datastore}/../../key"),
        format!("{datastore}/%2e%2e/%2e%2e/key"),
        format!("{datastore}/{home}"),
        format!("{datastore}/folder"),
        format!("{datastore}/file"),
        format!("{account}/.."),
        format!("{account}/../"),
        format!("{account}/%2e%2e/server.json"),
        format!("{account}/..%2fserver.json"),
        format!("{account}/linked"),
        format!("{account}/azureml-blobstore/..%2f..%2fkey"),
        "azureml://jobs/own/outputs/../paths/../../../../key".to_owned(),
        "azureml://jobs/own/outputs/artifacts/paths/../../../../key".to_owned(),
        "file:///etc/passwd".to_owned(),
    ]
    .into_iter()
    .enumerate()
    {
        let model = json!({ "properties": { "modelUri": uri, "modelType": "custom_model" } });
        let address = format!("/models/m{number}/versions/1");
        attack.workspace.arm("PUT", &address, &model);
        attack.look(&format!("/studio/models/m{number}/1"));
        for file in [
            "server.json",
            "key",
            "secret.txt",
            "file",
            "folder%2Fsecret.txt",
        ] {
            let page = format!("/studio/models/m{number}/1/files/{file}?download=1");
            let answer = attack.look(&page);
            assert_ne!(answer.status, 200, "{uri} {file}");
        }
        let job = format!("job{number}");
        let input = json!({ "in": { "jobInputType": "uri_folder", "uri": uri } });
        let command = "cat ${{inputs.in}} ${{inputs.in}}/*";
        attack
            .workspace
            .submit(&job, command, &json!({ "inputs": input }));
        wait_for("its end", || {
            let status = attack.workspace.status(&job);
            ["Completed", "Failed"]
                .contains(&status.as_str())
                .then_some(())
        });
        let log = attack.workspace.log(&job);
        assert!(!log.contains(SECRET), "{uri}: {log}");
        assert!(!log.contains("\"token\""), "{uri}: {log}");
    }
    fs::write(&attack.gate, "").expect("the folder is ours");
    // Blobs beside the links are served as usual.
    let (uri, query) = attack.workspace.container();
    put_blob(&format!("{uri}/a/b.txt?{query}"), b"b").expect(201);
    ask("GET", &format!("{uri}/a/b.txt?{query}"), &[], &[]).expect(200);
    attack
        .workspace
        .arm("GET", "/models/m0/versions/1", &Value::Null);
}

/// The paths and the contents below a folder.
fn everything(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                waiting.push(entry.path());
            } else {
                let content = fs::read(entry.path()).expect("a file");
                all.push((entry.path().display().to_string(), content));
            }
        }
    }
    all.sort();
    all
}
