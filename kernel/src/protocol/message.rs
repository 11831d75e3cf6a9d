//! Messages: frames, signature and parent header.

use bytes::Bytes;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::VERSION;
use crate::zmtp::Frames;

/// The frame between `ZeroMQ`'s routing identities and Jupyter's own frames.
const DELIMITER: &[u8] = b"<IDS|MSG>";

/// An error while decoding a message.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The delimiter frame is missing.
    #[error("the delimiter frame is missing ({0} frames)")]
    NoDelimiter(usize),
    /// Too few frames follow the delimiter.
    #[error("{0} frames after the delimiter instead of at least 5")]
    TooFewFrames(usize),
    /// The signature does not match the key.
    #[error("the signature is wrong")]
    Signature,
    /// A frame is not JSON or has another structure than expected.
    #[error("the {frame} is not valid: {source}")]
    Json {
        /// The name of the frame.
        frame: &'static str,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
}

/// The part of a header that the kernel reads.
#[derive(Debug, Clone, Deserialize)]
pub struct Header {
    /// The id of the message.
    pub msg_id: String,
    /// The message type.
    pub msg_type: String,
    /// The addressed subshell; `None` is the main shell.
    #[serde(default)]
    pub subshell_id: Option<String>,
}

/// The parts of a request that its reply needs.
#[derive(Debug, Clone)]
pub struct Parent {
    /// `ZeroMQ`'s routing identities of the sender.
    pub identities: Vec<Bytes>,
    /// The exact bytes of the header.
    pub header: Bytes,
}

/// A received message with a valid signature.
#[derive(Debug)]
pub struct Message {
    /// The header.
    pub header: Header,
    /// The parts that a reply needs.
    pub parent: Parent,
    /// The metadata.
    pub metadata: Value,
    /// The content; always an object.
    pub content: Value,
    /// Binary buffers.
    pub buffers: Vec<Bytes>,
}

/// The kernel's session: signs outgoing messages and verifies incoming ones.
pub struct Session {
    id: String,
    key: Option<hmac::Key>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Omits the key.
        formatter
            .debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct OwnHeader<'a> {
    msg_id: String,
    session: &'a str,
    username: &'static str,
    date: String,
    msg_type: &'a str,
    version: &'static str,
}

impl Session {
    /// Creates a session that signs with `key`; an empty key disables signatures.
    pub fn new(key: &str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            key: (!key.is_empty()).then(|| hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes())),
        }
    }

    /// Returns the session id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Encodes the frames of a message. `route` precedes the delimiter: identities of the receiver,
    /// or a topic.
    pub fn encode(
        &self,
        route: &[Bytes],
        msg_type: &str,
        parent: Option<&Parent>,
        content: &Value,
    ) -> Frames {
        self.encode_with(
            route,
            msg_type,
            parent,
            &Value::Object(serde_json::Map::new()),
            content,
            &[],
        )
    }

    /// Like [`encode`](Self::encode), with metadata and binary buffers.
    pub fn encode_with(
        &self,
        route: &[Bytes],
        msg_type: &str,
        parent: Option<&Parent>,
        metadata: &Value,
        content: &Value,
        buffers: &[Bytes],
    ) -> Frames {
        let header = OwnHeader {
            msg_id: Uuid::new_v4().to_string(),
            session: &self.id,
            username: "kernel",
            date: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
            msg_type,
            version: VERSION,
        };
        let empty = Bytes::from_static(b"{}");
        let frames = [
            // Cannot fail: strings and JSON values always serialize.
            serde_json::to_vec(&header).map_or_else(|_| empty.clone(), Bytes::from),
            parent.map_or_else(|| empty.clone(), |parent| parent.header.clone()),
            serde_json::to_vec(metadata).map_or_else(|_| empty.clone(), Bytes::from),
            serde_json::to_vec(content).map_or(empty, Bytes::from),
        ];
        let mut message = route.to_vec();
        message.extend([Bytes::from_static(DELIMITER), self.sign(&frames)]);
        message.extend(frames);
        message.extend_from_slice(buffers);
        message
    }

    /// Verifies the signature of a message and decodes its frames.
    pub fn decode(&self, message: Frames) -> Result<Message, DecodeError> {
        let mut identities = message;
        let delimiter = identities
            .iter()
            .position(|frame| frame.as_ref() == DELIMITER)
            .ok_or(DecodeError::NoDelimiter(identities.len()))?;
        let frames = identities.split_off(delimiter + 1);
        identities.pop();
        let [
            signature,
            header,
            parent_header,
            metadata,
            content,
            buffers @ ..,
        ] = frames.as_slice()
        else {
            return Err(DecodeError::TooFewFrames(frames.len()));
        };
        self.verify(signature, [header, parent_header, metadata, content])?;
        let json = |frame| move |source| DecodeError::Json { frame, source };
        let read: Header = serde_json::from_slice(header).map_err(json("header"))?;
        // The parent header is not used, but a message with invalid JSON is rejected as a whole.
        serde_json::from_slice::<Value>(parent_header).map_err(json("parent header"))?;
        let metadata = serde_json::from_slice(metadata).map_err(json("metadata"))?;
        let content: serde_json::Map<String, Value> =
            serde_json::from_slice(content).map_err(json("content"))?;
        Ok(Message {
            header: read,
            parent: Parent {
                identities,
                header: header.clone(),
            },
            metadata,
            content: Value::Object(content),
            buffers: buffers.to_vec(),
        })
    }

    /// Whether the first frames of a message are signed, which proves that the sender knows the key
    /// regardless of the frames that follow.
    pub fn is_signed(&self, frames: &[Bytes]) -> bool {
        let signed = frames
            .iter()
            .skip_while(|frame| frame.as_ref() != DELIMITER);
        let [_, signature, header, parent_header, metadata, content, ..] =
            signed.collect::<Vec<_>>()[..]
        else {
            return false;
        };
        self.verify(signature, [header, parent_header, metadata, content])
            .is_ok()
    }

    fn sign(&self, frames: &[Bytes; 4]) -> Bytes {
        let Some(key) = &self.key else {
            return Bytes::new();
        };
        let mut context = hmac::Context::with_key(key);
        for frame in frames {
            context.update(frame);
        }
        let mut text = String::with_capacity(64);
        for byte in context.sign().as_ref() {
            text.push(hex_digit(byte >> 4));
            text.push(hex_digit(byte & 15));
        }
        Bytes::from(text)
    }

    fn verify(&self, signature: &[u8], frames: [&Bytes; 4]) -> Result<(), DecodeError> {
        let Some(key) = &self.key else {
            return Ok(());
        };
        let expected = self.sign(&frames.map(Clone::clone));
        // Both are signed once more, which makes the comparison constant-time.
        let tag = hmac::sign(key, &expected);
        hmac::verify(key, signature, tag.as_ref()).map_err(|_| DecodeError::Signature)
    }
}

fn hex_digit(value: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(value & 15)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent() -> Parent {
        Parent {
            identities: vec![Bytes::from_static(b"client")],
            header: Bytes::from_static(br#"{"msg_id":"1","msg_type":"x","subshell_id":null}"#),
        }
    }

    #[test]
    fn the_parent_header_is_echoed_byte_for_byte() {
        let session = Session::new("key");
        let parent = parent();
        let frames = session.encode(
            &parent.identities,
            "x_reply",
            Some(&parent),
            &serde_json::json!({}),
        );
        assert_eq!(frames[0].as_ref(), b"client");
        assert_eq!(frames[1].as_ref(), DELIMITER);
        assert_eq!(frames[4], parent.header);
    }

    #[test]
    fn a_message_is_read_back_by_the_same_key_only() {
        let content = serde_json::json!({"code": "한글"});
        let sent = Session::new("key").encode(&[], "execute_request", None, &content);
        let read = Session::new("key")
            .decode(sent.clone())
            .expect("the key is the same");
        assert_eq!(read.content, content);
        assert_eq!(read.header.msg_type, "execute_request");
        assert!(matches!(
            Session::new("other").decode(sent),
            Err(DecodeError::Signature)
        ));
    }

    #[test]
    fn a_changed_frame_breaks_the_signature() {
        let session = Session::new("key");
        let mut frames = session.encode(&[], "x", None, &serde_json::json!({}));
        frames[5] = Bytes::from_static(br#"{"code":"rm"}"#);
        assert!(matches!(
            session.decode(frames),
            Err(DecodeError::Signature)
        ));
    }
}
