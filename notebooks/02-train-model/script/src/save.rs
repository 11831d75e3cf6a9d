//! The model's files: each is whole under its name, or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tch::{CModule, Device, Kind, Tensor, nn::VarStore};

use crate::{
    data::{MEAN, SIDE, STANDARD_DEVIATION},
    error::{Error, first_line},
    model::Net,
};

/// The network with its weights, for `torch.jit.load` and for whatever else runs TorchScript.
pub const SCRIPT: &str = "model.pt";
/// The weights under PyTorch's names.
pub const WEIGHTS: &str = "model.safetensors";
/// What goes in and comes out.
pub const DESCRIPTION: &str = "model.json";

/// How much the largest file takes, generously.
const ROOM: usize = 6_000_000;

/// Writes the model into `folder` and ends its training: it moves to the CPU, where everybody can open it.
pub fn save(
    folder: &Path,
    variables: &mut VarStore,
    net: &Net,
    accuracy: f64,
) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    // Tracing wants weights that are constants.
    variables.freeze();
    variables.set_device(Device::Cpu);

    write(&folder.join(SCRIPT), |path| save_script(path, net))?;
    write(&folder.join(WEIGHTS), |path| Ok(variables.save(path)?))?;
    let description =
        serde_json::to_string_pretty(&description(accuracy)).unwrap_or_default() + "\n";
    write_text(&folder.join(DESCRIPTION), &description)
}

/// Writes a text file that is whole or not there.
pub fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    write(path, |path| {
        fs::write(path, text).map_err(Error::write(path))
    })
}

fn save_script(path: &Path, net: &Net) -> Result<(), Error> {
    let side = SIDE as i64;
    let example = Tensor::zeros([1, 1, side, side], (Kind::Float, Device::Cpu));
    let traced = CModule::create_by_tracing("Net", "forward", &[example], &mut |inputs| {
        vec![net.forward(&inputs[0], false)]
    })?;
    traced.save(path)?;
    // libtorch may be silent about a write that failed; and nobody should find out later that a model is unlike the
    // network that was tested.
    let opened = CModule::load(path)?;
    let pictures = Tensor::rand([3, 1, side, side], (Kind::Float, Device::Cpu));
    let difference = (opened.forward_ts(&[&pictures])? - net.forward(&pictures, false))
        .abs()
        .max();
    if difference.double_value(&[]) <= 1e-4 {
        Ok(())
    } else {
        Err(Error::Torch {
            problem: "the traced model answers otherwise than the network".to_owned(),
        })
    }
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

/// Lets `save` write beside `path` and gives the file its name when it is complete.
fn write(path: &Path, save: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let partial = partial(path);
    let done = save(&partial)
        .and_then(|()| {
            let file = File::open(&partial).map_err(Error::write(path))?;
            file.sync_all().map_err(Error::write(path))
        })
        .and_then(|()| fs::rename(&partial, path).map_err(Error::write(path)));
    done.map_err(|error| {
        // A failed removal changes nothing about what went wrong.
        let _ = fs::remove_file(&partial);
        match try_room(&partial) {
            // libtorch hides the system's reason behind its own words; the system gives it again.
            Err(reason) => Error::write(path)(reason),
            Ok(()) => match error {
                Error::Write { source, .. } => Error::write(path)(source),
                other => other,
            },
        }
    })
}

/// Beside `path`, hidden, with the same extension, which tells the format.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".partial-{name}"))
}

fn try_room(path: &Path) -> io::Result<()> {
    let tried = File::create(path).and_then(|mut file| {
        file.write_all(&vec![0; ROOM])?;
        file.sync_all()
    });
    // Of no interest beside the answer.
    let _ = fs::remove_file(path);
    tried
}

/// The reason of a model that cannot be used.
pub fn unusable(path: &Path) -> impl FnOnce(tch::TchError) -> Error {
    move |error| Error::BadModel {
        path: path.to_path_buf(),
        problem: first_line(&error),
    }
}
