//! Adadelta, which tch lacks, computed as PyTorch computes it.

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

    /// What it remembers, under names that are the same in each run of a program.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let slots = self.slots.iter().enumerate();
        let both = slots.flat_map(|(number, slot)| {
            [
                (
                    format!("{number}.gradients"),
                    slot.gradients.shallow_clone(),
                ),
                (format!("{number}.steps"), slot.steps.shallow_clone()),
            ]
        });
        both.collect()
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
