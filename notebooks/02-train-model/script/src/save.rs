//! The model's files: each is whole under its name, or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tch::{CModule, Device, Tensor, nn::VarStore};

use crate::{
    data::{MEAN, Pictures, SIDE, STANDARD_DEVIATION},
    error::{self, Error},
    model::Net,
};

/// The network with its weights, for `torch.jit.load` and for whatever else runs TorchScript.
pub const SCRIPT: &str = "model.pt";
/// The weights under PyTorch's names.
pub const WEIGHTS: &str = "model.safetensors";
/// What goes in and comes out.
pub const DESCRIPTION: &str = "model.json";
/// A few pictures with the network's answers: whoever opens the model elsewhere can see that it gives the same.
pub const EXAMPLES: &str = "examples.json";

/// How many pictures are among the examples.
const EXAMPLE_COUNT: i64 = 10;

/// How many bytes the TorchScript file takes, generously; the weights take as many.
const ROOM: usize = 6_000_000;

/// Makes the folder and sees that a model has room there: better before the training than after it.
pub fn prepare(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    let script = folder.join(SCRIPT);
    try_room(&partial(&script), 2 * ROOM).map_err(Error::write(&script))
}

/// Writes the model into `folder` and ends its training: it moves to the CPU, where everybody can open it.
pub fn save(
    folder: &Path,
    variables: &mut VarStore,
    net: &Net,
    pictures: &Pictures,
    accuracy: f64,
) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    // Tracing wants weights that are constants.
    variables.freeze();
    variables.set_device(Device::Cpu);
    let examples = pictures.first(EXAMPLE_COUNT).to_device(Device::Cpu);

    write(&folder.join(WEIGHTS), |partial| {
        try_room(partial, ROOM).map_err(Error::write(&folder.join(WEIGHTS)))?;
        Ok(variables.save(partial)?)
    })?;
    write(&folder.join(SCRIPT), |path| {
        save_script(path, net, &examples.normalised())
    })?;
    let logits = net.forward(&examples.normalised(), false);
    let examples = json!({
        "pixels": examples.pixels()?,
        "logits": Vec::<Vec<f64>>::try_from(logits)?,
    });
    write_text(&folder.join(EXAMPLES), &format!("{examples}\n"))?;
    let description = description(accuracy);
    write_text(&folder.join(DESCRIPTION), &format!("{description:#}\n"))
}

/// Writes a text file that is whole or not there.
pub fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    write(path, |partial| {
        fs::write(partial, text).map_err(Error::write(path))
    })
}

fn save_script(path: &Path, net: &Net, pictures: &Tensor) -> Result<(), Error> {
    let example = [pictures.narrow(0, 0, 1)];
    let traced = CModule::create_by_tracing("Net", "forward", &example, &mut |inputs| {
        vec![net.forward(&inputs[0], false)]
    })?;
    // libtorch gives no reason when the disk is full: it ends the whole process.
    try_room(path, ROOM).map_err(Error::write(&path.with_file_name(SCRIPT)))?;
    traced.save(path)?;
    // libtorch may be silent about a write that failed; and nobody should find out later that a model is unlike the
    // network that was tested.
    let opened = CModule::load(path)?;
    let difference = opened.forward_ts(&[pictures])? - net.forward(pictures, false);
    if difference.abs().max().double_value(&[]) <= 1e-4 {
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
    let done = save(&partial).and_then(|()| {
        let sync = || File::open(&partial)?.sync_all();
        let named = sync().and_then(|()| fs::rename(&partial, path));
        named.map_err(Error::write(path))
    });
    if done.is_err() {
        // A failed removal changes nothing about what went wrong.
        let _ = fs::remove_file(&partial);
    }
    done
}

/// Beside `path`, hidden, with the same extension, which tells the format.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".partial-{name}"))
}

/// Whether so many bytes have room at `path`.
fn try_room(path: &Path, bytes: usize) -> io::Result<()> {
    let tried = File::create(path).and_then(|mut file| {
        file.write_all(&vec![0; bytes])?;
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
        problem: error::reason(&error),
    }
}
