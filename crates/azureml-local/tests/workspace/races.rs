//! Concurrent reads and writes: every response contains one complete content.

use crate::support::{Workspace, ask, cookie, put_blob, try_ask, until};
use azureml_wire::local::scope;
use serde_json::json;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

/// The lengths of the alternating contents.
const LENGTHS: [usize; 4] = [40, 70_000, 300_000, 1_000];

/// Content that repeats its own length.
fn content(round: usize) -> Vec<u8> {
    let length = LENGTHS[round % LENGTHS.len()];
    let line = format!("{length:08}|");
    line.bytes().cycle().take(length).collect()
}

/// The length of the content that a part belongs to, read from the part.
fn told(part: &[u8], start: usize) -> usize {
    let begin = (9 - start % 9) % 9;
    let number = &part[begin..begin + 8];
    std::str::from_utf8(number)
        .ok()
        .and_then(|number| number.parse().ok())
        .expect("a length")
}

/// Whether a part belongs to the content of that length completely.
fn is_of(part: &[u8], start: usize, length: usize) -> bool {
    let line = format!("{length:08}|");
    part.iter()
        .zip(line.bytes().cycle().skip(start % 9))
        .all(|(found, expected)| *found == expected)
}

/// Calls `read` repeatedly while `write` writes one content after the other.
fn race(times: usize, write: impl Fn(usize) + Sync, read: impl Fn(usize)) {
    let done = AtomicBool::new(false);
    write(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1.. {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                write(round);
            }
        });
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..times).for_each(&read);
        }));
        done.store(true, Ordering::Relaxed);
        failed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn race_a_blob_that_is_overwritten_is_read_whole() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let url = format!("{uri}/blob?{query}");
    let write = |round| {
        put_blob(&url, &content(round)).expect(201);
    };
    race(3_000, write, |number| {
        let answer = match number % 4 {
            0 => ask("HEAD", &url, &[], &[]).expect(200),
            1 => {
                let range = [("Range", "bytes=3-")];
                ask("GET", &url, &range, &[]).expect(206)
            }
            _ => ask("GET", &url, &[], &[]).expect(200),
        };
        let length: usize = answer
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .expect("a length");
        match number % 4 {
            0 => assert!(LENGTHS.contains(&length), "{length}"),
            1 => {
                let whole = told(&answer.body, 3);
                assert_eq!(answer.body.len(), whole - 3);
                assert_eq!(length, whole - 3);
                let range = answer.header("content-range").expect("a range");
                assert_eq!(range, format!("bytes 3-{}/{whole}", whole - 1));
                assert!(is_of(&answer.body, 3, whole));
            }
            _ => {
                let whole = told(&answer.body, 0);
                assert_eq!((answer.body.len(), length), (whole, whole));
                assert!(is_of(&answer.body, 0, whole));
            }
        }
    });
    // With `If-Match`, a range belongs to the content with that `ETag`.
    race(500, write, |_| {
        let head = ask("HEAD", &url, &[], &[]).expect(200);
        let tag = head.header("etag").expect("a tag").to_owned();
        let length: usize = head
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .expect("a length");
        let headers = [("Range", "bytes=0-8"), ("If-Match", tag.as_str())];
        let part = ask("GET", &url, &headers, &[]);
        if part.status == 206 {
            assert_eq!(told(&part.body, 0), length, "{tag}");
        } else {
            part.expect(412);
        }
    });
}

#[test]
fn race_a_content_comes_with_its_own_type() {
    let workspace = Workspace::start();
    let (uri, query) = workspace.container();
    let url = format!("{uri}/blob?{query}");
    let write = |round| {
        let content = content(round);
        let kind = format!("text/{}", content.len());
        let headers = [("x-ms-blob-type", "BlockBlob"), ("Content-Type", &kind)];
        ask("PUT", &url, &headers, &content).expect(201);
    };
    race(2_000, write, |_| {
        let answer = ask("GET", &url, &[], &[]).expect(200);
        let kind = format!("text/{}", told(&answer.body, 0));
        assert_eq!(answer.header("content-type"), Some(kind.as_str()));
    });
}

#[test]
fn race_an_artifact_that_is_overwritten_is_saved_whole() {
    let workspace = Workspace::start();
    let gate = workspace.gate("gate");
    workspace.submit("job", &until(&gate), &json!({}));
    let cookie = cookie(&workspace, "job");
    let bearer = format!("Bearer {}", workspace.token());
    let url = workspace.url();
    let artifact = format!(
        "{url}/mlflow/v2.0{}/api/2.0/mlflow-artifacts/artifacts/ExperimentRun/dcid.job/outputs/a",
        scope()
    );
    let page = format!("{url}/studio/jobs/job/files/outputs/a");
    let write = |round| {
        let answer = ask(
            "PUT",
            &artifact,
            &[("Authorization", &bearer)],
            &content(round),
        );
        answer.expect(200);
    };
    race(500, write, |number| {
        let answer = if number % 2 == 0 {
            ask("GET", &artifact, &[("Authorization", &bearer)], &[])
        } else {
            let saved = format!("{page}?download=1");
            try_ask("GET", &saved, &[("Cookie", &cookie)], &[]).expect("an answer")
        };
        let body = answer.expect(200).body;
        let whole = told(&body, 0);
        assert_eq!(body.len(), whole, "{number}");
        assert!(is_of(&body, 0, whole), "{number}");
    });
    fs::write(&gate, "").expect("the folder is ours");
}
