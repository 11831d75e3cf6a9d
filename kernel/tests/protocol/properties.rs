//! Properties of the decoder for arbitrary frames. `PROPTEST_CASES` sets the number of messages.

use azureml_kernel::protocol::message::{DecodeError, Session};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// The parts, complete or cut, from which frames are generated.
const PIECES: &[&[u8]] = &[
    b"<IDS|MSG>",
    b"<IDS|MSG",
    b"",
    b"{}",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"\"",
    b":",
    b",",
    b"{\"msg_id\":\"1\",\"msg_type\":\"x\"}",
    b"{\"msg_id\":1}",
    b"{\"msg_id\":\"1\",\"msg_type\":\"x\",\"subshell_id\":",
    b"\"msg_type\":",
    b"\"code\":\"1\"",
    b"\xff",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b"1e999",
    b"-",
    b"0",
    b"{\"a\":{\"a\":",
    b"[[[[[[[[",
];

fn frame() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        3 => prop::sample::select(PIECES).prop_map(Bytes::from_static),
        2 => prop::collection::vec(prop::sample::select(PIECES), 0..12).prop_map(|pieces| Bytes::from(pieces.concat())),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from),
        1 => Just(Bytes::from(vec![b'['; 200_000])),
    ]
}

fn config() -> Config {
    Config {
        failure_persistence: None,
        // In long runs, many generated inputs do not apply to the property.
        max_global_rejects: u32::MAX,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_are_a_message_or_an_error(frames in prop::collection::vec(frame(), 1..9)) {
        // Without a key, all messages are accepted; with a key, none of these is signed.
        if let Ok(message) = Session::new("").decode(frames.clone()) {
            prop_assert!(message.content.is_object());
            prop_assert!(frames.contains(&message.parent.header));
        }
        prop_assert!(Session::new("key").decode(frames).is_err());
    }

    #[test]
    fn a_message_with_one_other_frame_is_refused(place in 1_usize..6, other in frame()) {
        let session = Session::new("key");
        let sent = session.encode(&[Bytes::from_static(b"front end")], "x", None, &serde_json::json!({ "code": "한" }));
        let mut frames = sent;
        prop_assume!(frames[place] != other);
        frames[place] = other;
        let read = session.decode(frames);
        match place {
            1 => prop_assert!(matches!(read, Err(DecodeError::NoDelimiter(_)))),
            _ => prop_assert!(matches!(read, Err(DecodeError::Signature | DecodeError::TooFewFrames(_))), "{read:?}"),
        }
    }

    #[test]
    fn what_is_sent_is_read(code in any::<String>(), identity in prop::collection::vec(any::<u8>(), 1..20)) {
        prop_assume!(identity != b"<IDS|MSG>");
        let session = Session::new("key");
        let content = serde_json::json!({ "code": code });
        let read = session.decode(session.encode(&[Bytes::from(identity.clone())], "x", None, &content));
        let read = read.expect("the session's own message");
        prop_assert_eq!(read.content, content);
        prop_assert_eq!(read.parent.identities, vec![Bytes::from(identity)]);
    }
}
