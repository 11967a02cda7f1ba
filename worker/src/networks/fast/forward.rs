//! The forward pass up to the last stage: batch norm and rectifier of the stage before, the convolution, pooling and moments,
//! block by block.

use rayon::prelude::*;

use super::blocks::{Block, split};
use super::last::last_stage;
use super::plan::{Normalization, Plan, Stage};
use super::workspace::{StageState, Workspace};
use crate::kernels::blocked::Lanes;
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::normalize::{Channel, Moments, mean_and_variance, moments};
use crate::kernels::blocked::pool::{Argmax, max_pool};
use crate::kernels::blocked::weights::Direction;
use crate::kernels::cross_entropy::Score;
use crate::networks::layers::BATCH_NORM_EPSILON;

/// What becomes of the logits.
#[derive(Debug, PartialEq)]
pub(super) enum Finish<'a> {
    /// They become images `[n, colours, height, width]`.
    Logits(&'a mut [f32]),
    /// They are scored and lost.
    Score,
    /// They are scored, become the gradient of the mean loss, and are lost when the last stage has its gradients.
    Loss,
}

/// Runs the network on the images and classes in the workspace; for [`Finish::Loss`] the last stage's backward pass too. Batch
/// norm takes the running statistics where they are
/// given, else the batch's, which stay in the workspace.
pub(super) fn forward(plan: &Plan, workspace: &mut Workspace, parameters: &[f32], running: Option<&[f32]>, finish: Finish<'_>) -> Score {
    let Workspace { isa, stages, .. } = workspace;
    let isa = *isa;
    plan.stages.par_iter().zip(stages.par_iter_mut()).with_max_len(1).for_each(|(stage, state)| {
        let weights = &parameters[stage.weight.clone()];
        stage.path.pack(isa, &stage.shape, Direction::Forward, weights, &mut state.forward_weights);
        if let (Some(gradient), Finish::Loss) = (&stage.input_gradient, &finish) {
            gradient.path.pack(isa, &stage.shape, Direction::Backward, weights, &mut state.backward_weights);
        }
    });
    for (index, stage) in plan.stages.iter().enumerate() {
        let Some(norm) = &stage.normalization else { continue };
        let bands = convolve(plan, workspace, index, &parameters[stage.bias.clone()], running.is_none());
        let state = &mut workspace.stages[index];
        match running {
            None => batch_statistics(stage, state, bands),
            Some(running) => running_statistics(norm, state, running),
        }
        let (weight, bias) = (&parameters[norm.weight.clone()], &parameters[norm.bias.clone()]);
        for ((channel, &weight), &bias) in state.channels.iter_mut().zip(weight).zip(bias) {
            channel.scale = weight * channel.inverse_deviation;
            channel.shift = bias;
        }
    }
    last_stage(plan, workspace, &parameters[plan.stages[plan.stages.len() - 1].bias.clone()], finish)
}

/// The convolution of a stage, with the activation of the one before it and the moments of its output, pooled where it is;
/// returns the number of bands.
fn convolve(plan: &Plan, workspace: &mut Workspace, index: usize, bias: &[f32], training: bool) -> usize {
    let blocks = workspace.blocks();
    let Workspace { isa, images, maps, stages, scratch, .. } = workspace;
    let (isa, images, scratch) = (*isa, *images, &*scratch);
    let (stage, (before, from_here)) = (&plan.stages[index], stages.split_at_mut(index));
    let (from, to, output_view) = (stage.input.view, stage.normalized().view, stage.output.view);
    let rows = stage.path.rows(output_view, stage.pooled.is_some());
    let pooled_rows = rows / 2;
    let bands = output_view.geometry.height / rows;
    let before = index.checked_sub(1).map(|i| (&plan.stages[i], before[i].channels.as_slice()));
    let z_view = before.map(|(stage, _)| stage.normalized());
    let [input, z, output, pooled] = maps.some([Some(stage.input), z_view, Some(stage.output), stage.pooled]);
    let StageState { forward_weights, moments: all_moments, argmax, .. } = &mut from_here[0];
    let forward_weights = forward_weights.as_slice();
    let all_moments = split(&mut all_moments[..blocks * bands * to.channels], blocks);
    let operands =
        (split(input, blocks), split(z, blocks), split(output, blocks), split(pooled, blocks), split(argmax, blocks), all_moments);
    operands.into_par_iter().with_max_len(1).enumerate().for_each(|(index, operands)| {
        let (input, z, output, pooled, argmax, of_channels) = operands;
        let block = Block::new(isa, scratch, images, index);
        if let Some((before, channels)) = before {
            block.activate((z, before.normalized().view), channels, (input, from));
        }
        let weights = (forward_weights, Start::Bias(bias));
        let of_channels = of_channels.chunks_mut(to.channels);
        let of_band = |block: Block<'_>, band: &mut [Lanes], rows: usize, of_channels: &mut [Moments]| {
            if training {
                moments(block.isa, band, to, rows, block.live, of_channels);
            }
        };
        if stage.pooled.is_none() {
            let then = |block: Block<'_>, band: &mut [Lanes], of_channels: &mut [Moments]| of_band(block, band, rows, of_channels);
            return rayon::scope_fifo(|scope| {
                block.convolve(scope, &stage.path, weights, rows, (input, from), (output, to), of_channels, &then);
            });
        }
        let pooled = pooled.chunks_mut(pooled_rows * to.geometry.row_step());
        let argmax = argmax.chunks_mut(pooled_rows * to.geometry.width * to.channels);
        let extras = pooled.zip(argmax).zip(of_channels);
        let then =
            |block: Block<'_>, band: &mut [Lanes], ((pooled, argmax), of_channels): ((&mut [Lanes], &mut [Argmax]), &mut [Moments])| {
                max_pool(block.isa, (band, output_view), pooled_rows, (pooled, to), argmax);
                of_band(block, pooled, pooled_rows, of_channels);
            };
        rayon::scope_fifo(|scope| {
            block.convolve(scope, &stage.path, weights, rows, (input, from), (output, output_view), extras, &then);
        });
    });
    blocks * bands
}

fn batch_statistics(stage: &Stage, state: &mut StageState, bands: usize) {
    let channels = stage.normalized().view.channels;
    let StageState { moments, statistics, channels: normalizations, .. } = state;
    let moments = &moments[..bands * channels];
    for (c, (statistics, channel)) in statistics.iter_mut().zip(normalizations).enumerate() {
        let (mean, variance) = mean_and_variance(moments.iter().skip(c).step_by(channels).copied());
        *statistics = (mean, variance);
        *channel = normalization(mean, variance);
    }
}

fn running_statistics(norm: &Normalization, state: &mut StageState, running: &[f32]) {
    let (means, variances) = (&running[norm.running_mean.clone()], &running[norm.running_var.clone()]);
    for ((channel, &mean), &variance) in state.channels.iter_mut().zip(means).zip(variances) {
        *channel = normalization(f64::from(mean), f64::from(variance));
    }
}

#[allow(clippy::cast_possible_truncation)]
fn normalization(mean: f64, variance: f64) -> Channel {
    let inverse_deviation = (1.0 / (variance + BATCH_NORM_EPSILON).sqrt()) as f32;
    Channel { mean: mean as f32, inverse_deviation, ..Channel::default() }
}
