//! A folder that Triton, NVIDIA's inference server, serves models from.

use std::{fs, path::Path};

use super::Interface;
use crate::{error::Error, file};

/// Examples that Triton may put together into one batch.
const MAX_BATCH_SIZE: i64 = 64;

/// Puts the TorchScript file `script` into the model repository `folder`, as version 1 of the model `name`.
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
    // Last, because Triton takes a folder with it for a complete model.
    file::write_bytes(&model.join("config.pbtxt"), config(name, interface))
}

/// TorchScript does not name its inputs and outputs, so Triton wants names with a number.
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
