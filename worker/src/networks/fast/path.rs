//! How a convolution and the gradient of its weights are computed: tap by tap, or through Winograd's transforms where these
//! apply and pay.

use std::ops::Range;

use super::workspace::{Scratch, band_rows};
use crate::kernels::blocked::convolve::{Convolution, Start, convolve};
use crate::kernels::blocked::weight_gradient::{by_channel, by_image};
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
    pub(super) fn pack(&self, isa: Isa, shape: &WeightShape, direction: Direction, weights: &[f32], packed: &mut [f32]) {
        match self.winograd {
            true => winograd::pack(isa, &self.convolution, shape, direction, weights, packed),
            false => pack(&self.convolution, shape, direction, weights, packed),
        }
    }

    /// Grid rows of a band of the output: whole tiles, and whole pooling windows where the output is `pooled`.
    fn band(&self, to: View, pooled: bool) -> usize {
        let unit = if self.winograd { winograd::TILE } else { 1 + usize::from(pooled) };
        let step = self.convolution.rows.output_step;
        unit * band_rows(to.geometry.height / step / unit, unit * step * to.geometry.row_step())
    }

    /// Rows of the output in a band.
    pub(super) fn rows(&self, to: View, pooled: bool) -> usize {
        self.band(to, pooled) * self.convolution.rows.output_step
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
    ByImage(by_image::WeightGradient),
    ByChannel(by_channel::WeightGradient),
    Winograd,
}

/// What one task sums over a chunk of the batch.
#[derive(Clone)]
pub(super) struct WeightPart {
    /// Groups of register tiles with images in the lanes.
    groups: Range<usize>,
    /// Grid rows.
    band: Range<usize>,
    /// Numbers that come out.
    pub(super) sums: usize,
}

/// One block of a map.
pub(super) type Operand<'a> = (&'a [Lanes], View);

impl WeightPath {
    /// For outputs of this height and width.
    pub(super) fn new(isa: Isa, convolution: &Convolution, height: usize, width: usize) -> Self {
        let rows = height / convolution.rows.output_step;
        let parts = |len: usize| even_parts(len, len.div_ceil(PARTS));
        let bands = |sums: usize| move |band: Range<usize>| WeightPart { groups: 0..0, band, sums };
        let (kind, parts) = if winograd::applies(convolution, height, width) {
            let tiles = parts(rows / winograd::TILE).into_iter().map(|tiles| tiles.start * winograd::TILE..tiles.end * winograd::TILE);
            (WeightKind::Winograd, tiles.map(bands(winograd::weight_gradient::sums(convolution))).collect())
        } else if isa.has_few_registers() {
            let by_channel = by_channel::WeightGradient::new(convolution);
            let parts = parts(rows).into_iter().map(bands(by_channel.sums())).collect();
            (WeightKind::ByChannel(by_channel), parts)
        } else {
            let by_image = by_image::WeightGradient::new(convolution);
            let part = |groups: Range<usize>| WeightPart { sums: by_image.sums(groups.clone()), groups, band: 0..rows };
            let parts = parts(by_image.groups()).into_iter().map(part).collect();
            (WeightKind::ByImage(by_image), parts)
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

    /// Vectors of memory that the sums of a part take while blocks are added.
    pub(super) fn memory(&self, part: &WeightPart) -> usize {
        match &self.kind {
            WeightKind::ByImage(_) => part.sums,
            WeightKind::ByChannel(by_channel) => by_channel.scratch_len(),
            WeightKind::Winograd => winograd::weight_gradient::scratch_len(&self.convolution),
        }
    }

    /// Adds a block, of which `live` lanes are images, to the sums of a part in memory (starts them if `first`).
    #[allow(clippy::too_many_arguments)]
    pub(super) fn add_block(
        &self,
        isa: Isa,
        part: &WeightPart,
        input: Operand<'_>,
        gradient: Operand<'_>,
        live: usize,
        first: bool,
        memory: &mut [Lanes],
    ) {
        let band = part.band.clone();
        match &self.kind {
            WeightKind::ByImage(by_image) => {
                by_image.add_block(isa.for_live(live), part.groups.clone(), band, input, gradient, first, memory);
            }
            WeightKind::ByChannel(by_channel) => by_channel.add_block(isa, band, input, gradient, live, first, memory),
            WeightKind::Winograd => {
                winograd::weight_gradient::add_block(isa, &self.convolution, band, input, gradient, live, first, memory);
            }
        }
    }

    /// The sums of a part whose blocks have been added.
    pub(super) fn read_sums(&self, isa: Isa, memory: &mut [Lanes], sums: &mut [f32]) {
        match &self.kind {
            WeightKind::ByImage(_) => by_image::add_lanes(isa, memory, sums),
            WeightKind::ByChannel(by_channel) => by_channel.read_sums(isa, memory, sums),
            WeightKind::Winograd => winograd::weight_gradient::read_sums(isa, &self.convolution, memory, sums),
        }
    }

    /// Adds up the sums of all chunks in their order, in the weight's own order.
    pub(super) fn finish(&self, isa: Isa, shape: &WeightShape, chunks: &mut [f32], gradient: &mut [f32]) {
        match &self.kind {
            WeightKind::ByImage(by_image) => by_image.finish(shape, chunks, gradient),
            WeightKind::ByChannel(by_channel) => by_channel.finish(shape, chunks, gradient),
            WeightKind::Winograd => winograd::weight_gradient::finish(isa, &self.convolution, shape, chunks, gradient),
        }
    }
}
