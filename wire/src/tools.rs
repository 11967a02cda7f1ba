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
    pub num_filters: u64,
    pub in_channels: u64,
    pub num_colours: u64,
    pub height: u64,
    pub width: u64,
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
    pub mode: ConvolutionMode,
    pub operation: ConvolutionOperation,
}

/// The answer of `POST /v1/tools/convolution`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConvolutionAnswer {
    pub output: Vec<Vec<f64>>,
}
