//! Kernels to their points and back, sixteen pairs of channels side by side.
//!
//! A step transforms every weight twice and back once, which is small beside its products only where it is done in vectors.

use super::super::convolve::Convolution;
use super::super::isa::{Isa, for_each_isa};
use super::super::vector::{LANES, Lanes};
use super::super::weights::{Direction, WeightShape, scatter};
use super::{POINTS, packed_len};

/// The kernel's transform `G`, rows by points.
const KERNEL: [[f32; 3]; POINTS] = [
    [0.25, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Transforms weights to `[point][channel tile][input channel][channel in tile]`.
///
/// # Panics
/// Where lengths do not fit.
pub fn pack(isa: Isa, convolution: &Convolution, shape: &WeightShape, direction: Direction, weights: &[f32], packed: &mut [f32]) {
    assert_eq!(packed.len(), packed_len(convolution), "packed weights do not fit");
    let inputs = convolution.input_channels;
    let matrix = inputs * convolution.output_channels;
    for channels in convolution.channel_tiles() {
        let pairs = inputs * channels.len();
        for first in (0..pairs).step_by(LANES) {
            let count = LANES.min(pairs - first);
            let (mut kernels, mut points) = ([[Lanes::ZERO; 3]; 3], [[Lanes::ZERO; POINTS]; POINTS]);
            for lane in 0..count {
                let (input, output) = ((first + lane) / channels.len(), channels.start + (first + lane) % channels.len());
                let kernel = shape.kernel_of(direction, input, output, weights);
                // By offset: a transposed list of taps walks the kernel backwards.
                for (row, weights) in convolution.rows.taps.iter().zip(kernel.chunks_exact(3)) {
                    for (column, weight) in convolution.columns.taps.iter().zip(weights) {
                        kernels[offset(row.input)][offset(column.input)].0[lane] = *weight;
                    }
                }
            }
            to_points(isa, &kernels, &mut points);
            for (point, values) in points.as_flattened().iter().enumerate() {
                let into = &mut packed[point * matrix + channels.start * inputs + first..][..count];
                match <&mut [f32; LANES]>::try_from(&mut *into) {
                    Ok(into) => *into = values.0,
                    Err(_) => into.copy_from_slice(&values.0[..count]),
                }
            }
        }
    }
}

/// Transforms a gradient `[point][input channel][output channel]` to the weight's.
pub(super) fn unpack(isa: Isa, convolution: &Convolution, shape: &WeightShape, gradients: &[f32], weights: &mut [f32]) {
    weights.fill(0.0);
    let outputs = convolution.output_channels;
    let pairs = convolution.input_channels * outputs;
    for first in (0..pairs).step_by(LANES) {
        let (mut kernels, mut points) = ([[Lanes::ZERO; 3]; 3], [[Lanes::ZERO; POINTS]; POINTS]);
        for (point, values) in points.as_flattened_mut().iter_mut().enumerate() {
            let from = &gradients[point * pairs + first..];
            match from.first_chunk() {
                // Behind the last pair lies the next point, in lanes that nobody reads.
                Some(from) => values.0 = *from,
                None => values.0[..from.len()].copy_from_slice(from),
            }
        }
        to_kernels(isa, &points, &mut kernels);
        for pair in first..pairs.min(first + LANES) {
            for row in &convolution.rows.taps {
                for column in &convolution.columns.taps {
                    let gradient = kernels[offset(row.input)][offset(column.input)].0[pair - first];
                    scatter(shape, (pair / outputs, pair % outputs), (row, column), gradient, weights);
                }
            }
        }
    }
}

/// The kernel's row or column under a tap's offset of −1, 0 or 1.
fn offset(input: isize) -> usize {
    (input + 1).unsigned_abs()
}

for_each_isa! {
    /// `G g Gᵀ` of kernels `g`.
    fn to_points[V](kernels: &[[Lanes; 3]; 3], points: &mut [[Lanes; POINTS]; POINTS]) {
        for (left, points) in KERNEL.iter().zip(points) {
            let mut line = [V::zero(); 3];
            for (weight, kernels) in left.iter().zip(kernels) {
                for (value, kernel) in line.iter_mut().zip(kernels) {
                    *value = value.add_product(V::splat(*weight), V::load(kernel));
                }
            }
            for (right, point) in KERNEL.iter().zip(points) {
                let mut sum = V::zero();
                for (weight, value) in right.iter().zip(line) {
                    sum = sum.add_product(V::splat(*weight), value);
                }
                sum.store(point);
            }
        }
    }
}

for_each_isa! {
    /// `Gᵀ m G` of points `m`.
    fn to_kernels[V](points: &[[Lanes; POINTS]; POINTS], kernels: &mut [[Lanes; 3]; 3]) {
        let mut lines = [[V::zero(); 3]; POINTS];
        for (line, points) in lines.iter_mut().zip(points) {
            for (right, point) in KERNEL.iter().zip(points) {
                let point = V::load(point);
                for (value, weight) in line.iter_mut().zip(right) {
                    *value = value.add_product(V::splat(*weight), point);
                }
            }
        }
        for (row, kernels) in kernels.iter_mut().enumerate() {
            for (column, kernel) in kernels.iter_mut().enumerate() {
                let mut sum = V::zero();
                for (left, line) in KERNEL.iter().zip(&lines) {
                    sum = sum.add_product(V::splat(left[row]), line[column]);
                }
                sum.store(kernel);
            }
        }
    }
}
