//! Random requests to every route: none may return 5xx, cause a panic, or make the server exceed
//! its memory limit.
//!
//! The seed is printed, and read from `AZUREML_TEST_SEED`. With `AZUREML_TEST_LONG=1`, the test
//! runs for ten minutes.

use crate::routes;
use crate::support::{Workspace, cookie, put_blob, until};
use azureml_wire::local::{env, scope};
use end_to_end::{kill, wait_for};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// The durations of the short and of the long test.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_mins(10);

/// The limit of the server's peak memory, in bytes.
const MEMORY: u64 = 200 << 20;

/// The number of concurrent clients.
const CLIENTS: u64 = 4;

/// Values for path segments, query parameters, headers and text in bodies.
const NASTY: &[&str] = &[
    "",
    ".",
    "..",
    "%",
    "%00",
    "%2e%2e%2f",
    "%2F",
    "%ff",
    "%25",
    "\\",
    "~",
    "*",
    "'",
    "\"",
    "<b>",
    "&amp;",
    "?",
    "#",
    "x y",
    "é",
    "손실",
    "\u{202e}",
    "0",
    "-1",
    "1e999",
    "NaN",
    "null",
    "true",
    "18446744073709551616",
    "9223372036854775807",
    "bytes=-0",
    "bytes=0-18446744073709551615",
    "bytes=5-2",
    "\"0x1\"",
    "W/\"\"",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Thu, 99 Foo 9999 99:99:99 GMT",
    "2024-02-30T00:00:00Z",
    "PT5M",
    "P99999999999D",
    "azureml://jobs/",
    "azureml:x:1",
    "azureml://datastores/workspaceblobstore/paths/",
    "runs:/x/y",
    "http://127.0.0.1:1/azuremllocal/a/b?sig=0",
    "dcid.",
    "${{inputs.x}}",
    "${{",
    "$[[",
    "key=value",
    "metrics.`a` > 1",
    "((((((((((((((((((((",
    "params.a = 'b' AND",
    "a,b,c",
    "comp=list",
    "block",
    "blocklist",
    "metadata",
    "properties",
    "All",
    "ArchivedOnly",
    "createdtime asc",
    "%u",
    "{}",
    "[]",
    "container",
    "mlflow.parentRunId",
    "Completed",
    "text/html",
    "gzip",
    "application/octet-stream",
    "BlockBlob",
    "PageBlob",
];

const QUERIES: &[&str] = &[
    "restype",
    "comp",
    "prefix",
    "delimiter",
    "marker",
    "maxresults",
    "include",
    "blockid",
    "sig",
    "se",
    "sp",
    "sr",
    "$top",
    "$skip",
    "$orderBy",
    "orderBy",
    "listViewType",
    "hash",
    "tag",
    "jobType",
    "path",
    "continuationToken",
    "$continuationToken",
    "ticket",
    "run",
    "to",
    "find",
    "download",
    "log",
    "status",
    "experiment",
    "run_id",
    "run_uuid",
    "metric_key",
    "max_results",
    "page_token",
    "experiment_id",
    "experiment_name",
    "view_type",
    "api-version",
    "before",
];

const HEADERS: &[&str] = &[
    "Range",
    "x-ms-range",
    "If-Match",
    "If-None-Match",
    "If-Modified-Since",
    "If-Unmodified-Since",
    "Content-Type",
    "Content-Encoding",
    "Cache-Control",
    "Content-MD5",
    "x-ms-blob-type",
    "x-ms-blob-content-type",
    "x-ms-blob-cache-control",
    "x-ms-blob-content-disposition",
    "x-ms-meta-a",
    "x-ms-meta-",
    "x-ms-copy-source",
    "x-ms-source-if-match",
    "x-ms-version",
    "Accept",
    "Accept-Language",
    "Accept-Encoding",
    "Cookie",
    "Origin",
    "Sec-Fetch-Site",
    "Sec-Fetch-Dest",
    "Expect",
    "Upgrade",
    "User-Agent",
    "X-Forwarded-For",
    "Authorization",
];

const METHODS: &[&str] = &[
    "GET", "GET", "HEAD", "PUT", "PUT", "POST", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "x",
];

/// The parts from which requests are generated.
struct Source {
    url: String,
    paths: Vec<String>,
    /// Authorization headers for every kind of caller.
    callers: Vec<String>,
    /// SAS queries of a container.
    queries: Vec<String>,
    bodies: Vec<Value>,
}

impl Source {
    fn of(workspace: &Workspace, run_token: &str) -> Self {
        let url = workspace.url();
        let (uri, query) = workspace.container();
        put_blob(&format!("{uri}/x.txt?{query}"), b"0123456789").expect(201);
        let mut paths = routes::all("run");
        let container = uri.strip_prefix(&url).expect("its address");
        for path in ["", "/x.txt", "/folder/y.txt"] {
            paths.push(format!("{container}{path}"));
        }
        let cookie = cookie(workspace, "run");
        Self {
            paths,
            callers: vec![
                format!(
                    "Authorization: Bearer {}\r\nCookie: {cookie}\r\nOrigin: {url}\r\n",
                    workspace.token()
                ),
                String::new(),
                "Authorization: Bearer wrong\r\n".to_owned(),
                format!("Authorization: Bearer {run_token}\r\n"),
                format!("Cookie: {cookie}\r\nOrigin: {url}\r\n"),
            ],
            queries: vec![query],
            bodies: bodies(),
            url,
        }
    }

    /// The bytes of a random request.
    fn request(&self, rng: &mut Rng) -> Vec<u8> {
        let mut path = pick(rng, &self.paths).clone();
        if rng.u8(..4) == 0 {
            let mut parts: Vec<&str> = path.split('/').collect();
            let at = rng.usize(..parts.len());
            parts[at] = *pick(rng, NASTY);
            path = parts.join("/");
        }
        if rng.u8(..64) == 0 {
            path += &pick(rng, NASTY).repeat(rng.usize(..2000));
        }
        let mut query: Vec<String> = (0..rng.usize(..6).saturating_sub(3))
            .map(|_| format!("{}={}", pick(rng, QUERIES), pick(rng, NASTY)))
            .collect();
        if rng.u8(..4) == 0 {
            query.push(pick(rng, &self.queries).clone());
        }
        if !query.is_empty() {
            path += if path.contains('?') { "&" } else { "?" };
            path += &query.join("&");
        }
        let body = self.body(rng);
        let host = self.url.trim_start_matches("http://");
        let mut request = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{}",
            pick(rng, METHODS),
            path.replace(' ', "%20"),
            if rng.u8(..50) == 0 {
                pick(rng, NASTY)
            } else {
                host
            },
            body.len(),
            // Most requests have valid credentials, so that they reach a route.
            if rng.u8(..3) > 0 {
                &self.callers[0]
            } else {
                pick(rng, &self.callers)
            },
        );
        for _ in 0..rng.usize(..6).saturating_sub(2) {
            request += &[*pick(rng, HEADERS), ": ", *pick(rng, NASTY), "\r\n"].concat();
        }
        request += "\r\n";
        let mut request = request.into_bytes();
        request.extend(body);
        request
    }

    fn body(&self, rng: &mut Rng) -> Vec<u8> {
        match rng.u32(..1000) {
            0 => vec![b'['; 1 << 20],
            // The maximum number of members in a body.
            1 => [
                b"[".as_slice(),
                &b"1,".repeat(4 << 20)[..(8 << 20) - 8],
                b"1]",
            ]
            .concat(),
            2 => format!("[{}{{}}]", "{},".repeat(2 << 20)).into_bytes(),
            3 => vec![b'x'; 9 << 20],
            4..100 => Vec::new(),
            100..200 => (0..rng.usize(..200)).map(|_| rng.u8(..)).collect(),
            200..250 => b"<BlockList><Latest>YQ==</Latest><Latest></BlockList".to_vec(),
            _ => {
                let mut body = pick(rng, &self.bodies).clone();
                for _ in 0..rng.usize(..3) {
                    mutate(rng, &mut body);
                }
                keep_harmless(rng, &mut body);
                let mut text = body.to_string().into_bytes();
                if rng.u8(..16) == 0 {
                    text.truncate(rng.usize(..=text.len()));
                }
                text
            }
        }
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

/// Changes a random part of a value.
fn mutate(rng: &mut Rng, value: &mut Value) {
    let goes_down = rng.u8(..8) > 0;
    match value {
        Value::Object(members) if goes_down && !members.is_empty() => {
            let at = rng.usize(..members.len());
            if let Some((_, member)) = members.iter_mut().nth(at) {
                mutate(rng, member);
            }
        }
        Value::Array(items) if goes_down && !items.is_empty() => {
            let at = rng.usize(..items.len());
            mutate(rng, &mut items[at]);
        }
        other => {
            *other = match rng.u8(..8) {
                0 => Value::Null,
                1 => json!(rng.i64(..)),
                2 => json!(rng.f64() * 1e300),
                3 => json!([]),
                4 => json!({ *pick(rng, NASTY): pick(rng, NASTY) }),
                5 => json!(pick(rng, NASTY).repeat(rng.usize(..5000))),
                6 => json!(rng.bool()),
                _ => json!(pick(rng, NASTY)),
            }
        }
    }
}

/// Replaces the commands in a body by harmless ones, because jobs run on this machine.
fn keep_harmless(rng: &mut Rng, body: &mut Value) {
    let command = *pick(rng, &["true", "exit 3", "echo ${{inputs.a}}", ""]);
    for place in ["/properties/command", "/properties/trial/command"] {
        if let Some(found) = body.pointer_mut(place) {
            *found = json!(command);
        }
    }
}

/// Valid bodies for all routes.
fn bodies() -> Vec<Value> {
    let environment = scope().path(["environments", "rust-tch-gpu", "versions", "1"]);
    let asset = |properties: Value| json!({ "properties": properties });
    vec![
        asset(json!({
            "jobType": "Command", "command": "true", "environmentId": environment,
            "computeId": scope().path(["computes", "cpu-cluster"]), "experimentName": "fuzz", "displayName": "x",
            "inputs": { "a": { "jobInputType": "literal", "value": "1" } },
            "outputs": { "b": { "jobOutputType": "uri_folder", "mode": "ReadWriteMount" } },
            "environmentVariables": { "A": "b" }, "tags": { "a": "b" },
            "resources": { "instanceCount": 1 }, "limits": { "jobLimitsType": "Command", "timeout": "PT1M" },
            "distribution": { "distributionType": "PyTorch", "processCountPerInstance": 1 },
        })),
        asset(json!({
            "jobType": "Sweep", "trial": { "command": "true", "environmentId": environment },
            "searchSpace": { "lr": ["choice", [[0.1, 0.2]]], "n": ["uniform", [0.1, 1.0]] },
            "samplingAlgorithm": { "samplingAlgorithmType": "Random", "seed": 1 },
            "objective": { "goal": "Maximize", "primaryMetric": "a" },
            "limits": { "jobLimitsType": "Sweep", "maxTotalTrials": 1, "maxConcurrentTrials": 1 },
        })),
        asset(json!({ "image": "ubuntu", "description": "x", "tags": {}, "isArchived": false })),
        asset(
            json!({ "modelUri": "azureml://jobs/run/outputs/artifacts/paths/outputs/", "modelType": "custom_model" }),
        ),
        asset(
            json!({ "dataUri": "azureml://datastores/workspaceblobstore/paths/x", "dataType": "uri_folder" }),
        ),
        asset(
            json!({ "codeUri": "http://127.0.0.1:1/azuremllocal/x/y", "properties": { "hash_sha256": "aa" } }),
        ),
        asset(json!({ "isArchived": true, "tags": { "a": "b" } })),
        json!({ "location": "local", "properties": { "computeType": "AmlCompute", "properties": {
            "vmSize": "STANDARD_DS3_V2", "scaleSettings": { "minNodeCount": 0, "maxNodeCount": 1,
            "nodeIdleTimeBeforeScaleDown": "PT120S" } } } }),
        json!({ "pendingUploadType": "TemporaryBlobReference" }),
        json!({ "values": ["azureml://jobs/run/outputs/artifacts/paths/x", "azureml:model:1"] }),
        json!({ "runId": "run" }),
        json!({ "paths": [{ "path": "outputs/x.txt" }] }),
        json!({ "displayName": "x", "tags": { "a": "b" }, "properties": { "a": "b" }, "hidden": false }),
        json!({ "run_id": "run", "key": "loss", "value": 0.5, "timestamp": 1, "step": 1 }),
        json!({ "run_id": "run", "metrics": [{ "key": "loss", "value": "NaN", "timestamp": 1, "step": 1 }],
            "params": [{ "key": "a", "value": "b" }], "tags": [{ "key": "a", "value": "b" }] }),
        json!({ "experiment_ids": ["0", "1"], "filter": "metrics.loss > 0.1 AND tags.`a` = 'b'", "max_results": 10,
            "order_by": ["metrics.loss DESC"], "page_token": "", "run_view_type": "ALL" }),
        json!({ "experiment_id": "0", "start_time": 1, "run_name": "x", "tags": [{ "key": "mlflow.parentRunId", "value": "run" }] }),
        json!({ "name": "fuzz", "tags": [{ "key": "a", "value": "b" }], "artifact_location": "x" }),
        json!({ "run_id": "run", "status": "RUNNING", "end_time": 1, "run_name": "x" }),
        json!({ "run_id": "run", "datasets": [{ "tags": [], "dataset": { "name": "a", "digest": "b", "source_type": "c",
            "source": "d" } }] }),
        json!({ "experiment_id": "1", "new_name": "x", "key": "a", "value": "b" }),
    ]
}

/// The status and the text of a response. The status is `None` if nothing arrives in time, as for
/// an event stream.
fn send(host: &str, request: &[u8]) -> io::Result<(Option<u16>, String)> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    // The server may respond and close the connection before it has read the whole request.
    let _ = stream.write_all(request);
    let mut head = [0; 12];
    if stream.read_exact(&mut head).is_err() {
        return Ok((None, String::new()));
    }
    let status = std::str::from_utf8(&head[9..12])
        .ok()
        .and_then(|status| status.parse().ok());
    // Reads the rest for a limited time, because an event stream does not end.
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut part = vec![0; 16 << 10];
    let mut text = Vec::new();
    let end = Instant::now() + Duration::from_secs(5);
    while let Ok(read) = stream.read(&mut part)
        && read > 0
        && Instant::now() < end
    {
        text.extend_from_slice(&part[..read.min(4000usize.saturating_sub(text.len()))]);
    }
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

/// The peak memory of a process in bytes, as reported by the kernel.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("a peak");
    let kilobytes: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    kilobytes << 10
}

/// Sends requests until `end`; returns their number by status.
fn client(source: &Source, seed: u64, end: Instant) -> BTreeMap<Option<u16>, u64> {
    let mut rng = Rng::with_seed(seed);
    let host = source.url.trim_start_matches("http://");
    let mut counts = BTreeMap::new();
    while Instant::now() < end {
        let request = source.request(&mut rng);
        let (status, text) = send(host, &request).expect("the server listens");
        assert!(
            status.is_none_or(|status| status < 500),
            "{status:?}: {}\nto\n{}",
            text.split("\r\n\r\n").last().unwrap_or_default(),
            String::from_utf8_lossy(&request[..request.len().min(4000)])
        );
        *counts.entry(status).or_default() += 1;
    }
    counts
}

#[test]
fn random_requests_break_nothing_on_any_route() {
    let seed = std::env::var("AZUREML_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    let is_long = std::env::var("AZUREML_TEST_LONG").is_ok_and(|long| long == "1");
    println!("AZUREML_TEST_SEED={seed}");
    let workspace = Workspace::new();
    let mut server = workspace.serve(&[(env::TRACE, "")]);
    let gate = workspace.gate("gate");
    let command = format!("echo $AZUREML_RUN_TOKEN; {}", until(&gate));
    workspace.submit("run", &command, &json!({}));
    let token = wait_for("the token", || {
        let log = workspace.log("run");
        log.ends_with('\n').then(|| log.trim().to_owned())
    });
    let source = Source::of(&workspace, &token);
    let end = Instant::now() + if is_long { LONG } else { SHORT };
    let counts = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client_seed| {
                let source = &source;
                scope.spawn(move || client(source, seed ^ client_seed, end))
            })
            .collect();
        let mut counts: BTreeMap<Option<u16>, u64> = BTreeMap::new();
        for client in clients {
            for (status, count) in client.join().expect("no request is answered with 5xx") {
                *counts.entry(status).or_default() += count;
            }
        }
        counts
    });
    let memory = peak(server.id());
    println!(
        "{} requests, by status: {counts:?}; the server's peak is {} MB",
        counts.values().sum::<u64>(),
        memory >> 20
    );
    assert!(memory < MEMORY, "{} MB", memory >> 20);
    let log = fs::read_to_string(workspace.home().join("server.log")).expect("a log");
    assert!(!log.contains("panicked"), "{log}");
    assert!(
        server.try_wait().expect("it is ours").is_none(),
        "it has ended"
    );
    workspace.get("/jobs");
    fs::write(&gate, "").expect("the folder is ours");
    kill(server.id());
    server.wait().expect("it was ours");
    let store = rusqlite::Connection::open(workspace.home().join("workspace.db")).expect("a store");
    let sound: String = store
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("an answer");
    assert_eq!(sound, "ok");
}
