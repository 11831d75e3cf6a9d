//! ONNX export. tch cannot export ONNX, so a network describes its own operators.
//!
//! The messages are the subset of `onnx.proto` that a [`Graph`] needs.

use prost::Message;
use tch::{Device, Kind, Tensor};

use super::Interface;
use crate::error::Error;

/// Version of the file format; 8 corresponds to this operator set.
const IR_VERSION: i64 = 8;
/// Version of the operator set: from 2022, supported by all current ONNX runtimes.
const OPERATORS: i64 = 17;
/// ONNX's number for 32-bit floats.
const FLOAT: i32 = 1;
/// Name of the batch dimension.
const BATCH: &str = "batch";
/// Name of the input.
pub const INPUT: &str = "input";
/// Name of the output.
pub const OUTPUT: &str = "output";

/// A network of operators, from [`INPUT`] to [`OUTPUT`].
#[derive(Debug)]
pub struct Graph(GraphProto);

impl Graph {
    /// Creates a graph without operators.
    pub fn new(name: &str, interface: Interface) -> Self {
        Self(GraphProto {
            name: name.to_owned(),
            input: vec![value(INPUT, interface.input)],
            output: vec![value(OUTPUT, interface.output)],
            ..GraphProto::default()
        })
    }

    /// Adds weights under a name that operators can refer to.
    pub fn weights(&mut self, name: &str, weights: &Tensor) -> Result<(), Error> {
        let weights = weights.detach().to_device(Device::Cpu).to_kind(Kind::Float);
        let values = Vec::<f32>::try_from(weights.flatten(0, -1))?;
        self.0.initializer.push(TensorProto {
            dims: weights.size(),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.into_iter().flat_map(f32::to_le_bytes).collect(),
        });
        Ok(())
    }

    /// Adds an operator with its type, inputs, outputs and attributes.
    pub fn operator(
        &mut self,
        kind: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute)],
    ) {
        self.0.node.push(NodeProto {
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.to_owned()],
            name: output.to_owned(),
            op_type: kind.to_owned(),
            attribute: attributes
                .iter()
                .map(|(name, value)| value.named(name))
                .collect(),
        });
    }

    /// Returns the content of the file.
    pub fn to_bytes(self) -> Vec<u8> {
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.0),
            opset_import: vec![OperatorSetIdProto { version: OPERATORS }],
        }
        .encode_to_vec()
    }
}

/// The value of an attribute of an operator.
#[derive(Clone, Copy, Debug)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// Several integers.
    Ints(&'static [i64]),
}

impl Attribute {
    fn named(self, name: &str) -> AttributeProto {
        let name = name.to_owned();
        match self {
            Self::Int(value) => AttributeProto {
                name,
                i: Some(value),
                ints: Vec::new(),
                r#type: 2,
            },
            Self::Ints(values) => AttributeProto {
                name,
                i: None,
                ints: values.to_vec(),
                r#type: 7,
            },
        }
    }
}

fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
    let batch = Dimension {
        dim_value: None,
        dim_param: Some(BATCH.to_owned()),
    };
    let rest = shape.iter().map(|size| Dimension {
        dim_value: Some(*size),
        dim_param: None,
    });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType {
                elem_type: FLOAT,
                shape: Some(TensorShapeProto {
                    dim: [batch].into_iter().chain(rest).collect(),
                }),
            }),
        }),
    }
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}
