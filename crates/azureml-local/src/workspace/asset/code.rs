//! Code snapshots. A version whose files are lost can get new ones.

use super::hash;
use super::rules::Rules;
use crate::blob;
use crate::error::Result;
use crate::read::strict;
use crate::store::asset::{self, Asset, Kind};
use crate::workspace::source::source;
use crate::workspace::{Shared, Workspace, blocking};
use azureml_wire::arm::Resource;
use azureml_wire::code::CodeVersionProperties;
use serde_json::{Value, json};
use std::sync::Arc;

/// The rules of code snapshots.
pub static RULES: Rules = Rules {
    kind: Kind::Code,
    content: &["codeUri"],
    place: None,
    check: |body| strict::<Resource<CodeVersionProperties>>(body).map(drop),
    complete,
};

/// Converts properties to text as the REST models require; the official client sends an integer.
fn complete(properties: &mut Value) {
    if let Some(members) = properties
        .get_mut("properties")
        .and_then(Value::as_object_mut)
    {
        for (_, value) in members.iter_mut().filter(|(_, value)| !value.is_string()) {
            *value = json!(value.to_string());
        }
    }
}

/// The versions with this content hash whose files exist. For a hash in this list, clients upload
/// nothing.
pub async fn by_hash(app: &Shared, hash: String) -> Result<Vec<Asset>> {
    let app = Arc::clone(app);
    blocking(move || {
        let found = app
            .store
            .transaction(|store| asset::codes_by_hash(store, &hash))?;
        let with_files = found.into_iter().filter(|code| has_files(&app, code));
        Ok(with_files.collect())
    })
    .await
}

fn has_files(app: &Workspace, code: &Asset) -> bool {
    code.uri()
        .and_then(|uri| source(app, uri).ok())
        .and_then(|source| blob::list(&app.home, &source.container, &source.prefix()).ok())
        .is_some_and(|files| !files.is_empty())
}

/// Creates or updates a version.
pub async fn put(app: &Shared, name: String, number: String, body: Value) -> Result<(bool, Asset)> {
    let old = {
        let (name, number) = (name.clone(), number.clone());
        app.db(move |store| asset::get(store, Kind::Code, &name, &number))
            .await?
    };
    // If the files of a version are lost, a client that sends the same hash uploads them again.
    let is_lost = match old {
        Some(old) if hash(&old.properties) == hash(&body["properties"]) => {
            let app = Arc::clone(app);
            blocking(move || Ok(!has_files(&app, &old))).await?
        }
        _ => false,
    };
    super::put(app, &RULES, name, number, body, is_lost).await
}
