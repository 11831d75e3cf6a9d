use super::*;
use crate::zmtp::Context;
use proptest::prelude::*;

fn reader(bytes: &[u8]) -> Reader<&[u8]> {
    let limits = Limits {
        unverified_size: 1 << 20,
        ..Limits::default()
    };
    Reader {
        stream: bytes,
        account: Account::new(&Context::new(limits)),
    }
}

fn read(bytes: &[u8]) -> Result<Incoming, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async { reader(bytes).next().await })
}

fn message(frames: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        let more = u8::from(index + 1 < frames.len());
        put_header(&mut bytes, more, frame.len());
        bytes.extend_from_slice(frame);
    }
    bytes
}

#[test]
fn frames_of_every_length_are_read_back() {
    for length in [0, 1, 255, 256, 16 << 10, (16 << 10) + 1, 300_000] {
        let frame = vec![7; length];
        let sent = message(&[b"a", &frame, b""]);
        let Ok(Incoming::Message(frames)) = read(&sent) else {
            panic!("{length}");
        };
        assert_eq!(frames, [&b"a"[..], &frame, b""]);
    }
}

#[test]
fn what_is_announced_is_not_allocated() {
    for length in [1_u64 << 20, 1 << 31, 1 << 46, 1 << 62, 1 << 63, u64::MAX] {
        for flags in [LONG, LONG | MORE, LONG | COMMAND] {
            let mut bytes = vec![flags];
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&[0; 100]);
            let mut reader = reader(&bytes);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime");
            runtime
                .block_on(reader.next())
                .expect_err("it is not all there");
        }
    }
}

#[test]
fn a_peer_with_another_protocol_is_refused() {
    assert!(check_greeting(&greeting()).is_ok());
    for (place, byte) in [(0, 0), (9, 0), (10, 2), (12, b'P'), (16, b'X')] {
        let mut theirs = greeting();
        theirs[place] = byte;
        assert!(check_greeting(&theirs).is_err(), "{place}");
    }
    let ready = |text: &'static [u8]| read_ready(&Bytes::from_static(text), SocketType::Router);
    let dealer = ready(b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x01x");
    assert_eq!(dealer.expect("it fits"), "x");
    for refused in [
        &b""[..],
        b"\x05READY",
        b"\x05READY\x0bSocket-Type\0\0\0\x03SUB",
        b"\x05READY\x0bSocket-Type\0\0\0\x07DEALER",
        b"\x05READY\x0bSocket-Type\xff\xff\xff\xffDEALER",
        b"\x05READY\xff",
        b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x01\0",
    ] {
        assert!(ready(refused).is_err(), "{refused:?}");
    }
}

#[test]
fn a_ping_is_answered_with_its_context() {
    assert_eq!(pong(b"\x04PING\0\x0aabc").expect("a pong"), b"\x04PONGabc");
    for other in [
        &b"\x04PING"[..],
        b"\x04PING\0",
        b"\x05READY",
        b"\x04PING\0\0aaaaaaaaaaaaaaaaa",
    ] {
        assert_eq!(pong(other), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_messages_or_errors(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let mut reader = reader(&bytes);
        // Ends at the latest with the bytes.
        while runtime.block_on(reader.next()).is_ok() {}
        let _ = read_ready(&Bytes::from(bytes), SocketType::XPub);
    }
}
