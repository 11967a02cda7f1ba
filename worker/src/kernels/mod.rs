//! The arithmetic of the networks on plain f32 slices: portable, safe, and the same bits for any number of threads.
//!
//! Images lie as `[N, C, H, W]`, rows first. Work is split over images (or over channels, or planes) in chunks whose
//! size depends on the shapes alone; within a chunk everything is sequential, and sums over chunks are added in chunk
//! order. So rayon decides only *who* computes a chunk, never how a sum is associated. NaN and ∞ pass through, as a
//! run's divergence is seen in its loss.
//!
//! These functions know nothing of candle; [`crate::networks::functional`] makes differentiable operations of them.
//! Lengths that do not fit the shapes are programming errors and panic.

pub mod activation;
pub mod batch_norm;
pub mod blocked;
pub mod convolution;
pub mod cross_entropy;
mod im2col;
mod matmul;
pub(crate) mod memory;
pub mod resample;

use rayon::prelude::*;

/// The most chunks a batch is split into: enough for balance on many cores, few enough that one partial weight gradient
/// per chunk stays small beside the activations.
const MAX_CHUNKS: usize = 32;

/// Elements per chunk of an elementwise operation.
const ELEMENTS_PER_CHUNK: usize = 1 << 15;

/// Images per chunk of a batch; depends on the batch alone, so that sums are associated alike on any machine.
pub(crate) fn images_per_chunk(images: usize) -> usize {
    images.div_ceil(MAX_CHUNKS).max(1)
}

/// `output[i] = f(a[i], b[i])` in parallel.
pub(crate) fn map2(a: &[f32], b: &[f32], output: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    assert!(a.len() == output.len() && b.len() == output.len(), "elementwise operands differ in length");
    output.par_chunks_mut(ELEMENTS_PER_CHUNK).zip(a.par_chunks(ELEMENTS_PER_CHUNK).zip(b.par_chunks(ELEMENTS_PER_CHUNK))).for_each(
        |(output, (a, b))| {
            for (o, (&a, &b)) in output.iter_mut().zip(a.iter().zip(b)) {
                *o = f(a, b);
            }
        },
    );
}

/// Sum in f64 over eight lanes in a fixed order, so that it vectorizes without changing its association.
pub(crate) fn lane_sum(values: &[f32], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (eights, rest) = values.as_chunks::<8>();
    for eight in eights {
        for (lane, &value) in lanes.iter_mut().zip(eight) {
            *lane += f(f64::from(value));
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().map(|&value| f(f64::from(value))).sum::<f64>()
}

/// As [`lane_sum`] over pairs of two slices of one length.
pub(crate) fn lane_sum2(a: &[f32], b: &[f32], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let ((a_eights, a_rest), (b_eights, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a_eights.iter().zip(b_eights) {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += f(f64::from(a), f64::from(b));
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(&a, &b)| f(f64::from(a), f64::from(b)));
    lanes.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
pub(crate) mod testing;
