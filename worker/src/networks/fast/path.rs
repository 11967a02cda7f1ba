//! How a convolution is computed: tap by tap, or through Winograd's transforms where these apply and pay.

use std::ops::Range;

use super::workspace::{Scratch, band_rows};
use crate::kernels::blocked::convolve::{Convolution, Start, convolve};
use crate::kernels::blocked::weights::{Direction, WeightShape, pack};
use crate::kernels::blocked::{Isa, Lanes, View, winograd};

/// A convolution between maps of one size.
pub(super) struct Path {
    pub(super) convolution: Convolution,
    winograd: bool,
}

impl Path {
    /// For outputs of this height and width.
    pub(super) fn new(convolution: Convolution, height: usize, width: usize) -> Self {
        let winograd = winograd::applies(&convolution, height, width);
        Self { convolution, winograd }
    }

    /// Length of the packed weights.
    pub(super) fn packed_len(&self) -> usize {
        let Convolution { input_channels, output_channels, .. } = self.convolution;
        match self.winograd {
            true => winograd::packed_len(&self.convolution),
            false => self.convolution.matrices() * input_channels * output_channels,
        }
    }

    /// Packs the layer's weights.
    pub(super) fn pack(&self, shape: &WeightShape, direction: Direction, weights: &[f32], packed: &mut [f32]) {
        match self.winograd {
            true => winograd::pack(&self.convolution, shape, direction, weights, packed),
            false => pack(&self.convolution, shape, direction, weights, packed),
        }
    }

    /// Grid rows of a band of the output: whole tiles, and whole pooling windows where the output is `pooled`.
    pub(super) fn band(&self, to: View, pooled: bool) -> usize {
        let unit = if self.winograd { winograd::TILE } else { 1 + usize::from(pooled) };
        let step = self.convolution.rows.output_step;
        unit * band_rows(to.geometry.height / step / unit, unit * step * to.geometry.row_step())
    }

    /// Convolves the grid rows `band` of one block into that band of the output.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run(
        &self,
        isa: Isa,
        scratch: &Scratch,
        (input, from): (&[Lanes], View),
        weights: &[f32],
        start: Start<'_>,
        band: Range<usize>,
        (output, to): (&mut [Lanes], View),
    ) {
        let convolution = &self.convolution;
        if self.winograd {
            scratch.with(winograd::scratch_len(convolution), |scratch| {
                winograd::convolve(isa, convolution, input, from, weights, start, band, output, to, scratch);
            });
        } else {
            convolve(isa, convolution, input, from, weights, start, band, output, to);
        }
    }
}
