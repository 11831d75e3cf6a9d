//! Fuzz tests: random bytes on every socket of a real kernel. The kernel must not panic, must limit
//! its memory, and must keep replying.
//!
//! `AZUREML_TEST_LONG=1` runs for ten minutes instead of some seconds; `AZUREML_TEST_SEED` repeats
//! a run.

use std::time::{Duration, Instant};

use azureml_kernel::protocol::message::Session;
use fastrand::Rng;
use jupyter_protocol::ConnectionInfo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::client::Client;
use crate::process::Process;
use crate::raw::{CHANNELS, Channel, Stream, frame, greeting, header, message};

/// Duration of an ordinary and of a long run.
const SHORT: Duration = Duration::from_secs(8);
const LONG: Duration = Duration::from_mins(10);

/// Number of connections between two checks of the kernel.
const ROUND: usize = 200;

/// Maximum number of connections left open.
const OPEN: usize = 60;

const MOST_MEMORY: usize = 200 << 20;

/// All request types except those that end the kernel.
const TYPES: [&str; 18] = [
    "kernel_info_request",
    "execute_request",
    "complete_request",
    "inspect_request",
    "is_complete_request",
    "history_request",
    "comm_info_request",
    "comm_open",
    "comm_msg",
    "comm_close",
    "input_reply",
    "interrupt_request",
    "debug_request",
    "create_subshell_request",
    "delete_subshell_request",
    "list_subshell_request",
    "",
    "nonsense",
];

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    bytes: usize,
    signed: usize,
}

#[tokio::test]
async fn fuzzed_sockets_neither_panic_nor_grow() {
    let seed = std::env::var("AZUREML_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("seed: AZUREML_TEST_SEED={seed}");
    let length = match std::env::var_os("AZUREML_TEST_LONG") {
        Some(_) => LONG,
        None => SHORT,
    };
    let mut rng = Rng::with_seed(seed);
    let mut kernels = Vec::new();
    for mut process in [Process::start(), Process::start_on_tcp()] {
        let client = process.connect().await;
        kernels.push((process, client));
    }
    let mut counts = Counts::default();
    let begun = Instant::now();
    while begun.elapsed() < length {
        for (process, client) in &mut kernels {
            round(&process.connection, &mut rng, &mut counts).await;
            assert_well(process, client, seed).await;
        }
    }
    for (process, client) in &mut kernels {
        let (reply, _) = client.run("20 + 1").await;
        assert_eq!(reply["status"], "ok", "seed {seed}: {reply}");
        assert_well(process, client, seed).await;
        println!("{} MiB at most", process.most_memory() >> 20);
    }
    println!("{counts:?} in {:?}", begun.elapsed());
}

async fn assert_well(process: &mut Process, client: &mut Client, seed: u64) {
    // IOPub messages caused by other connections precede the reply's.
    let id = client.send("kernel_info_request", json!({})).await;
    loop {
        let reply = client.reply().await;
        if reply.parent == id {
            assert_eq!(reply.content["status"], "ok", "seed {seed}");
            break;
        }
    }
    client.broadcasts(&id).await;
    let log = process.log();
    assert!(!log.contains("panicked"), "seed {seed}: {log}");
    assert!(
        log.len() < 2 << 20,
        "seed {seed}: {} bytes of log",
        log.len()
    );
    let memory = process.most_memory();
    assert!(memory < MOST_MEMORY, "seed {seed}: {} MiB", memory >> 20);
}

async fn round(connection: &ConnectionInfo, rng: &mut Rng, counts: &mut Counts) {
    let mut open: Vec<Box<dyn Stream>> = Vec::new();
    for _ in 0..ROUND {
        let channel = CHANNELS[rng.usize(..CHANNELS.len())];
        let Ok(mut stream) = channel.connect(connection).await else {
            continue;
        };
        let bytes = conversation(channel, connection, rng, counts);
        counts.connections += 1;
        counts.bytes += bytes.len();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rng.usize(1..=rest.len()));
            // The kernel may have closed the connection, or may wait until its replies are read.
            let written = timeout(Duration::from_millis(20), stream.write_all(now)).await;
            if !matches!(written, Ok(Ok(()))) {
                break;
            }
            rest = later;
        }
        if rng.bool() {
            let mut answer = [0; 4096];
            let _ = timeout(Duration::from_millis(1), stream.read(&mut answer)).await;
        }
        if rng.u8(..) < 80 {
            open.push(stream);
            if open.len() > OPEN {
                open.swap_remove(rng.usize(..open.len()));
            }
        }
    }
}

/// Returns the bytes that a peer sends: usually a handshake, then messages that are corrupted to
/// different degrees.
fn conversation(
    channel: Channel,
    connection: &ConnectionInfo,
    rng: &mut Rng,
    counts: &mut Counts,
) -> Vec<u8> {
    let mut bytes = greeting().to_vec();
    if rng.u8(..) < 20 {
        break_somewhere(&mut bytes, rng);
    }
    let identity: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(1..)).collect();
    let mut ready = channel.ready(&identity);
    if rng.u8(..) < 20 {
        break_somewhere(&mut ready, rng);
    }
    bytes.extend(ready);
    for _ in 0..rng.usize(..12) {
        let mut next = match rng.u8(..12) {
            0 => garbage(rng, 300),
            1 => frame(rng.u8(..8), &garbage(rng, 600)),
            2 => header(rng.u8(..8), rng.u64(..) >> rng.u32(..64)),
            3 => frame(4, &[&b"\x04PING\0\x0a"[..], &garbage(rng, 20)].concat()),
            4 => frame(
                rng.u8(..2),
                &[&[rng.u8(..3)][..], &garbage(rng, 40)].concat(),
            ),
            5 => frame(4, &[&b"\x09SUBSCRIBE"[..], &garbage(rng, 40)].concat()),
            6 => frame(1, b"").repeat(rng.usize(..20_000)),
            7 => frame(rng.u8(..2), &vec![rng.u8(..); rng.usize(..2 << 20)]),
            8 => {
                let frames: Vec<_> = (0..rng.usize(1..9)).map(|_| piece(rng)).collect();
                message(&frames)
            }
            _ => {
                counts.signed += 1;
                signed(connection, rng)
            }
        };
        if rng.u8(..) < 30 {
            break_somewhere(&mut next, rng);
        }
        bytes.extend(next);
    }
    bytes
}

/// Returns a message signed with the right key, with more or less valid content.
fn signed(connection: &ConnectionInfo, rng: &mut Rng) -> Vec<u8> {
    let msg_type = TYPES[rng.usize(..TYPES.len())];
    let content = match rng.u8(..4) {
        0 => json!({}),
        1 => json!({ "code": "", "cursor_pos": rng.i64(..), "silent": true, "value": "x" }),
        2 => json!({
            "code": text(rng), "cursor_pos": rng.u8(..), "store_history": false, "silent": true,
            "comm_id": "c", "target_name": text(rng), "data": value(rng, 4),
            "hist_access_type": "tail", "n": rng.i32(..), "seq": rng.i32(..),
            "command": "inspectVariables", "type": "request", "subshell_id": text(rng),
        }),
        _ => value(rng, 5),
    };
    // Sent as `comm_msg` instead: compiling a cell takes long, and rust-analyzer uses about 200 MiB
    // for the standard library alone, for any client.
    let compiles = msg_type == "execute_request";
    let analyses = matches!(msg_type, "complete_request" | "inspect_request");
    let msg_type = match content["code"].as_str() {
        Some(code) if analyses || (compiles && !code.trim().is_empty()) => "comm_msg",
        _ => msg_type,
    };
    let metadata = value(rng, 2);
    let buffers = vec![garbage(rng, 100).into(); rng.usize(..3)];
    let session = Session::new(&connection.key);
    message(&session.encode_with(&[], msg_type, None, &metadata, &content, &buffers))
}

fn value(rng: &mut Rng, depth: usize) -> Value {
    match rng.u8(..8) {
        0 => Value::Null,
        1 => json!(rng.i64(..)),
        2 => json!(rng.f64() * 1e300),
        3 => json!(text(rng)),
        4 => json!(rng.bool()),
        _ if depth == 0 => json!({}),
        5 => (0..rng.usize(..4)).map(|_| value(rng, depth - 1)).collect(),
        _ => {
            let members = ["code", "comm_id", "data", "cursor_pos", "x"];
            let mut object = serde_json::Map::new();
            for _ in 0..rng.usize(..4) {
                let name = members[rng.usize(..members.len())];
                object.insert(name.to_owned(), value(rng, depth - 1));
            }
            Value::Object(object)
        }
    }
}

fn text(rng: &mut Rng) -> String {
    (0..rng.usize(..30)).map(|_| rng.char(..)).collect()
}

fn piece(rng: &mut Rng) -> Vec<u8> {
    match rng.u8(..6) {
        0 => b"<IDS|MSG>".to_vec(),
        1 => b"{}".to_vec(),
        2 => vec![b'['; rng.usize(..100_000)],
        3 => Vec::new(),
        _ => garbage(rng, 80),
    }
}

fn garbage(rng: &mut Rng, most: usize) -> Vec<u8> {
    (0..rng.usize(..most)).map(|_| rng.u8(..)).collect()
}

/// Changes, removes or duplicates a part of the bytes.
fn break_somewhere(bytes: &mut Vec<u8>, rng: &mut Rng) {
    if bytes.is_empty() {
        return;
    }
    let place = rng.usize(..bytes.len());
    match rng.u8(..3) {
        0 => bytes[place] ^= 1 << rng.u8(..8),
        1 => bytes.truncate(place),
        _ => bytes.extend_from_within(place..),
    }
}
