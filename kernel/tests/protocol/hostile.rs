//! Hostile peers without the key, which try to end the kernel or to exhaust its memory, disk or
//! time.

use std::time::Duration;

use azureml_kernel::protocol::message::Session;
use azureml_kernel::zmtp::Limits;
use bytes::Bytes;
use jupyter_protocol::ConnectionInfo;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeromq::{DealerSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

use crate::client::{Client, Kernel, soon};
use crate::process::Process;
use crate::raw::{self, CHANNELS, Channel, Stream, frame, greeting, header, message, until_closed};

/// Maximum memory of a kernel under attack, and maximum size of its log, in bytes.
const MOST_MEMORY: usize = 200 << 20;
const MOST_LOG: usize = 1 << 20;

/// Starts a kernel process with a front end for each transport.
async fn kernels() -> Vec<(Process, Client)> {
    let mut kernels = Vec::new();
    for mut process in [Process::start(), Process::start_on_tcp()] {
        let client = process.connect().await;
        kernels.push((process, client));
    }
    kernels
}

/// Asserts that a kernel runs cells for a connected front end and for a new one.
async fn assert_well(process: &mut Process, client: &mut Client) {
    let mut newcomer = process.connect().await;
    for client in [client, &mut newcomer] {
        let (reply, shown) = client.run("20 + 1").await;
        assert_eq!(reply["status"], "ok", "{reply}");
        let values = shown
            .iter()
            .filter(|message| message.msg_type == "execute_result");
        let values: Vec<_> = values
            .map(|message| message.content["data"]["text/plain"].clone())
            .collect();
        assert_eq!(values, ["21"]);
    }
    let memory = process.most_memory();
    assert!(memory < MOST_MEMORY, "{} MiB", memory >> 20);
    let log = process.log().len();
    assert!(log < MOST_LOG, "{log} bytes of log");
}

#[tokio::test]
async fn announced_sizes_end_no_kernel() {
    for (mut process, mut client) in kernels().await {
        for channel in CHANNELS {
            for length in [1 << 31, 1 << 46, 1 << 62, 1 << 63, u64::MAX] {
                for flags in [2, 3, 6, 7, 0xff] {
                    let announced = header(flags, length);
                    // Instead of the handshake, and after it.
                    let mut early = channel
                        .connect(&process.connection)
                        .await
                        .expect("it listens");
                    let bytes = [&greeting()[..], &announced].concat();
                    // The kernel may close the connection before all is written.
                    let _ = early.write_all(&bytes).await;
                    until_closed(&mut early).await;
                    let mut late = channel
                        .greeted(&process.connection)
                        .await
                        .expect("it listens");
                    let _ = late.write_all(&announced).await;
                    until_closed(&mut late).await;
                }
            }
        }
        assert_well(&mut process, &mut client).await;
    }
}

#[tokio::test]
async fn endless_messages_take_no_memory() {
    let chunk = vec![b'x'; 1 << 20];
    let frames = frame(1, b"").repeat(100_000);
    for (mut process, mut client) in kernels().await {
        for channel in CHANNELS {
            // One endless frame, several frames at once, and an endless sequence of frames.
            let mut streams = Vec::new();
            for _ in 0..4 {
                let mut stream = channel
                    .greeted(&process.connection)
                    .await
                    .expect("it listens");
                stream
                    .write_all(&header(3, 1 << 30))
                    .await
                    .expect("it is read");
                streams.push(stream);
            }
            let mut open: Vec<Box<dyn Stream>> = streams;
            for _ in 0..300 {
                let mut next = Vec::new();
                for mut stream in open {
                    if stream.write_all(&chunk).await.is_ok() {
                        next.push(stream);
                    }
                }
                open = next;
            }
            assert_eq!(open.len(), 0, "{channel:?} takes 300 MiB");
            let mut many = channel
                .greeted(&process.connection)
                .await
                .expect("it listens");
            let closed = raw::write_until_closed(&mut *many, &frames, 100 << 20).await;
            assert!(closed, "{channel:?} takes any number of frames");
        }
        assert_well(&mut process, &mut client).await;
    }
}

#[tokio::test]
async fn bad_messages_fill_no_log() {
    for (mut process, mut client) in kernels().await {
        for channel in CHANNELS {
            let mut stream = channel
                .greeted(&process.connection)
                .await
                .expect("it listens");
            let bad = message(&[&b"<IDS|MSG>"[..], b"00", b"{}", b"{}", b"{}", b"{}"]);
            let batch = bad.repeat(1000);
            for _ in 0..20 {
                // Heartbeats are echoed and must be read; IOPub closes a connection that sends
                // anything but subscriptions.
                let (mut read, mut write) = tokio::io::split(&mut stream);
                let mut back = vec![
                    0;
                    if channel == Channel::Heartbeat {
                        batch.len()
                    } else {
                        0
                    }
                ];
                let both =
                    async { tokio::join!(write.write_all(&batch), read.read_exact(&mut back)) };
                let (written, returned) = soon("the echo", both).await;
                written.expect("it is read");
                returned.expect("it is returned");
                assert!(back.is_empty() || back == batch);
            }
        }
        // A sequence of failing connections.
        for _ in 0..5000 {
            let mut stream = Channel::Shell
                .connect(&process.connection)
                .await
                .expect("it listens");
            let _ = stream
                .write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nA: 1234567890123456789\r\n\r\n")
                .await;
        }
        assert_well(&mut process, &mut client).await;
    }
}

#[tokio::test]
async fn a_thousand_silent_connections_block_no_cell() {
    for (mut process, mut client) in kernels().await {
        let mut held = Vec::new();
        for number in 0..1000 {
            let channel = CHANNELS[number % CHANNELS.len()];
            held.push(
                channel
                    .connect(&process.connection)
                    .await
                    .expect("it listens"),
            );
        }
        assert_well(&mut process, &mut client).await;
        for channel in CHANNELS {
            for _ in 0..200 {
                // Connections that complete the handshake and then send nothing.
                held.push(
                    channel
                        .greeted(&process.connection)
                        .await
                        .expect("it listens"),
                );
            }
        }
        assert_well(&mut process, &mut client).await;
    }
}

#[tokio::test]
async fn silent_connections_make_room_for_front_ends() {
    let kernel = Kernel::start_within(Limits {
        connections: 4,
        // Long, so that only new connections can displace the idle ones.
        handshake: Duration::from_hours(1),
        ..Limits::default()
    });
    let mut client = kernel.connect().await;
    client.assert_alive().await;
    for channel in CHANNELS {
        let mut silent = Vec::new();
        for _ in 0..4 {
            silent.push(
                channel
                    .connect(&kernel.connection)
                    .await
                    .expect("it listens"),
            );
        }
        // The oldest connection is closed; a connection that has proved the key stays.
        for _ in 0..4 {
            channel
                .greeted(&kernel.connection)
                .await
                .expect("it is served");
        }
        let mut oldest = silent.remove(0);
        until_closed(&mut oldest).await;
    }
    client.assert_alive().await;
}

#[tokio::test]
async fn slow_greetings_and_messages_are_cut_off_in_time() {
    let kernel = Kernel::start_within(Limits {
        handshake: Duration::from_millis(50),
        message: Duration::from_millis(50),
        ..Limits::default()
    });
    let mut client = kernel.connect().await;
    client.assert_alive().await;
    for channel in CHANNELS {
        let ready = [&greeting()[..], &channel.ready(b"")].concat();
        for sent in [0, 1, 11, 63, 64, 65, 70, ready.len() - 1] {
            let mut stream = channel
                .connect(&kernel.connection)
                .await
                .expect("it listens");
            stream.write_all(&ready[..sent]).await.expect("it is read");
            until_closed(&mut stream).await;
        }
        let mut stream = channel
            .greeted(&kernel.connection)
            .await
            .expect("it listens");
        stream
            .write_all(&header(2, 1000))
            .await
            .expect("it is read");
        until_closed(&mut stream).await;
    }
    // Front ends may be idle for longer.
    client.assert_alive().await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_holds_up_no_other() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let mut deaf = Channel::Heartbeat
        .greeted(&kernel.connection)
        .await
        .expect("it listens");
    let beat = frame(0, &vec![7; 100_000]);
    // Until the kernel stops reading, because its echoes are not read.
    while let Ok(written) =
        tokio::time::timeout(Duration::from_millis(200), deaf.write_all(&beat)).await
    {
        written.expect("it is served");
    }
    let mut heartbeat = DealerSocket::new();
    let url = kernel.connection.hb_url();
    heartbeat.connect(&url).await.expect("it listens");
    heartbeat.send("beat".into()).await.expect("it is sent");
    soon("an echo", heartbeat.recv()).await.expect("an echo");
    client.assert_alive().await;
}

/// Returns a signed comm message with buffers of this size.
fn with_buffers(connection: &ConnectionInfo, size: usize) -> Vec<Bytes> {
    let content = json!({ "comm_id": "none", "data": {} });
    let buffers = vec![Bytes::from(vec![1; size / 2]); 2];
    Session::new(&connection.key).encode_with(&[], "comm_msg", None, &json!({}), &content, &buffers)
}

#[tokio::test]
async fn front_ends_may_send_large_buffers() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    client.assert_alive().await;
    let large = with_buffers(&kernel.connection, 200 << 20);
    let large = ZmqMessage::try_from(large).expect("frames");
    client.shell.socket.send(large).await.expect("it is sent");
    client.assert_alive().await;
}

#[tokio::test]
async fn the_first_message_of_a_front_end_may_have_large_buffers() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let large = with_buffers(&kernel.connection, 200 << 20);
    let large = ZmqMessage::try_from(large).expect("frames");
    // The signed frames arrive first and prove that the sender knows the key.
    client.shell.socket.send(large).await.expect("it is sent");
    client.assert_alive().await;
}

#[tokio::test]
async fn nobody_gets_the_replies_of_another_identity() {
    let kernel = Kernel::start_within(Limits {
        handshake: Duration::from_millis(100),
        ..Limits::default()
    });
    let mut client = kernel.connect().await;
    client.assert_alive().await;
    let identity = b"front end";
    let mut victim = Channel::Shell
        .greeted_as(&kernel.connection, identity)
        .await
        .expect("it listens");
    let asked =
        Session::new(&kernel.connection.key).encode(&[], "kernel_info_request", None, &json!({}));
    victim
        .write_all(&message(&asked))
        .await
        .expect("it is read");
    assert_eq!(soon("a reply", victim.read_u8()).await.expect("a reply"), 1);
    let mut thief = Channel::Shell
        .greeted_as(&kernel.connection, identity)
        .await
        .expect("it listens");
    until_closed(&mut thief).await;
    victim
        .write_all(&message(&asked))
        .await
        .expect("it is read");
    soon("a reply", victim.read_u8()).await.expect("a reply");
    // After the disconnection, its identity is free.
    drop(victim);
    let mut next = Channel::Shell
        .greeted_as(&kernel.connection, identity)
        .await
        .expect("it listens");
    next.write_all(&message(&asked)).await.expect("it is read");
    soon("a reply", next.read_u8()).await.expect("a reply");
}

#[tokio::test]
async fn topics_of_subscriptions_are_kept_apart_and_limited() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    let mut stream = Channel::Iopub
        .greeted(&kernel.connection)
        .await
        .expect("it listens");
    stream
        .write_all(&frame(0, b"\x01nothing is called so"))
        .await
        .expect("it is read");
    // It receives its welcome message, but no messages caused by other front ends.
    let topic = b"nothing is called so";
    let mut welcome = vec![0; 2 + topic.len()];
    soon("a welcome", stream.read_exact(&mut welcome))
        .await
        .expect("a welcome");
    assert_eq!(welcome[..2], [1, topic.len() as u8]);
    client.run("value 1").await;
    stream
        .write_all(&frame(4, b"\x04PING\0\x0aab"))
        .await
        .expect("it is read");
    let mut rest = Vec::new();
    while !rest.ends_with(b"\x04PONGab") {
        rest.push(soon("a pong", stream.read_u8()).await.expect("a pong"));
    }
    assert!(!String::from_utf8_lossy(&rest).contains("execute_input"));
    for subscription in [
        frame(0, &[&[1][..], &[b'x'; 5000]].concat()),
        frame(0, b"\x01topic").repeat(10_000),
    ] {
        let mut stream = Channel::Iopub
            .greeted(&kernel.connection)
            .await
            .expect("it listens");
        let _ = stream.write_all(&subscription).await;
        until_closed(&mut stream).await;
    }
    client.assert_alive().await;
}

#[tokio::test]
async fn pings_are_answered_and_do_not_pile_up() {
    let kernel = Kernel::start();
    let mut client = kernel.connect().await;
    for channel in CHANNELS {
        let mut stream = channel
            .greeted(&kernel.connection)
            .await
            .expect("it listens");
        stream
            .write_all(&frame(4, b"\x04PING\0\x0aab"))
            .await
            .expect("it is read");
        let mut pong = [0; 9];
        soon("a pong", stream.read_exact(&mut pong))
            .await
            .expect("a pong");
        assert_eq!(&pong, b"\x04\x07\x04PONGab");
    }
    client.assert_alive().await;
}
