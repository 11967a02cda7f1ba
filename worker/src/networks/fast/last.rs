//! The last stage: no batch norm stands behind it, so a block goes through convolution, softmax and cross-entropy and back to
//! the gradients of weights and input before the next one comes.

use rayon::prelude::*;

use super::backward::{InputGradientOperands, gradients};
use super::blocks::{Block, ChunkSums, chunks, split};
use super::forward::Finish;
use super::plan::Plan;
use super::workspace::{StageState, Workspace};
use crate::kernels::blocked::Lanes;
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::normalize::GradientSums;
use crate::kernels::blocked::softmax::{BandScore, Classes, channel_sums, cross_entropy};
use crate::kernels::cross_entropy::Score;

/// One block's operands.
struct Operands<'a> {
    z: &'a [Lanes],
    input: &'a mut [Lanes],
    logits: &'a mut [Lanes],
    classes: &'a [Classes],
    scores: &'a mut [BandScore],
    /// Sums of the logits' gradient, by band and channel.
    sums: &'a mut [f64],
    target: &'a mut [Lanes],
    gradient_sums: &'a mut [GradientSums],
}

/// Runs the last stage as far as `finish` says.
pub(super) fn last_stage(plan: &Plan, workspace: &mut Workspace, bias: &[f32], finish: Finish) -> Score {
    let blocks = workspace.blocks();
    let Workspace { isa, images, maps, stages, classes, scores, scratch, output_sums, .. } = workspace;
    let (isa, images, scratch) = (*isa, *images, &*scratch);
    let (Some((stage, earlier)), Some((state, states))) = (plan.stages.split_last(), stages.split_last_mut()) else {
        return Score::default();
    };
    let (Some(before), Some(state_before)) = (earlier.last(), states.last_mut()) else { return Score::default() };
    let (from, to) = (stage.input.view, stage.output.view);
    let rows = stage.path.rows(to, false);
    let bands = to.geometry.height / rows;
    let pixels = images * plan.height * plan.width;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let share = (finish == Finish::Loss).then_some((1.0 / pixels as f64) as f32);
    let gradient_to = stage.input_gradient.as_ref().filter(|_| finish == Finish::Loss);
    let [z, input, logits, target] =
        maps.some([Some(before.normalized()), Some(stage.input), Some(stage.output), gradient_to.map(|g| g.to)]);
    let before_norm = before.normalized().view;
    let StageState { forward_weights, backward_weights, chunks: chunk_sums, .. } = state;
    let (forward_weights, backward_weights) = (forward_weights.as_slice(), backward_weights.as_slice());
    let (scores, output_sums) = (&mut scores[..blocks * bands], &mut output_sums[..blocks * bands * to.channels]);
    state_before.gradient_sums.fill(GradientSums::default());
    let channels = state_before.channels.as_slice();
    let operands = split(z, blocks)
        .into_iter()
        .zip(split(input, blocks))
        .zip(split(logits, blocks))
        .zip(split(classes, blocks))
        .zip(split(scores, blocks))
        .zip(split(output_sums, blocks))
        .zip(split(target, blocks))
        .zip(split(&mut state_before.gradient_sums, blocks))
        .map(|(((((((z, input), logits), classes), scores), sums), target), gradient_sums)| Operands {
            z,
            input,
            logits,
            classes,
            scores,
            sums,
            target,
            gradient_sums,
        });
    let then = |block: Block<'_>, band: &mut [Lanes], extra: ((&[Classes], &mut BandScore), &mut [f64])| {
        let ((classes, score), sums) = extra;
        if finish != Finish::Logits {
            *score = cross_entropy(block.isa, (band, to), classes, rows, block.live, share);
        }
        if finish == Finish::Loss {
            channel_sums(block.isa, (band, to), rows, block.live, sums);
        }
    };
    let chunks = chunks(operands, blocks, chunk_sums);
    chunks.into_par_iter().with_max_len(1).for_each(|chunk| {
        let mut chunk_sums = gradient_to.map(|_| ChunkSums::new(isa, &stage.weight_gradient, scratch));
        for (index, operands) in chunk.blocks.into_iter().enumerate() {
            let Operands { z, input, logits, classes, scores, sums, target, gradient_sums } = operands;
            let block = Block::new(isa, scratch, images, chunk.first + index);
            block.activate((z, before_norm), channels, (input, from));
            let extras = classes.chunks(rows * plan.width).zip(scores).zip(sums.chunks_mut(to.channels));
            rayon::scope_fifo(|scope| {
                let weights = (forward_weights, Start::Bias(bias));
                block.convolve(scope, &stage.path, weights, rows, (input, from), (logits, to), extras, &then);
            });
            if let (Some(chunk_sums), Some(gradient_to)) = (&mut chunk_sums, gradient_to) {
                let operands = InputGradientOperands {
                    to: gradient_to,
                    weights: backward_weights,
                    target,
                    completed: (before, z, channels),
                    sums: gradient_sums,
                };
                gradients(block, chunk_sums, (&*logits, to), (input, from), Some(operands));
            }
        }
        if let Some(chunk_sums) = chunk_sums {
            chunk_sums.finish(chunk.sums);
        }
    });
    let mut total = BandScore::default();
    for score in &*scores {
        total.loss_sum += score.loss_sum;
        total.hits += score.hits;
    }
    Score { loss_sum: total.loss_sum, hits: total.hits, pixels: pixels as u64 }
}
