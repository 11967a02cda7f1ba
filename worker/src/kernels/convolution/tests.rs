use proptest::prelude::*;

use super::*;
use crate::kernels::testing::{assert_near, assert_same_bits_on_any_threads, random};

/// Every term of a convolution: (input index, weight index, output index), for one image.
fn terms(g: &Geometry) -> Vec<(usize, usize, usize)> {
    let (out_height, out_width) = g.output_size();
    let mut terms = Vec::new();
    for o in 0..g.out_channels {
        for oy in 0..out_height {
            for ox in 0..out_width {
                for c in 0..g.in_channels {
                    for ky in 0..g.kernel {
                        for kx in 0..g.kernel {
                            let (y, x) = (oy * g.stride + ky, ox * g.stride + kx);
                            if y < g.padding || x < g.padding {
                                continue;
                            }
                            let (y, x) = (y - g.padding, x - g.padding);
                            if y < g.height && x < g.width {
                                terms.push((
                                    (c * g.height + y) * g.width + x,
                                    ((o * g.in_channels + c) * g.kernel + ky) * g.kernel + kx,
                                    (o * out_height + oy) * out_width + ox,
                                ));
                            }
                        }
                    }
                }
            }
        }
    }
    terms
}

/// The paddings that the networks use: "same" for stride 1, halving for stride 2.
fn geometry(in_channels: usize, out_channels: usize, kernel: usize, stride: usize, side: (usize, usize)) -> Geometry {
    let even = kernel.is_multiple_of(2);
    let (padding, padding_after) = match stride {
        1 => ((kernel - 1) / 2, kernel / 2),
        _ if even => (kernel / 2 - 1, kernel / 2 - 1),
        _ => (kernel / 2, kernel / 2),
    };
    Geometry { in_channels, out_channels, kernel, stride, padding, padding_after, height: side.0, width: side.1 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn forward_and_gradients_are_those_of_the_definition(
        kernel in 1usize..=7, stride in 1usize..=2, images in 1usize..4,
        in_channels in 1usize..4, out_channels in 1usize..4, half_height in 1usize..5, half_width in 1usize..5,
    ) {
        let g = geometry(in_channels, out_channels, kernel, stride, (2 * half_height, 2 * half_width));
        prop_assert_eq!(g.output_size(), (g.height / stride, g.width / stride));
        let (input, weight) = (random(1, images * g.input_len()), random(2, g.weight_len()));
        let (bias, in_bias) = (random(3, out_channels), random(4, in_channels));
        let gradient = random(5, images * g.output_len());
        let plane = g.output_plane();

        let mut output: Vec<f32> = (0..gradient.len()).map(|i| bias[i / plane % out_channels]).collect();
        let mut d_input: Vec<f32> = (0..input.len()).map(|i| in_bias[i / (g.height * g.width) % in_channels]).collect();
        let mut d_weight = vec![0.0; weight.len()];
        let mut d_bias = vec![0.0; out_channels];
        for n in 0..images {
            let (at_in, at_out) = (n * g.input_len(), n * g.output_len());
            for (i, w, o) in terms(&g) {
                output[at_out + o] += input[at_in + i] * weight[w];
                d_input[at_in + i] += gradient[at_out + o] * weight[w];
                d_weight[w] += gradient[at_out + o] * input[at_in + i];
            }
        }
        for (i, &g) in gradient.iter().enumerate() {
            d_bias[i / plane % out_channels] += g;
        }

        let mut result = vec![f32::NAN; output.len()];
        forward(&g, &input, &weight, Some(&bias), &mut result);
        assert_near(&result, &output, 1e-5);
        let mut result = vec![f32::NAN; input.len()];
        input_gradient(&g, &gradient, &weight, Some(&in_bias), &mut result);
        assert_near(&result, &d_input, 1e-5);
        let mut result = vec![f32::NAN; weight.len()];
        weight_gradient(&g, &input, &gradient, &mut result);
        assert_near(&result, &d_weight, 1e-5);
        let mut result = vec![f32::NAN; out_channels];
        bias_gradient(&gradient, plane, &mut result);
        assert_near(&result, &d_bias, 1e-5);
    }
}

#[test]
fn without_a_bias_nothing_is_added() {
    let g = geometry(1, 1, 1, 1, (2, 2));
    let mut output = [f32::NAN; 4];
    forward(&g, &[1.0, 2.0, 3.0, 4.0], &[2.0], None, &mut output);
    assert_eq!(output, [2.0, 4.0, 6.0, 8.0]);
    input_gradient(&g, &[1.0, 2.0, 3.0, 4.0], &[3.0], None, &mut output);
    assert_eq!(output, [3.0, 6.0, 9.0, 12.0]);
}

#[test]
fn sums_over_images_are_the_same_bits_on_any_number_of_threads() {
    let g = geometry(3, 5, 3, 2, (8, 8));
    let (input, gradient) = (random(1, 70 * g.input_len()), random(2, 70 * g.output_len()));
    assert_same_bits_on_any_threads(|| {
        let mut result = vec![0.0; g.weight_len() + g.out_channels];
        let (weight, bias) = result.split_at_mut(g.weight_len());
        weight_gradient(&g, &input, &gradient, weight);
        bias_gradient(&gradient, g.output_plane(), bias);
        result
    });
}
