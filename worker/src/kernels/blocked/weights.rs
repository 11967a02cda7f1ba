//! Kernel weights in the order of the convolution's walk, and weight gradients back in PyTorch's.

use super::convolve::Convolution;
use super::taps::Tap;

/// How a weight tensor of a (transposed) convolution with a square kernel lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightShape {
    /// Channels the layer reads.
    pub input_channels: usize,
    /// Channels the layer writes.
    pub output_channels: usize,
    /// K.
    pub kernel: usize,
    /// Whether the tensor is a `ConvTranspose2d`'s `[input, output, K, K]`, not a `Conv2d`'s `[output, input, K, K]`.
    pub transposed: bool,
}

impl WeightShape {
    /// Index of the weight at (0, 0) that takes input channel `i` to output channel `o`.
    fn index(&self, i: usize, o: usize) -> usize {
        let pair = if self.transposed { i * self.output_channels + o } else { o * self.input_channels + i };
        pair * self.kernel * self.kernel
    }

    /// The kernel between an input and an output channel of a convolution that goes through the weights in a direction.
    pub(super) fn kernel_of<'a>(&self, direction: Direction, input: usize, output: usize, weights: &'a [f32]) -> &'a [f32] {
        let index = match direction {
            Direction::Forward => self.index(input, output),
            Direction::Backward => self.index(output, input),
        };
        &weights[index..][..self.kernel * self.kernel]
    }

    /// Index of the first weight under a tap over rows and one over columns, within a kernel.
    fn within(&self, row: &Tap, column: &Tap) -> usize {
        row.kernel.start * self.kernel + column.kernel.start
    }

    /// Number of weights.
    #[must_use]
    pub fn len(&self) -> usize {
        self.input_channels * self.output_channels * self.kernel * self.kernel
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which way a convolution goes through a layer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the layer's input to its output.
    Forward,
    /// From the gradient of its output to the gradient of its input.
    Backward,
}

/// Packs weights as `[channel tile][tap over rows][tap over columns][input channel][channel in tile]`.
///
/// # Panics
/// Where lengths do not fit.
pub fn pack(convolution: &Convolution, shape: &WeightShape, direction: Direction, weights: &[f32], packed: &mut [f32]) {
    assert_eq!(weights.len(), shape.len(), "weights do not fit their shape");
    let matrices = convolution.matrices() * convolution.input_channels;
    assert_eq!(packed.len(), matrices * convolution.output_channels, "packed weights do not fit");
    let mut into = packed.iter_mut();
    for tile in convolution.channel_tiles() {
        for row in &convolution.rows.taps {
            for column in &convolution.columns.taps {
                let single = (row.kernel.len() == 1 && column.kernel.len() == 1).then(|| shape.within(row, column));
                for input in 0..convolution.input_channels {
                    for (output, into) in tile.clone().zip(&mut into) {
                        let kernel = shape.kernel_of(direction, input, output, weights);
                        *into = match single {
                            Some(index) => kernel[index],
                            None => summed(kernel, shape.kernel, row, column),
                        };
                    }
                }
            }
        }
    }
}

/// The sum of the kernel's weights under a tap over rows and one over columns.
fn summed(weights: &[f32], kernel: usize, row: &Tap, column: &Tap) -> f32 {
    row.kernel.clone().map(|r| weights[r * kernel..][column.kernel.clone()].iter().sum::<f32>()).sum()
}

/// Adds the gradient of one element of a weight matrix to every weight summed in it.
pub(super) fn scatter(shape: &WeightShape, (input, output): (usize, usize), (row, column): (&Tap, &Tap), gradient: f32, into: &mut [f32]) {
    let index = shape.index(input, output);
    if row.kernel.len() == 1 && column.kernel.len() == 1 {
        into[index + shape.within(row, column)] += gradient;
        return;
    }
    for r in row.kernel.clone() {
        for into in &mut into[index + r * shape.kernel..][column.kernel.clone()] {
            *into += gradient;
        }
    }
}
