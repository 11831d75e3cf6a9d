//! The learning rate schedule `StepLR`, which tch lacks.

use crate::optimizer::Adadelta;

/// Multiplies the learning rate by `gamma` every `step_size` epochs.
#[derive(Debug)]
pub struct StepLr {
    step_size: u64,
    gamma: f64,
    epoch: u64,
}

impl StepLr {
    /// Creates a schedule that starts at epoch 0.
    pub fn new(step_size: u64, gamma: f64) -> Self {
        Self {
            step_size: step_size.max(1),
            gamma,
            epoch: 0,
        }
    }

    /// Advances the schedule; must be called at the end of each epoch.
    pub fn step(&mut self, optimizer: &Adadelta) {
        self.epoch += 1;
        if self.epoch.is_multiple_of(self.step_size) {
            optimizer.set_lr(optimizer.lr() * self.gamma);
        }
    }
}
