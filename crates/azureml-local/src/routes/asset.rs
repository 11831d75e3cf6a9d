//! The routes that all kinds of versioned assets share.

use super::resource::{next_link, resource};
use crate::error::Result;
use crate::server::body::Json as Body;
use crate::store::asset::{Asset, Kind, next_version};
use crate::workspace::asset::{self, Container, Rules};
use crate::workspace::uri::readdress;
use crate::workspace::{Shared, Workspace};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use azureml_wire::arm::{Page, Resource};
use azureml_wire::local::scope;
use serde::Deserialize;
use serde_json::{Value, json};

/// The query parameters of a listing.
#[derive(Debug, Default, Deserialize)]
pub struct Listing {
    /// The order: `createdtime asc` or `createdtime desc` (the default).
    #[serde(rename = "$orderBy", alias = "orderBy")]
    pub order_by: Option<String>,
    /// The maximum number of items on a page.
    #[serde(rename = "$top", alias = "$maxpagesize")]
    pub top: Option<usize>,
    /// The number of items to skip: those of the previous pages.
    #[serde(rename = "$skip")]
    pub skip: Option<usize>,
    /// `ActiveOnly` (the default), `ArchivedOnly` or `All`.
    #[serde(rename = "listViewType")]
    pub view: Option<String>,
    /// The content hash of a code version.
    pub hash: Option<String>,
}

impl Listing {
    /// Whether the view contains an item with this archived state.
    pub fn shows(&self, archived: bool) -> bool {
        match self.view.as_deref() {
            Some("All") => true,
            Some("ArchivedOnly") => archived,
            _ => !archived,
        }
    }

    /// One page of `items`, which are sorted as requested; `address` is the path of the listing.
    pub fn page<T>(&self, app: &Workspace, address: &str, items: Vec<T>) -> Page<T> {
        let skip = self.skip.unwrap_or(0);
        let top = self.top.unwrap_or(100).clamp(1, 1000);
        let more = items.len() > skip.saturating_add(top);
        let value: Vec<T> = items.into_iter().skip(skip).take(top).collect();
        let next_link = more.then(|| {
            let query = [
                ("$skip", Some((skip + top).to_string())),
                ("$top", Some(top.to_string())),
                ("$orderBy", self.order_by.clone()),
                ("listViewType", self.view.clone()),
                ("hash", self.hash.clone()),
            ];
            let query = query
                .each_ref()
                .map(|(name, value)| (*name, value.as_deref()));
            next_link(app, address, &query)
        });
        Page { value, next_link }
    }
}

/// The routes of a kind.
pub fn router(rules: &'static Rules) -> Router<Shared> {
    let kind = rules.kind;
    let all = format!("/{}", kind.collection());
    let list = move |State(app), Query(listing)| list_containers(app, kind, listing);
    let one = move |State(app), Path(name)| get_container(app, kind, name);
    let put = move |State(app), Path(name), Body(body): Body| put_container(app, kind, name, body);
    let versions = format!("{all}/{{name}}/versions");
    let list_versions =
        move |State(app), Path(name), Query(listing)| list_versions(app, rules, name, listing);
    let one_version = move |State(app), Path(id)| get_version(app, rules, id);
    let put_version =
        move |State(app), Path(id), Body(body): Body| put_version(app, rules, id, body);
    Router::new()
        .route(&all, get(list))
        .route(&format!("{all}/{{name}}"), get(one).put(put))
        .route(&versions, get(list_versions))
        .route(
            &format!("{versions}/{{version}}"),
            get(one_version).put(put_version),
        )
}

/// A version as an ARM resource.
pub fn version(app: &Workspace, rules: &Rules, asset: Asset) -> Resource<Value> {
    let mut properties = asset.properties;
    readdress(&app.url(), &mut properties);
    for (name, value) in [
        ("tags", json!({})),
        ("properties", json!({})),
        ("isAnonymous", json!(false)),
        ("isArchived", json!(false)),
    ] {
        if properties.get(name).is_none_or(Value::is_null) {
            properties[name] = value;
        }
    }
    if rules.kind != Kind::Data {
        properties["provisioningState"] = json!("Succeeded");
    }
    (rules.complete)(&mut properties);
    resource(
        &[
            rules.kind.collection(),
            &asset.name,
            "versions",
            &asset.version,
        ],
        &asset.created_at,
        properties,
    )
}

/// A container as a resource.
fn container(kind: Kind, container: &Container) -> Resource<Value> {
    let own = &container.own;
    let newest = container.versions.first();
    let member = |name: &str| own.get(name).cloned().unwrap_or_else(|| json!({}));
    let mut properties = json!({
        "tags": member("tags"),
        "properties": member("properties"),
        "isArchived": container.is_archived(),
        "latestVersion": newest.map(|asset| &asset.version),
        "nextVersion": next_version(&container.versions),
    });
    if kind == Kind::Data {
        properties["dataType"] =
            newest.map_or(Value::Null, |newest| newest.properties["dataType"].clone());
    } else {
        properties["provisioningState"] = json!("Succeeded");
    }
    let of_newest = newest.and_then(|asset| asset.properties.get("description"));
    if let Some(description) = own.get("description").or(of_newest) {
        properties["description"] = description.clone();
    }
    resource(
        &[kind.collection(), &container.name],
        container
            .versions
            .last()
            .map_or("1970-01-01T00:00:00Z", |first| &first.created_at),
        properties,
    )
}

async fn list_containers(
    app: Shared,
    kind: Kind,
    listing: Listing,
) -> Result<Json<Page<Resource<Value>>>> {
    let containers = asset::containers(&app, kind).await?;
    let shown = containers
        .iter()
        .filter(|container| listing.shows(container.is_archived()))
        .map(|shown| container(kind, shown))
        .collect();
    let address = scope().path([kind.collection()]);
    Ok(Json(listing.page(&app, &address, shown)))
}

async fn get_container(app: Shared, kind: Kind, name: String) -> Result<Json<Resource<Value>>> {
    let found = asset::container(&app, kind, name).await?;
    Ok(Json(container(kind, &found)))
}

async fn put_container(
    app: Shared,
    kind: Kind,
    name: String,
    mut body: Value,
) -> Result<Json<Resource<Value>>> {
    let own = body.get_mut("properties").map_or(Value::Null, Value::take);
    let changed = asset::put_container(&app, kind, name, own).await?;
    Ok(Json(container(kind, &changed)))
}

async fn list_versions(
    app: Shared,
    rules: &'static Rules,
    name: String,
    listing: Listing,
) -> Result<Json<Page<Resource<Value>>>> {
    let Container {
        name,
        own,
        versions,
    } = asset::container(&app, rules.kind, name).await?;
    let archives_all = asset::is_container_archived(&own);
    Ok(Json(page_of_versions(
        &app,
        rules,
        &name,
        versions,
        archives_all,
        &listing,
    )))
}

/// One page of `versions`, which come newest first. An archived container hides all of them.
pub fn page_of_versions(
    app: &Workspace,
    rules: &Rules,
    name: &str,
    mut versions: Vec<Asset>,
    are_archived: bool,
    listing: &Listing,
) -> Page<Resource<Value>> {
    versions.retain(|version| listing.shows(are_archived || version.is_archived()));
    if listing
        .order_by
        .as_deref()
        .is_some_and(|order| order.to_ascii_lowercase().ends_with(" asc"))
    {
        versions.reverse();
    }
    let versions = versions
        .into_iter()
        .map(|asset| version(app, rules, asset))
        .collect();
    let address = scope().path([rules.kind.collection(), name, "versions"]);
    listing.page(app, &address, versions)
}

async fn get_version(
    app: Shared,
    rules: &'static Rules,
    (name, number): (String, String),
) -> Result<Json<Resource<Value>>> {
    let found = asset::version(&app, rules.kind, name, number).await?;
    Ok(Json(version(&app, rules, found)))
}

async fn put_version(
    app: Shared,
    rules: &'static Rules,
    (name, number): (String, String),
    body: Value,
) -> Result<(StatusCode, Json<Resource<Value>>)> {
    let (is_new, asset) = asset::put(&app, rules, name, number, body, false).await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(version(&app, rules, asset))))
}
