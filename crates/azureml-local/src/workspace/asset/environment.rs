//! The asset rules of environments.

use super::rules::Rules;
use crate::error::{Error, Result};
use crate::read::strict;
use crate::store::asset::{Asset, Kind};
use azureml_wire::arm::Resource;
use azureml_wire::environment::EnvironmentVersionProperties;
use serde_json::{Value, json};

/// The rules of environments.
pub static RULES: Rules = Rules {
    kind: Kind::Environment,
    content: &["image", "build", "condaFile"],
    place: None,
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

/// The name prefix of the environments that Azure ML curates.
const CURATED: &str = "AzureML-";

/// Whether Azure ML, not this workspace, provides an environment: by its name or its registry.
pub fn is_curated(id: &str, name: &str) -> bool {
    name.get(..CURATED.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(CURATED))
        || id.starts_with("azureml://registries/")
}

/// A placeholder for a curated environment that is not in this workspace. Clients look it up before
/// they submit a job with it.
pub fn curated(name: &str, version: Option<&str>) -> Option<Asset> {
    is_curated("", name).then(|| Asset {
        name: name.to_owned(),
        version: version.unwrap_or("1").to_owned(),
        properties: json!({
            "description": "Curated by Azure ML; in the local workspace its jobs run on this machine as it is",
            "image": format!("mcr.microsoft.com/azureml/curated/{}:latest", name[CURATED.len()..].to_ascii_lowercase()),
            "environmentType": "Curated",
        }),
        created_at: "2026-01-01T00:00:00Z".to_owned(),
    })
}
