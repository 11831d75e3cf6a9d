//! The model's files: each is whole under its name, or not there.

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

/// The folder of the model among the outputs.
pub const FOLDER: &str = "model";
/// The folder beside it that Triton serves from.
pub const REPOSITORY: &str = "model_repository";
/// The model's name there.
pub const NAME: &str = "mnist";

/// The network with its weights, for `torch.jit.load` and for whatever else runs TorchScript.
pub const SCRIPT: &str = "model.pt";
/// The weights under PyTorch's names.
pub const WEIGHTS: &str = "model.safetensors";
/// The network with its weights, for ONNX Runtime and for whatever else runs ONNX.
pub const ONNX: &str = "model.onnx";
/// What goes in and comes out.
pub const DESCRIPTION: &str = "model.json";
/// A few pictures with the network's answers: whoever opens the model elsewhere can see that it gives the same.
pub const EXAMPLES: &str = "examples.json";

/// How many pictures are among the examples.
const EXAMPLE_COUNT: i64 = 10;

/// How many bytes a file with the weights takes, generously.
const ROOM: usize = 6_000_000;
/// So many of these are there: three of the model, Triton's, and a checkpoint with twice as much besides.
const FILES: usize = 7;

/// Makes the folder and sees that a model has room there: better before the training than after it.
pub fn prepare(settings: &Settings) -> Result<(), Error> {
    let folder = settings.output.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
    Ok(file::try_room(&folder.join(SCRIPT), FILES * ROOM)?)
}

/// Writes the model among the outputs and ends its training: it moves to the CPU, where everybody can open it.
pub fn save(
    settings: &Settings,
    variables: &mut VarStore,
    net: &Net,
    pictures: &Pictures,
    accuracy: f64,
) -> Result<(), Error> {
    let folder = settings.output.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::write(&folder))?;
    // Tracing wants weights that are constants.
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
