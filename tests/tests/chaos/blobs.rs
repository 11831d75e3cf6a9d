//! Blobs: each version is complete or absent, and none is older than the last acknowledged one.

use crate::http::Service;
use crate::jobs::path_of;
use crate::journal::Journal;
use fastrand::Rng;
use serde_json::{Value, json};

/// The number of blobs that a client overwrites repeatedly.
const BLOBS: u64 = 4;

/// The content of one version of a blob. Its first line states the version and the length; the
/// random bytes after it follow from the path and the version.
fn content(path: &str, version: u32) -> Vec<u8> {
    let mut seed = Rng::with_seed(path.bytes().fold(u64::from(version), |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(byte))
    }));
    let length = seed.usize(..400_000);
    let mut bytes = format!("{version} {length}\n").into_bytes();
    bytes.extend(std::iter::repeat_with(|| seed.u8(..)).take(length));
    bytes
}

/// The version of a content; `None` if it is incomplete.
fn version_of(path: &str, bytes: &[u8]) -> Option<u32> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let version = std::str::from_utf8(line).ok()?.split(' ').next()?;
    let version = version.parse().ok()?;
    (content(path, version) == bytes).then_some(version)
}

/// Uploads version after version to containers until the journal is over, and registers some as
/// code.
pub fn upload(service: &Service, journal: &Journal, client: usize, mut rng: Rng) {
    for container in 0.. {
        let name = format!("code-{client}-{container}");
        let begin = json!({ "pendingUploadType": "TemporaryBlobReference" });
        let path = format!("/codes/{name}/versions/1/startPendingUpload");
        let place = service.arm("POST", &path, &begin).json();
        let place = &place["blobReferenceForConsumption"];
        let uri = place["blobUri"].as_str().unwrap_or_default();
        let signed = place["credential"]["sasUri"].as_str().unwrap_or_default();
        let (Some(root), Some((_, query))) = (path_of(uri), signed.split_once('?')) else {
            journal.fault(format!("there is no place to upload to: {place}"));
            return;
        };
        for version in 1..rng.u32(10..40) {
            if journal.is_over() {
                return;
            }
            let path = format!("{root}/source/{}?{query}", rng.u64(..BLOBS));
            put(service, journal, &mut rng, &path, version);
            read(service, journal, &path);
        }
        let body =
            json!({ "properties": { "codeUri": format!("{uri}/source"), "isAnonymous": true }});
        let path = format!("/codes/{name}/versions/1");
        let response = service.arm("PUT", &path, &body);
        match response.status {
            200 | 201 => journal.acknowledge(|state| state.codes.insert(path)),
            _ => journal.fault(format!("{name} is not registered: {}", response.text())),
        }
    }
}

/// Uploads a version, in one request or in blocks.
fn put(service: &Service, journal: &Journal, rng: &mut Rng, path: &str, version: u32) {
    let bytes = content(path, version);
    let response = if rng.bool() {
        let headers = [("x-ms-blob-type", "BlockBlob")];
        service.send("PUT", path, &headers, &bytes)
    } else {
        let mut ids = Vec::new();
        for (number, block) in bytes.chunks(100_000).enumerate() {
            // Block ids are Base64 and must have equal lengths.
            let id = format!("b{version:04}{number:03}");
            let path = format!("{path}&comp=block&blockid={id}");
            let response = service.send("PUT", &path, &[], block);
            if response.status != 201 {
                journal.fault(format!("a block has status {}", response.status));
            }
            ids.push(format!("<Latest>{id}</Latest>"));
        }
        let list = format!("<BlockList>{}</BlockList>", ids.concat());
        service.send(
            "PUT",
            &format!("{path}&comp=blocklist"),
            &[],
            list.as_bytes(),
        )
    };
    if response.status == 201 {
        journal.acknowledge(|state| state.blobs.insert(path.to_owned(), version));
    } else {
        journal.fault(format!(
            "{path} has status {}: {}",
            response.status,
            response.text()
        ));
    }
}

/// Reads a blob back; another client may be writing a later version.
fn read(service: &Service, journal: &Journal, path: &str) {
    let least = journal.state().blobs.get(path).copied().unwrap_or(0);
    let response = service.send("GET", path, &[], &[]);
    match version_of(path, &response.body) {
        Some(version) if response.status == 200 && version >= least => {}
        found => journal.fault(format!(
            "{path} is version {found:?} of at least {least}: status {}, {} bytes",
            response.status,
            response.body.len()
        )),
    }
}

/// Reads blobs that other clients write, until the journal is over.
pub fn read_along(service: &Service, journal: &Journal, mut rng: Rng) {
    while !journal.is_over() {
        let path = {
            let state = journal.state();
            let index = rng.usize(..state.blobs.len().max(1));
            state.blobs.keys().nth(index).cloned()
        };
        match path {
            Some(path) => read(service, journal, &path),
            None => journal.next(),
        }
    }
}

/// Compares every blob and code asset with the journal.
pub fn verify(service: &Service, journal: &Journal) {
    let (blobs, codes) = {
        let state = journal.state();
        (state.blobs.clone(), state.codes.clone())
    };
    for path in blobs.keys() {
        read(service, journal, path);
    }
    for path in codes {
        let response = service.arm("GET", &path, &Value::Null);
        if response.status != 200 {
            journal.fault(format!("{path} is gone: {}", response.text()));
        }
    }
}
