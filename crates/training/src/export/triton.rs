//! Export to a model repository of Triton, NVIDIA's inference server.

use std::{fs, path::Path};

use super::Interface;
use crate::{error::Error, file};

/// Maximum number of examples that Triton combines into one batch.
const MAX_BATCH_SIZE: i64 = 64;

/// Adds the TorchScript file `script` to the model repository `folder`, as version 1 of the model
/// `name`.
pub fn save(folder: &Path, name: &str, script: &Path, interface: Interface) -> Result<(), Error> {
    let model = folder.join(name);
    let version = model.join("1");
    fs::create_dir_all(&version).map_err(Error::write(&version))?;
    let copy = version.join("model.pt");
    file::write(&copy, |partial| {
        fs::copy(script, partial)
            .map(drop)
            .map_err(Error::write(&copy))
    })?;
    // Written last, because Triton considers a folder that contains this file a complete model.
    file::write_bytes(&model.join("config.pbtxt"), config(name, interface))
}

/// Returns `config.pbtxt`. TorchScript inputs and outputs have no names, so Triton requires names
/// that end in an index.
fn config(name: &str, interface: Interface) -> String {
    let Interface { input, output } = interface;
    format!(
        r#"name: "{name}"
platform: "pytorch_libtorch"
max_batch_size: {MAX_BATCH_SIZE}
input [
  {{
    name: "INPUT__0"
    data_type: TYPE_FP32
    dims: {input:?}
  }}
]
output [
  {{
    name: "OUTPUT__0"
    data_type: TYPE_FP32
    dims: {output:?}
  }}
]
dynamic_batching {{ }}
"#
    )
}
