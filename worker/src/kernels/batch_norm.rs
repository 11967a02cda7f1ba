//! Batch normalization over images and pixels, per channel (Ioffe & Szegedy 2015), as PyTorch computes it.
//!
//! Sums are taken in f64 plane by plane, in the order of the images, and the variance in a second pass over the
//! centred values.

use rayon::prelude::*;

use super::{lane_sum, lane_sum2};

/// Mean and biased variance of each channel over one batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// Biased variance per channel (divided by the number of values).
    pub variance: Vec<f32>,
    /// Values per channel: N·H·W.
    pub count: usize,
}

/// One channel's planes of a tensor `[N, channels, plane]`, in the order of the images.
fn channel_planes(values: &[f32], channel: usize, channels: usize, plane: usize) -> impl Iterator<Item = &[f32]> {
    values.chunks_exact(plane).skip(channel).step_by(channels)
}

/// Mean and variance of `[N, channels, plane]`.
#[must_use]
pub fn statistics(input: &[f32], channels: usize, plane: usize) -> Statistics {
    let count = input.len() / channels;
    let (mean, variance) = (0..channels)
        .into_par_iter()
        .map(|channel| {
            let planes = || channel_planes(input, channel, channels, plane);
            let mean = planes().map(|plane| lane_sum(plane, |x| x)).sum::<f64>() / count as f64;
            let squares = planes().map(|plane| lane_sum(plane, |x| (x - mean) * (x - mean))).sum::<f64>();
            (mean as f32, (squares / count as f64) as f32)
        })
        .unzip();
    Statistics { mean, variance, count }
}

/// `1/√(variance + ε)` per channel.
#[must_use]
pub fn inverse_deviation(variance: &[f32], epsilon: f64) -> Vec<f32> {
    variance.iter().map(|&v| (1.0 / (f64::from(v) + epsilon).sqrt()) as f32).collect()
}

/// `output = weight·(input − mean)·inverse_deviation + bias`, per channel.
pub fn normalize(input: &[f32], plane: usize, mean: &[f32], inverse_deviation: &[f32], weight: &[f32], bias: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "input and output differ in length");
    let channels = mean.len();
    output.par_chunks_mut(plane).zip(input.par_chunks(plane)).enumerate().for_each(|(i, (output, input))| {
        let c = i % channels;
        let (mean, scale, bias) = (mean[c], weight[c] * inverse_deviation[c], bias[c]);
        for (o, &x) in output.iter_mut().zip(input) {
            *o = (x - mean) * scale + bias;
        }
    });
}

/// Gradients of weight and bias, and what the input's gradient needs of them.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterGradients {
    /// `Σ g·x̂` per channel.
    pub weight: Vec<f32>,
    /// `Σ g` per channel.
    pub bias: Vec<f32>,
}

/// Sums of the output gradient `g` and of `g·x̂` per channel, with `x̂` the normalized input.
#[must_use]
pub fn parameter_gradients(
    input: &[f32],
    output_gradient: &[f32],
    plane: usize,
    mean: &[f32],
    inverse_deviation: &[f32],
) -> ParameterGradients {
    assert_eq!(input.len(), output_gradient.len(), "input and gradient differ in length");
    let channels = mean.len();
    let (weight, bias) = (0..channels)
        .into_par_iter()
        .map(|c| {
            let inputs = channel_planes(input, c, channels, plane);
            let gradients = channel_planes(output_gradient, c, channels, plane);
            let centre = f64::from(mean[c]);
            let (mut weight, mut bias) = (0.0, 0.0);
            for (x, g) in inputs.zip(gradients) {
                weight += lane_sum2(x, g, |x, g| (x - centre) * g);
                bias += lane_sum(g, |g| g);
            }
            ((weight * f64::from(inverse_deviation[c])) as f32, bias as f32)
        })
        .unzip();
    ParameterGradients { weight, bias }
}

/// Gradient of the input where mean and variance are the batch's own:
/// `weight·inverse_deviation·(g − mean(g) − x̂·mean(g·x̂))`.
#[allow(clippy::too_many_arguments)]
pub fn input_gradient(
    input: &[f32],
    output_gradient: &[f32],
    plane: usize,
    mean: &[f32],
    inverse_deviation: &[f32],
    weight: &[f32],
    sums: &ParameterGradients,
    input_gradient: &mut [f32],
) {
    assert_eq!(input.len(), input_gradient.len(), "input and its gradient differ in length");
    assert_eq!(input.len(), output_gradient.len(), "input and gradient differ in length");
    let channels = mean.len();
    let count = (input.len() / channels) as f64;
    input_gradient.par_chunks_mut(plane).zip(input.par_chunks(plane).zip(output_gradient.par_chunks(plane))).enumerate().for_each(
        |(i, (into, (x, g)))| {
            let c = i % channels;
            let scale = weight[c] * inverse_deviation[c];
            let mean_g = (f64::from(sums.bias[c]) / count) as f32;
            let slope = (f64::from(sums.weight[c]) * f64::from(inverse_deviation[c]) / count) as f32;
            let mean = mean[c];
            for ((into, &x), &g) in into.iter_mut().zip(x).zip(g) {
                *into = scale * ((g - mean_g) - (x - mean) * slope);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_gradient, assert_near, assert_same_bits_on_any_threads, random};

    const EPSILON: f64 = 1e-5;
    const CHANNELS: usize = 3;
    const PLANE: usize = 10;

    fn forward(input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let statistics = statistics(input, CHANNELS, PLANE);
        let inverse = inverse_deviation(&statistics.variance, EPSILON);
        let mut output = vec![f32::NAN; input.len()];
        normalize(input, PLANE, &statistics.mean, &inverse, weight, bias, &mut output);
        output
    }

    fn backward(input: &[f32], weight: &[f32], gradient: &[f32]) -> (Vec<f32>, ParameterGradients) {
        let statistics = statistics(input, CHANNELS, PLANE);
        let inverse = inverse_deviation(&statistics.variance, EPSILON);
        let sums = parameter_gradients(input, gradient, PLANE, &statistics.mean, &inverse);
        let mut result = vec![f32::NAN; input.len()];
        input_gradient(input, gradient, PLANE, &statistics.mean, &inverse, weight, &sums, &mut result);
        (result, sums)
    }

    #[test]
    fn statistics_are_exact_far_from_zero() {
        let input: Vec<f32> = (0..40).map(|i| 1e4 + f32::from(i % 2 == 0)).collect();
        let statistics = statistics(&input, 2, 10);
        assert_eq!((statistics.mean, statistics.count), (vec![10_000.5; 2], 20));
        assert_eq!(statistics.variance, [0.25; 2]);
    }

    #[test]
    fn normalized_channels_have_the_wanted_mean_and_deviation() {
        let (input, weight, bias) = (random(1, 4 * CHANNELS * PLANE), [0.5, 1.0, 2.0], [0.1, -0.2, 3.0]);
        let after = statistics(&forward(&input, &weight, &bias), CHANNELS, PLANE);
        assert_near(&after.mean, &bias, 1e-6);
        assert_near(&after.variance, &weight.map(|w| w * w), 1e-3);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (input, gradient) = (random(1, 4 * CHANNELS * PLANE), random(2, 4 * CHANNELS * PLANE));
        let (weight, bias) = ([0.5, 1.0, 2.0], [0.1, -0.2, 3.0]);
        let (d_input, sums) = backward(&input, &weight, &gradient);
        assert_gradient(&input, &gradient, &d_input, 1e-2, |x| forward(x, &weight, &bias));
        assert_gradient(&weight, &gradient, &sums.weight, 1e-2, |w| forward(&input, w, &bias));
        assert_gradient(&bias, &gradient, &sums.bias, 1e-2, |b| forward(&input, &weight, b));
    }

    #[test]
    fn results_are_the_same_bits_on_any_number_of_threads() {
        let (input, gradient) = (random(1, 50 * CHANNELS * PLANE), random(2, 50 * CHANNELS * PLANE));
        assert_same_bits_on_any_threads(|| {
            let (mut result, sums) = backward(&input, &[0.5, 1.0, 2.0], &gradient);
            result.extend(sums.weight);
            result.extend(sums.bias);
            result
        });
    }
}
