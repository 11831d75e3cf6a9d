//! Versioned assets: environments, code, models and data. The content of a version never changes.

pub mod code;
pub mod data;
pub mod environment;
pub mod model;
mod rules;

pub use rules::Rules;

use super::source;
use super::uri::readdress;
use super::{Shared, Workspace, blocking};
use crate::error::{Error, Result};
use crate::store::asset::{self, Asset, Kind};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::Arc;

/// The kinds with asset containers. Code has only versions.
pub static WITH_CONTAINERS: [&Rules; 3] = [&environment::RULES, &model::RULES, &data::RULES];

/// An asset container with its versions, the newest first.
pub struct Container {
    /// Its name.
    pub name: String,
    /// The members that a client has set: `isArchived`, `description`, `tags`, `properties`.
    pub own: Value,
    /// Its versions.
    pub versions: Vec<Asset>,
}

impl Container {
    /// Whether it is archived: explicitly, or because all of its versions are archived.
    pub fn is_archived(&self) -> bool {
        self.own
            .get("isArchived")
            .and_then(Value::as_bool)
            .unwrap_or_else(|| self.versions.iter().all(Asset::is_archived))
    }
}

/// Whether a container is archived explicitly, and with it all of its versions.
pub fn is_container_archived(own: &Value) -> bool {
    own.get("isArchived") == Some(&json!(true))
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

/// All containers of a kind, without those whose versions are all anonymous.
pub async fn containers(app: &Workspace, kind: Kind) -> Result<Vec<Container>> {
    app.db(move |store| {
        let mut containers = Vec::new();
        for name in asset::names(store, kind)? {
            let versions = asset::versions(store, kind, &name)?;
            if !versions.iter().all(Asset::is_anonymous) {
                containers.push(Container {
                    own: asset::container(store, kind, &name)?,
                    name,
                    versions,
                });
            }
        }
        Ok(containers)
    })
    .await
}

/// One container.
pub async fn container(app: &Workspace, kind: Kind, name: String) -> Result<Container> {
    app.db(move |store| {
        let versions = known_versions(store, kind, &name)?;
        if versions.is_empty() {
            return Err(missing(kind, &name, None, &asset::names(store, kind)?));
        }
        Ok(Container {
            own: asset::container(store, kind, &name)?,
            name,
            versions,
        })
    })
    .await
}

/// Updates a container, in particular to archive it with all of its versions.
pub async fn put_container(
    app: &Workspace,
    kind: Kind,
    name: String,
    mut own: Value,
) -> Result<Container> {
    let Some(members) = own.as_object_mut() else {
        return Err(Error::invalid(
            "RequestInvalid: properties: expected an object",
        ));
    };
    // Clients send back the read-only members of a response.
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
        asset::put_container(store, kind, &name, &own)?;
        Ok(Container {
            name,
            own,
            versions,
        })
    })
    .await
}

/// One version.
pub async fn version(app: &Workspace, kind: Kind, name: String, number: String) -> Result<Asset> {
    app.db(move |store| {
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
            let numbers: Vec<String> = versions.into_iter().map(|asset| asset.version).collect();
            Err(missing(kind, &name, Some(&number), &numbers))
        }
    })
    .await
}

/// Creates a version or changes the mutable properties of one. With `anew`, the files of the
/// existing version are lost, and its content is replaced.
pub async fn put(
    app: &Shared,
    rules: &'static Rules,
    name: String,
    number: String,
    mut body: Value,
    anew: bool,
) -> Result<(bool, Asset)> {
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
    readdress(&app.url(), &mut properties);
    let sent = properties.clone();
    let properties = blocking({
        let app = Arc::clone(app);
        move || {
            if let Some(place) = rules.place {
                source::settle(&app, &mut properties, place)?;
            }
            app.home.settle()?;
            Ok(properties)
        }
    })
    .await?;
    app.db({
            let url = app.url();
            move |store| {
                let old = asset::get(store, kind, &name, &number)?;
                if let Some(old) = old.as_ref().filter(|_| !anew) {
                    let mut before = old.properties.clone();
                    readdress(&url, &mut before);
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
    .await
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
