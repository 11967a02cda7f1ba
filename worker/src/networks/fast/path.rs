//! How a convolution and the gradient of its weights are computed: tap by tap, or through Winograd's transforms where these
//! apply and pay.

use std::ops::Range;

use super::workspace::{Scratch, band_rows};
use crate::kernels::blocked::convolve::{Convolution, Start, convolve};
use crate::kernels::blocked::geometry::live_lanes;
use crate::kernels::blocked::weight_gradient::{WeightGradient, add_lanes};
use crate::kernels::blocked::weights::{Direction, WeightShape, pack};
use crate::kernels::blocked::{Isa, Lanes, View, even_parts, winograd};

/// Parts that the weight gradient of a chunk of the batch is cut into.
const PARTS: usize = 2;

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

/// The gradient of a convolution's weights.
pub(super) struct WeightPath {
    convolution: Convolution,
    kind: WeightKind,
    parts: Vec<WeightPart>,
}

enum WeightKind {
    Direct(WeightGradient),
    Winograd,
}

/// What one task sums over a chunk of the batch.
#[derive(Clone)]
pub(super) struct WeightPart {
    /// Groups of register tiles of the direct way.
    groups: Range<usize>,
    /// Grid rows.
    band: Range<usize>,
    /// Numbers that come out.
    pub(super) sums: usize,
}

/// A map with its blocks.
pub(super) type Operand<'a> = (&'a [Lanes], View);

impl WeightPath {
    /// For outputs of this height and width.
    pub(super) fn new(convolution: &Convolution, height: usize, width: usize) -> Self {
        let rows = height / convolution.rows.output_step;
        let parts = |len: usize| even_parts(len, len.div_ceil(PARTS));
        let (kind, parts) = if winograd::applies(convolution, height, width) {
            let sums = winograd::weight_gradient::sums(convolution);
            let bands = parts(rows / winograd::TILE).into_iter().map(|tiles| tiles.start * winograd::TILE..tiles.end * winograd::TILE);
            (WeightKind::Winograd, bands.map(|band| WeightPart { groups: 0..0, band, sums }).collect())
        } else {
            let direct = WeightGradient::new(convolution);
            let part = |groups: Range<usize>| WeightPart { sums: direct.sums(groups.clone()), groups, band: 0..rows };
            let parts = parts(direct.groups()).into_iter().map(part).collect();
            (WeightKind::Direct(direct), parts)
        };
        Self { convolution: convolution.clone(), kind, parts }
    }

    /// What a chunk of the batch is cut into.
    pub(super) fn parts(&self) -> &[WeightPart] {
        &self.parts
    }

    /// Numbers that come out for a chunk of the batch.
    pub(super) fn sums(&self) -> usize {
        self.parts.iter().map(|part| part.sums).sum()
    }

    /// Sums a part over some blocks of a batch.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run(
        &self,
        isa: Isa,
        scratch: &Scratch,
        part: &WeightPart,
        images: usize,
        blocks: Range<usize>,
        (input, from): Operand<'_>,
        (gradient, to): Operand<'_>,
        sums: &mut [f32],
    ) {
        let (input_len, gradient_len) = (from.geometry.block_len(), to.geometry.block_len());
        let first = blocks.start;
        let blocks = blocks.map(|b| {
            let input = &input[b * input_len..(b + 1) * input_len];
            (b, input, &gradient[b * gradient_len..(b + 1) * gradient_len], live_lanes(images, b))
        });
        match &self.kind {
            WeightKind::Direct(direct) => scratch.with(part.sums, |lanes| {
                for (b, input, gradient, live) in blocks {
                    let (isa, groups, band) = (isa.for_live(live), part.groups.clone(), part.band.clone());
                    direct.add_block(isa, groups, band, (input, from), (gradient, to), b == first, lanes);
                }
                add_lanes(isa, lanes, sums);
            }),
            WeightKind::Winograd => scratch.with(winograd::weight_gradient::scratch_len(&self.convolution), |scratch| {
                let blocks = blocks.map(|(_, input, gradient, live)| (input, gradient, live));
                winograd::weight_gradient::gradient(isa, &self.convolution, from, to, part.band.clone(), blocks, scratch, sums);
            }),
        }
    }

    /// Adds up the sums of all chunks in their order, in the weight's own order.
    pub(super) fn finish(&self, shape: &WeightShape, chunks: &[f32], gradient: &mut [f32]) {
        match &self.kind {
            WeightKind::Direct(direct) => direct.finish(shape, chunks, gradient),
            WeightKind::Winograd => winograd::weight_gradient::finish(&self.convolution, shape, chunks, gradient),
        }
    }
}
