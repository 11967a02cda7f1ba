//! The backward pass: from the gradient of the logits, which the forward pass left, to that of all parameters.

use rayon::ScopeFifo;
use rayon::prelude::*;

use super::forward::block;
use super::plan::{InputGradient, MapView, Normalization, Plan, Stage};
use super::workspace::{Maps, Scratch, StageState, Task, Workspace, band_rows, chunks as chunks_of};
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::geometry::blocks;
use crate::kernels::blocked::normalize::{ChannelGradient, GradientSums, gradient_sums, input_gradient};
use crate::kernels::blocked::pool::max_pool_gradient;
use crate::kernels::blocked::softmax::channel_sums;
use crate::kernels::blocked::{Isa, Lanes};

/// Writes the gradient of every parameter. That of a bias before batch norm is exactly zero.
pub(super) fn backward(plan: &Plan, workspace: &mut Workspace, gradient: &mut [f32]) {
    gradient.fill(0.0);
    let Workspace { isa, images, maps, stages, scratch, output_sums, .. } = workspace;
    let (isa, images) = (*isa, *images);
    for (index, stage) in plan.stages.iter().enumerate().rev() {
        let source = match &stage.normalization {
            Some(norm) => {
                let state = &mut stages[index];
                through_batch_norm(images, stage, norm, state, gradient);
                through_rectifier(isa, images, maps, stage, norm, state);
                if stage.pooled.is_some() { stage.output } else { norm.gradient }
            }
            None => {
                bias_gradient(isa, images, maps, stage, output_sums, &mut gradient[stage.bias.clone()]);
                stage.output
            }
        };
        let (before, from_here) = stages.split_at_mut(index);
        let StageState { chunks, backward_weights, .. } = &mut from_here[0];
        // The large tasks of the weight gradient first, then the small ones of the input gradient even the threads out.
        let Some(to) = &stage.input_gradient else {
            let operands = (maps.get(stage.input), maps.get(source));
            rayon::scope_fifo(|scope| weight_gradients(scope, isa, images, operands, stage, source, scratch, chunks));
            continue;
        };
        let completed = &plan.stages[to.completes];
        let [target, z, input, from] = maps.disjoint([to.to, completed.normalized(), stage.input, source]);
        let (z, input, from, state) = (&*z, &*input, &*from, &mut before[to.completes]);
        rayon::scope_fifo(|scope| {
            weight_gradients(scope, isa, images, (input, from), stage, source, scratch, chunks);
            input_gradients(scope, (isa, scratch), images, (from, source), to, backward_weights, target, (z, completed), state);
        });
    }
    finish_weight_gradients(plan, stages, gradient);
}

/// Adds up the chunks of all weight gradients, whose parameters follow one another stage by stage.
fn finish_weight_gradients(plan: &Plan, stages: &[StageState], gradient: &mut [f32]) {
    let (mut tasks, mut rest, mut at) = (Vec::with_capacity(stages.len()), gradient, 0);
    for (stage, state) in plan.stages.iter().zip(stages) {
        let (_, from_here) = rest.split_at_mut(stage.weight.start - at);
        let own;
        (own, rest) = from_here.split_at_mut(stage.weight.len());
        at = stage.weight.end;
        tasks.push((stage, state, own));
    }
    tasks.into_par_iter().with_max_len(1).for_each(|(stage, state, own)| stage.weight_gradient.finish(&stage.shape, &state.chunks, own));
}

/// The gradients of batch norm's weight and bias, and how the gradient of its input comes from that of its output.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn through_batch_norm(images: usize, stage: &Stage, norm: &Normalization, state: &mut StageState, gradient: &mut [f32]) {
    let geometry = stage.normalized().view.geometry;
    let count = (images * geometry.height * geometry.width) as f64;
    let channels = state.channels.len();
    let StageState { gradient_sums, channels: normalizations, channel_gradients, .. } = state;
    for (c, (channel, into)) in normalizations.iter().zip(channel_gradients).enumerate() {
        let mut total = GradientSums::default();
        for band in gradient_sums.iter().skip(c).step_by(channels) {
            total.shift += band.shift;
            total.scale += band.scale;
        }
        gradient[norm.weight.start + c] = total.scale as f32;
        gradient[norm.bias.start + c] = total.shift as f32;
        *into = (*channel, ChannelGradient::new(channel, total, count));
    }
}

/// Turns the gradient of the stage's activation into that of its convolution's output.
fn through_rectifier(isa: Isa, images: usize, maps: &mut Maps, stage: &Stage, norm: &Normalization, state: &StageState) {
    let (z_view, view) = (stage.normalized().view, norm.gradient.view);
    let rows = band_rows(view.geometry.height, view.geometry.row_step());
    let bands = view.geometry.height / rows;
    let z_len = rows * z_view.geometry.row_step();
    let channels = &state.channel_gradients;
    if stage.pooled.is_none() {
        let [g, z] = maps.disjoint([norm.gradient, stage.normalized()]);
        let tasks = g.par_chunks_mut(rows * view.geometry.row_step()).zip(z.par_chunks(z_len)).enumerate();
        return tasks.for_each(|(index, (g, z))| {
            let task = Task::new(index, bands, images);
            input_gradient(task.isa(isa), (g, view), (z, z_view), channels, rows, task.live);
        });
    }
    let wide_view = stage.output.view;
    let [g, z, wide] = maps.disjoint([norm.gradient, stage.normalized(), stage.output]);
    g.par_chunks_mut(rows * view.geometry.row_step())
        .zip(z.par_chunks(z_len))
        .zip(wide.par_chunks_mut(2 * rows * wide_view.geometry.row_step()))
        .zip(state.argmax.par_chunks(rows * z_view.geometry.width * z_view.channels))
        .enumerate()
        .for_each(|(index, (((g, z), wide), argmax))| {
            let task = Task::new(index, bands, images);
            let isa = task.isa(isa);
            input_gradient(isa, (g, view), (z, z_view), channels, rows, task.live);
            max_pool_gradient(isa, (g, view), argmax, rows, (wide, wide_view));
        });
}

/// The gradient of the last convolution's bias: the logits' gradient summed over images and pixels.
#[allow(clippy::cast_possible_truncation)]
fn bias_gradient(isa: Isa, images: usize, maps: &Maps, stage: &Stage, sums: &mut [f64], gradient: &mut [f32]) {
    let view = stage.output.view;
    let rows = band_rows(view.geometry.height, view.geometry.row_step());
    let bands = view.geometry.height / rows;
    let map = maps.get(stage.output);
    let count = map.len() / (rows * view.geometry.row_step());
    map.par_chunks(rows * view.geometry.row_step()).zip(sums.par_chunks_mut(view.channels)).enumerate().for_each(
        |(index, (band, sums))| {
            let task = Task::new(index, bands, images);
            channel_sums(task.isa(isa), (band, view), rows, task.live, sums);
        },
    );
    for (c, gradient) in gradient.iter_mut().enumerate() {
        *gradient = sums[..count * view.channels].iter().skip(c).step_by(view.channels).sum::<f64>() as f32;
    }
}

/// Starts the weight gradients of the chunks of the batch.
#[allow(clippy::too_many_arguments)]
fn weight_gradients<'a>(
    scope: &ScopeFifo<'a>,
    isa: Isa,
    images: usize,
    (input, from): (&'a [Lanes], &'a [Lanes]),
    stage: &'a Stage,
    source: MapView,
    scratch: &'a Scratch,
    chunks: &'a mut [f32],
) {
    let weight_gradient = &stage.weight_gradient;
    let (input_view, view) = (stage.input.view, source.view);
    for (chunk, mut sums) in chunks_of(blocks(images)).into_iter().zip(chunks.chunks_mut(weight_gradient.sums())) {
        for part in weight_gradient.parts() {
            let own;
            (own, sums) = sums.split_at_mut(part.sums);
            let chunk = chunk.clone();
            scope.spawn_fifo(move |_| weight_gradient.run(isa, scratch, part, images, chunk, (input, input_view), (from, view), own));
        }
    }
}

/// Starts the gradient of the stage's input, with the sums that the batch norm before it needs.
#[allow(clippy::too_many_arguments)]
fn input_gradients<'a>(
    scope: &ScopeFifo<'a>,
    (isa, scratch): (Isa, &'a Scratch),
    images: usize,
    (from, source): (&'a [Lanes], MapView),
    to: &'a InputGradient,
    weights: &'a [f32],
    target: &'a mut [Lanes],
    (z, completed): (&'a [Lanes], &Stage),
    state: &'a mut StageState,
) {
    let Some(norm) = &completed.normalization else { return };
    let (z_view, gradient_view, view) = (completed.normalized().view, norm.gradient.view, to.to.view);
    let step = to.path.convolution.rows.output_step;
    let grid = to.path.band(view, false);
    let rows = grid * step;
    let bands = view.geometry.height / rows;
    let start = if to.accumulate { Start::Output } else { Start::Zero };
    let StageState { gradient_sums: sums, channels, .. } = state;
    // Bands that there are not have no part in the sums.
    sums.fill(GradientSums::default());
    let channels = channels.as_slice();
    let targets = target.chunks_mut(rows * view.geometry.row_step());
    let tasks = targets.zip(z.chunks(rows * z_view.geometry.row_step())).zip(sums.chunks_mut(z_view.channels));
    for (index, ((target, z), sums)) in tasks.enumerate() {
        scope.spawn_fifo(move |_| {
            let task = Task::new(index, bands, images);
            let isa = task.isa(isa);
            let band = task.band * grid..(task.band + 1) * grid;
            let block = block(from, source.view, task.block);
            to.path.run(isa, scratch, (block, source.view), weights, start, band, (target, view));
            gradient_sums(isa, (target, gradient_view), (z, z_view), channels, rows, task.live, sums);
        });
    }
}
