//! What is done to one block of a batch, in parallel over bands of its rows.
//!
//! Batch norm needs sums over the whole batch, so no block enters the next stage before all have left this one. Between two
//! such barriers a block goes its whole way alone: what one step writes, the next one finds in the caches, and not in memory,
//! which holds many times what they do.

use std::ops::Range;

use rayon::ScopeFifo;
use rayon::prelude::*;

use super::path::{Operand, Path, WeightPart, WeightPath};
use super::plan::{Normalization, Stage};
use super::workspace::{Scratch, band_rows};
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::geometry::live_lanes;
use crate::kernels::blocked::normalize::{Channel, ChannelGradient, input_gradient, normalize_relu};
use crate::kernels::blocked::pool::{Argmax, max_pool_gradient};
use crate::kernels::blocked::{Isa, Lanes, View};

/// One block of a map, to write.
pub(super) type Target<'a> = (&'a mut [Lanes], View);

/// Cuts something into equal parts, one for each block; into empty ones where there is nothing.
pub(super) fn split<T>(all: &mut [T], blocks: usize) -> Vec<&mut [T]> {
    let (len, mut rest) = (all.len() / blocks, all);
    let part = |_| {
        let part;
        (part, rest) = std::mem::take(&mut rest).split_at_mut(len);
        part
    };
    (0..blocks).map(part).collect()
}

/// What work on a block needs to know beside its operands.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) isa: Isa,
    /// Lanes that are images.
    pub(super) live: usize,
    pub(super) scratch: &'a Scratch,
}

impl<'a> Block<'a> {
    /// The block of that index of a batch.
    pub(super) fn new(isa: Isa, scratch: &'a Scratch, images: usize, block: usize) -> Self {
        let live = live_lanes(images, block);
        Self { isa: isa.for_live(live), live, scratch }
    }

    /// Starts a convolution, a task for each band, with what is done to the band after it while it is in the caches.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn convolve<'s, E: Send + 's>(
        self,
        scope: &ScopeFifo<'s>,
        path: &'s Path,
        (weights, start): (&'s [f32], Start<'s>),
        rows: usize,
        (input, from): Operand<'s>,
        (output, to): Target<'s>,
        extras: impl Iterator<Item = E>,
        then: &'s (impl Fn(Self, &mut [Lanes], E) + Sync),
    ) where
        'a: 's,
    {
        let grid = rows / path.convolution.rows.output_step;
        for (band, (output, extra)) in output.chunks_mut(rows * to.geometry.row_step()).zip(extras).enumerate() {
            scope.spawn_fifo(move |_| {
                let band = band * grid..(band + 1) * grid;
                path.run(self.isa, self.scratch, (input, from), weights, start, band, (&mut *output, to));
                then(self, output, extra);
            });
        }
    }

    /// Batch norm and rectifier.
    pub(super) fn activate(self, (z, from): Operand<'_>, channels: &[Channel], (a, to): Target<'_>) {
        let rows = band_rows(to.geometry.height, to.geometry.row_step());
        a.par_chunks_mut(rows * to.geometry.row_step())
            .zip(z.par_chunks(rows * from.geometry.row_step()))
            .for_each(|(a, z)| normalize_relu(self.isa, (z, from), channels, rows, (a, to)));
    }

    /// Turns the gradient of a stage's activation into that of its convolution's output, which lies in `wide` where pooling
    /// stands between.
    pub(super) fn rectify(
        self,
        (stage, norm): (&Stage, &Normalization),
        channels: &[(Channel, ChannelGradient)],
        gradient: &mut [Lanes],
        z: &[Lanes],
        (wide, argmax): (&mut [Lanes], &[Argmax]),
    ) {
        let (z_view, view, wide_view) = (stage.normalized().view, norm.gradient.view, stage.output.view);
        let rows = band_rows(view.geometry.height, view.geometry.row_step());
        let bands = gradient.par_chunks_mut(rows * view.geometry.row_step()).zip(z.par_chunks(rows * z_view.geometry.row_step()));
        if stage.pooled.is_none() {
            return bands.for_each(|(g, z)| input_gradient(self.isa, (g, view), (z, z_view), channels, rows, self.live));
        }
        bands
            .zip(wide.par_chunks_mut(2 * rows * wide_view.geometry.row_step()))
            .zip(argmax.par_chunks(rows * z_view.geometry.width * z_view.channels))
            .for_each(|(((g, z), wide), argmax)| {
                input_gradient(self.isa, (g, view), (z, z_view), channels, rows, self.live);
                max_pool_gradient(self.isa, (g, view), argmax, rows, (wide, wide_view));
            });
    }
}

/// The sums of a weight gradient over a chunk of the batch, which takes its blocks in order.
pub(super) struct ChunkSums<'a> {
    isa: Isa,
    path: &'a WeightPath,
    scratch: &'a Scratch,
    parts: Vec<(&'a WeightPart, Vec<Lanes>)>,
    empty: bool,
}

impl<'a> ChunkSums<'a> {
    /// Of no block yet.
    pub(super) fn new(isa: Isa, path: &'a WeightPath, scratch: &'a Scratch) -> Self {
        let parts = path.parts().iter().map(|part| (part, scratch.take(path.memory(part)))).collect();
        Self { isa, path, scratch, parts, empty: true }
    }

    /// Starts a task for each part of the weights that adds a block.
    pub(super) fn add_block<'s>(&'s mut self, scope: &ScopeFifo<'s>, live: usize, input: Operand<'s>, gradient: Operand<'s>) {
        let (isa, path, first) = (self.isa, self.path, std::mem::take(&mut self.empty));
        for (part, memory) in &mut self.parts {
            let memory = &mut memory[..path.memory(part)];
            scope.spawn_fifo(move |_| path.add_block(isa, part, input, gradient, live, first, memory));
        }
    }

    /// Writes the sums, part after part.
    pub(super) fn finish(self, sums: &mut [f32]) {
        let Self { isa, path, scratch, parts, .. } = self;
        let mut rest = sums;
        let parts = parts.into_iter().map(|(part, memory)| {
            let own;
            (own, rest) = std::mem::take(&mut rest).split_at_mut(part.sums);
            (path.memory(part), memory, own)
        });
        parts.collect::<Vec<_>>().into_par_iter().with_max_len(1).for_each(|(len, mut memory, sums)| {
            path.read_sums(isa, &mut memory[..len], sums);
            scratch.give(memory);
        });
    }
}

/// A chunk of a batch: its first block, the operands of its blocks, and where the sums of its weight gradient go.
pub(super) struct Chunk<'a, T> {
    pub(super) first: usize,
    pub(super) blocks: Vec<T>,
    pub(super) sums: &'a mut [f32],
}

/// Deals the operands of a batch's blocks out to its chunks.
pub(super) fn chunks<'a, T>(mut operands: impl Iterator<Item = T>, blocks: usize, sums: &'a mut [f32]) -> Vec<Chunk<'a, T>> {
    let chunks = super::workspace::chunks(blocks);
    let sums = split(sums, chunks.len());
    let chunk =
        |(chunk, sums): (Range<usize>, _)| Chunk { first: chunk.start, blocks: operands.by_ref().take(chunk.len()).collect(), sums };
    chunks.into_iter().zip(sums).map(chunk).collect()
}
