//! Named outputs: their paths in the datastore, and their use as inputs of other jobs.

use super::Workspace;
use super::command::placeholders;
use super::uri::DATASTORE;
use crate::error::{Error, Result};
use crate::name::RunName;
use crate::store::job::{self, Job};
use azureml_wire::job::JobOutput;
use serde_json::{Value, json};

/// The expressions that an output's path may contain.
const EXPRESSIONS: &str = "${{default_datastore}}, ${{name}} and ${{output_name}}";

/// Resolves the expressions in the path of an output.
pub fn resolve(uri: &str, job: &str, output: &str) -> Result<String> {
    let mut resolved = String::with_capacity(uri.len());
    let mut done = 0;
    for (expression, start, end) in placeholders(uri) {
        resolved.push_str(&uri[done..start]);
        resolved.push_str(match expression {
            "name" => job,
            "output_name" => output,
            "default_datastore" => DATASTORE,
            other => {
                return Err(Error::invalid(format!(
                    "the place of the output {output:?} names ${{{{{other}}}}}, which is not \
                     defined there\nhint: use {EXPRESSIONS}"
                )));
            }
        });
        done = end;
    }
    let rest = &uri[done..];
    if rest.contains("${{") {
        return Err(Error::invalid(format!(
            "the place of the output {output:?} has ${{{{ without an end: {uri:?}\n\
             hint: use {EXPRESSIONS}"
        )));
    }
    resolved.push_str(rest);
    Ok(resolved)
}

/// Resolves the paths of all outputs in the properties of a job.
pub fn resolve_all(properties: &mut Value, job: &str) -> Result<()> {
    let outputs = properties.get_mut("outputs").and_then(Value::as_object_mut);
    for (name, output) in outputs.into_iter().flatten() {
        if let Some(uri) = output.get("uri").and_then(Value::as_str) {
            output["uri"] = json!(resolve(uri, job, name)?);
        }
    }
    Ok(())
}

/// The path of an output: the path in the job, else a default path with the job's name.
pub fn place(uri: Option<&str>, job: &str, output: &str, is_file: bool) -> String {
    let mut place = match uri {
        // Invalid expressions were rejected at submission.
        Some(uri) => resolve(uri, job, output).unwrap_or_else(|_| uri.to_owned()),
        None => format!("azureml://datastores/{DATASTORE}/paths/azureml/{job}/{output}/"),
    };
    // A file in a folder gets the name of the output.
    if is_file && place.ends_with('/') {
        place.push_str(output);
    }
    place
}

/// Whether the path differs for each job.
pub fn is_own(uri: &str) -> bool {
    placeholders(uri).iter().any(|(name, ..)| *name == "name")
}

/// The target of `azureml://jobs/<job>/outputs/<output>`: another URI, or a path among a run's
/// artifacts.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// The URI of a named output, with the path below it.
    Uri(String),
    /// A path in the container of all runs' artifacts.
    Artifacts(String),
}

/// Finds an output of a job; `rest` is the text after `azureml://jobs/`. `None` if it does not name
/// an output.
pub fn find(app: &Workspace, uri: &str, rest: &str) -> Result<Option<Place>> {
    let Some((name, rest)) = rest.split_once("/outputs/") else {
        return Ok(None);
    };
    let (output, path) = rest
        .split_once("/paths/")
        .unwrap_or((rest.trim_end_matches('/'), ""));
    let found = app.store.transaction(|store| {
        let job = job::any(store, name)?;
        // The outputs of a sweep are those of its best trial.
        match job.as_ref().and_then(Job::best_trial) {
            Some(best) => job::any(store, best),
            None => Ok(job),
        }
    })?;
    let Some(job) = found else {
        return Err(Error::invalid(format!(
            "the input {uri:?} comes from job {name:?}, which this workspace does not have\n\
             hint: see the list of jobs for its name"
        )));
    };
    let outputs = named_outputs(&job);
    if let Some(found) = outputs.iter().find(|known| known.name == output) {
        return place_of(uri, &job, &found.uri, path).map(Some);
    }
    // Files in the working directory's `outputs` are artifacts of the run.
    if matches!(output, "artifacts" | "default") {
        let path = format!("{}/{path}", RunName::parse(&job.name)?.artifacts());
        return Ok(Some(Place::Artifacts(path)));
    }
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    let there = if names.is_empty() {
        "it has none but \"artifacts\"".to_owned()
    } else {
        format!("it has {} and \"artifacts\"", names.join(", "))
    };
    Err(Error::invalid(format!(
        "the input {uri:?} names the output {output:?} of job {name:?}; {there}\n\
         hint: correct the output's name"
    )))
}

fn place_of(uri: &str, job: &Job, place: &str, path: &str) -> Result<Place> {
    if !job.status.is_terminal() {
        return Err(Error::invalid(format!(
            "the input {uri:?} comes from job {:?}, which is {} and has not written it yet\n\
             hint: submit this job when that one has ended",
            job.name, job.status
        )));
    }
    let path = path.trim_matches('/');
    Ok(Place::Uri(if path.is_empty() {
        place.to_owned()
    } else {
        format!("{}/{path}", place.trim_end_matches('/'))
    }))
}

/// A named output of a job.
pub struct NamedOutput {
    /// Its name.
    pub name: String,
    /// `uri_folder`, `uri_file`, `custom_model`, ….
    pub kind: &'static str,
    /// Whether it is a single file, which the job wrote under the output's name.
    pub is_file: bool,
    /// Its destination in the datastore.
    pub uri: String,
    /// The name to register it under.
    pub asset_name: Option<String>,
}

/// The named outputs of a job.
pub fn named_outputs(job: &Job) -> Vec<NamedOutput> {
    job.outputs()
        .map(|(name, output)| {
            let is_file = matches!(output, JobOutput::UriFile(_));
            let asset = output.asset();
            NamedOutput {
                name: name.clone(),
                kind: output.kind(),
                is_file,
                uri: place(asset.uri.as_deref(), &job.name, name, is_file),
                asset_name: asset.asset_name.clone(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expressions_of_an_output_place_are_resolved_and_others_refused() {
        for (uri, expected) in [
            (
                "azureml://datastores/x/paths/a/b",
                "azureml://datastores/x/paths/a/b",
            ),
            (
                "azureml://datastores/${{default_datastore}}/paths/${{name}}/${{ output_name }}/",
                "azureml://datastores/workspaceblobstore/paths/fox/model/",
            ),
            ("x/${{name}}-${{name}}.json", "x/fox-fox.json"),
        ] {
            assert_eq!(resolve(uri, "fox", "model").unwrap(), expected);
        }
        for uri in [
            "a/${{parent.name}}/b",
            "a/${{}}",
            "a/${{name",
            "${{inputs.x}}",
        ] {
            let error = resolve(uri, "fox", "model").unwrap_err().to_string();
            assert!(
                error.contains("\"model\"") && error.contains("hint: use "),
                "{error}"
            );
        }
    }
}
