//! Adadelta and `StepLR`, which tch lacks, computed as PyTorch computes them.

use tch::Tensor;

/// How fast the running averages forget.
const RHO: f64 = 0.9;
/// Keeps the quotient finite.
const EPSILON: f64 = 1e-6;

/// The Adadelta optimizer with PyTorch's defaults (ρ = 0.9, ε = 10⁻⁶, no weight decay).
#[derive(Debug)]
pub struct Adadelta {
    /// Multiplies each step.
    pub lr: f64,
    slots: Vec<Slot>,
}

/// A parameter and what the optimizer remembers of it.
#[derive(Debug)]
struct Slot {
    parameter: Tensor,
    /// Running average of the squared gradients.
    gradients: Tensor,
    /// Running average of the squared steps.
    steps: Tensor,
}

impl Adadelta {
    /// Optimizes these parameters.
    pub fn new(parameters: Vec<Tensor>, lr: f64) -> Self {
        let slots = parameters
            .into_iter()
            .map(|parameter| Slot {
                gradients: parameter.zeros_like(),
                steps: parameter.zeros_like(),
                parameter,
            })
            .collect();
        Self { lr, slots }
    }

    /// Forgets the gradients of the last batch.
    pub fn zero_grad(&mut self) {
        for slot in &mut self.slots {
            slot.parameter.zero_grad();
        }
    }

    /// Moves each parameter that has a gradient.
    pub fn step(&mut self) {
        tch::no_grad(|| {
            for slot in &mut self.slots {
                let gradient = slot.parameter.grad();
                if gradient.defined() {
                    slot.step(&gradient, self.lr);
                }
            }
        });
    }
}

impl Slot {
    fn step(&mut self, gradient: &Tensor, lr: f64) {
        self.gradients *= RHO;
        self.gradients += gradient.square() * (1.0 - RHO);
        let deviation = (&self.gradients + EPSILON).sqrt();
        let step = (&self.steps + EPSILON).sqrt() / deviation * gradient;
        self.steps *= RHO;
        self.steps += step.square() * (1.0 - RHO);
        self.parameter -= step * lr;
    }
}

/// Multiplies the learning rate by `gamma` every `step_size` epochs.
#[derive(Debug)]
pub struct StepLr {
    step_size: u64,
    gamma: f64,
    epoch: u64,
}

impl StepLr {
    /// A schedule that starts at epoch 0.
    pub fn new(step_size: u64, gamma: f64) -> Self {
        Self {
            step_size: step_size.max(1),
            gamma,
            epoch: 0,
        }
    }

    /// To be called at the end of an epoch.
    pub fn step(&mut self, optimizer: &mut Adadelta) {
        self.epoch += 1;
        if self.epoch.is_multiple_of(self.step_size) {
            optimizer.lr *= self.gamma;
        }
    }
}
