//! ARM resources of the workspace, and the links between the pages of a list.

use crate::store::owner;
use crate::workspace::Workspace;
use azureml_wire::arm::{Resource, SystemData};
use azureml_wire::local::scope;
use azureml_wire::routes::encode;
use chrono::{DateTime, Utc};

/// An ARM resource of the workspace; `parts` are alternating kinds and names.
pub fn resource<P>(parts: &[&str], created_at: &str, properties: P) -> Resource<P> {
    let kinds: Vec<&str> = parts.iter().step_by(2).copied().collect();
    let created_at = time(created_at);
    Resource {
        id: Some(scope().path(parts)),
        name: parts.last().map(|name| (*name).to_owned()),
        resource_type: Some(format!(
            "Microsoft.MachineLearningServices/workspaces/{}",
            kinds.join("/")
        )),
        location: None,
        tags: None,
        system_data: Some(SystemData {
            created_by: Some(owner()),
            created_by_type: Some("User".to_owned()),
            created_at,
            last_modified_at: created_at,
        }),
        properties,
    }
}

/// A stored time.
pub fn time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_utc())
}

/// The URL of the next page of a listing.
pub fn next_link(app: &Workspace, address: &str, query: &[(&str, Option<&str>)]) -> String {
    let query: Vec<String> = query
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", encode((*value)?))))
        .collect();
    format!("{}{address}?{}", app.url(), query.join("&"))
}
