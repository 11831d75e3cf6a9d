//! Validates exchanges against the service's schema (`tests/fixtures/wire/`, the 2025-12-01
//! models).
//!
//! The fixture is JSON Schema with three additions, which [`definitions`] converts to plain JSON
//! Schema: `x-discriminated` (a base type and its subtypes, by the value of the discriminator),
//! `x-enum` (the values of a string) and `readOnly` (members that a request must not contain).
//! Unknown members are rejected in both directions: the service rejects them in requests, and a
//! response should only contain members of a model.
//!
//! The data plane (run history, MLflow) has no published schema. The SDK's requests there must
//! contain exactly the members of the wire types, and the responses must deserialize as wire types.
//! Blob requests are checked by the official clients only.

use azureml_wire::mlflow::{GetRun, LogBatch, MetricHistory};
use azureml_wire::run_history::{
    ArtifactContent, ArtifactPage, ArtifactPaths, ArtifactUploads, ModifyRun, Run, RunDetails,
    RunPage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

/// The validated side of an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

static SCHEMA: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    let text = include_str!("../fixtures/wire/azureml-2025-12-01.schema.json");
    let schema: Value = serde_json::from_str(text).expect("the fixture is JSON");
    match &schema["$defs"] {
        Value::Object(definitions) => definitions.clone(),
        _ => panic!("the fixture has no $defs"),
    }
});
static REQUESTS: LazyLock<Value> = LazyLock::new(|| definitions(Side::Request));
static RESPONSES: LazyLock<Value> = LazyLock::new(|| definitions(Side::Response));

/// Validates one exchange: `{"client", "method", "path", "query", "request", "status",
/// "response"}`, bodies as JSON or `null`.
///
/// # Errors
/// The first violation of the schema, or that the route has no known model.
pub fn validate(exchange: &Value) -> Result<(), String> {
    let method = exchange["method"].as_str().ok_or("no method")?;
    let path = exchange["path"].as_str().ok_or("no path")?;
    let status = exchange["status"].as_u64().ok_or("no status")?;
    let is_ours = exchange["client"]
        .as_str()
        .is_some_and(|client| client.starts_with("azureml-rust/"));
    if path.starts_with("/history/") || path.starts_with("/mlflow/") {
        return if is_ours {
            data_plane(exchange, method, path, status)
        } else {
            Ok(())
        };
    }
    let Some(route) = route(method, path) else {
        // An unknown route must respond with the standard error, too.
        return if status >= 400 {
            check(&exchange["response"], "ErrorResponse", Side::Response)
        } else {
            Err(format!("no model known for {method} {path}"))
        };
    };
    // An invalid request of a test need not follow the schema. A request of the SDK must, even if
    // the server rejects it.
    if let Some(definition) = route.request.filter(|_| status < 400 || is_ours) {
        let mut request = exchange["request"].clone();
        if let Some(version) = request.pointer_mut("/properties/properties/hash_version") {
            // The model requires a string; the official client sends an integer and the service
            // accepts it.
            if version.is_u64() {
                *version = json!(version.to_string());
            }
        }
        if let Some(goal) = request.pointer_mut("/properties/objective/goal") {
            // The same for the goal of a sweep: the official client writes it in lower case.
            match goal.as_str() {
                Some("maximize") if !is_ours => *goal = json!("Maximize"),
                Some("minimize") if !is_ours => *goal = json!("Minimize"),
                _ => {}
            }
        }
        check(&request, definition, Side::Request)?;
    }
    if status >= 400 {
        return check(&exchange["response"], "ErrorResponse", Side::Response);
    }
    match route.response {
        Response::None => Ok(()),
        Response::One(definition) => check_echo(&exchange["response"], definition),
        Response::Page(definition) => exchange["response"]["value"]
            .as_array()
            .ok_or("a list without `value`")?
            .iter()
            .try_for_each(|item| check_echo(item, definition)),
        Response::Secrets => {
            let kind = exchange["response"]["secretsType"].as_str().unwrap_or("");
            check(
                &exchange["response"],
                &format!("{kind}DatastoreSecrets"),
                Side::Response,
            )
        }
    }
}

/// Like [`check`], for a resource that may echo the official client's integer `hash_version`.
fn check_echo(resource: &Value, definition: &str) -> Result<(), String> {
    let mut resource = resource.clone();
    if let Some(version) = resource.pointer_mut("/properties/properties/hash_version")
        && version.is_u64()
    {
        *version = json!(version.to_string());
    }
    check(&resource, definition, Side::Response)
}

/// Validates an exchange of the SDK on the data plane.
fn data_plane(exchange: &Value, method: &str, path: &str, status: u64) -> Result<(), String> {
    let (request, response) = (&exchange["request"], &exchange["response"]);
    let is_run = |rest: &str| {
        let run = path.split_once("/runs/").map(|(_, run)| run);
        run.and_then(|run| run.split_once('/'))
            .map_or("", |(_, rest)| rest)
            == rest
    };
    let is_call = |call: &str| path.ends_with(&format!("/api/2.0/mlflow/{call}"));
    if status >= 400 {
        return if path.starts_with("/history/") {
            check(response, "ErrorResponse", Side::Response)
        } else if response["error_code"].is_string() && response["message"].is_string() {
            Ok(())
        } else {
            Err("a failed call of MLflow's without a code and a message".to_owned())
        };
    }
    match method {
        "GET" if is_run("details") => reads::<RunDetails>(response),
        "GET" if path.starts_with("/history/") && is_run("") => reads::<Run>(response),
        "GET" if is_run("children") => reads::<RunPage>(response),
        "GET" if is_run("artifacts") => reads::<ArtifactPage>(response),
        "GET" if is_run("artifacts/contentinfo") => reads::<ArtifactContent>(response),
        "POST" if is_run("artifacts/batch/metadata") => {
            holds::<ArtifactPaths>(request).and_then(|()| reads::<ArtifactUploads>(response))
        }
        "PATCH" if is_run("") => holds::<ModifyRun>(request),
        "GET" if is_call("runs/get") => reads::<GetRun>(response),
        "GET" if is_call("metrics/get-history") => reads::<MetricHistory>(response),
        "POST" if is_call("runs/log-batch") => holds::<LogBatch>(request),
        _ => Err(format!("no wire type known for {method} {path}")),
    }
}

/// Checks that a value deserializes as `T`.
fn reads<T: DeserializeOwned>(value: &Value) -> Result<(), String> {
    T::deserialize(value)
        .map(drop)
        .map_err(|error| format!("response is no {}: {error}", std::any::type_name::<T>()))
}

/// Checks that a value contains exactly the members of `T`.
fn holds<T: DeserializeOwned + Serialize>(value: &Value) -> Result<(), String> {
    let again = T::deserialize(value).and_then(|read| serde_json::to_value(&read));
    match again {
        Ok(again) if again == *value => Ok(()),
        Ok(again) => Err(format!("the request holds more than {again}")),
        Err(error) => Err(format!(
            "request is no {}: {error}",
            std::any::type_name::<T>()
        )),
    }
}

struct Route {
    request: Option<&'static str>,
    response: Response,
}

enum Response {
    None,
    One(&'static str),
    Page(&'static str),
    Secrets,
}

/// The models of a route; `None` if the schema has no model for it.
#[allow(
    clippy::match_same_arms,
    reason = "a table of routes, each with its reason"
)]
fn route(method: &str, path: &str) -> Option<Route> {
    let (_, rest) = path.split_once("/providers/Microsoft.MachineLearningServices/workspaces/")?;
    let parts: Vec<&str> = rest.trim_end_matches('/').split('/').skip(1).collect();
    let asset = |kind: &str| match kind {
        "environments" => Some("EnvironmentVersion"),
        "codes" => Some("CodeVersion"),
        "models" => Some("ModelVersion"),
        "data" => Some("DataVersionBase"),
        _ => None,
    };
    let resource = |kind: &str| match kind {
        "computes" => Some("ComputeResource"),
        "datastores" => Some("Datastore"),
        "jobs" => Some("JobBase"),
        _ => None,
    };
    let request = |definition| (method == "PUT").then_some(definition);
    let (request, response) = match parts.as_slice() {
        [] => (None, Response::One("Workspace")),
        // The containers of all kinds have the same members: one model stands for all.
        ["data"] => (None, Response::Page("DataContainer")),
        ["data", _] => (None, Response::One("DataContainer")),
        ["environments" | "models" | "codes"] => (None, Response::Page("EnvironmentContainer")),
        [kind] => (None, Response::Page(resource(kind)?)),
        ["environments" | "models" | "codes", _] => (None, Response::One("EnvironmentContainer")),
        // The status of a long-running operation has no model.
        [
            ..,
            "operations" | "operationsStatus" | "operationResults",
            _,
        ] => (None, Response::None),
        _ if method == "DELETE" => (None, Response::None),
        [kind, _] => {
            let definition = resource(kind)?;
            (request(definition), Response::One(definition))
        }
        ["jobs", _, "cancel"] | ["computes", _, "start" | "stop"] => (None, Response::None),
        ["datastores", _, "listSecrets"] => (None, Response::Secrets),
        [kind, _, "versions"] => (None, Response::Page(asset(kind)?)),
        [kind, _, "versions", _] => {
            let definition = asset(kind)?;
            (request(definition), Response::One(definition))
        }
        [_, _, "versions", _, "startPendingUpload"] => (
            Some("PendingUploadRequestDto"),
            Response::One("PendingUploadResponseDto"),
        ),
        _ => return None,
    };
    Some(Route { request, response })
}

fn check(value: &Value, definition: &str, side: Side) -> Result<(), String> {
    let definitions = match side {
        Side::Request => &*REQUESTS,
        Side::Response => &*RESPONSES,
    };
    if definitions.get(definition).is_none() {
        return Err(format!("the schema has no model {definition}"));
    }
    let schema = json!({ "$ref": format!("#/$defs/{definition}"), "$defs": definitions });
    let validator = jsonschema::validator_for(&schema).map_err(|error| error.to_string())?;
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    if errors.is_empty() {
        Ok(())
    } else {
        let side = match side {
            Side::Request => "request",
            Side::Response => "response",
        };
        Err(format!("{side} is no {definition}: {}", errors.join("; ")))
    }
}

/// The fixture's definitions as plain JSON Schema for one side of an exchange.
fn definitions(side: Side) -> Value {
    let definitions = SCHEMA.iter().map(|(name, definition)| {
        let plain = match definition.get("x-discriminated") {
            Some(Value::Object(types)) => discriminated(types),
            _ => plain(definition, side),
        };
        (name.clone(), plain)
    });
    Value::Object(definitions.collect())
}

/// A base type: the discriminator selects the subtype that must validate.
fn discriminated(types: &Map<String, Value>) -> Value {
    // The discriminator is the member that has a constant value in each subtype.
    let discriminator = types
        .values()
        .filter_map(|name| SCHEMA[name.as_str()?]["properties"].as_object())
        .flatten()
        .find_map(|(name, property)| property.get("const").map(|_| name.as_str()))
        .expect("the types behind a base fix its discriminator");
    let choices: Vec<Value> = types
        .iter()
        .map(|(value, definition)| {
            let definition = definition.as_str().expect("names a definition");
            json!({
                "if": { "properties": { discriminator: { "const": value } } },
                "then": { "$ref": format!("#/$defs/{definition}") }
            })
        })
        .collect();
    json!({
        "type": "object",
        "required": [discriminator],
        "properties": { discriminator: { "enum": types.keys().collect::<Vec<_>>() } },
        "allOf": choices
    })
}

/// One schema without the fixture's additions.
fn plain(schema: &Value, side: Side) -> Value {
    match schema {
        Value::Object(members) => {
            let mut result = Map::new();
            for (key, value) in members {
                match key.as_str() {
                    "x-enum" => {
                        result.insert("enum".to_owned(), value.clone());
                    }
                    "properties" => {
                        let properties = value.as_object().expect("properties are an object");
                        let kept = properties
                            .iter()
                            .filter(|(_, property)| {
                                side == Side::Response || property["readOnly"] != json!(true)
                            })
                            .map(|(name, property)| (name.clone(), plain(property, side)));
                        result.insert(key.clone(), Value::Object(kept.collect()));
                        if !members.contains_key("additionalProperties") {
                            result.insert("additionalProperties".to_owned(), json!(false));
                        }
                    }
                    "required" => {
                        let mut names = value.as_array().cloned().unwrap_or_default();
                        names.sort_by_key(ToString::to_string);
                        names.dedup();
                        result.insert(key.clone(), Value::Array(names));
                    }
                    _ => {
                        result.insert(key.clone(), plain(value, side));
                    }
                }
            }
            Value::Object(result)
        }
        Value::Array(items) => items.iter().map(|item| plain(item, side)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WS: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w";

    fn submit(job: &Value) -> Result<(), String> {
        validate(&json!({
            "method": "PUT", "path": format!("{WS}/jobs/j"), "request": { "properties": job },
            "status": 201, "response": { "properties": job }
        }))
    }

    #[test]
    fn a_command_job_passes_and_its_mistakes_do_not() {
        let job = json!({
            "jobType": "Command", "command": "true", "environmentId": "e",
            "inputs": { "a": { "jobInputType": "literal", "value": "1" } }
        });
        submit(&job).unwrap();
        for (member, value) in [
            ("comand", json!("typo")),
            ("jobType", json!("Comand")),
            ("status", json!("Running")),
            (
                "inputs",
                json!({ "a": { "jobInputType": "literal", "value": 1 } }),
            ),
            ("inputs", json!({ "a": { "jobInputType": "uri_folder" } })),
        ] {
            let mut wrong = job.clone();
            wrong[member] = value;
            assert!(submit(&wrong).is_err(), "{member} passes");
        }
    }

    #[test]
    fn errors_are_judged_as_errors() {
        let exchange = |response: Value| {
            json!({
                "method": "GET", "path": format!("{WS}/jobs/j"), "request": null, "status": 404, "response": response
            })
        };
        assert!(
            validate(&exchange(
                json!({ "error": { "code": "NotFound", "message": "m" } })
            ))
            .is_ok()
        );
        assert!(validate(&exchange(json!({ "message": "m" }))).is_err());
    }

    #[test]
    fn what_the_sdk_sends_is_judged_also_when_it_is_refused() {
        let refused = |client: &str| {
            json!({
                "client": client, "method": "PUT", "path": format!("{WS}/jobs/j"),
                "request": { "properties": { "jobType": "Command", "comand": "typo" } },
                "status": 400, "response": { "error": { "code": "UserError", "message": "m" } }
            })
        };
        assert!(validate(&refused("curl/8")).is_ok());
        assert!(validate(&refused("azureml-rust/0.1.0")).is_err());
    }

    #[test]
    fn the_data_plane_is_judged_by_the_wire_types() {
        let batch = |metric: Value| {
            json!({
                "client": "azureml-rust/0.1.0", "method": "POST",
                "path": format!("/mlflow/v2.0{WS}/api/2.0/mlflow/runs/log-batch"),
                "request": { "run_id": "r", "metrics": [metric] }, "status": 200, "response": {}
            })
        };
        let metric = json!({ "key": "m", "value": "NaN", "timestamp": 1, "step": 0 });
        validate(&batch(metric.clone())).unwrap();
        let mut wrong = metric;
        wrong["stepp"] = json!(1);
        assert!(validate(&batch(wrong)).is_err());
        let details = |response: Value| {
            json!({
                "client": "azureml-rust/0.1.0", "method": "GET", "path": format!("/history/v1.0{WS}/runs/r/details"),
                "request": null, "status": 200, "response": response
            })
        };
        validate(&details(json!({ "runId": "r", "status": "Running" }))).unwrap();
        assert!(validate(&details(json!({ "status": "Running" }))).is_err());
    }

    #[test]
    fn an_unknown_route_has_no_model() {
        let exchange = json!({
            "method": "GET", "path": format!("{WS}/toasters"), "request": null, "status": 200, "response": {}
        });
        assert!(validate(&exchange).is_err());
    }
}
