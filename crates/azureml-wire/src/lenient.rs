//! Lenient deserialization of service responses: `null` for a list or a bag, integers as strings.

use serde::{Deserialize, Deserializer, de::Error};

/// Deserializes `null` as the default value, like an absent member.
pub fn null_as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Deserializes an integer from a number or a string. Protocol buffers encode 64-bit integers as
/// strings in JSON, MLflow's own server as numbers.
pub fn integer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    value(Integer::deserialize(deserializer)?)
}

/// Like [`integer`], for optional members.
pub fn optional_integer<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    Option::<Integer>::deserialize(deserializer)?
        .map(value)
        .transpose()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Integer {
    Number(i64),
    Text(String),
}

fn value<E: Error>(integer: Integer) -> Result<i64, E> {
    match integer {
        Integer::Number(number) => Ok(number),
        Integer::Text(text) => text
            .parse()
            .map_err(|_| E::custom(format!("`{text}` is no integer"))),
    }
}
