//! Winograd's ways against the direct ones.

use super::super::weight_gradient::by_image::{WeightGradient, add_lanes};
use super::super::{even_parts, winograd};
use super::*;

#[test]
fn winograd_filtering_agrees_with_the_convolution_forward_and_backward() {
    for (seed, inputs, outputs, height, width) in [(1, 16, 17, 8, 12), (2, 24, 24, 4, 4), (3, 25, 24, 8, 20), (4, 32, 64, 4, 8)] {
        let convolution = Convolution::square(&Taps::same(3), inputs, outputs);
        let shape = WeightShape { input_channels: inputs, output_channels: outputs, kernel: 3, transposed: false };
        let weights = random(seed, shape.len());
        let view = |channels: usize| View::whole(Geometry { height, width, channels: channels + 2, halo: 1 });
        let view = |channels: usize| View { channel: 1, channels, ..view(channels) };
        for (direction, convolution) in
            [(Direction::Forward, convolution.clone()), (Direction::Backward, convolution.input_gradient(inputs))]
        {
            assert!(winograd::applies(&convolution, height, width));
            let (from, to) = (view(convolution.input_channels), view(convolution.output_channels));
            let (input, there) = (random_block(seed + 5, from.geometry), random_block(seed + 6, to.geometry));
            let bias = random(seed + 7, to.channels);
            let mut direct = vec![0.0; 9 * inputs * outputs];
            pack(&convolution, &shape, direction, &weights, &mut direct);
            for start in [Start::Zero, Start::Bias(&bias), Start::Output] {
                let mut expected = there.clone();
                let band = 0..height;
                convolve(Isa::portable(), &convolution, &input, from, &direct, start, band, &mut expected, to);
                for isa in Isa::available() {
                    let mut packed = vec![f32::NAN; winograd::packed_len(&convolution)];
                    winograd::pack(isa, &convolution, &shape, direction, &weights, &mut packed);
                    let mut own = there.clone();
                    let mut scratch = vec![Lanes::splat(f32::NAN); winograd::scratch_len(&convolution)];
                    for (band, own) in own.chunks_exact_mut(4 * to.geometry.row_step()).enumerate() {
                        let band = 4 * band..4 * band + 4;
                        winograd::convolve(isa, &convolution, &input, from, &packed, start, band, own, to, &mut scratch);
                    }
                    assert_near(&flat(&own), &flat(&expected), 1e-5);
                }
            }
        }
    }
}

#[test]
fn weight_gradients_through_winograds_points_are_the_direct_ones_whatever_is_in_dead_lanes() {
    for (seed, inputs, outputs, height, width) in [(1, 16, 17, 8, 12), (2, 24, 24, 4, 4), (3, 25, 24, 8, 20), (4, 32, 64, 4, 8)] {
        let convolution = Convolution::square(&Taps::same(3), inputs, outputs);
        let shape = WeightShape { input_channels: inputs, output_channels: outputs, kernel: 3, transposed: false };
        let view = |channels: usize| View::whole(Geometry { height, width, channels: channels + 2, halo: 1 });
        let view = |channels: usize| View { channel: 1, channels, ..view(channels) };
        let (from, to) = (view(inputs), view(outputs));
        let lives = [LANES, 3 + seed as usize, 9];
        let blocks: Vec<_> =
            (0..3).map(|b| (random_block(seed + 10 * b, from.geometry), random_block(seed + 10 * b + 1, to.geometry))).collect();
        let direct = WeightGradient::new(&convolution);
        let mut lanes = vec![Lanes::ZERO; direct.sums(0..direct.groups())];
        for (b, (input, gradient)) in blocks.iter().enumerate() {
            let mut gradient = gradient.clone();
            gradient.iter_mut().for_each(|lanes| lanes.0[lives[b]..].fill(0.0));
            let operands = ((&input[..], from), (&gradient[..], to));
            direct.add_block(Isa::portable(), 0..direct.groups(), 0..height, operands.0, operands.1, b == 0, &mut lanes);
        }
        let mut sums = vec![0.0; lanes.len()];
        add_lanes(Isa::portable(), &lanes, &mut sums);
        let mut expected = vec![f32::NAN; shape.len()];
        direct.finish(&shape, &mut sums, &mut expected);
        for isa in Isa::available() {
            let mut parts = Vec::new();
            for tiles in even_parts(height / winograd::TILE, 1) {
                let mut sums = vec![f32::NAN; winograd::weight_gradient::sums(&convolution)];
                let mut scratch = vec![Lanes::splat(f32::NAN); winograd::weight_gradient::scratch_len(&convolution)];
                let band = tiles.start * winograd::TILE..tiles.end * winograd::TILE;
                for (b, (input, gradient)) in blocks.iter().enumerate() {
                    let (input, gradient) = ((&input[..], from), (&gradient[..], to));
                    winograd::weight_gradient::add_block(isa, &convolution, band.clone(), input, gradient, lives[b], b == 0, &mut scratch);
                }
                winograd::weight_gradient::read_sums(isa, &convolution, &mut scratch, &mut sums);
                parts.extend(sums);
            }
            let mut result = vec![f32::NAN; shape.len()];
            winograd::weight_gradient::finish(isa, &convolution, &shape, &mut parts, &mut result);
            assert_near(&result, &expected, 1e-5);
        }
    }
}
