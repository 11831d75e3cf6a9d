//! The asset rules of data.

use super::rules::Rules;
use crate::error::{Error, Result};
use crate::read::strict;
use crate::store::asset::Kind;
use azureml_wire::arm::Resource;
use azureml_wire::data::DataVersionProperties;
use serde_json::Value;

/// The rules of data.
pub static RULES: Rules = Rules {
    kind: Kind::Data,
    content: &["dataUri", "dataType"],
    place: None,
    check,
    complete: |_| (),
};

fn check(body: &Value) -> Result<()> {
    let request: Resource<DataVersionProperties> = strict(body)?;
    if request.properties.data_uri.is_empty() {
        return Err(Error::invalid("data needs a dataUri: where its files are"));
    }
    Ok(())
}
