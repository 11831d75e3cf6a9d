//! Common routes of environments, codes, models and data: names with immutable versions.

use super::{environment, next_link, readdress, resolve, resource};
use crate::app::{Shared, blocking};
use crate::error::{Error, Result};
use crate::server::body::Json as Body;
use crate::store::asset::{self, Asset, Kind};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use azureml_wire::local::scope;
use rusqlite::Connection;
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
    pub fn page(&self, app: &Shared, address: &str, items: Vec<Value>) -> Value {
        let skip = self.skip.unwrap_or(0);
        let top = self.top.unwrap_or(100).clamp(1, 1000);
        let more = items.len() > skip.saturating_add(top);
        let value: Vec<Value> = items.into_iter().skip(skip).take(top).collect();
        let mut page = json!({ "value": value });
        if more {
            let query = [
                ("$skip", Some((skip + top).to_string())),
                ("$top", Some(top.to_string())),
                ("$orderBy", self.order_by.clone()),
                ("listViewType", self.view.clone()),
            ];
            let query = query
                .each_ref()
                .map(|(name, value)| (*name, value.as_deref()));
            page["nextLink"] = json!(next_link(app, address, &query));
        }
        page
    }
}

/// The rules of one kind of asset.
#[derive(Debug)]
pub struct Rules {
    /// The kind.
    pub kind: Kind,
    /// The properties that make up the content of a version. They are immutable.
    pub content: &'static [&'static str],
    /// Rejects a version that the service would reject.
    pub check: fn(&Value) -> Result<()>,
    /// The member with the URI of a version's files, which is resolved at registration.
    pub place: Option<&'static str>,
    /// Adds the properties of a version that clients rely on.
    pub complete: fn(&mut Value),
}

/// The routes of a kind.
pub fn router(rules: &'static Rules) -> Router<Shared> {
    let kind = rules.kind;
    let all = format!("/{}", kind.collection());
    let list = move |State(app), Query(listing)| list_containers(app, kind, listing);
    let one = move |State(app), Path(name)| get_container(app, kind, name);
    let put = move |State(app), Path(name), Body(body): Body| put_container(app, kind, name, body);
    Router::new()
        .route(&all, get(list))
        .route(&format!("{all}/{{name}}"), get(one).put(put))
        .merge(versions_router(rules))
}

/// The routes of the versions of a kind.
fn versions_router(rules: &'static Rules) -> Router<Shared> {
    let versions = format!("/{}/{{name}}/versions", rules.kind.collection());
    let list =
        move |State(app), Path(name), Query(listing)| list_versions(app, rules, name, listing);
    let one = move |State(app), Path((name, version))| get_version(app, rules, name, version);
    let put = move |State(app), Path((name, version)), Body(body): Body| {
        put_version(app, rules, name, version, body, false)
    };
    Router::new()
        .route(&versions, get(list))
        .route(&format!("{versions}/{{version}}"), get(one).put(put))
}

/// A version as an ARM resource.
pub fn version(app: &Shared, rules: &Rules, asset: Asset) -> Value {
    let mut properties = asset.properties;
    readdress(app, &mut properties);
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
        &properties,
    )
}

/// A name without its versions as an ARM resource. `own` contains the properties that were set on
/// the name itself.
fn container(kind: Kind, name: &str, own: &Value, versions: &[Asset]) -> Value {
    let newest = versions.first();
    let member = |name: &str| own.get(name).cloned().unwrap_or_else(|| json!({}));
    let mut properties = json!({
        "tags": member("tags"),
        "properties": member("properties"),
        "isArchived": is_name_archived(own, versions),
        "latestVersion": newest.map(|asset| &asset.version),
        "nextVersion": asset::next_version(versions),
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
        &[kind.collection(), name],
        versions
            .last()
            .map_or("1970-01-01T00:00:00Z", |first| &first.created_at),
        &properties,
    )
}

/// Whether a name is archived: its own flag if set, otherwise whether all of its versions are.
fn is_name_archived(own: &Value, versions: &[Asset]) -> bool {
    own.get("isArchived")
        .and_then(Value::as_bool)
        .unwrap_or_else(|| versions.iter().all(is_archived))
}

fn is_archived(asset: &Asset) -> bool {
    asset.properties.get("isArchived") == Some(&json!(true))
}

/// The error for a name or version that does not exist; it lists those that do.
pub fn missing(kind: Kind, name: &str, version: Option<&str>, others: &[String]) -> Error {
    let what = match version {
        Some(version) => format!("{name}:{version}"),
        None => name.to_owned(),
    };
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; there are: {}", others.join(", "))
    };
    Error::not_found(format!(
        "there is no {} {what:?} in this workspace{others}",
        kind.noun()
    ))
}

/// The versions of a name. A curated environment of Azure ML has one even if it is not in the
/// store.
fn known_versions(store: &Connection, kind: Kind, name: &str) -> Result<Vec<Asset>> {
    let mut versions = asset::versions(store, kind, name)?;
    if versions.is_empty() && kind == Kind::Environment {
        versions.extend(environment::curated(name, None));
    }
    Ok(versions)
}

/// Lists all names of a kind.
async fn list_containers(app: Shared, kind: Kind, listing: Listing) -> Result<Json<Value>> {
    let containers = app
        .db(move |store| {
            let mut containers = Vec::new();
            for name in asset::names(store, kind)? {
                let versions = asset::versions(store, kind, &name)?;
                if versions.iter().all(is_anonymous) {
                    continue;
                }
                let own = asset::container(store, kind, &name)?;
                if listing.shows(is_name_archived(&own, &versions)) {
                    containers.push(container(kind, &name, &own, &versions));
                }
            }
            Ok((containers, listing))
        })
        .await?;
    let (containers, listing) = containers;
    let address = scope().path([kind.collection()]);
    Ok(Json(listing.page(&app, &address, containers)))
}

fn is_anonymous(asset: &Asset) -> bool {
    asset.properties.get("isAnonymous") == Some(&json!(true))
}

/// Returns one name.
async fn get_container(app: Shared, kind: Kind, name: String) -> Result<Json<Value>> {
    app.db(move |store| {
        let versions = known_versions(store, kind, &name)?;
        if versions.is_empty() {
            return Err(missing(kind, &name, None, &asset::names(store, kind)?));
        }
        let own = asset::container(store, kind, &name)?;
        Ok(Json(container(kind, &name, &own, &versions)))
    })
    .await
}

/// Changes the properties of the name itself, mainly to archive it with all of its versions.
async fn put_container(
    app: Shared,
    kind: Kind,
    name: String,
    mut body: Value,
) -> Result<Json<Value>> {
    let mut properties = body.get_mut("properties").map_or(Value::Null, Value::take);
    let Some(members) = properties.as_object_mut() else {
        return Err(Error::invalid(
            "RequestInvalid: properties: expected an object",
        ));
    };
    // Clients send back members that the service computes from the versions.
    members.retain(|name, value| {
        ["isArchived", "description", "tags", "properties"].contains(&name.as_str())
            && !value.is_null()
    });
    if members
        .get("isArchived")
        .is_some_and(|value| !value.is_boolean())
    {
        return Err(Error::invalid(
            "RequestInvalid: properties.isArchived: expected true or false",
        ));
    }
    app.db(move |store| {
        let versions = asset::versions(store, kind, &name)?;
        if versions.is_empty() {
            return Err(Error::not_found(format!(
                "there is no {} {name:?} in this workspace\n\
                 hint: register a version of it first",
                kind.noun()
            )));
        }
        asset::put_container(store, kind, &name, &properties)?;
        Ok(Json(container(kind, &name, &properties, &versions)))
    })
    .await
}

/// Lists the versions of one name.
pub async fn list_versions(
    app: Shared,
    rules: &'static Rules,
    name: String,
    listing: Listing,
) -> Result<Json<Value>> {
    let kind = rules.kind;
    let of = name.clone();
    let hash = listing.hash.clone();
    let (mut versions, own) = app
        .db(move |store| {
            if let Some(hash) = hash {
                return Ok((asset::codes_by_hash(store, &hash)?, Value::Null));
            }
            let versions = known_versions(store, kind, &of)?;
            if versions.is_empty() {
                return Err(missing(kind, &of, None, &asset::names(store, kind)?));
            }
            Ok((versions, asset::container(store, kind, &of)?))
        })
        .await?;
    // An archived name hides all of its versions.
    let all = own.get("isArchived") == Some(&json!(true));
    versions.retain(|asset| listing.shows(all || is_archived(asset)));
    if listing
        .order_by
        .as_deref()
        .is_some_and(|order| order.to_ascii_lowercase().ends_with(" asc"))
    {
        versions.reverse();
    }
    let versions = versions
        .into_iter()
        .map(|asset| version(&app, rules, asset))
        .collect();
    let address = scope().path([kind.collection(), &name, "versions"]);
    Ok(Json(listing.page(&app, &address, versions)))
}

/// Returns one version.
pub async fn get_version(
    app: Shared,
    rules: &'static Rules,
    name: String,
    number: String,
) -> Result<Json<Value>> {
    let kind = rules.kind;
    let found = app
        .db(move |store| {
            if let Some(found) = asset::get(store, kind, &name, &number)? {
                return Ok(found);
            }
            if kind == Kind::Environment
                && let Some(curated) = environment::curated(&name, Some(&number))
            {
                return Ok(curated);
            }
            let versions = asset::versions(store, kind, &name)?;
            if versions.is_empty() {
                Err(missing(kind, &name, None, &asset::names(store, kind)?))
            } else {
                let numbers: Vec<String> =
                    versions.into_iter().map(|asset| asset.version).collect();
                Err(missing(kind, &name, Some(&number), &numbers))
            }
        })
        .await?;
    Ok(Json(version(&app, rules, found)))
}

/// Creates a version or changes the mutable properties of one. With `anew`, the files of the
/// existing version are lost, and its content is replaced.
pub async fn put_version(
    app: Shared,
    rules: &'static Rules,
    name: String,
    number: String,
    mut body: Value,
    anew: bool,
) -> Result<(StatusCode, Json<Value>)> {
    let kind = rules.kind;
    (rules.check)(&body)?;
    let mut properties = body["properties"].take();
    check_name(kind, &name, 255)?;
    check_name(kind, &number, 64)?;
    if let Some(members) = properties.as_object_mut() {
        // The service sets these members; clients send them back.
        members.remove("provisioningState");
        members.remove("environmentType");
        members.retain(|_, value| !value.is_null());
    }
    // Stored with a fixed address, so that a version from before a restart compares equal after it.
    readdress(&app, &mut properties);
    let sent = properties.clone();
    let properties = blocking({
        let app = app.clone();
        move || {
            if let Some(place) = rules.place {
                resolve::settle(&app, &mut properties, place)?;
            }
            app.home.settle()?;
            Ok(properties)
        }
    })
    .await?;
    let (new, asset) = app
        .db({
            let app = app.clone();
            move |store| {
                let old = asset::get(store, kind, &name, &number)?;
                if let Some(old) = old.as_ref().filter(|_| !anew) {
                    let mut before = old.properties.clone();
                    readdress(&app, &mut before);
                    let same_hash = kind == Kind::Code && hash(&before) == hash(&properties);
                    if same_hash && hash(&before).is_some() {
                        return Ok((false, old.clone()));
                    }
                    if let Some(member) = rules
                        .content
                        .iter()
                        // Older programs stored the URI unresolved, as the client sent it.
                        .find(|member| {
                            let before = before.get(**member);
                            before != properties.get(**member) && before != sent.get(**member)
                        })
                    {
                        let versions = asset::versions(store, kind, &name)?;
                        return Err(Error::conflict(format!(
                            "{} {name}:{number} exists with another {member}, and versions do not change\n\
                             hint: register it as version {}",
                            kind.noun(),
                            asset::next_version(&versions)
                        )));
                    }
                }
                asset::put(store, kind, &name, &number, &properties)?;
                let asset = asset::get(store, kind, &name, &number)?
                    .ok_or_else(|| Error::Internal("a version got lost".to_owned()))?;
                Ok((old.is_none(), asset))
            }
        })
        .await?;
    let status = if new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(version(&app, rules, asset))))
}

/// The hash of a version's files.
pub fn hash(properties: &Value) -> Option<&str> {
    properties.get("properties")?.get("hash_sha256")?.as_str()
}

/// Rejects names that the service rejects.
pub fn check_name(kind: Kind, name: &str, most: usize) -> Result<()> {
    let fine = name.len() <= most
        && name
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if fine {
        Ok(())
    } else {
        Err(Error::invalid(format!(
            "{name:?} is no name or version of a {}\n\
             hint: use up to {most} letters, digits, `-`, `_` and `.`, a letter or digit first",
            kind.noun()
        )))
    }
}
