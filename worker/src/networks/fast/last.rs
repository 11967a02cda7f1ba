//! The last stage: no batch norm stands behind it, so a block goes through convolution, softmax and cross-entropy and back to
//! the gradients of weights and input before the next one comes.

use rayon::prelude::*;

use super::backward::{InputGradientOperands, gradients};
use super::blocks::{Block, ChunkSums, chunks, split};
use super::forward::Finish;
use super::path::Operand;
use super::plan::Plan;
use super::workspace::{StageState, Workspace};
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::normalize::GradientSums;
use crate::kernels::blocked::softmax::{BandScore, Classes, channel_sums, cross_entropy};
use crate::kernels::blocked::transfer::store_images;
use crate::kernels::blocked::{LANES, Lanes, View};
use crate::kernels::cross_entropy::Score;

/// One block's operands.
struct Operands<'a> {
    z: &'a [Lanes],
    grey: &'a [Lanes],
    classes: &'a [Classes],
    scores: &'a mut [BandScore],
    /// Sums of the logits' gradient, by band and channel.
    sums: &'a mut [f64],
    target: &'a mut [Lanes],
    gradient_sums: &'a mut [GradientSums],
    /// Where the logits go.
    images: &'a mut [f32],
}

/// The images of each block; none where none are wanted.
fn images_of(images: &mut [f32], blocks: usize, view: View) -> Vec<&mut [f32]> {
    let mut parts: Vec<_> = images.chunks_mut(LANES * view.channels * view.geometry.height * view.geometry.width).collect();
    parts.resize_with(blocks, Default::default);
    parts
}

/// Copies one block's channels from map to map.
fn copy((input, from): Operand<'_>, (output, to): (&mut [Lanes], View)) {
    for row in 0..from.geometry.height {
        for channel in 0..from.channels {
            output[to.row(row, channel)].copy_from_slice(&input[from.row(row, channel)]);
        }
    }
}

/// Runs the last stage as far as `finish` says.
pub(super) fn last_stage(plan: &Plan, workspace: &mut Workspace, bias: &[f32], finish: Finish<'_>) -> Score {
    let blocks = workspace.blocks();
    let Workspace { isa, images, maps, stages, classes, scores, scratch, last_inputs, logits, output_sums, .. } = workspace;
    let (isa, images, scratch, last_inputs, logits) = (*isa, *images, &*scratch, &*last_inputs, &*logits);
    let (Some((stage, earlier)), Some((state, states))) = (plan.stages.split_last(), stages.split_last_mut()) else {
        return Score::default();
    };
    let (Some(before), Some(state_before)) = (earlier.last(), states.last_mut()) else { return Score::default() };
    let (from, to) = (stage.input.view, stage.output.view);
    let Some(activation) = before.normalization.as_ref().map(|norm| norm.activation.view) else { return Score::default() };
    let rows = stage.path.rows(to, false);
    let bands = to.geometry.height / rows;
    let pixels = images * plan.height * plan.width;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let share = (finish == Finish::Loss).then_some((1.0 / pixels as f64) as f32);
    let gradient_to = stage.input_gradient.as_ref().filter(|_| finish == Finish::Loss);
    let images_out: &mut [f32] = if let Finish::Logits(out) = finish { out } else { &mut [] };
    let is_scored = images_out.is_empty();
    let grey = plan.grey_beside.map(|_| plan.grey);
    let [z, grey, target] = maps.some([Some(before.normalized()), grey, gradient_to.map(|g| g.to)]);
    let before_norm = before.normalized().view;
    let StageState { forward_weights, backward_weights, chunks: chunk_sums, .. } = state;
    let (forward_weights, backward_weights) = (forward_weights.as_slice(), backward_weights.as_slice());
    let (scores, output_sums) = (&mut scores[..blocks * bands], &mut output_sums[..blocks * bands * to.channels]);
    state_before.gradient_sums.fill(GradientSums::default());
    let channels = state_before.channels.as_slice();
    let operands = split(z, blocks)
        .into_iter()
        .zip(split(grey, blocks))
        .zip(split(classes, blocks))
        .zip(split(scores, blocks))
        .zip(split(output_sums, blocks))
        .zip(split(target, blocks))
        .zip(split(&mut state_before.gradient_sums, blocks))
        .zip(images_of(images_out, blocks, to))
        .map(|(((((((z, grey), classes), scores), sums), target), gradient_sums), images)| Operands {
            z,
            grey,
            classes,
            scores,
            sums,
            target,
            gradient_sums,
            images,
        });
    let then = |block: Block<'_>, band: &mut [Lanes], extra: ((&[Classes], &mut BandScore), &mut [f64])| {
        let ((classes, score), sums) = extra;
        if is_scored {
            *score = cross_entropy(block.isa, (band, to), classes, rows, block.live, share);
        }
        if share.is_some() {
            channel_sums(block.isa, (band, to), rows, block.live, sums);
        }
    };
    let chunks = chunks(operands, blocks, chunk_sums);
    chunks.into_par_iter().with_max_len(1).for_each(|chunk| {
        let mut chunk_sums = gradient_to.map(|_| ChunkSums::new(isa, &stage.weight_gradient, scratch));
        let (mut input, mut output) = (last_inputs.take(from.geometry.block_len()), logits.take(to.geometry.block_len()));
        for (index, operands) in chunk.blocks.into_iter().enumerate() {
            let Operands { z, grey, classes, scores, sums, target, gradient_sums, images: into } = operands;
            let block = Block::new(isa, scratch, images, chunk.first + index);
            block.activate((z, before_norm), channels, (&mut input, activation));
            if let Some(beside) = plan.grey_beside {
                copy((grey, plan.grey.view), (&mut input, beside.view));
            }
            let extras = classes.chunks(rows * plan.width).zip(scores).zip(sums.chunks_mut(to.channels));
            rayon::scope_fifo(|scope| {
                let weights = (forward_weights, Start::Bias(bias));
                block.convolve(scope, &stage.path, weights, rows, (&input, from), (&mut output, to), extras, &then);
            });
            if !is_scored {
                store_images(isa, &output, to, into);
            }
            if let (Some(chunk_sums), Some(gradient_to)) = (&mut chunk_sums, gradient_to) {
                let operands = InputGradientOperands {
                    to: gradient_to,
                    weights: backward_weights,
                    target,
                    completed: (before, z, channels),
                    sums: gradient_sums,
                };
                gradients(block, chunk_sums, (&output, to), (&input, from), Some(operands));
            }
        }
        if let Some(chunk_sums) = chunk_sums {
            chunk_sums.finish(chunk.sums);
        }
        last_inputs.give(input);
        logits.give(output);
    });
    let mut total = BandScore::default();
    for score in &*scores {
        total.loss_sum += score.loss_sum;
        total.hits += score.hits;
    }
    Score { loss_sum: total.loss_sum, hits: total.hits, pixels: pixels as u64 }
}
