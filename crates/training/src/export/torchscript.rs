//! A network as TorchScript, with its weights: `torch.jit.load` opens it, and so does whatever else runs TorchScript.

use std::path::Path;

use tch::{CModule, Tensor};

use crate::{
    error::{self, Error},
    file,
};

/// How far answers of the same network may be apart.
const TOLERANCE: f64 = 1e-4;

/// Traces `forward` and writes it, with weights that must be frozen and on the CPU: they become constants. `examples`
/// are a batch of any size.
pub fn save(
    path: &Path,
    name: &str,
    examples: &Tensor,
    bytes: usize,
    forward: impl Fn(&Tensor) -> Tensor,
) -> Result<(), Error> {
    file::write(path, |partial| {
        let first = [examples.narrow(0, 0, 1)];
        let traced = CModule::create_by_tracing(name, "forward", &first, &mut |inputs| {
            vec![forward(&inputs[0])]
        })?;
        // libtorch gives no reason when the disk is full: it ends the whole process.
        file::try_room(path, bytes)?;
        traced.save(partial)?;
        // libtorch may be silent about a write that failed; and nobody should find out later that a model is unlike
        // the network that was tested.
        let opened = CModule::load(partial)?;
        let difference = opened.forward_ts(&[examples])? - forward(examples);
        if difference.abs().max().double_value(&[]) <= TOLERANCE {
            Ok(())
        } else {
            Err(Error::Torch {
                problem: "the traced model answers otherwise than the network".to_owned(),
            })
        }
    })
}

/// The reason of a model that cannot be used.
pub fn unusable(path: &Path) -> impl FnOnce(tch::TchError) -> Error {
    move |error| Error::BadModel {
        path: path.to_path_buf(),
        problem: error::reason(&error),
    }
}
