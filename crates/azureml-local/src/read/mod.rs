//! Reads requests as types of the wire, as strictly as the service does.

mod blame;

use crate::error::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Deserializes a `T` and rejects unknown members, as the service does.
///
/// A member is known if it is still present after `T` is serialized again. (A deserializer that
/// collects ignored members does not see those within an internally tagged enum.)
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

/// Deserializes a `T`; an error contains the path of the wrong member.
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

/// Rejects a list in the place of an object, which serde would read as its members in order.
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
                    // An empty member is ignored; serialization leaves it out.
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
