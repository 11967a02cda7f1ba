//! The colourization networks as graphs of layers, without any tensors: what each layer is, what it
//! reads, its shape, and what it costs.
//!
//! A network turns a grey picture `[in_channels, height, width]` into logits `[num_colours, height,
//! width]`. With `K` the kernel, `NF` the filters, `NC` the colours and `NIC` the input's channels:
//!
//! | layer | `pool_upsample` | `conv_transpose` | `unet` |
//! |---|---|---|---|
//! | layer1 | Conv NIC→NF, MaxPool 2, BN, ReLU | Conv stride 2 NIC→NF, BN, ReLU | as conv_transpose |
//! | layer2 | Conv NF→2NF, MaxPool 2, BN, ReLU | Conv stride 2 NF→2NF, BN, ReLU | as conv_transpose |
//! | layer3 | Conv 2NF→NF, Upsample 2, BN, ReLU | ConvTranspose stride 2 2NF→NF, BN, ReLU | as conv_transpose |
//! | layer4 | Conv NF→NC, Upsample 2, BN, ReLU | ConvTranspose stride 2 NF→NC, BN, ReLU | ConvTranspose stride 2 on cat(layer3, layer1): 2NF→NC, BN, ReLU |
//! | last | `layerFinal`: Conv NC→NC | `layerFinal`: Conv NC→NC | `layer5`: Conv on cat(layer4, input): NC+NIC→NC |
//!
//! [`NetworkConfig::graph`] lists the layers under PyTorch's module names,
//! [`NetworkConfig::accounting`] counts them, [`NetworkConfig::closed_forms`] says what the counts
//! must come to, [`NetworkConfig::training_memory`] bounds what a training step holds, [`tiling`] takes pictures of
//! any size through in bounded memory.

mod accounting;
mod closed_form;
mod graph;
pub mod tiling;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use accounting::{Accounting, LayerAccounting};
pub use closed_form::{ClosedForm, ClosedForms};
pub use graph::{Graph, Layer, Operation, Shape, Source, TransposedWindow, Window};
pub use tiling::Tiling;

/// The three designs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Convolutions, maximum pooling on the way down, nearest-neighbour upsampling on the way up.
    PoolUpsample,
    /// Strided convolutions down, transposed convolutions up.
    ConvTranspose,
    /// As `ConvTranspose`, with the first layer's output and the input led past the middle.
    Unet,
}

/// One network for pictures of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkConfig {
    pub architecture: Architecture,
    /// K, 1 to 7.
    pub kernel: u64,
    /// Of every (transposed) convolution: the distance of the inputs that a kernel's neighbouring
    /// taps meet. 1, as in the networks that are trained, to 32.
    pub dilation: u64,
    /// NF, at least 1.
    pub num_filters: u64,
    /// NIC, at least 1.
    pub in_channels: u64,
    /// NC, at least 1.
    pub num_colours: u64,
    /// A multiple of 4, at least 4.
    pub height: u64,
    /// A multiple of 4, at least 4.
    pub width: u64,
}

/// Why there is no such network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    #[error("the kernel must be 1 to 7, not {0}")]
    Kernel(u64),
    #[error("the dilation must be 1 to 32, not {0}")]
    Dilation(u64),
    #[error("{field} must be at least 1")]
    Zero { field: &'static str },
    #[error("{field} must be a multiple of 4 and at least 4, not {value}")]
    NotMultipleOfFour { field: &'static str, value: u64 },
    #[error("the network's sizes exceed 64-bit counts")]
    Overflow,
}

impl NetworkConfig {
    /// The kernel sizes that the paddings are defined for.
    pub const KERNELS: std::ops::RangeInclusive<u64> = 1..=7;
    /// The dilations that a network may have.
    pub const DILATIONS: std::ops::RangeInclusive<u64> = 1..=32;

    /// Checks every field's range.
    pub fn validate(&self) -> Result<(), NetworkError> {
        if !Self::KERNELS.contains(&self.kernel) {
            return Err(NetworkError::Kernel(self.kernel));
        }
        if !Self::DILATIONS.contains(&self.dilation) {
            return Err(NetworkError::Dilation(self.dilation));
        }
        for (field, value) in [("num_filters", self.num_filters), ("in_channels", self.in_channels), ("num_colours", self.num_colours)] {
            if value == 0 {
                return Err(NetworkError::Zero { field });
            }
        }
        for (field, value) in [("height", self.height), ("width", self.width)] {
            if value == 0 || !value.is_multiple_of(4) {
                return Err(NetworkError::NotMultipleOfFour { field, value });
            }
        }
        Ok(())
    }
}
