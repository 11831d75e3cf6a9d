//! Models that others open: TorchScript for PyTorch and Triton, safetensors, ONNX, and MLflow's description.

pub mod mlflow;
pub mod onnx;
pub mod torchscript;
pub mod triton;

/// What goes into a model and comes out of it, without the dimension that counts examples. All of it is 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// The shape of an example.
    pub input: &'static [i64],
    /// The shape of the answer to it.
    pub output: &'static [i64],
}
