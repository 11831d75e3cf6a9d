//! Environments.

use super::asset::Rules;
use crate::error::{Error, Result};
use crate::server::body::strict;
use crate::store::asset::Kind;
use azureml_wire::arm::Resource;
use azureml_wire::environment::EnvironmentVersionProperties;
use serde_json::{Value, json};

/// What is particular to environments.
pub static RULES: Rules = Rules {
    kind: Kind::Environment,
    content: &["image", "build", "condaFile"],
    check,
    complete,
};

fn check(body: &Value) -> Result<()> {
    let request: Resource<EnvironmentVersionProperties> = strict(body)?;
    if request.properties.image.is_none() && request.properties.build.is_none() {
        return Err(Error::invalid(
            "an environment needs an image or a build context",
        ));
    }
    Ok(())
}

fn complete(properties: &mut Value) {
    if properties.get("environmentType").is_none() {
        let curated = properties.pointer("/properties/azureml.curated") == Some(&json!("true"));
        properties["environmentType"] = json!(if curated { "Curated" } else { "UserCreated" });
    }
    if properties.get("osType").is_none() {
        properties["osType"] = json!("Linux");
    }
}
