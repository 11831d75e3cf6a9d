//! A small HTTP client, and a local workspace with common test operations.

use azureml_wire::local::scope;
use end_to_end::{LocalWorkspace, wait_for};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::path::PathBuf;

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// Asserts the status of the response.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }
}

/// Sends a request over a new connection.
pub fn ask(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    try_ask(method, url, headers, body).expect("the local workspace answers")
}

/// Like [`ask`], for a server that may be killed during the request.
pub fn try_ask(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let rest = url.strip_prefix("http://").expect("plain HTTP");
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let mut stream = TcpStream::connect(host)?;
    let path = if path.is_empty() { "/" } else { path };
    let mut head = vec![
        format!("{method} {path} HTTP/1.1"),
        "Connection: close".to_owned(),
        format!("Content-Length: {}", body.len()),
    ];
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push(format!("Host: {host}"));
    }
    head.extend(
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    head.push("\r\n".to_owned());
    let head = head.join("\r\n");
    stream.write_all(head.as_bytes())?;
    // The server may respond before it has read the whole body.
    let _ = stream.write_all(body);
    read(BufReader::new(stream))
}

fn read(mut reader: BufReader<TcpStream>) -> io::Result<Answer> {
    let status = line(&mut reader)?
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut answer = Answer {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    };
    while let Some((name, value)) = line(&mut reader)?.split_once(": ") {
        answer.headers.push((name.to_owned(), value.to_owned()));
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let size = usize::from_str_radix(&line(&mut reader)?, 16)
                .map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            answer.body.extend_from_slice(&chunk[..size]);
        }
    } else {
        reader.read_to_end(&mut answer.body)?;
    }
    Ok(answer)
}

fn line(reader: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// A running local workspace.
pub struct Workspace {
    inner: LocalWorkspace,
}

impl Deref for Workspace {
    type Target = LocalWorkspace;

    fn deref(&self) -> &LocalWorkspace {
        &self.inner
    }
}

impl Workspace {
    pub fn start() -> Self {
        Self {
            inner: LocalWorkspace::start(),
        }
    }

    /// A home folder without a running server.
    pub fn new() -> Self {
        Self {
            inner: LocalWorkspace::new(),
        }
    }

    /// The home folder `home`, without a running server.
    pub fn at(home: &std::path::Path) -> Self {
        Self {
            inner: LocalWorkspace::at(home),
        }
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.inner.kill();
    }

    /// Starts the server with additional environment `variables`.
    pub fn serve(&self, variables: &[(&str, &str)]) -> std::process::Child {
        let mut command = std::process::Command::new(end_to_end::binary("azureml-local"));
        self.inner.apply(&mut command);
        let child = command
            .arg("serve")
            .envs(variables.iter().copied())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("azureml-local starts");
        let pid = child.id();
        wait_for("server.json of the new process", || {
            self.server().filter(|server| server.pid == pid)
        });
        child
    }

    pub fn url(&self) -> String {
        self.server().expect("it runs").url
    }

    pub fn token(&self) -> String {
        self.server().expect("it runs").token
    }

    /// Sends a request with the owner's token.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask_as(&self.token(), method, path, body)
    }

    /// Sends a request with this token.
    pub fn ask_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        ask(
            method,
            &format!("{}{path}", self.url()),
            &[
                ("Authorization", &format!("Bearer {token}")),
                ("Content-Type", "application/json"),
            ],
            &body,
        )
    }

    /// Sends a request to an ARM resource of the workspace (`/jobs/x`).
    pub fn arm(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask(method, &format!("{}{path}", scope()), body)
    }

    pub fn get(&self, path: &str) -> Value {
        self.arm("GET", path, &Value::Null).expect(200).json()
    }

    /// The owner's SAS token of the default datastore.
    pub fn datastore_signature(&self) -> String {
        let path = "/datastores/workspaceblobstore/listSecrets";
        let secrets = self.arm("POST", path, &Value::Null).expect(200).json();
        secrets["sasToken"]
            .as_str()
            .expect("a signature")
            .to_owned()
    }

    /// Submits a job with the additional properties `more`.
    pub fn submit(&self, name: &str, command: &str, more: &Value) -> Value {
        self.try_submit(name, command, more).expect(201).json()
    }

    pub fn try_submit(&self, name: &str, command: &str, more: &Value) -> Answer {
        let mut properties = json!({
            "jobType": "Command",
            "command": command,
            "environmentId": scope().path(["environments", "rust-tch-gpu", "versions", "1"]),
            "computeId": scope().path(["computes", "cpu-cluster"]),
            "experimentName": "tests",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            properties[name] = value.clone();
        }
        // `null` removes a property.
        if let Some(members) = properties.as_object_mut() {
            members.retain(|_, value| !value.is_null());
        }
        self.arm(
            "PUT",
            &format!("/jobs/{name}"),
            &json!({ "properties": properties }),
        )
    }

    pub fn details(&self, name: &str) -> Value {
        self.ask("GET", &scope().run_history(name, "/details"), &Value::Null)
            .expect(200)
            .json()
    }

    pub fn status(&self, name: &str) -> String {
        self.details(name)["status"]
            .as_str()
            .expect("a status")
            .to_owned()
    }

    /// Waits until a job has a status.
    pub fn reach(&self, name: &str, status: &str) -> Value {
        wait_for(&format!("{name} to be {status}"), || {
            let details = self.details(name);
            let now = details["status"].as_str().expect("a status");
            assert!(
                now == status || !["Completed", "Failed", "Canceled"].contains(&now),
                "{name} should be {status}: {details}\n{}",
                self.log(name)
            );
            (now == status).then_some(details)
        })
    }

    /// Waits until a job is `Completed`.
    pub fn complete(&self, name: &str) -> Value {
        self.reach(name, "Completed")
    }

    /// Waits until a job is `Failed`; returns its error message.
    pub fn fail(&self, name: &str) -> String {
        self.reach(name, "Failed")["error"]["error"]["message"]
            .as_str()
            .expect("a message")
            .to_owned()
    }

    /// The status history of a job.
    pub fn path(&self, name: &str) -> Vec<String> {
        let details = self.details(name);
        let history = details["properties"]["azureml.status_history"]
            .as_str()
            .expect("a status path");
        let history: Vec<Value> = serde_json::from_str(history).expect("JSON text");
        history
            .iter()
            .filter_map(|step| step["status"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// Reads a log file through its signed URL.
    pub fn log_file(&self, name: &str, file: &str) -> Option<String> {
        let details = self.details(name);
        let url = details["logFiles"][file].as_str()?;
        Some(ask("GET", url, &[], &[]).expect(200).text())
    }

    pub fn log(&self, name: &str) -> String {
        self.log_file(name, "user_logs/std_log.txt")
            .unwrap_or_default()
    }

    /// The paths of a run's artifacts.
    pub fn artifacts(&self, name: &str) -> Vec<String> {
        let listed = self
            .ask("GET", &scope().artifacts("tests", name, ""), &Value::Null)
            .expect(200)
            .json();
        listed["value"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|artifact| artifact["path"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// The content of one artifact.
    pub fn artifact(&self, name: &str, path: &str) -> Answer {
        let found = self
            .ask(
                "GET",
                &format!(
                    "{}?path={path}",
                    scope().artifacts("tests", name, "/contentinfo")
                ),
                &Value::Null,
            )
            .expect(200)
            .json();
        ask(
            "GET",
            found["contentUri"].as_str().expect("a URL"),
            &[],
            &[],
        )
    }

    /// Creates a container for an upload; returns its URL and SAS query.
    pub fn container(&self) -> (String, String) {
        let place = self
            .arm(
                "POST",
                "/codes/any/versions/1/startPendingUpload",
                &json!({ "pendingUploadType": "TemporaryBlobReference" }),
            )
            .expect(200)
            .json();
        let place = &place["blobReferenceForConsumption"];
        let uri = place["blobUri"].as_str().expect("a URL");
        let signed = place["credential"]["sasUri"].as_str().expect("a URL");
        let (_, query) = signed.split_once('?').expect("a signature");
        (uri.to_owned(), query.to_owned())
    }

    /// Uploads files and registers them as code; returns the code's id.
    pub fn code(&self, name: &str, hash: &str, files: &[(&str, &str)]) -> String {
        let (uri, query) = self.container();
        for (path, content) in files {
            put_blob(&format!("{uri}/source/{path}?{query}"), content.as_bytes()).expect(201);
        }
        let body = json!({ "properties": {
            "codeUri": format!("{uri}/source"),
            "isAnonymous": true,
            "properties": { "hash_sha256": hash, "hash_version": "202208" },
        }});
        let code = self
            .arm("PUT", &format!("/codes/{name}/versions/1"), &body)
            .expect(201)
            .json();
        code["id"].as_str().expect("an id").to_owned()
    }

    /// A file for synchronization between tests and jobs.
    pub fn gate(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }
}

/// Uploads a block blob.
pub fn put_blob(url: &str, content: &[u8]) -> Answer {
    ask("PUT", url, &[("x-ms-blob-type", "BlockBlob")], content)
}

/// A command that waits until the file `gate` exists.
pub fn until(gate: &std::path::Path) -> String {
    format!("while [ ! -e '{}' ]; do sleep 0.05; done", gate.display())
}

/// The link to a job's page, as notebooks show it.
pub fn studio_link(workspace: &Workspace, name: &str) -> String {
    workspace.get(&format!("/jobs/{name}"))["properties"]["services"]["Studio"]["endpoint"]
        .as_str()
        .expect("a link")
        .to_owned()
}

/// The cookie that the server sets for a job's link.
pub fn cookie(workspace: &Workspace, name: &str) -> String {
    let answer = ask("GET", &studio_link(workspace, name), &[], &[]).expect(200);
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("; HttpOnly"), "{cookie}");
    assert!(cookie.contains("; SameSite=Strict"), "{cookie}");
    cookie.split(';').next().expect("a pair").to_owned()
}

pub fn look(workspace: &Workspace, cookie: &str, path: &str) -> Answer {
    ask(
        "GET",
        &format!("{}{path}", workspace.url()),
        &[("Cookie", cookie)],
        &[],
    )
}

/// The pids of processes whose command lines contain `text`. Zombies have no command line.
pub fn running(text: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("Linux has it").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
        })
        .collect()
}
