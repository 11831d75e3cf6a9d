//! Adadelta, which tch lacks, with PyTorch's arithmetic and as few passes over memory as each
//! device allows.

use std::{cell::Cell, slice};

use tch::{Kind, Tensor};

/// Decay rate of the running averages.
const RHO: f64 = 0.9;
/// Keeps the quotient finite.
const EPSILON: f64 = 1e-6;

/// The Adadelta optimizer with PyTorch's defaults (ρ = 0.9, ε = 10⁻⁶, no weight decay).
///
/// All state changes in place, so that a step can be recorded and replayed (see
/// [`graph`](crate::graph)).
#[derive(Debug)]
pub struct Adadelta {
    lr: Cell<f64>,
    /// The factor of a step, −lr, as a tensor `[1]` on the parameters' device.
    factor: Tensor,
    slots: Vec<Slot>,
    /// All slots as one. Used on a GPU, where launching a kernel costs more than its work.
    whole: Option<Slot>,
}

/// A parameter and its optimizer state.
#[derive(Debug)]
struct Slot {
    parameter: Tensor,
    /// Running average of the squared gradients.
    gradients: Tensor,
    /// Running average of the squared steps.
    steps: Tensor,
}

impl Adadelta {
    /// Creates an optimizer for these parameters: at least one, all 32-bit floats on one device. On
    /// a GPU, they are moved into one contiguous buffer.
    ///
    /// # Panics
    /// If a parameter is of another type.
    pub fn new(parameters: Vec<Tensor>, lr: f64) -> Self {
        for parameter in &parameters {
            assert_eq!(parameter.kind(), Kind::Float, "the kind of a parameter");
        }
        let whole = parameters[0]
            .device()
            .is_cuda()
            .then(|| Slot::new(gather(&parameters)));
        let mut offset = 0;
        let slots: Vec<Slot> = parameters
            .into_iter()
            .map(|mut parameter| {
                let Some(whole) = &whole else {
                    return Slot::new(parameter);
                };
                let part = |tensor: &Tensor| {
                    let length = parameter.numel() as i64;
                    tensor
                        .narrow(0, offset, length)
                        .view(parameter.size().as_slice())
                };
                let (data, gradients, steps) = (
                    part(&whole.parameter),
                    part(&whole.gradients),
                    part(&whole.steps),
                );
                offset += parameter.numel() as i64;
                tch::no_grad(|| parameter.set_data(&data));
                Slot {
                    parameter,
                    gradients,
                    steps,
                }
            })
            .collect();
        let factor = Tensor::full([1], -lr, (Kind::Float, slots[0].parameter.device()));
        Self {
            lr: Cell::new(lr),
            factor,
            slots,
            whole,
        }
    }

    /// The learning rate, by which each step is multiplied.
    pub fn lr(&self) -> f64 {
        self.lr.get()
    }

    /// Changes the learning rate.
    pub fn set_lr(&self, lr: f64) {
        self.lr.set(lr);
        let _ = self.factor.shallow_clone().fill_(-lr);
    }

    /// Returns the gradients of a loss with respect to the parameters, for [`step`](Self::step).
    pub fn gradients(&self, loss: &Tensor) -> Vec<Tensor> {
        let parameters: Vec<&Tensor> = self.slots.iter().map(|slot| &slot.parameter).collect();
        Tensor::run_backward(&[loss], &parameters, false, false)
    }

    /// Updates each parameter from its gradient.
    ///
    /// # Panics
    /// If there is not exactly one gradient of each parameter's size.
    pub fn step(&self, gradients: &[Tensor]) {
        assert_eq!(
            gradients.len(),
            self.slots.len(),
            "one gradient a parameter"
        );
        tch::no_grad(|| match &self.whole {
            Some(whole) => whole.step_whole(&gather(gradients), &self.factor),
            None => {
                for (slot, gradient) in self.slots.iter().zip(gradients) {
                    slot.step(gradient, self.lr());
                }
            }
        });
    }

    /// Returns the optimizer's state, under names that are the same in each run of a program.
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
    fn new(parameter: Tensor) -> Self {
        Self {
            gradients: parameter.zeros_like(),
            steps: parameter.zeros_like(),
            parameter,
        }
    }

    /// Updates a parameter on the CPU in one pass, because memory access dominates there.
    fn step(&self, gradient: &Tensor, lr: f64) {
        assert_eq!(
            gradient.size(),
            self.parameter.size(),
            "the size of a gradient"
        );
        let gradient = gradient.to_kind(Kind::Float).contiguous();
        let mut parts = [
            self.parameter.shallow_clone(),
            self.gradients.shallow_clone(),
            self.steps.shallow_clone(),
        ]
        .map(|tensor| {
            assert!(tensor.is_contiguous(), "a parameter in one piece");
            tensor
        });
        let [parameter, gradients, steps] = &mut parts;
        advance(
            floats_mut(parameter),
            floats_mut(gradients),
            floats_mut(steps),
            floats(&gradient),
            lr as f32,
        );
    }

    /// Updates all parameters on a GPU with few kernels. No kernel depends on a number in the CPU's
    /// memory, so that the step can be replayed.
    fn step_whole(&self, gradient: &Tensor, factor: &Tensor) {
        let mut parameter = self.parameter.shallow_clone();
        let (mut gradients, mut steps) =
            (self.gradients.shallow_clone(), self.steps.shallow_clone());
        let _ = gradients.lerp_(&gradient.square(), 1.0 - RHO);
        let step = (&steps + EPSILON)
            .divide_(&(&gradients + EPSILON))
            .sqrt_()
            .multiply_(gradient);
        let _ = steps.lerp_(&step.square(), 1.0 - RHO);
        let _ = parameter.addcmul_(&step, factor);
    }
}

/// Concatenates all elements in one row.
pub(crate) fn gather(tensors: &[Tensor]) -> Tensor {
    let flat: Vec<Tensor> = tensors
        .iter()
        .map(|tensor| tensor.detach().reshape([-1]))
        .collect();
    Tensor::cat(&flat, 0)
}

/// Updates all elements, with the widest vector instructions that this processor has.
fn advance(
    parameter: &mut [f32],
    gradients: &mut [f32],
    steps: &mut [f32],
    gradient: &[f32],
    lr: f32,
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor supports the instructions.
        #[expect(unsafe_code, reason = "instructions that not every processor has")]
        return unsafe { advance_wide(parameter, gradients, steps, gradient, lr) };
    }
    advance_each(parameter, gradients, steps, gradient, lr);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn advance_wide(
    parameter: &mut [f32],
    gradients: &mut [f32],
    steps: &mut [f32],
    gradient: &[f32],
    lr: f32,
) {
    advance_each(parameter, gradients, steps, gradient, lr);
}

#[inline(always)]
fn advance_each(
    parameter: &mut [f32],
    gradients: &mut [f32],
    steps: &mut [f32],
    gradient: &[f32],
    lr: f32,
) {
    const KEPT: f32 = RHO as f32;
    const NEW: f32 = (1.0 - RHO) as f32;
    let averages = gradients.iter_mut().zip(steps);
    for ((parameter, (gradients, steps)), gradient) in
        parameter.iter_mut().zip(averages).zip(gradient)
    {
        *gradients = *gradients * KEPT + gradient * gradient * NEW;
        let step = ((*steps + EPSILON as f32) / (*gradients + EPSILON as f32)).sqrt() * gradient;
        *steps = *steps * KEPT + step * step * NEW;
        *parameter -= step * lr;
    }
}

/// The elements of a contiguous tensor of floats on the CPU.
fn floats(tensor: &Tensor) -> &[f32] {
    // SAFETY: the tensor has this number of floats. Nothing writes to them: they are a gradient,
    // which only a step reads.
    #[expect(unsafe_code, reason = "a tensor's memory")]
    unsafe {
        slice::from_raw_parts(tensor.data_ptr().cast::<f32>(), tensor.numel())
    }
}

/// The elements of a contiguous tensor of floats on the CPU, mutable.
pub(crate) fn floats_mut(tensor: &mut Tensor) -> &mut [f32] {
    // SAFETY: the tensor has this number of floats. Other tensors may share the memory, but only
    // the thread that trains uses it, and that thread is in this call.
    #[expect(unsafe_code, reason = "a tensor's memory")]
    unsafe {
        slice::from_raw_parts_mut(tensor.data_ptr().cast::<f32>(), tensor.numel())
    }
}
