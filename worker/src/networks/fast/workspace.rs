//! The arena of a fast network: every map, sum and packed weight of a step, allocated once per image and batch size.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::plan::{MapUse, MapView, Plan, Stage};
use crate::kernels::blocked::geometry::blocks;
use crate::kernels::blocked::normalize::{Channel, ChannelGradient, GradientSums, Moments};
use crate::kernels::blocked::pool::Argmax;
use crate::kernels::blocked::softmax::{BandScore, Classes};
use crate::kernels::blocked::{Isa, Lanes, even_parts};
use crate::kernels::memory::resize;

/// Bands an image is cut into, at least; each is one task.
const BANDS: usize = 4;

/// The most vectors of a map in one band, so that what is done to it after the convolution finds it in the second cache.
const BAND_VECTORS: usize = 1 << 13;

/// Chunks that a batch is cut into for weight gradients, at most, each with sums of its own.
const CHUNKS: usize = 4;

/// The chunks of blocks for weight gradients.
pub(super) fn chunks(blocks: usize) -> Vec<Range<usize>> {
    even_parts(blocks, blocks.div_ceil(CHUNKS))
}

/// Rows of a band of a grid, a divisor of its height, so that every task has the same shape.
pub(super) fn band_rows(height: usize, row_vectors: usize) -> usize {
    let most = height.div_ceil(BANDS).min(BAND_VECTORS / row_vectors.max(1)).max(1);
    (1..=most).rev().find(|rows| height.is_multiple_of(*rows)).unwrap_or(1)
}

/// Maps of whole blocks.
#[derive(Default)]
pub(super) struct Maps(Vec<Vec<Lanes>>);

impl Maps {
    /// One map, to write.
    pub(super) fn get_mut(&mut self, view: MapView) -> &mut [Lanes] {
        &mut self.0[view.map]
    }

    /// Some maps to write; nothing where there is none.
    ///
    /// # Panics
    /// Where two are the same.
    pub(super) fn some<const N: usize>(&mut self, views: [Option<MapView>; N]) -> [&mut [Lanes]; N] {
        let mut maps: Vec<&mut [Lanes]> = self.0.iter_mut().map(Vec::as_mut_slice).collect();
        let mut taken = vec![false; maps.len()];
        views.map(|view| {
            let Some(MapView { map, .. }) = view else { return &mut [][..] };
            assert!(!std::mem::replace(&mut taken[map], true), "a plan's operands share map {map}");
            std::mem::take(&mut maps[map])
        })
    }
}

/// What one stage keeps from pass to pass.
#[derive(Default)]
pub(super) struct StageState {
    /// Packed weights of the convolution and of its input gradient.
    pub(super) forward_weights: Vec<f32>,
    pub(super) backward_weights: Vec<f32>,
    /// Positions of pooled maxima, `[blocks, rows, channels, width]` of the pooled map.
    pub(super) argmax: Vec<Argmax>,
    /// By band and channel.
    pub(super) moments: Vec<Moments>,
    pub(super) gradient_sums: Vec<GradientSums>,
    /// By channel: mean, biased variance.
    pub(super) statistics: Vec<(f64, f64)>,
    pub(super) channels: Vec<Channel>,
    pub(super) channel_gradients: Vec<(Channel, ChannelGradient)>,
    /// Weight gradients of the chunks.
    pub(super) chunks: Vec<f32>,
}

/// All memory of a pass.
pub(super) struct Workspace {
    pub(super) isa: Isa,
    pub(super) images: usize,
    pub(super) training: bool,
    pub(super) maps: Maps,
    pub(super) classes: Vec<Classes>,
    pub(super) scores: Vec<BandScore>,
    pub(super) output_sums: Vec<f64>,
    pub(super) stages: Vec<StageState>,
    pub(super) scratch: Scratch,
    /// Blocks of the last stage's input and of the logits, which no later stage reads. Nobody writes halos, so they are zero.
    pub(super) last_inputs: Scratch,
    pub(super) logits: Scratch,
    /// Counts passes; a backward pass belongs to one forward pass.
    pub(super) generation: u64,
}

impl Workspace {
    /// Of nothing yet.
    pub(super) fn new(isa: Isa, training: bool) -> Self {
        Self {
            isa,
            images: 0,
            training,
            maps: Maps::default(),
            classes: Vec::new(),
            scores: Vec::new(),
            output_sums: Vec::new(),
            stages: Vec::new(),
            scratch: Scratch::default(),
            last_inputs: Scratch::default(),
            logits: Scratch::default(),
            generation: 0,
        }
    }

    /// Blocks of the current batch.
    pub(super) fn blocks(&self) -> usize {
        blocks(self.images)
    }

    /// Makes room for a batch. What is left from a batch of another size stays allocated, its halos zero.
    pub(super) fn prepare(&mut self, plan: &Plan, images: usize) {
        self.generation += 1;
        if self.images == images && !self.stages.is_empty() {
            return;
        }
        self.images = images;
        let blocks = self.blocks();
        self.maps.0.resize_with(plan.maps.len(), Vec::new);
        for ((map, geometry), map_use) in self.maps.0.iter_mut().zip(&plan.maps).zip(&plan.uses) {
            let kept = match map_use {
                MapUse::Pass => blocks,
                MapUse::Training if self.training => blocks,
                MapUse::Training | MapUse::Block => 0,
            };
            resize(map, kept * geometry.block_len(), Lanes::ZERO);
        }
        resize(&mut self.classes, blocks * plan.height * plan.width, Lanes::ZERO);
        self.stages.resize_with(plan.stages.len(), StageState::default);
        for (stage, state) in plan.stages.iter().zip(&mut self.stages) {
            state.prepare(stage, blocks, self.training);
        }
        let logits = plan.logits();
        // Bands of other stages are counted where they are used.
        self.scores.resize(blocks * logits.geometry.height, BandScore::default());
        self.output_sums.resize(blocks * logits.geometry.height * logits.channels, 0.0);
    }
}

impl StageState {
    fn prepare(&mut self, stage: &Stage, blocks: usize, training: bool) {
        self.forward_weights.resize(stage.path.packed_len(), 0.0);
        let z = stage.normalized().view;
        if stage.pooled.is_some() {
            let pixels = z.geometry.height * z.geometry.width;
            resize(&mut self.argmax, blocks * pixels * z.channels, Lanes::ZERO);
        }
        self.channels.resize(z.channels, Channel::default());
        self.moments.resize(blocks * z.geometry.height * z.channels, Moments::default());
        if !training {
            return;
        }
        self.gradient_sums.resize(blocks * z.geometry.height * z.channels, GradientSums::default());
        self.statistics.resize(z.channels, (0.0, 0.0));
        self.channel_gradients.resize(z.channels, Default::default());
        if let Some(gradient) = &stage.input_gradient {
            self.backward_weights.resize(gradient.path.packed_len(), 0.0);
        }
        self.chunks.resize(chunks(blocks).len() * stage.weight_gradient.sums(), 0.0);
    }
}

/// Buffers, handed from task to task with what the one before has left in them; zeros in a new one.
#[derive(Default)]
pub(super) struct Scratch(Mutex<Vec<Vec<Lanes>>>);

impl Scratch {
    /// A buffer of at least `len` vectors.
    pub(super) fn take(&self, len: usize) -> Vec<Lanes> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = taken.unwrap_or_default();
        if buffer.len() < len {
            resize(&mut buffer, len, Lanes::ZERO);
        }
        buffer
    }

    /// Takes a buffer back.
    pub(super) fn give(&self, buffer: Vec<Lanes>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }

    /// Calls `f` with a buffer of `len` vectors.
    pub(super) fn with(&self, len: usize, f: impl FnOnce(&mut [Lanes])) {
        let mut buffer = self.take(len);
        f(&mut buffer[..len]);
        self.give(buffer);
    }
}
