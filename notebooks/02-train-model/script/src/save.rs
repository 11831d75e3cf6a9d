//! The model's files, each written atomically.

use std::fs;

use serde_json::{Value, json};
use tch::{Device, nn::VarStore};
use training::{
    Settings,
    export::{mlflow, torchscript, triton},
    file,
};

use crate::{
    data::{MEAN, Pictures, SIDE, STANDARD_DEVIATION},
    error::Error,
    model::{self, Net},
};

/// The folder of the model in the output folder.
pub const FOLDER: &str = "model";
/// The model repository for Triton, next to that folder.
pub const REPOSITORY: &str = "model_repository";
/// The model's name in the repository.
pub const NAME: &str = "mnist";

/// The network with its weights, for `torch.jit.load` and other TorchScript runtimes.
pub const SCRIPT: &str = "model.pt";
/// The weights with PyTorch's names.
pub const WEIGHTS: &str = "model.safetensors";
/// The network with its weights, for ONNX Runtime and other ONNX runtimes.
pub const ONNX: &str = "model.onnx";
/// The description of inputs and outputs.
pub const DESCRIPTION: &str = "model.json";
/// A few images with the network's outputs, with which a user can check the model in another
/// runtime.
pub const EXAMPLES: &str = "examples.json";

/// Number of images in the examples.
const EXAMPLE_COUNT: i64 = 10;

/// Upper bound for the size of a file with the weights, in bytes.
const ROOM: usize = 6_000_000;
/// Number of such files for which space is reserved: three of the model, Triton's, and a
/// checkpoint, which also contains twice as much optimizer state.
const FILES: usize = 7;

/// Creates the folder and checks the free space for a model, so that a full disk is reported before
/// the training.
pub fn prepare(settings: &Settings) -> Result<(), Error> {
    let folder = settings.output.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
    Ok(file::try_room(&folder.join(SCRIPT), FILES * ROOM)?)
}

/// Writes the model to the output folder. The network is frozen and moved to the CPU, where any
/// runtime can open it.
pub fn save(
    settings: &Settings,
    variables: &mut VarStore,
    net: &Net,
    pictures: &Pictures,
    accuracy: f64,
) -> Result<(), Error> {
    let folder = settings.output.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
    // Tracing requires constant weights.
    variables.freeze();
    variables.set_device(Device::Cpu);
    let examples = pictures.first(EXAMPLE_COUNT).to_device(Device::Cpu);

    let weights = folder.join(WEIGHTS);
    file::write(&weights, |partial| {
        file::try_room(&weights, ROOM)?;
        Ok(variables.save(partial)?)
    })?;
    let script = folder.join(SCRIPT);
    torchscript::save(&script, "Net", &examples.normalised(), ROOM, |pictures| {
        net.forward(pictures, false)
    })?;
    file::write_bytes(&folder.join(ONNX), net.to_onnx()?.to_bytes())?;
    let logits = net.forward(&examples.normalised(), false);
    let examples = json!({
        "pixels": examples.pixels()?,
        "logits": Vec::<Vec<f64>>::try_from(logits)?,
    });
    file::write_bytes(&folder.join(EXAMPLES), format!("{examples}\n"))?;
    let description = description(accuracy);
    file::write_bytes(&folder.join(DESCRIPTION), format!("{description:#}\n"))?;
    mlflow::save(&folder, SCRIPT, model::INTERFACE)?;
    let repository = settings.output.join(REPOSITORY);
    Ok(triton::save(&repository, NAME, &script, model::INTERFACE)?)
}

fn description(accuracy: f64) -> Value {
    let labels: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    json!({
        "input": {
            "shape": [-1, 1, SIDE, SIDE],
            "meaning": "ink from 0 to 1, less `mean`, divided by `standard_deviation`",
            "mean": MEAN,
            "standard_deviation": STANDARD_DEVIATION,
        },
        "output": { "shape": [-1, 10], "meaning": "logarithms of the labels' probabilities" },
        "labels": labels,
        "accuracy": accuracy,
    })
}
