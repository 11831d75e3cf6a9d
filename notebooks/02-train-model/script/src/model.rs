//! The workshop's network, with the parameter names and the initialization of PyTorch's layers.

use tch::{
    Kind, Tensor,
    nn::{Init, Path},
};
use training::{
    dropout,
    export::{
        Interface,
        onnx::{Attribute, Graph, INPUT, OUTPUT},
    },
};

use crate::{data::SIDE, error::Error};

/// The model's interface: an image as the input, ten log probabilities as the output.
pub const INTERFACE: Interface = Interface {
    input: &[1, SIDE as i64, SIDE as i64],
    output: &[10],
};

/// Two convolutions and two fully connected layers.
#[derive(Debug)]
pub struct Net {
    conv1: Layer,
    conv2: Layer,
    fc1: Layer,
    fc2: Layer,
}

/// Weights and bias of a layer.
///
/// tch's own layers draw their weights from another distribution, and the bias before the weights.
/// This type draws like `torch.nn`, in its order: with the same seed, both start with the same
/// network.
#[derive(Debug)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
}

impl Layer {
    fn new(path: &Path, shape: &[i64]) -> Self {
        let inputs: i64 = shape[1..].iter().product();
        // Equal to `kaiming_uniform_(a=√5)`, PyTorch's default.
        let bound = 1.0 / (inputs as f64).sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Self {
            weight: path.var("weight", shape, init),
            bias: path.var("bias", &shape[..1], init),
        }
    }

    fn convolve(&self, x: &Tensor) -> Tensor {
        let [weight, bias] = self.like(x);
        x.conv2d(&weight, Some(bias), 1, 0, 1, 1)
    }

    fn connect(&self, x: &Tensor) -> Tensor {
        let [weight, bias] = self.like(x);
        x.linear(&weight, Some(bias))
    }

    /// Returns weights and bias in the precision of the input.
    fn like(&self, x: &Tensor) -> [Tensor; 2] {
        [&self.weight, &self.bias].map(|tensor| tensor.to_kind(x.kind()))
    }
}

impl Net {
    /// Creates a network with new weights, stored below `path`.
    pub fn new(path: &Path) -> Self {
        Self {
            conv1: Layer::new(&(path / "conv1"), &[32, 1, 3, 3]),
            conv2: Layer::new(&(path / "conv2"), &[64, 32, 3, 3]),
            fc1: Layer::new(&(path / "fc1"), &[128, 9216]),
            fc2: Layer::new(&(path / "fc2"), &[10, 128]),
        }
    }

    /// Returns the log probabilities of the ten digits for images `[n, 1, 28, 28]`, computed in the
    /// images' precision and returned as 32-bit floats.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let x = self.conv1.convolve(x).relu_();
        // The workshop's network applies ReLU before pooling. The result is the same, but here ReLU
        // processes a quarter of the values.
        let x = self.conv2.convolve(&x).max_pool2d(2, 2, 0, 1, false);
        let x = x.relu().flatten(1, -1);
        let x = if train { dropout(&x, 0.25) } else { x };
        let x = self.fc1.connect(&x).relu();
        let x = if train { dropout(&x, 0.5) } else { x };
        self.fc2.connect(&x).log_softmax(1, Kind::Float)
    }
}

impl Net {
    /// Returns the network in evaluation mode as ONNX operators.
    pub fn to_onnx(&self) -> Result<Graph, Error> {
        let mut graph = Graph::new("Net", INTERFACE);
        for (name, layer) in [
            ("conv1", &self.conv1),
            ("conv2", &self.conv2),
            ("fc1", &self.fc1),
            ("fc2", &self.fc2),
        ] {
            graph.weights(&format!("{name}.weight"), &layer.weight)?;
            graph.weights(&format!("{name}.bias"), &layer.bias)?;
        }
        let pool = [
            ("kernel_shape", Attribute::Ints(&[2, 2])),
            ("strides", Attribute::Ints(&[2, 2])),
        ];
        // PyTorch stores the weights of a fully connected layer transposed.
        let connected = [("transB", Attribute::Int(1))];
        graph.operator("Conv", &[INPUT, "conv1.weight", "conv1.bias"], "conv1", &[]);
        graph.operator("Relu", &["conv1"], "relu1", &[]);
        graph.operator(
            "Conv",
            &["relu1", "conv2.weight", "conv2.bias"],
            "conv2",
            &[],
        );
        graph.operator("Relu", &["conv2"], "relu2", &[]);
        graph.operator("MaxPool", &["relu2"], "pool", &pool);
        graph.operator("Flatten", &["pool"], "flat", &[("axis", Attribute::Int(1))]);
        graph.operator(
            "Gemm",
            &["flat", "fc1.weight", "fc1.bias"],
            "fc1",
            &connected,
        );
        graph.operator("Relu", &["fc1"], "relu3", &[]);
        graph.operator(
            "Gemm",
            &["relu3", "fc2.weight", "fc2.bias"],
            "fc2",
            &connected,
        );
        graph.operator(
            "LogSoftmax",
            &["fc2"],
            OUTPUT,
            &[("axis", Attribute::Int(1))],
        );
        Ok(graph)
    }
}
