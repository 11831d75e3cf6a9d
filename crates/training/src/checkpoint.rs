//! Checkpoints for resuming an interrupted training: the weights and the optimizer's state after an
//! epoch.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use tch::{Device, Kind, TchError, Tensor, nn::VarStore};

use crate::{
    error::{self, Error},
    file,
    optimizer::Adadelta,
    settings::Settings,
};

const NAME: &str = "checkpoint.safetensors";
/// The tensor that contains the number of completed epochs.
const EPOCH: &str = "epoch";

/// A training's checkpoint: one safetensors file, replaced atomically after each epoch.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    /// The settings that a resumed training must share with the original one.
    fixed: Vec<(&'static str, f64)>,
}

impl Checkpoint {
    /// Returns the checkpoint in the output folder.
    pub fn of(settings: &Settings) -> Self {
        Self {
            path: settings.output.join(NAME),
            fixed: settings.fixed().to_vec(),
        }
    }

    /// Adds a setting on which the training's results depend: the flag without its dashes, and its
    /// value.
    #[must_use]
    pub fn depending_on(mut self, name: &'static str, value: f64) -> Self {
        self.fixed.push((name, value));
        self
    }

    /// Path of the checkpoint file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file after an epoch; `epoch` counts from 1.
    pub fn save(
        &self,
        epoch: i64,
        variables: &VarStore,
        optimizer: &Adadelta,
    ) -> Result<(), Error> {
        let mut tensors: Vec<(String, Tensor)> = parts(variables, optimizer)
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_device(Device::Cpu).contiguous()))
            .collect();
        tensors.push((EPOCH.to_owned(), Tensor::from(epoch)));
        for (name, value) in &self.fixed {
            tensors.push((setting(name), Tensor::from(*value)));
        }
        let sizes = tensors
            .iter()
            .map(|(_, tensor)| tensor.numel() * tensor.kind().elt_size_in_bytes());
        // Names and shapes need additional space.
        let bytes = sizes.sum::<usize>() + 256 * tensors.len();
        file::write(&self.path, |partial| {
            file::try_room(&self.path, bytes)?;
            Ok(Tensor::write_safetensors(&tensors, partial)?)
        })
    }

    /// Restores the saved state and returns the number of completed epochs; `None` when no
    /// checkpoint exists.
    pub fn load(&self, variables: &VarStore, optimizer: &Adadelta) -> Result<Option<i64>, Error> {
        if !self.path.exists() {
            return Ok(None);
        }
        let bad = |problem: String| Error::BadCheckpoint {
            path: self.path.clone(),
            problem,
        };
        let saved = Tensor::read_safetensors(&self.path).map_err(|error| bad(damage(&error)))?;
        let saved: HashMap<String, Tensor> = saved.into_iter().collect();
        let number = |name: &str| match saved.get(name) {
            Some(tensor) if tensor.numel() == 1 => {
                Ok(tensor.to_kind(Kind::Double).double_value(&[]))
            }
            _ => Err(bad(format!("it holds no number `{name}`"))),
        };
        for (name, now) in &self.fixed {
            let then = number(&setting(name))?;
            if then.to_bits() != now.to_bits() {
                return Err(Error::OtherSettings {
                    path: self.path.clone(),
                    name,
                    then,
                    now: *now,
                });
            }
        }
        let epoch = number(EPOCH)? as i64;
        let parts = parts(variables, optimizer);
        // All tensors are checked before any is changed.
        for (name, tensor) in &parts {
            match saved.get(name) {
                Some(saved) if saved.size() == tensor.size() && saved.kind() == tensor.kind() => {}
                Some(saved) => {
                    let problem = format!(
                        "its `{name}` is {:?}, not {:?}",
                        saved.size(),
                        tensor.size()
                    );
                    return Err(bad(problem));
                }
                None => return Err(bad(format!("it holds no `{name}`"))),
            }
        }
        tch::no_grad(|| {
            for (name, mut tensor) in parts {
                tensor.copy_(&saved[&name]);
            }
        });
        Ok(Some(epoch))
    }
}

/// Returns the reason why a file cannot be read.
fn damage(error: &TchError) -> String {
    match error {
        TchError::SafeTensorError { err, .. } => format!("it is damaged ({err})"),
        error => error::reason(error),
    }
}

/// All tensors that change during an epoch.
fn parts(variables: &VarStore, optimizer: &Adadelta) -> Vec<(String, Tensor)> {
    let weights = variables.variables().into_iter();
    let weights = weights.map(|(name, tensor)| (format!("model.{name}"), tensor.detach()));
    let memory = optimizer.state().into_iter();
    let memory = memory.map(|(name, tensor)| (format!("optimizer.{name}"), tensor));
    weights.chain(memory).collect()
}

fn setting(name: &str) -> String {
    format!("settings.{name}")
}
