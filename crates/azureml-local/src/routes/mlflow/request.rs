//! Request parsing with MLflow's error messages for missing and invalid fields.

use crate::error::{Error, Result};
use crate::server::body::Json;
use axum::extract::{FromRequest, Query, Request};
use axum::http::Method;
use azureml_wire::mlflow::RunTag;
use serde_json::{Map, Value, json};

/// The fields of a request, or of an object within one. A `null` field is treated as missing.
#[derive(Debug, Default)]
pub struct Fields {
    members: Map<String, Value>,
    /// The path of the object within the request.
    path: String,
}

/// The query parameters that are always lists.
const LISTS: [&str; 2] = ["experiment_ids", "order_by"];

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if *request.method() == Method::GET {
            return Self::of_query(&request);
        }
        match Json::from_request(request, state).await?.0 {
            Value::Null => Ok(Self::default()),
            Value::Object(members) => Ok(Self {
                members,
                path: String::new(),
            }),
            _ => Err(Error::invalid("the body of the request is no JSON object")),
        }
    }
}

impl Fields {
    /// Reads the query. A repeated parameter becomes a list; those in [`LISTS`] always do.
    fn of_query(request: &Request) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(|error| Error::invalid(error.to_string()))?;
        let mut members = Map::new();
        for (name, value) in pairs {
            match members.get_mut(&name) {
                None => {
                    let value = Value::String(value);
                    let is_list = LISTS.contains(&name.as_str());
                    let value = if is_list { json!([value]) } else { value };
                    members.insert(name, value);
                }
                Some(Value::Array(values)) => values.push(Value::String(value)),
                Some(first) => *first = Value::Array(vec![first.take(), Value::String(value)]),
            }
        }
        Ok(Self {
            members,
            path: String::new(),
        })
    }

    /// The path of a field within the request.
    pub fn path(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    fn missing(&self, name: &str) -> Error {
        Error::invalid(format!(
            "Missing value for required parameter '{}'.",
            self.path(name)
        ))
    }

    fn wrong(&self, name: &str, value: &Value, wanted: &str) -> Error {
        invalid(&self.path(name), value, &format!("Expected {wanted}."))
    }

    /// An optional text.
    pub fn optional_text(&self, name: &str) -> Result<Option<String>> {
        match self.member(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(name, other, "a string")),
        }
    }

    /// A required, non-empty text.
    pub fn text(&self, name: &str) -> Result<String> {
        self.optional_text(name)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| self.missing(name))
    }

    /// The id of the run; `run_uuid` is its older name.
    pub fn run(&self) -> Result<String> {
        match self.optional_text("run_id")? {
            Some(run) if !run.is_empty() => Ok(run),
            _ => match self.optional_text("run_uuid")? {
                Some(run) if !run.is_empty() => Ok(run),
                _ => Err(self.missing("run_id")),
            },
        }
    }

    /// An optional integer. Protocol buffers encode 64-bit integers as text.
    pub fn optional_integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        let integer = match value {
            Value::Number(number) => number.as_i64().or_else(|| {
                // `5.0` is accepted as an integer; within these bounds a float represents it
                // exactly.
                number
                    .as_f64()
                    .filter(|number| number.fract() == 0.0 && number.abs() < 9e15)
                    .map(|number| number as i64)
            }),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        integer
            .map(Some)
            .ok_or_else(|| self.wrong(name, value, "an integer"))
    }

    /// A required integer.
    pub fn integer(&self, name: &str) -> Result<i64> {
        self.optional_integer(name)?
            .ok_or_else(|| self.missing(name))
    }

    /// A required number; non-finite ones are sent as text.
    pub fn number(&self, name: &str) -> Result<f64> {
        let value = self.member(name).ok_or_else(|| self.missing(name))?;
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) if text.is_empty() => return Err(self.missing(name)),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(name, value, "a number"))
    }

    /// The raw value of an optional field.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.member(name)
    }

    fn list(&self, name: &str) -> Result<&[Value]> {
        match self.member(name) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(other) => Err(self.wrong(name, other, "a list")),
        }
    }

    /// A list of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<String>> {
        let list = self.list(name)?;
        list.iter()
            .map(|text| text.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| self.wrong(name, &Value::Array(list.to_vec()), "a list of strings"))
    }

    /// Moves a list of objects out of the request; batches are too large to clone.
    pub fn objects(&mut self, name: &str) -> Result<Vec<Self>> {
        self.list(name)?;
        let root = self.path(name);
        let Some(Value::Array(list)) = self.members.remove(name) else {
            return Ok(Vec::new());
        };
        let object = |(at, object)| {
            let path = format!("{root}[{at}]");
            match object {
                Value::Object(members) => Ok(Self { members, path }),
                other => Err(invalid(&path, &other, "Expected an object.")),
            }
        };
        list.into_iter().enumerate().map(object).collect()
    }

    /// Moves a required object out of the request.
    pub fn object(&mut self, name: &str) -> Result<Self> {
        match self.member(name) {
            None => return Err(self.missing(name)),
            Some(Value::Object(_)) => {}
            Some(other) => return Err(self.wrong(name, other, "an object")),
        }
        let path = self.path(name);
        let members = match self.members.remove(name) {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        };
        Ok(Self { members, path })
    }

    /// The key and the value of a tag or parameter; the value may be empty.
    pub fn key_and_value(&self) -> Result<RunTag> {
        Ok(RunTag {
            key: self.text("key")?,
            value: self.optional_text("value")?.unwrap_or_default(),
        })
    }
}

/// The error for an invalid value.
pub fn invalid(path: &str, value: &Value, why: &str) -> Error {
    Error::invalid(format!(
        "Invalid value {value} for parameter '{path}' supplied: {why}"
    ))
}
