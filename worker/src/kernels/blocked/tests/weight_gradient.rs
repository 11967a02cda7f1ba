//! Weight gradients tap by tap.

use super::super::weight_gradient::by_channel;
use super::super::weight_gradient::by_image::{WeightGradient, add_lanes};
use super::*;

#[test]
fn weight_gradients_sum_products_over_images_and_positions() {
    for seed in 0..60 {
        let problem = Problem::new(1000 * seed + 13);
        let Problem { from, to, input, gradient, shape, .. } = &problem;
        let mut expected = vec![0.0f32; shape.len()];
        problem.for_each(|[row, column, o], [y, x], i, weight| {
            let g = gradient[to.start(row, o) + column];
            expected[weight] += (0..LANES).map(|lane| g.0[lane] * at(input, *from, y, i, x, lane)).sum::<f32>();
        });
        let kernel = WeightGradient::new(&problem.convolution);
        let grid = to.geometry.height / problem.convolution.rows.output_step;
        for isa in Isa::available() {
            let all = 0..kernel.groups();
            let mut sums = vec![Lanes::splat(f32::NAN); kernel.sums(all.clone())];
            for (band, first) in [(0..grid.div_ceil(2), true), (grid.div_ceil(2)..grid, false)] {
                kernel.add_block(isa, all.clone(), band, (input, *from), (gradient, *to), first, &mut sums);
            }
            let mut chunk = vec![0.0; sums.len()];
            add_lanes(isa, &sums, &mut chunk);
            let mut result = vec![f32::NAN; shape.len()];
            kernel.finish(shape, &mut chunk, &mut result);
            assert_near(&result, &expected, 1e-4);
        }
    }
}

#[test]
fn weight_gradients_with_channels_in_the_lanes_are_those_with_images_there_whatever_is_in_dead_lanes() {
    for seed in 0..60 {
        let problem = Problem::with_outputs(1000 * seed + 17, 60);
        let Problem { from, to, input, gradient, shape, .. } = &problem;
        let live = Shapes(seed).up_to(LANES);
        let mut own = gradient.clone();
        own.iter_mut().for_each(|lanes| lanes.0[live..].fill(0.0));
        let by_image = WeightGradient::new(&problem.convolution);
        let grid = to.geometry.height / problem.convolution.rows.output_step;
        let mut lanes = vec![Lanes::ZERO; by_image.sums(0..by_image.groups())];
        for first in [true, false] {
            by_image.add_block(Isa::portable(), 0..by_image.groups(), 0..grid, (input, *from), (&own, *to), first, &mut lanes);
        }
        let mut chunk = vec![0.0; lanes.len()];
        add_lanes(Isa::portable(), &lanes, &mut chunk);
        let mut expected = vec![f32::NAN; shape.len()];
        by_image.finish(shape, &mut chunk, &mut expected);
        let by_channel = by_channel::WeightGradient::new(&problem.convolution);
        own.iter_mut().for_each(|lanes| lanes.0[live..].fill(f32::NAN));
        for isa in Isa::available() {
            let mut chunks = vec![f32::NAN; 2 * by_channel.sums()];
            let bands = [0..grid.div_ceil(2), grid.div_ceil(2)..grid];
            for (band, sums) in bands.into_iter().zip(chunks.chunks_mut(by_channel.sums())) {
                let mut scratch = vec![Lanes::splat(f32::NAN); by_channel.scratch_len()];
                for first in [true, false] {
                    by_channel.add_block(isa, band.clone(), (input, *from), (&own, *to), live, first, &mut scratch);
                }
                by_channel.read_sums(isa, &scratch, sums);
            }
            let mut result = vec![f32::NAN; shape.len()];
            by_channel.finish(shape, &mut chunks, &mut result);
            assert_near(&result, &expected, 1e-4);
        }
    }
}
