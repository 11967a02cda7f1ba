//! The arithmetic of the fast networks: kernels on maps that hold sixteen images side by side.
//!
//! **Layout.** A batch is cut into blocks of [`LANES`] images. In a block, each position (row, channel, column) is one
//! vector of sixteen numbers, one per image ([`Lanes`]); the last block of a batch has dead lanes where images are
//! missing. So every kernel, stride, phase, pooling window and softmax works on whole aligned vectors without shuffles,
//! for any number of channels and any width; what it costs is that a batch is rounded up to a multiple of sixteen. A map
//! is `[blocks, height, channels, row]`, a row having a zero halo at both ends ([`Geometry`]).
//!
//! **Convolution.** Strided, transposed and ordinary convolutions, convolutions of nearest-upsampled maps that never
//! exist, and the input gradients of all of these are one implicit matrix product over lists of taps ([`taps`]), with
//! one register-tiled kernel ([`convolve`]). Weight gradients are outer-product tiles over the same lists
//! ([`weight_gradient`]).
//!
//! **Instruction sets.** [`Isa`] picks AVX-512, AVX2 with FMA, or portable code at run time. Results differ in rounding
//! between these, but are the same bits for any number of threads: the caller's tasks depend on the shapes alone.
//!
//! Lengths that do not fit are programming errors and panic; unsafe code is confined to the tile kernels and to calls of
//! functions compiled for an instruction set, and stands behind checks in safe wrappers.

pub mod convolve;
pub mod geometry;
pub mod isa;
pub mod normalize;
pub mod pool;
pub mod softmax;
pub mod taps;
pub mod transfer;
pub mod vector;
pub mod weight_gradient;
pub mod weights;
pub mod winograd;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use geometry::{Geometry, View};
pub use isa::Isa;
pub use vector::{LANES, Lanes};

/// Cuts `len` into parts of at most `max`, as even as they can be, in order.
#[must_use]
pub fn even_parts(len: usize, max: usize) -> Vec<std::ops::Range<usize>> {
    let parts = len.div_ceil(max);
    (0..parts).map(|part| len * part / parts..len * (part + 1) / parts).collect()
}

#[cfg(test)]
mod tests;
