//! Validation of names, keys and values, with MLflow's limits.

use super::request::{Fields, invalid};
use crate::error::{Error, Result};
use azureml_wire::mlflow::{Metric, Param, RunTag};
use serde_json::{Value, json};

/// The maximum number of characters of a key.
const KEY: usize = 250;
/// The maximum number of characters of an experiment's name.
const EXPERIMENT: usize = 500;
/// The maximum number of characters of the value of an experiment's tag.
const EXPERIMENT_TAG: usize = 5000;
/// The maximum number of characters of an experiment's artifact location.
const ARTIFACT_LOCATION: usize = 2048;

/// Rejects a text with more than `most` characters.
pub fn check_length(what: &str, text: &str, most: usize) -> Result<()> {
    // A text has at least as many bytes as characters.
    if text.len() <= most || text.chars().count() <= most {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "'{what}' exceeds the maximum length of {most} characters"
    )))
}

/// Rejects a key that is not a relative path, as MLflow does. MLflow also rejects most punctuation,
/// which is accepted here.
fn check_key(key: &str, fields: &Fields, member: &str) -> Result<()> {
    let wrong = |why: &str| Err(invalid(&fields.path(member), &json!(key), why));
    if key.chars().any(char::is_control) {
        return wrong("Names may not contain control characters.");
    }
    let resolved = resolve(key);
    if resolved != key || resolved.starts_with("..") || resolved == "." {
        return wrong(&format!(
            "Names may be treated as files in certain cases, and must not resolve to other names \
             when treated as such. This name would resolve to '{resolved}'"
        ));
    }
    Ok(())
}

/// Normalizes a path: resolves `.`, `..` and empty segments.
fn resolve(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    if parts.is_empty() {
        ".".to_owned()
    } else {
        parts.join("/")
    }
}

/// Reads one metric value, from `log-metric` or an item of `log-batch`.
pub fn metric(fields: &Fields) -> Result<Metric> {
    let metric = Metric {
        key: fields.text("key")?,
        value: fields.number("value")?,
        timestamp: fields.integer("timestamp")?,
        step: fields.optional_integer("step")?.unwrap_or_default(),
    };
    check_key(&metric.key, fields, "name")?;
    if metric.timestamp < 0 {
        return Err(invalid(
            &fields.path("timestamp"),
            &json!(metric.timestamp),
            "Timestamp must be a nonnegative long (64-bit integer)",
        ));
    }
    check_length("Metric name", &metric.key, KEY)?;
    Ok(metric)
}

/// Reads a parameter. The length of its value is not limited.
pub fn param(fields: &Fields) -> Result<Param> {
    let RunTag { key, value } = fields.key_and_value()?;
    check_key(&key, fields, "key")?;
    check_length("Param key", &key, KEY)?;
    Ok(Param { key, value })
}

/// Reads a run's tag. The length of its value is not limited.
pub fn tag(fields: &Fields) -> Result<RunTag> {
    let tag = fields.key_and_value()?;
    check_key(&tag.key, fields, "key")?;
    check_length(&fields.path("key"), &tag.key, KEY)?;
    Ok(tag)
}

/// Reads an experiment's tag.
pub fn experiment_tag(fields: &Fields) -> Result<RunTag> {
    let tag = tag(fields)?;
    check_length(&fields.path("value"), &tag.value, EXPERIMENT_TAG)?;
    Ok(tag)
}

/// Reads the name for an experiment.
pub fn experiment(fields: &Fields, member: &str) -> Result<String> {
    let name = fields.text(member)?;
    check_length("name", &name, EXPERIMENT)?;
    Ok(name)
}

/// Reads the artifact location for an experiment. A relative path is resolved against the server's
/// working directory, as in MLflow's server.
pub fn artifact_location(fields: &Fields) -> Result<Option<String>> {
    let Some(given) = fields
        .optional_text("artifact_location")?
        .filter(|given| !given.is_empty())
    else {
        return Ok(None);
    };
    let (path, query) = given.split_once('?').unwrap_or((&given, ""));
    if given.contains('#') || path.contains(';') {
        return Err(Error::invalid(
            "'artifact_location' URL can't include fragments or params.",
        ));
    }
    if query.contains("..") {
        return Err(Error::invalid("Invalid query string"));
    }
    if path.starts_with("runs:") {
        return Err(Error::invalid(format!(
            "Artifact location cannot be a runs:/ URI. Given: '{given}'"
        )));
    }
    let location = absolute(&given)?;
    if location.chars().count() > ARTIFACT_LOCATION {
        return Err(Error::invalid(format!(
            "Invalid artifact path length. The length of the artifact path cannot be greater \
             than {ARTIFACT_LOCATION} characters."
        )));
    }
    Ok(Some(location))
}

fn absolute(location: &str) -> Result<String> {
    let (scheme, path) = match location.split_once(':') {
        Some(("file", path)) => ("file://", path),
        Some(_) => return Ok(location.to_owned()),
        None => ("", location),
    };
    if path.starts_with('/') {
        return Ok(location.to_owned());
    }
    let here = std::env::current_dir()?;
    Ok(format!("{scheme}{}", here.join(path).display()))
}

/// A random name for a run without one: two words and a number, as in MLflow.
pub fn generated() -> String {
    const HOW: [&str; 16] = [
        "able", "bold", "bright", "calm", "clean", "placid", "gentle", "popular", "stately",
        "learned", "nimble", "polite", "upbeat", "rare", "useful", "wise",
    ];
    const WHAT: [&str; 16] = [
        "ant", "bear", "crane", "deer", "eel", "fox", "goose", "hare", "ibis", "jay", "kite",
        "lark", "mole", "newt", "owl", "pike",
    ];
    let word = |words: [&'static str; 16]| words[fastrand::usize(..words.len())];
    format!("{}-{}-{}", word(HOW), word(WHAT), fastrand::u16(..1000))
}

/// Reads a run status by its name or its number.
pub fn status(fields: &Fields) -> Result<Option<String>> {
    const WORDS: [&str; 5] = ["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"];
    let Some(status) = fields.value("status") else {
        return Ok(None);
    };
    let word = match status {
        Value::String(word) => WORDS.iter().find(|known| *known == word),
        Value::Number(number) => number
            .as_u64()
            .and_then(|number| WORDS.get((number as usize).checked_sub(1)?)),
        _ => None,
    };
    word.map(|word| Some((*word).to_owned())).ok_or_else(|| {
        invalid(
            "status",
            status,
            &format!("Expected one of {}.", WORDS.join(", ")),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_relative_paths() {
        for key in [
            "loss",
            "Test loss",
            "a/b.c-d:e_f",
            "größe",
            "a..b",
            "F1@50%",
            "<b>",
        ] {
            assert!(check_key(key, &Fields::default(), "key").is_ok(), "{key}");
        }
        for key in [
            "", ".", "..", "./a", "a/", "/a", "a//b", "a/../b", "..a", "a\n", "a\0",
        ] {
            assert!(check_key(key, &Fields::default(), "key").is_err(), "{key}");
        }
    }

    #[test]
    fn paths_are_resolved() {
        for (path, resolved) in [
            ("", "."),
            ("./a", "a"),
            ("a/./b/", "a/b"),
            ("a/../b", "b"),
            ("../a", "../a"),
        ] {
            assert_eq!(resolve(path), resolved);
        }
    }
}
