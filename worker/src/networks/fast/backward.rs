//! The backward pass behind the last stage, whose gradients the forward pass left: to the gradient of all parameters, block by
//! block between batch norms.

use rayon::prelude::*;

use super::blocks::{Block, ChunkSums, chunks, split};
use super::path::Operand;
use super::plan::{InputGradient, Normalization, Plan, Stage};
use super::workspace::{StageState, Workspace};
use crate::kernels::blocked::Lanes;
use crate::kernels::blocked::convolve::Start;
use crate::kernels::blocked::normalize::{Channel, ChannelGradient, GradientSums, gradient_sums};
use crate::kernels::blocked::pool::Argmax;

/// Writes the gradient of every parameter. That of a bias before batch norm is exactly zero.
pub(super) fn backward(plan: &Plan, workspace: &mut Workspace, gradient: &mut [f32]) {
    gradient.fill(0.0);
    bias_gradient(plan, &workspace.output_sums[..], workspace.blocks(), gradient);
    for (index, stage) in plan.stages.iter().enumerate().rev() {
        let Some(norm) = &stage.normalization else { continue };
        through_batch_norm(workspace.images, stage, norm, &mut workspace.stages[index], gradient);
        through_stage(plan, workspace, index, norm);
    }
    finish_weight_gradients(plan, workspace, gradient);
}

/// The gradient of the last convolution's bias from the sums of the logits' gradient over bands.
#[allow(clippy::cast_possible_truncation)]
fn bias_gradient(plan: &Plan, sums: &[f64], blocks: usize, gradient: &mut [f32]) {
    let Some(stage) = plan.stages.last() else { return };
    let view = stage.output.view;
    let bands = blocks * view.geometry.height / stage.path.rows(view, false);
    for (c, gradient) in gradient[stage.bias.clone()].iter_mut().enumerate() {
        *gradient = sums[..bands * view.channels].iter().skip(c).step_by(view.channels).sum::<f64>() as f32;
    }
}

/// Adds up the chunks of all weight gradients, whose parameters follow one another stage by stage.
fn finish_weight_gradients(plan: &Plan, workspace: &mut Workspace, gradient: &mut [f32]) {
    let Workspace { isa, stages, .. } = workspace;
    let isa = *isa;
    let (mut tasks, mut rest, mut at) = (Vec::with_capacity(stages.len()), gradient, 0);
    for (stage, state) in plan.stages.iter().zip(stages) {
        let (_, from_here) = rest.split_at_mut(stage.weight.start - at);
        let own;
        (own, rest) = from_here.split_at_mut(stage.weight.len());
        at = stage.weight.end;
        tasks.push((stage, state, own));
    }
    tasks.into_par_iter().with_max_len(1).for_each(|(stage, state, own)| {
        stage.weight_gradient.finish(isa, &stage.shape, &mut state.chunks, own);
    });
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

/// One block's operands.
struct Operands<'a> {
    gradient: &'a mut [Lanes],
    z: &'a [Lanes],
    wide: &'a mut [Lanes],
    argmax: &'a [Argmax],
    input: &'a [Lanes],
    target: &'a mut [Lanes],
    completed_z: &'a [Lanes],
    sums: &'a mut [GradientSums],
}

/// From the gradient of a stage's activation to those of its weights and its input.
fn through_stage(plan: &Plan, workspace: &mut Workspace, index: usize, norm: &Normalization) {
    let blocks = workspace.blocks();
    let Workspace { isa, images, maps, stages, scratch, .. } = workspace;
    let (isa, images, scratch) = (*isa, *images, &*scratch);
    let (stage, (before, from_here)) = (&plan.stages[index], stages.split_at_mut(index));
    let StageState { chunks: chunk_sums, backward_weights, channel_gradients, argmax, .. } = &mut from_here[0];
    let (channel_gradients, backward_weights) = (channel_gradients.as_slice(), backward_weights.as_slice());
    let completed = stage.input_gradient.as_ref().map(|to| (to, &plan.stages[to.completes]));
    let [gradient, z, wide, input, target, completed_z] = maps.some([
        Some(norm.gradient),
        Some(stage.normalized()),
        stage.pooled.map(|_| stage.output),
        Some(stage.input),
        completed.map(|(to, _)| to.to),
        completed.map(|(_, completed)| completed.normalized()),
    ]);
    let (sums, channels) = match (completed, before.last_mut()) {
        (Some(_), Some(state)) => (&mut state.gradient_sums[..], state.channels.as_slice()),
        _ => (&mut [][..], &[][..]),
    };
    // Bands that there are not have no part in the sums.
    sums.fill(GradientSums::default());
    let operands = split(gradient, blocks)
        .into_iter()
        .zip(split(z, blocks))
        .zip(split(wide, blocks))
        .zip(split(argmax, blocks))
        .zip(split(input, blocks))
        .zip(split(target, blocks))
        .zip(split(completed_z, blocks))
        .zip(split(sums, blocks))
        .map(|(((((((gradient, z), wide), argmax), input), target), completed_z), sums)| Operands {
            gradient,
            z,
            wide,
            argmax,
            input,
            target,
            completed_z,
            sums,
        });
    let chunks = chunks(operands, blocks, chunk_sums);
    chunks.into_par_iter().with_max_len(1).for_each(|chunk| {
        let mut chunk_sums = ChunkSums::new(isa, &stage.weight_gradient, scratch);
        for (index, operands) in chunk.blocks.into_iter().enumerate() {
            let Operands { gradient, z, wide, argmax, input, target, completed_z, sums } = operands;
            let block = Block::new(isa, scratch, images, chunk.first + index);
            block.rectify((stage, norm), channel_gradients, gradient, z, (wide, argmax));
            let gradient = if stage.pooled.is_some() { (&*wide, stage.output.view) } else { (&*gradient, norm.gradient.view) };
            let to = completed.map(|(to, completed)| InputGradientOperands {
                to,
                weights: backward_weights,
                target,
                completed: (completed, completed_z, channels),
                sums,
            });
            gradients(block, &mut chunk_sums, gradient, (input, stage.input.view), to);
        }
        chunk_sums.finish(chunk.sums);
    });
}

/// Operands of the gradient of a stage's input, which completes that of the activation of the stage before.
pub(super) struct InputGradientOperands<'a> {
    pub(super) to: &'a InputGradient,
    pub(super) weights: &'a [f32],
    pub(super) target: &'a mut [Lanes],
    /// The stage before, its normalized map and how it is normalized.
    pub(super) completed: (&'a Stage, &'a [Lanes], &'a [Channel]),
    /// The sums that its batch norm needs.
    pub(super) sums: &'a mut [GradientSums],
}

/// The gradients of the weights and the input of a stage from one block.
pub(super) fn gradients(
    block: Block<'_>,
    chunk_sums: &mut ChunkSums<'_>,
    gradient: Operand<'_>,
    input: Operand<'_>,
    to: Option<InputGradientOperands<'_>>,
) {
    let Some(InputGradientOperands { to, weights, target, completed: (completed, z, channels), sums }) = to else {
        return rayon::scope_fifo(|scope| chunk_sums.add_block(scope, block.live, input, gradient));
    };
    let Some(norm) = &completed.normalization else { return };
    let (view, z_view, gradient_view) = (to.to.view, completed.normalized().view, norm.gradient.view);
    let rows = to.path.rows(view, false);
    let extras = z.chunks(rows * z_view.geometry.row_step()).zip(sums.chunks_mut(z_view.channels));
    let then = |block: Block<'_>, band: &mut [Lanes], (z, sums): (&[Lanes], &mut [GradientSums])| {
        gradient_sums(block.isa, (band, gradient_view), (z, z_view), channels, rows, block.live, sums);
    };
    let weights = (weights, if to.accumulate { Start::Output } else { Start::Zero });
    rayon::scope_fifo(|scope| {
        // The large tasks of the weight gradient first, then the small ones of the input gradient even the threads out.
        chunk_sums.add_block(scope, block.live, input, gradient);
        block.convolve(scope, &to.path, weights, rows, gradient, (target, view), extras, &then);
    });
}
