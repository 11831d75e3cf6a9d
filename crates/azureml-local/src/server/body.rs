//! JSON request bodies, with limits on their size.

use crate::error::{Error, Result};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde_json::Value;

/// The maximum size of a JSON body.
pub const JSON_LIMIT: usize = 8 << 20;

/// The maximum number of members in all objects and lists of a JSON body.
pub const MEMBER_LIMIT: usize = 200_000;

/// A JSON body; an empty one is `null`.
#[derive(Debug)]
pub struct Json(pub Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection| {
                if rejection.status().as_u16() == 413 {
                    Error::TooLarge(format!("the body is larger than {} MiB", JSON_LIMIT >> 20))
                } else {
                    Error::invalid("the body ended early")
                }
            })?;
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        if members(&bytes) > MEMBER_LIMIT {
            return Err(Error::TooLarge(format!(
                "the body has more than {MEMBER_LIMIT} members\nhint: send them in several requests"
            )));
        }
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Error::Invalid {
                code: "InvalidRequestContent",
                message: format!("the body is no JSON: {error}"),
            })
    }
}

/// An upper bound for the number of members in a body, because each needs much more memory than its
/// text. Commas in strings are counted, too.
fn members(body: &[u8]) -> usize {
    body.iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'))
        .count()
}
