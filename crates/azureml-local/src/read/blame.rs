//! The path of the member that caused a deserialization error.
//!
//! `serde_path_to_error` follows a value only down to the first internally tagged enum, which serde
//! reads from a buffered copy. Below that, `Probe` changes one member after the other: the error
//! is about the member whose new value appears in the new error.

use serde::de::DeserializeOwned;
use serde_json::{Number, Value, json};
use serde_path_to_error::Segment;

/// The maximum number of attempts; above it, the path of the error is less precise.
const MOST: usize = 500;

/// Deserializes a `T`. An error comes with the path of its member (`inputs.a.value`, `metrics[3]`),
/// which is empty if the error is about the whole value.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, (String, serde_json::Error)> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut path = Vec::new();
        let mut place = Some(value);
        for segment in error.path() {
            let step = match segment {
                Segment::Seq { index } => Step::At(*index),
                Segment::Map { key } => Step::Named(key.clone()),
                Segment::Enum { .. } | Segment::Unknown => break,
            };
            place = place.and_then(|place| step.of(place));
            path.push(step);
        }
        let error = error.into_inner();
        let place = path.clone();
        let mut probe = Probe::<T> {
            body: value.clone(),
            message: error.to_string(),
            left: MOST,
            read: std::marker::PhantomData,
        };
        (shown(&probe.search(place).unwrap_or(path)), error)
    })
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Named(String),
    At(usize),
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match self {
            Self::Named(name) => value.get(name),
            Self::At(index) => value.get(index),
        }
    }

    fn of_mut<'a>(&self, value: &'a mut Value) -> Option<&'a mut Value> {
        match self {
            Self::Named(name) => value.get_mut(name),
            Self::At(index) => value.get_mut(index),
        }
    }
}

fn shown(path: &[Step]) -> String {
    path.iter().fold(String::new(), |shown, step| match step {
        Step::Named(name) if shown.is_empty() => name.clone(),
        Step::Named(name) => format!("{shown}.{name}"),
        Step::At(index) => format!("{shown}[{index}]"),
    })
}

/// Searches for the member that an error is about.
struct Probe<T> {
    body: Value,
    message: String,
    left: usize,
    read: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Probe<T> {
    /// The path of the member, at or below `place`.
    fn search(&mut self, place: Vec<Step>) -> Option<Vec<Step>> {
        self.left = self.left.checked_sub(1)?;
        let original = self.at(&place)?.clone();
        let below: Vec<Step> = match &original {
            Value::Object(members) => members.keys().cloned().map(Step::Named).collect(),
            Value::Array(items) => (0..items.len()).map(Step::At).collect(),
            _ => Vec::new(),
        };
        for step in below {
            let mut place = place.clone();
            place.push(step);
            if let Some(found) = self.search(place) {
                return Some(found);
            }
        }
        let missing = self.missing();
        let is_it = match (&original, missing) {
            (Value::Object(_), Some(name)) => {
                let mut with = original.clone();
                with[&name] = Value::Null;
                // Any other error shows that the missing member belongs here.
                let now = self.with(&place, with)?;
                now != self.message
            }
            _ => self.repeats(&place, &original),
        };
        is_it.then_some(place)
    }

    /// The name of the missing member, if that is the error.
    fn missing(&self) -> Option<String> {
        let (name, _) = self
            .message
            .strip_prefix("missing field `")?
            .split_once('`')?;
        Some(name.to_owned())
    }

    /// Whether another value at this place causes the same error about that value.
    fn repeats(&mut self, place: &[Step], original: &Value) -> bool {
        let message = self.message.clone();
        let others = others(original);
        others.into_iter().any(|(other, was, is)| {
            self.with(place, other)
                .is_some_and(|now| now != message && now.replacen(&is, &was, 1) == message)
        })
    }

    fn at(&mut self, place: &[Step]) -> Option<&mut Value> {
        place
            .iter()
            .try_fold(&mut self.body, |value, step| step.of_mut(value))
    }

    /// The error with another value at a place; empty if deserialization succeeds.
    fn with(&mut self, place: &[Step], other: Value) -> Option<String> {
        let original = std::mem::replace(self.at(place)?, other);
        let now = serde_json::from_value::<T>(self.body.clone()).map(drop);
        *self.at(place)? = original;
        Some(now.map_or_else(|error| error.to_string(), |()| String::new()))
    }
}

/// Other values, each with the descriptions of the old and the new value in error messages.
fn others(value: &Value) -> Vec<(Value, String, String)> {
    let unlike = |was: &str| {
        [
            (json!(7919), "integer `7919`"),
            (json!(true), "boolean `true`"),
            (json!("?!"), "string \"?!\""),
        ]
        .map(|(other, is)| (other, was.to_owned(), is.to_owned()))
        .to_vec()
    };
    match value {
        Value::Number(number) => {
            let other = another(number);
            vec![(json!(other), number.to_string(), other.to_string())]
        }
        Value::String(text) => {
            let other = format!("{text}?");
            vec![(json!(other), text.clone(), other)]
        }
        Value::Bool(known) => vec![(json!(!known), known.to_string(), (!known).to_string())],
        Value::Array(_) => unlike("sequence"),
        Value::Object(_) => unlike("map"),
        // In a tagged enum, serde calls null a unit value.
        Value::Null => [unlike("null"), unlike("unit value")].concat(),
    }
}

/// Another number of the same type.
fn another(number: &Number) -> Number {
    if let Some(number) = number.as_u64() {
        Number::from(number ^ 1)
    } else if let Some(number) = number.as_i64() {
        // The sign must not change, so -1 becomes -2 instead of 0.
        Number::from(if number == -1 { -2 } else { number ^ 1 })
    } else {
        let float = number.as_f64().unwrap_or_default();
        Number::from_f64(if float < 1.0 { 1.5 } else { 0.5 }).unwrap_or_else(|| Number::from(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use azureml_wire::arm::Resource;
    use azureml_wire::job::Job;

    #[test]
    fn what_an_error_is_about_is_found_in_tagged_enums() {
        for (member, content, path) in [
            ("environmentVariables", json!({ "B": "x", "A": 5 }), ".A"),
            (
                "environmentVariables",
                json!({ "A": true, "B": true }),
                ".A",
            ),
            ("environmentVariables", json!({ "A": ["x"] }), ".A"),
            ("environmentVariables", json!({ "A": null }), ".A"),
            ("environmentVariables", json!("x"), ""),
            (
                "resources",
                json!({ "instanceCount": -1 }),
                ".instanceCount",
            ),
            (
                "resources",
                json!({ "instanceCount": 1.5 }),
                ".instanceCount",
            ),
            (
                "inputs",
                json!({
                    "a": { "jobInputType": "literal", "value": "1" },
                    "b": { "jobInputType": "literal", "value": {} },
                }),
                ".b.value",
            ),
            (
                "inputs",
                json!({ "a": { "jobInputType": "literal" } }),
                ".a",
            ),
            (
                "inputs",
                json!({ "a": { "jobInputType": "x" } }),
                ".a.jobInputType",
            ),
            ("tags", json!([1]), ""),
        ] {
            let mut body = json!({ "properties": {
                "jobType": "Command", "command": "true", "environmentId": "e",
            }});
            body["properties"][member] = content;
            let (found, error) = read::<Resource<Job>>(&body).map(drop).unwrap_err();
            assert_eq!(found, format!("properties.{member}{path}"), "{error}");
        }
    }

    #[test]
    fn a_long_list_has_its_error_at_the_right_place() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "read only")]
        struct Item {
            name: String,
        }
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "read only")]
        struct List {
            items: Vec<Item>,
        }
        let mut items = vec![json!({ "name": "x" }); 10_000];
        items[9_000] = json!({ "name": 1 });
        let (path, _) = read::<List>(&json!({ "items": items })).unwrap_err();
        assert_eq!(path, "items[9000].name");
        let (path, error) = read::<List>(&json!({ "items": [{}] })).unwrap_err();
        assert_eq!(
            (path.as_str(), error.to_string().as_str()),
            ("items[0]", "missing field `name`")
        );
    }
}
