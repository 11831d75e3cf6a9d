//! TorchScript export of a network with its weights, for `torch.jit.load` and other TorchScript
//! runtimes.

use std::path::Path;

use tch::{CModule, Tensor};

use crate::{
    error::{self, Error},
    file,
};

/// Allowed difference between the outputs of the network and of the exported model.
const TOLERANCE: f64 = 1e-4;

/// Traces `forward` and writes it with its weights, which become constants. The weights must be
/// frozen and on the CPU. `examples` is a batch of any size.
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
        // libtorch aborts the whole process when the disk is full, so free space is checked first.
        file::try_room(path, bytes)?;
        traced.save(partial)?;
        // Reads the model back: libtorch does not always report a failed write, and a model that
        // differs from the tested network must be detected here.
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

/// Returns a function for `map_err` that reports an unusable model.
pub fn unusable(path: &Path) -> impl FnOnce(tch::TchError) -> Error {
    move |error| Error::BadModel {
        path: path.to_path_buf(),
        problem: error::reason(&error),
    }
}
