//! A small U-Net: strided and transposed convolutions with skip connections from the first layer and from the input.

use candle_core::{Result, Tensor};

use super::NetworkConfig;
use super::initial::Builder;
use super::layers::{Block, Conv2d, Followed, Pass, Resample, down, same, up};
use super::readable::Module;

/// The network `unet`.
pub struct UNet {
    layer1: Block,
    layer2: Block,
    layer3: Block,
    layer4: Block,
    layer5: Conv2d,
}

impl UNet {
    /// Declares the layers.
    pub fn new(b: &mut Builder, config: &NetworkConfig) -> Self {
        let NetworkConfig { kernel: k, num_filters: nf, num_colours: nc, in_channels: ni, .. } = *config;
        Self {
            layer1: Block::conv2d(b, "layer1", ni, nf, down(k), Resample::None),
            layer2: Block::conv2d(b, "layer2", nf, 2 * nf, down(k), Resample::None),
            layer3: Block::conv_transpose2d(b, "layer3", 2 * nf, nf, up(k)),
            layer4: Block::conv_transpose2d(b, "layer4", 2 * nf, nc, up(k)),
            layer5: Conv2d::new(b, "layer5", nc + ni, nc, same(k), Followed::ByOutput),
        }
    }
}

impl Module for UNet {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let first = self.layer1.forward(x, pass)?;
        let second = self.layer2.forward(&first, pass)?;
        let third = Tensor::cat(&[&self.layer3.forward(&second, pass)?, &first], 1)?;
        let fourth = Tensor::cat(&[&self.layer4.forward(&third, pass)?, x], 1)?;
        self.layer5.forward(&fourth, pass)
    }
}
