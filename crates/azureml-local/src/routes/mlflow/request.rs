//! Requests as MLflow reads them: what is missing or of another type is named as MLflow names it.

use crate::error::{Error, Result};
use crate::server::body::Json;
use axum::extract::{FromRequest, Query, Request};
use axum::http::Method;
use azureml_wire::mlflow::RunTag;
use serde_json::{Map, Value, json};

/// The members of a request, or of an object within one. A member that is `null` is missing.
#[derive(Debug, Default)]
pub struct Fields {
    members: Map<String, Value>,
    /// Where the object is within the request.
    path: String,
}

/// The lists that a query may have.
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
    /// A parameter that is there more than once is a list; these always are.
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

    /// The path of a member within the request.
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

    /// A text that may be missing.
    pub fn optional_text(&self, name: &str) -> Result<Option<String>> {
        match self.member(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(name, other, "a string")),
        }
    }

    /// A text that has to be there.
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

    /// An integer that may be missing. Protocol buffers write it as text, too.
    pub fn optional_integer(&self, name: &str) -> Result<Option<i64>> {
        let Some(value) = self.member(name) else {
            return Ok(None);
        };
        let integer = match value {
            Value::Number(number) => number.as_i64().or_else(|| {
                // `5.0` is an integer, too; within these bounds each has an exact one.
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

    /// An integer that has to be there.
    pub fn integer(&self, name: &str) -> Result<i64> {
        self.optional_integer(name)?
            .ok_or_else(|| self.missing(name))
    }

    /// A number that has to be there; those that JSON lacks come as text.
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

    /// A value as it came, when it is there.
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

    /// Takes a list of objects: batches are large.
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

    /// Takes an object that has to be there.
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

    /// What the request has as a tag or a parameter: a key, and a value that may be empty.
    pub fn key_and_value(&self) -> Result<RunTag> {
        Ok(RunTag {
            key: self.text("key")?,
            value: self.optional_text("value")?.unwrap_or_default(),
        })
    }
}

/// A value that cannot be.
pub fn invalid(path: &str, value: &Value, why: &str) -> Error {
    Error::invalid(format!(
        "Invalid value {value} for parameter '{path}' supplied: {why}"
    ))
}
