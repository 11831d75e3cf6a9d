//! MLflow's description of a model, the file `MLmodel`.
//!
//! The flavor `pytorch` may name a TorchScript file: `mlflow.pytorch.load_model` and `mlflow.pyfunc.load_model` open the
//! folder then.

use std::path::Path;

use serde_json::{Value, json};

use super::Interface;
use crate::{error::Error, file};

/// The file's name.
pub const NAME: &str = "MLmodel";

/// The libtorch that tch is made for.
const PYTORCH: &str = "2.11.0";

/// Describes the model in `folder` whose TorchScript file has the name `script`.
pub fn save(folder: &Path, script: &str, interface: Interface) -> Result<(), Error> {
    file::write_bytes(&folder.join(NAME), description(script, interface))
}

fn description(script: &str, interface: Interface) -> String {
    let description = json!({
        "flavors": {
            "python_function": { "loader_module": "mlflow.pytorch", "data": script },
            "pytorch": { "model_data": script, "pytorch_version": PYTORCH },
        },
        // Each a JSON text within the text.
        "signature": {
            "inputs": json!([tensor(interface.input)]).to_string(),
            "outputs": json!([tensor(interface.output)]).to_string(),
        },
    });
    // MLflow reads YAML, of which JSON is a part.
    format!("{description:#}\n")
}

/// A batch of any size.
fn tensor(shape: &[i64]) -> Value {
    let shape: Vec<i64> = [-1].into_iter().chain(shape.iter().copied()).collect();
    json!({ "type": "tensor", "tensor-spec": { "dtype": "float32", "shape": shape } })
}
