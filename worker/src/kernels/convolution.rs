//! Two-dimensional convolution (cross-correlation, as in PyTorch) with zero padding, and its three gradients.
//!
//! A transposed convolution is the input gradient of a convolution, so it needs no kernels of its own: its forward is
//! [`input_gradient`], its input gradient is [`forward`], and its weight gradient is [`weight_gradient`] with input and
//! output gradient exchanged.
//!
//! Each image is unfolded into a matrix (`im2col`) and multiplied on one thread; images run in
//! parallel.

use std::cell::RefCell;

use rayon::prelude::*;

use super::im2col::{col2im, im2col};
use super::matmul::{Matrix, matmul};
use super::{images_per_chunk, lane_sum};

/// Shapes of a convolution: input `[N, in_channels, height, width]`, weight `[out_channels, in_channels, K, K]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between outputs, in input pixels.
    pub stride: usize,
    /// Zero rows above and columns left of the image. There are as many below and right as `output_size` reaches.
    pub padding: usize,
    /// Zero rows and columns below and right.
    pub padding_after: usize,
    /// Height of the input.
    pub height: usize,
    /// Width of the input.
    pub width: usize,
}

impl Geometry {
    /// Height and width of the output.
    #[must_use]
    pub fn output_size(&self) -> (usize, usize) {
        let size = |n: usize| (n + self.padding + self.padding_after - self.kernel) / self.stride + 1;
        (size(self.height), size(self.width))
    }

    /// Elements of one input image.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.in_channels * self.height * self.width
    }

    /// Elements of one output image.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.out_channels * self.output_plane()
    }

    /// Elements of the weight.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.patch_len()
    }

    fn output_plane(&self) -> usize {
        let (height, width) = self.output_size();
        height * width
    }

    /// Inputs that one output sees: rows of the unfolded image.
    fn patch_len(&self) -> usize {
        self.in_channels * self.kernel * self.kernel
    }

    fn columns_len(&self) -> usize {
        self.patch_len() * self.output_plane()
    }
}

thread_local! {
    /// An unfolded image: kept by each thread, because a fresh megabyte for every image costs as much as filling it.
    static COLUMNS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `f` this thread's buffer, of the wanted length and with any content.
fn with_columns<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    COLUMNS.with_borrow_mut(|buffer| {
        if buffer.len() < len {
            buffer.resize(len, 0.0);
        }
        f(&mut buffer[..len])
    })
}

/// Fills each plane of one image with its channel's bias, or with zeros.
fn fill_with_bias(bias: Option<&[f32]>, plane: usize, image: &mut [f32]) {
    match bias {
        Some(bias) => image.chunks_exact_mut(plane).zip(bias).for_each(|(plane, &bias)| plane.fill(bias)),
        None => image.fill(0.0),
    }
}

/// `output = weight ∗ input + bias`.
pub fn forward(geometry: &Geometry, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
    let (patch, plane) = (geometry.patch_len(), geometry.output_plane());
    let (in_len, out_len) = (geometry.input_len(), geometry.output_len());
    let images = images_per_chunk(input.len() / in_len);
    assert_eq!(input.len() / in_len * out_len, output.len(), "input and output hold different numbers of images");
    output.par_chunks_mut(images * out_len).zip(input.par_chunks(images * in_len)).for_each(|(outputs, inputs)| {
        with_columns(geometry.columns_len(), |columns| {
            for (output, input) in outputs.chunks_exact_mut(out_len).zip(inputs.chunks_exact(in_len)) {
                im2col(geometry, input, columns);
                fill_with_bias(bias, plane, output);
                let weight = Matrix::new(weight, geometry.out_channels, patch);
                matmul(output, weight, Matrix::new(columns, patch, plane), true);
            }
        });
    });
}

/// Gradient of the input from that of the output. With a `bias` (one value per input channel) it is the forward of the
/// transposed convolution that takes `output_gradient` as its input.
pub fn input_gradient(geometry: &Geometry, output_gradient: &[f32], weight: &[f32], bias: Option<&[f32]>, input_gradient: &mut [f32]) {
    let (patch, plane) = (geometry.patch_len(), geometry.output_plane());
    let (in_len, out_len) = (geometry.input_len(), geometry.output_len());
    let images = images_per_chunk(output_gradient.len() / out_len);
    assert_eq!(output_gradient.len() / out_len * in_len, input_gradient.len(), "input and output hold different numbers of images");
    input_gradient.par_chunks_mut(images * in_len).zip(output_gradient.par_chunks(images * out_len)).for_each(|(inputs, outputs)| {
        with_columns(geometry.columns_len(), |columns| {
            for (input, output) in inputs.chunks_exact_mut(in_len).zip(outputs.chunks_exact(out_len)) {
                let weight = Matrix::new(weight, geometry.out_channels, patch).t();
                matmul(columns, weight, Matrix::new(output, geometry.out_channels, plane), false);
                fill_with_bias(bias, geometry.height * geometry.width, input);
                col2im(geometry, columns, input);
            }
        });
    });
}

/// Gradient of the weight, summed over the images: one partial sum a chunk, added in chunk order.
pub fn weight_gradient(geometry: &Geometry, input: &[f32], output_gradient: &[f32], weight_gradient: &mut [f32]) {
    let (patch, plane) = (geometry.patch_len(), geometry.output_plane());
    let (in_len, out_len, weight_len) = (geometry.input_len(), geometry.output_len(), geometry.weight_len());
    let total = input.len() / in_len;
    let images = images_per_chunk(total);
    assert_eq!(total * out_len, output_gradient.len(), "input and output hold different numbers of images");
    assert_eq!(weight_len, weight_gradient.len(), "weight gradient of another length than the weight");
    let mut partial_sums = vec![0.0f32; total.div_ceil(images) * weight_len];
    partial_sums
        .par_chunks_mut(weight_len)
        .zip(input.par_chunks(images * in_len).zip(output_gradient.par_chunks(images * out_len)))
        .for_each(|(sum, (inputs, outputs))| {
            with_columns(geometry.columns_len(), |columns| {
                for (input, output) in inputs.chunks_exact(in_len).zip(outputs.chunks_exact(out_len)) {
                    im2col(geometry, input, columns);
                    let output = Matrix::new(output, geometry.out_channels, plane);
                    matmul(sum, output, Matrix::new(columns, patch, plane).t(), true);
                }
            });
        });
    weight_gradient.fill(0.0);
    for partial in partial_sums.chunks_exact(weight_len) {
        for (sum, &value) in weight_gradient.iter_mut().zip(partial) {
            *sum += value;
        }
    }
}

/// Gradient of the bias: the sum of each channel of `output_gradient` `[N, channels, plane]`.
pub fn bias_gradient(output_gradient: &[f32], plane: usize, bias_gradient: &mut [f32]) {
    let channels = bias_gradient.len();
    bias_gradient.par_iter_mut().enumerate().for_each(|(channel, sum)| {
        let planes = output_gradient.chunks_exact(plane).skip(channel).step_by(channels);
        *sum = planes.map(|plane| lane_sum(plane, |g| g)).sum::<f64>() as f32;
    });
}

#[cfg(test)]
mod tests;
