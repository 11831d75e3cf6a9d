//! Model export: TorchScript for PyTorch and Triton, safetensors, ONNX, and MLflow's model
//! description.

pub mod mlflow;
pub mod onnx;
pub mod torchscript;
pub mod triton;

/// Input and output shapes of a model, without the batch dimension. All values are 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub struct Interface {
    /// Shape of the input for one example.
    pub input: &'static [i64],
    /// Shape of the output for one example.
    pub output: &'static [i64],
}
