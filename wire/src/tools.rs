//! Bodies of the calculators under `/v1/tools`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::colourization::NetworkName;
use crate::state::words;

/// The body of `POST /v1/tools/network`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkQuestion {
    pub name: NetworkName,
    pub kernel: u64,
    /// Of every (transposed) convolution, 1 to 32; paddings follow it, so that all shapes stay. The networks that are trained have 1, the default.
    #[serde(default = "no_dilation")]
    pub dilation: u64,
    pub num_filters: u64,
    pub in_channels: u64,
    pub num_colours: u64,
    pub height: u64,
    pub width: u64,
}

fn no_dilation() -> u64 {
    1
}

/// The answer of `POST /v1/tools/network`: the counts of the whole network and of each layer. Counts of outputs and connections are for one picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NetworkAnswer {
    /// Trainable parameters.
    pub weights: u64,
    /// Units of convolutions, resampling and batch norm.
    pub outputs: u64,
    pub connections: u64,
    pub multiply_accumulates: u64,
    /// Bytes of all layers' outputs in f32.
    pub activation_bytes: u64,
    /// What theory says that weights, outputs and connections come to, computed without the layers.
    pub closed_forms: ClosedForms,
    /// In the order of the forward pass.
    pub layers: Vec<LayerAnswer>,
}

/// One layer of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LayerAnswer {
    /// PyTorch's module name.
    pub name: String,
    /// PyTorch's class.
    pub kind: String,
    /// Channels, height, width.
    pub output: [u64; 3],
    pub weights: u64,
    pub outputs: u64,
    pub connections: u64,
    pub multiply_accumulates: u64,
    pub activation_bytes: u64,
    /// Sides of the square of inputs that one output depends on, from the first to the last: the least and the greatest over its positions. With a
    /// dilation not every input inside has to count; 0 is the least where some outputs depend on none.
    pub receptive_field: [u64; 2],
}

/// The counts of a network as formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosedForms {
    pub weights: ClosedForm,
    pub outputs: ClosedForm,
    pub connections: ClosedForm,
}

/// A formula and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClosedForm {
    /// In K (`kernel`), NIC (`in_channels`), NF (`num_filters`) and NC (`num_colours`), with the numbers of the picture's size.
    pub formula: String,
    pub value: u64,
}

words!(
    /// How far the output of a convolution reaches.
    ConvolutionMode {
        Same = "same",
        Valid = "valid",
        Full = "full",
    }
);

words!(
    /// True convolution flips the kernel; cross-correlation does not.
    ConvolutionOperation {
        Convolution = "convolution",
        CrossCorrelation = "cross_correlation",
    }
);

/// The body of `POST /v1/tools/convolution`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConvolutionQuestion {
    pub input: Vec<Vec<f64>>,
    pub kernel: Vec<Vec<f64>>,
    /// `same` by default.
    #[serde(default = "same")]
    pub mode: ConvolutionMode,
    /// `convolution` by default.
    #[serde(default = "convolution")]
    pub operation: ConvolutionOperation,
}

fn same() -> ConvolutionMode {
    ConvolutionMode::Same
}

fn convolution() -> ConvolutionOperation {
    ConvolutionOperation::Convolution
}

/// The answer of `POST /v1/tools/convolution`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConvolutionAnswer {
    pub output: Vec<Vec<f64>>,
}
