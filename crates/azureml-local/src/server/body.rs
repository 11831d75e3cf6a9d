//! Reads JSON bodies, as strictly as the service does.

use super::blame;
use crate::error::{Error, Result};
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
                    Error::TooLarge(format!(
                        "the body is larger than {} MiB",
                        super::JSON_LIMIT >> 20
                    ))
                } else {
                    Error::invalid("the body ended early")
                }
            })?;
        if bytes.is_empty() {
            return Ok(Self(Value::Null));
        }
        if members(&bytes) > super::MEMBER_LIMIT {
            return Err(Error::TooLarge(format!(
                "the body has more than {} members\nhint: send them in several requests",
                super::MEMBER_LIMIT
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

/// How many members a body may have at most: each takes much more memory than text, and commas in text are counted, too.
fn members(body: &[u8]) -> usize {
    body.iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'))
        .count()
}

/// Reads what travels as `T` and refuses what `T` does not know, as the service does.
///
/// What `T` knows is what comes back when it is written again. (A deserializer that listens for ignored members
/// hears nothing of what lies inside an internally tagged enum.)
pub fn strict<T: DeserializeOwned + Serialize>(value: &Value) -> Result<T> {
    let read = lenient::<T>(value)?;
    let known = serde_json::to_value(&read)?;
    let mut unknown = Vec::new();
    find_unknown(value, &known, "", &mut unknown);
    find_lists(value, &known, "")?;
    if unknown.is_empty() {
        return Ok(read);
    }
    Err(Error::Invalid {
        code: "UserError",
        message: format!(
            "RequestInvalid: the request holds what the service does not know: {}",
            unknown.join(", ")
        ),
    })
}

/// Reads what travels as `T`; an error names the member that it is about.
pub fn lenient<T: DeserializeOwned>(value: &Value) -> Result<T> {
    blame::read(value).map_err(|(path, error)| {
        let error = error.to_string();
        let hint = if error.contains("expected a string") && error.contains('`') {
            "\nhint: write it as text, in quotation marks"
        } else {
            ""
        };
        let place = if path.is_empty() { "the body" } else { &path };
        Error::Invalid {
            code: "UserError",
            message: format!("RequestInvalid: {place}: {error}{hint}"),
        }
    })
}

/// Refuses a list where an object belongs, which serde reads as its members in their order.
fn find_lists(given: &Value, known: &Value, path: &str) -> Result<()> {
    match (given, known) {
        (Value::Array(_), Value::Object(_)) => Err(Error::Invalid {
            code: "UserError",
            message: format!("RequestInvalid: {path}: invalid type: sequence, expected a map"),
        }),
        (Value::Object(given), Value::Object(known)) => {
            given.iter().try_for_each(|(name, value)| {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                known
                    .get(name)
                    .map_or(Ok(()), |known| find_lists(value, known, &path))
            })
        }
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .enumerate()
            .try_for_each(|(at, (given, known))| {
                find_lists(given, known, &format!("{path}[{at}]"))
            }),
        _ => Ok(()),
    }
}

fn find_unknown(given: &Value, known: &Value, path: &str, unknown: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (name, value) in given {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                match known.get(name) {
                    Some(known) => find_unknown(value, known, &path, unknown),
                    // A member without a value says nothing; it is left out when written again.
                    None if value.is_null() || *value == serde_json::json!([]) => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (at, (given, known)) in given.iter().zip(known).enumerate() {
                find_unknown(given, known, &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azureml_wire::arm::Resource;
    use azureml_wire::job::Job;
    use serde_json::json;

    fn job(inner: &Value) -> Result<Resource<Job>> {
        let mut properties =
            json!({ "jobType": "Command", "command": "true", "environmentId": "e" });
        for (name, value) in inner.as_object().unwrap() {
            properties[name] = value.clone();
        }
        strict(&json!({ "properties": properties }))
    }

    #[test]
    fn what_is_known_passes() {
        job(&json!({
            "displayName": null,
            "tags": { "any": "name" },
            "inputs": { "a": { "jobInputType": "literal", "value": "1" } },
            "resources": { "instanceCount": 1, "properties": { "any": { "thing": 1 } } },
        }))
        .unwrap();
    }

    #[test]
    fn what_is_not_known_is_named_by_its_path() {
        for (inner, path) in [
            (json!({ "comand": "typo" }), "properties.comand"),
            (
                json!({ "inputs": { "a": { "jobInputType": "literal", "value": "1", "mod": "x" } } }),
                "properties.inputs.a.mod",
            ),
            (
                json!({ "limits": { "jobLimitsType": "Command", "x": {} } }),
                "properties.limits.x",
            ),
        ] {
            let error = job(&inner).map(drop).unwrap_err().to_string();
            assert!(error.ends_with(path), "{error}");
        }
        let error = job(&json!({ "inputs": { "a": { "jobInputType": "literal", "value": 1 } } }))
            .map(drop)
            .unwrap_err();
        assert_eq!(error.status(), 400);
    }
}
