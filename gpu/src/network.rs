//! What a network computes, stage by stage: a convolution with what follows it up to the next one.
//!
//! Batch norm and the rectifier commute with nearest upsampling, so an upsampled map never exists; concatenated maps are two
//! operands of the next convolution. The activation of a stage is not stored either: whoever reads it makes it from batch norm's input.

use crate::taps::Convolution;
use crate::{GpuError, Result};

/// Which of the three networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetworkKind {
    /// Pooling on the way down, nearest upsampling on the way up.
    PoolUpsample,
    /// Strided convolutions down, transposed ones up.
    ConvTranspose,
    /// As [`NetworkKind::ConvTranspose`], with skip connections.
    UNet,
}

/// A network and where its numbers lie in two flat vectors, of parameters and of running statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkShape {
    /// Which network.
    pub kind: NetworkKind,
    /// Side of every kernel, 1 to 7.
    pub kernel: usize,
    /// Channels of the first stage.
    pub num_filters: usize,
    /// Channels of the output, 1 to 256.
    pub num_colours: usize,
    /// Channels of the input.
    pub in_channels: usize,
    /// The places of the five stages.
    pub places: Vec<StagePlaces>,
    /// Length of the parameters.
    pub parameters: usize,
    /// Length of the running statistics.
    pub running: usize,
}

/// Where a stage's numbers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagePlaces {
    /// The convolution's weight and bias, in the parameters.
    pub weight: usize,
    /// See `weight`.
    pub bias: usize,
    /// The batch norm's, where the stage has one.
    pub norm: Option<NormPlaces>,
}

/// Where a batch norm's numbers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormPlaces {
    /// In the parameters.
    pub weight: usize,
    /// In the parameters.
    pub bias: usize,
    /// In the running statistics.
    pub running_mean: usize,
    /// In the running statistics.
    pub running_var: usize,
}

/// Where an input of a stage comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Images,
    /// The activation of an earlier stage.
    Stage(usize),
}

/// A convolution and what follows it.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) convolution: Convolution,
    /// One or two inputs with their channels, which follow one another.
    pub(crate) inputs: Vec<(Source, usize)>,
    pub(crate) outputs: usize,
    /// Images are this much higher and wider than the input, and than the convolution's output.
    pub(crate) input_shrink: usize,
    pub(crate) output_shrink: usize,
    pub(crate) pooled: bool,
    /// How often the network has each value of batch norm's input: 4 where an upsampling stands between.
    pub(crate) copies: usize,
    /// Another stage has put its part of the input's gradient there before.
    pub(crate) accumulates: bool,
    pub(crate) places: StagePlaces,
}

impl Stage {
    pub(crate) fn input_channels(&self) -> usize {
        self.inputs.iter().map(|(_, channels)| channels).sum()
    }

    /// Channels of the input that have a gradient: those of activations, which come first.
    pub(crate) fn gradient_channels(&self) -> usize {
        self.inputs.iter().filter(|(source, _)| *source != Source::Images).map(|(_, channels)| channels).sum()
    }

    /// As `output_shrink`, of batch norm's input.
    pub(crate) fn normalized_shrink(&self) -> usize {
        if self.pooled { 2 * self.output_shrink } else { self.output_shrink }
    }
}

impl NetworkShape {
    /// # Errors
    /// [`GpuError::Input`] where a size is out of range.
    pub(crate) fn stages(&self) -> Result<Vec<Stage>> {
        let Self { kernel, num_filters: nf, num_colours: nc, in_channels: ni, .. } = *self;
        if !(1..=7).contains(&kernel) || nf == 0 || ni == 0 || !(1..=256).contains(&nc) || self.places.len() != 5 {
            return Err(GpuError::Input(format!("a network of kernel {kernel}, {nf} filters, {ni} channels and {nc} colours")));
        }
        let (images, from) = ((Source::Images, ni), |stage, channels| (Source::Stage(stage), channels));
        let (same, upsampled, down, up) = (Convolution::Same, Convolution::SameUpsampled, Convolution::Down, Convolution::Up);
        // Inputs, outputs, shrink of input and output.
        let layers = match self.kind {
            NetworkKind::PoolUpsample => [
                (same, vec![images], nf, 1, 1),
                (same, vec![from(0, nf)], 2 * nf, 2, 2),
                (same, vec![from(1, 2 * nf)], nf, 4, 4),
                (upsampled, vec![from(2, nf)], nc, 4, 2),
                (upsampled, vec![from(3, nc)], nc, 2, 1),
            ],
            NetworkKind::ConvTranspose => [
                (down, vec![images], nf, 1, 2),
                (down, vec![from(0, nf)], 2 * nf, 2, 4),
                (up, vec![from(1, 2 * nf)], nf, 4, 2),
                (up, vec![from(2, nf)], nc, 2, 1),
                (same, vec![from(3, nc)], nc, 1, 1),
            ],
            NetworkKind::UNet => [
                (down, vec![images], nf, 1, 2),
                (down, vec![from(0, nf)], 2 * nf, 2, 4),
                (up, vec![from(1, 2 * nf)], nf, 4, 2),
                (up, vec![from(2, nf), from(0, nf)], nc, 2, 1),
                (same, vec![from(3, nc), images], nc, 1, 1),
            ],
        };
        let pools = self.kind == NetworkKind::PoolUpsample;
        let stage = |(index, (convolution, inputs, outputs, input_shrink, output_shrink))| Stage {
            convolution,
            inputs,
            outputs,
            input_shrink,
            output_shrink,
            pooled: pools && index < 2,
            copies: if pools && (index == 2 || index == 3) { 4 } else { 1 },
            accumulates: self.kind == NetworkKind::UNet && index == 1,
            places: self.places[index],
        };
        Ok(layers.into_iter().enumerate().map(stage).collect())
    }
}
