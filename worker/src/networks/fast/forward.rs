//! The forward pass: stage by stage, each in parallel over bands of blocks.

use rayon::prelude::*;

use super::plan::{Normalization, Plan, Stage};
use super::workspace::{Maps, Scratch, StageState, Task, Workspace, band_rows};
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::normalize::{Channel, mean_and_variance, moments, normalize_relu};
use crate::kernels::blocked::pool::max_pool;
use crate::kernels::blocked::softmax::{BandScore, cross_entropy};
use crate::kernels::blocked::weights::Direction;
use crate::kernels::blocked::{Isa, View};
use crate::kernels::cross_entropy::Score;
use crate::networks::layers::BATCH_NORM_EPSILON;

/// What becomes of the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    /// They stay.
    Logits,
    /// They are scored and lost.
    Score,
    /// They are scored and become the gradient of the mean loss.
    Loss,
}

/// Runs the network on the images and classes in the workspace. Batch norm takes the running statistics where they are
/// given, else the batch's, which stay in the workspace.
pub(super) fn forward(plan: &Plan, workspace: &mut Workspace, parameters: &[f32], running: Option<&[f32]>, finish: Finish) -> Score {
    let Workspace { isa, images, maps, stages, scratch, .. } = workspace;
    plan.stages.par_iter().zip(stages.par_iter_mut()).with_max_len(1).for_each(|(stage, state)| {
        let weights = &parameters[stage.weight.clone()];
        stage.path.pack(&stage.shape, Direction::Forward, weights, &mut state.forward_weights);
        if let (Some(gradient), Finish::Loss) = (&stage.input_gradient, finish) {
            gradient.path.pack(&stage.shape, Direction::Backward, weights, &mut state.backward_weights);
        }
    });
    for (stage, state) in plan.stages.iter().zip(stages.iter_mut()) {
        let Some(norm) = &stage.normalization else { continue };
        let bias = &parameters[stage.bias.clone()];
        let bands = if stage.pooled.is_some() {
            convolve_and_pool((*isa, scratch), *images, maps, stage, state, bias, running.is_none())
        } else {
            convolve_bands((*isa, scratch), *images, maps, stage, state, bias, running.is_none())
        };
        match running {
            None => batch_statistics(stage, state, bands),
            Some(running) => running_statistics(norm, state, running),
        }
        let (weight, bias) = (&parameters[norm.weight.clone()], &parameters[norm.bias.clone()]);
        for ((channel, &weight), &bias) in state.channels.iter_mut().zip(weight).zip(bias) {
            channel.scale = weight * channel.inverse_deviation;
            channel.shift = bias;
        }
        activate(*isa, *images, maps, stage, norm, &state.channels);
    }
    last_stage(plan, workspace, &parameters[plan.stages[plan.stages.len() - 1].bias.clone()], finish)
}

/// Convolution with the moments of its output; returns the number of bands.
fn convolve_bands(
    (isa, scratch): (Isa, &Scratch),
    images: usize,
    maps: &mut Maps,
    stage: &Stage,
    state: &mut StageState,
    bias: &[f32],
    training: bool,
) -> usize {
    let (from, to) = (stage.input.view, stage.output.view);
    let step = stage.path.convolution.rows.output_step;
    let grid = stage.path.band(to, false);
    let rows = grid * step;
    let bands = to.geometry.height / rows;
    let [input, output] = maps.disjoint([stage.input, stage.output]);
    let input = &*input;
    let StageState { forward_weights, moments: all_moments, .. } = state;
    output.par_chunks_mut(rows * to.geometry.row_step()).zip(all_moments.par_chunks_mut(to.channels)).with_max_len(1).enumerate().for_each(
        |(index, (output, of_channels))| {
            let task = Task::new(index, bands, images);
            let isa = task.isa(isa);
            let block = block(input, from, task.block);
            let band = task.band * grid..(task.band + 1) * grid;
            stage.path.run(isa, scratch, (block, from), forward_weights, Start::Bias(bias), band, (output, to));
            if training {
                moments(isa, output, to, rows, task.live, of_channels);
            }
        },
    );
    output.len() / (rows * to.geometry.row_step())
}

/// Convolution, pooling, and the moments of what is left; returns the number of bands.
fn convolve_and_pool(
    (isa, scratch): (Isa, &Scratch),
    images: usize,
    maps: &mut Maps,
    stage: &Stage,
    state: &mut StageState,
    bias: &[f32],
    training: bool,
) -> usize {
    let (from, wide, to) = (stage.input.view, stage.output.view, stage.normalized().view);
    let rows = stage.path.band(wide, true) / 2;
    let bands = to.geometry.height / rows;
    let [input, wide_map, pooled] = maps.disjoint([stage.input, stage.output, stage.normalized()]);
    let input = &*input;
    let StageState { forward_weights, moments: all_moments, argmax, .. } = state;
    let count = pooled.len() / (rows * to.geometry.row_step());
    pooled
        .par_chunks_mut(rows * to.geometry.row_step())
        .zip(wide_map.par_chunks_mut(2 * rows * wide.geometry.row_step()))
        .zip(argmax.par_chunks_mut(rows * to.geometry.width * to.channels))
        .zip(all_moments.par_chunks_mut(to.channels))
        .with_max_len(1)
        .enumerate()
        .for_each(|(index, (((pooled, wide_band), argmax), of_channels))| {
            let task = Task::new(index, bands, images);
            let isa = task.isa(isa);
            let block = block(input, from, task.block);
            let band = 2 * rows * task.band..2 * rows * (task.band + 1);
            let bias = Start::Bias(bias);
            stage.path.run(isa, scratch, (block, from), forward_weights, bias, band, (wide_band, wide));
            max_pool(isa, (wide_band, wide), rows, (pooled, to), argmax);
            if training {
                moments(isa, pooled, to, rows, task.live, of_channels);
            }
        });
    count
}

/// One block of a map.
pub(super) fn block(map: &[crate::kernels::blocked::Lanes], view: View, block: usize) -> &[crate::kernels::blocked::Lanes] {
    let len = view.geometry.block_len();
    &map[block * len..(block + 1) * len]
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

/// Batch norm and rectifier.
fn activate(isa: Isa, images: usize, maps: &mut Maps, stage: &Stage, norm: &Normalization, channels: &[Channel]) {
    let (from, to) = (stage.normalized().view, norm.activation.view);
    let rows = band_rows(to.geometry.height, to.geometry.row_step());
    let bands = to.geometry.height / rows;
    let [z, a] = maps.disjoint([stage.normalized(), norm.activation]);
    a.par_chunks_mut(rows * to.geometry.row_step())
        .zip(z.par_chunks(rows * from.geometry.row_step()))
        .enumerate()
        .for_each(|(index, (a, z))| normalize_relu(Task::new(index, bands, images).isa(isa), (z, from), channels, rows, (a, to)));
}

/// The last convolution and what becomes of the logits, band by band.
fn last_stage(plan: &Plan, workspace: &mut Workspace, bias: &[f32], finish: Finish) -> Score {
    let Workspace { isa, images, maps, stages, classes, scores, scratch, .. } = workspace;
    let scratch = &*scratch;
    let (isa, images) = (*isa, *images);
    let (Some(stage), Some(state)) = (plan.stages.last(), stages.last()) else { return Score::default() };
    let (from, to) = (stage.input.view, stage.output.view);
    let step = stage.path.convolution.rows.output_step;
    let grid = stage.path.band(to, false);
    let rows = grid * step;
    let bands = to.geometry.height / rows;
    let pixels = images * plan.height * plan.width;
    #[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
    let share = (finish == Finish::Loss).then_some((1.0 / pixels as f64) as f32);
    let [input, output] = maps.disjoint([stage.input, stage.output]);
    let input = &*input;
    let count = output.len() / (rows * to.geometry.row_step());
    output
        .par_chunks_mut(rows * to.geometry.row_step())
        .zip(classes.par_chunks(rows * plan.width))
        .zip(scores.par_iter_mut())
        .with_max_len(1)
        .enumerate()
        .for_each(|(index, ((output, classes), score))| {
            let task = Task::new(index, bands, images);
            let isa = task.isa(isa);
            let band = task.band * grid..(task.band + 1) * grid;
            let block = block(input, from, task.block);
            let bias = Start::Bias(bias);
            stage.path.run(isa, scratch, (block, from), &state.forward_weights, bias, band, (output, to));
            if finish != Finish::Logits {
                *score = cross_entropy(isa, (output, to), classes, rows, task.live, share);
            }
        });
    let mut total = BandScore::default();
    for score in &scores[..count] {
        total.loss_sum += score.loss_sum;
        total.hits += score.hits;
    }
    Score { loss_sum: total.loss_sum, hits: total.hits, pixels: pixels as u64 }
}
