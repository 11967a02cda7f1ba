//! Strided convolutions on the way down and transposed convolutions on the way up.

use candle_core::{Result, Tensor};

use super::NetworkConfig;
use super::initial::Builder;
use super::layers::{Block, Conv2d, Followed, Pass, Resample, down, same, up};
use super::readable::Module;

/// The network `conv_transpose`.
pub struct ConvTransposeNet {
    layer1: Block,
    layer2: Block,
    layer3: Block,
    layer4: Block,
    layer_final: Conv2d,
}

impl ConvTransposeNet {
    /// Declares the layers.
    pub fn new(b: &mut Builder, config: &NetworkConfig) -> Self {
        let NetworkConfig { kernel: k, num_filters: nf, num_colours: nc, in_channels: ni, .. } = *config;
        Self {
            layer1: Block::conv2d(b, "layer1", ni, nf, down(k), Resample::None),
            layer2: Block::conv2d(b, "layer2", nf, 2 * nf, down(k), Resample::None),
            layer3: Block::conv_transpose2d(b, "layer3", 2 * nf, nf, up(k)),
            layer4: Block::conv_transpose2d(b, "layer4", nf, nc, up(k)),
            layer_final: Conv2d::new(b, "layerFinal", nc, nc, same(k), Followed::ByOutput),
        }
    }
}

impl Module for ConvTransposeNet {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let x = self.layer1.forward(x, pass)?;
        let x = self.layer2.forward(&x, pass)?;
        let x = self.layer3.forward(&x, pass)?;
        let x = self.layer4.forward(&x, pass)?;
        self.layer_final.forward(&x, pass)
    }
}
