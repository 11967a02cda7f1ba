//! The gradient of a convolution's weights, tap by tap: for each tap, sums over grid positions and images of inputs times
//! gradients of outputs.
//!
//! Two ways lead there. With images in the lanes ([`by_image`]) operands are read as they lie, and every sum is a vector, which
//! suits 32 registers and large caches. With output channels in the lanes ([`by_channel`]) the gradient is transposed first,
//! inputs are broadcast, and a sum is one number: a sixteenth of the memory, and half of what is read for each product, which
//! suits 16 registers and a second cache of half a megabyte.

pub mod by_channel;
pub mod by_image;
pub mod channel_vectors;

use std::ops::Range;

use super::convolve::Convolution;
use super::geometry::View;
use super::vector::Lanes;

/// Adds up the sums of all chunks in their order, in the first one's memory.
pub(super) fn add_chunks(chunks: &mut [f32], len: usize) -> &[f32] {
    let (total, rest) = chunks.split_at_mut(len);
    for chunk in rest.chunks_exact(len) {
        for (total, sum) in total.iter_mut().zip(chunk) {
            *total += sum;
        }
    }
    total
}

/// Columns of the grid over which a weight gradient sums one block's products at the grid rows `band`.
///
/// # Panics
/// Where the operands do not fit the convolution: what the kernels' reads rely on.
fn grid_width(convolution: &Convolution, band: &Range<usize>, (input, from): (&[Lanes], View), (gradient, to): (&[Lanes], View)) -> usize {
    let Convolution { rows, columns, input_channels, output_channels } = convolution;
    let (source, target) = (from.geometry, to.geometry);
    let width = target.width / columns.output_step;
    assert!(from.channels == *input_channels && to.channels == *output_channels, "channels do not fit");
    assert!(from.channel + from.channels <= source.channels, "view of channels that are not there");
    assert!(to.channel + to.channels <= target.channels, "view of channels that are not there");
    assert_eq!((input.len(), gradient.len()), (source.block_len(), target.block_len()), "not one block each");
    assert!(width * columns.input_step == source.width && source.halo >= convolution.halo(), "input width");
    assert!(width * columns.output_step == target.width && band.end * rows.output_step <= target.height);
    assert!(source.height * rows.output_step == target.height * rows.input_step, "heights do not fit");
    width
}
