//! MLflow's description of a model, the file `MLmodel`.
//!
//! The flavor `pytorch` can refer to a TorchScript file, which lets `mlflow.pytorch.load_model` and
//! `mlflow.pyfunc.load_model` open the folder.

use std::path::Path;

use serde_json::{Value, json};

use super::Interface;
use crate::{error::Error, file};

/// Name of the file.
pub const NAME: &str = "MLmodel";

/// The libtorch version that tch supports.
const PYTORCH: &str = "2.11.0";

/// Writes `MLmodel` into `folder`, whose TorchScript file is `script`.
pub fn save(folder: &Path, script: &str, interface: Interface) -> Result<(), Error> {
    file::write_bytes(&folder.join(NAME), description(script, interface))
}

fn description(script: &str, interface: Interface) -> String {
    let description = json!({
        "flavors": {
            "python_function": { "loader_module": "mlflow.pytorch", "data": script },
            "pytorch": { "model_data": script, "pytorch_version": PYTORCH },
        },
        // MLflow expects each of them as JSON in a string.
        "signature": {
            "inputs": json!([tensor(interface.input)]).to_string(),
            "outputs": json!([tensor(interface.output)]).to_string(),
        },
    });
    // MLflow reads YAML, and JSON is a subset of YAML.
    format!("{description:#}\n")
}

/// The MLflow signature of a batch of any size.
fn tensor(shape: &[i64]) -> Value {
    let shape: Vec<i64> = [-1].into_iter().chain(shape.iter().copied()).collect();
    json!({ "type": "tensor", "tensor-spec": { "dtype": "float32", "shape": shape } })
}
