//! The asset rules of models.

use super::rules::Rules;
use crate::error::{Error, Result};
use crate::read::strict;
use crate::store::asset::Kind;
use azureml_wire::arm::Resource;
use azureml_wire::model::ModelVersionProperties;
use serde_json::{Value, json};

/// The rules of models.
pub static RULES: Rules = Rules {
    kind: Kind::Model,
    content: &["modelUri"],
    place: Some("modelUri"),
    check,
    complete,
};

fn check(body: &Value) -> Result<()> {
    let request: Resource<ModelVersionProperties> = strict(body)?;
    if request.properties.model_uri.is_none() {
        return Err(Error::invalid(
            "a model needs a modelUri: where its files are",
        ));
    }
    Ok(())
}

/// Adds the members that the official client requires.
fn complete(properties: &mut Value) {
    if properties.get("flavors").is_none() {
        properties["flavors"] = json!({});
    }
    if properties.get("modelType").is_none() {
        properties["modelType"] = json!("custom_model");
    }
}
