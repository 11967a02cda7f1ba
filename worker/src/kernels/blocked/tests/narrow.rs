//! Kernels on the first eight lanes alone against the same kernels on all sixteen: the same bits there, and the rest untouched.

use super::super::softmax::channel_sums;
use super::super::weight_gradient::by_image::{WeightGradient, add_lanes};
use super::super::winograd;
use super::*;

/// Instruction sets that have a narrow form, with it.
fn narrow() -> Vec<(Isa, Isa)> {
    Isa::available().into_iter().map(|isa| (isa, isa.for_live(LANES / 2))).filter(|(_, narrow)| narrow.is_narrow()).collect()
}

/// Asserts that the first half of all lanes has the bits of `wide`, and the second those from before.
#[track_caller]
fn assert_first_half(narrow: &[Lanes], wide: &[Lanes], before: &[Lanes]) {
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
    for ((narrow, wide), before) in narrow.iter().zip(wide).zip(before) {
        assert_eq!(bits(&narrow.0[..LANES / 2]), bits(&wide.0[..LANES / 2]));
        assert_eq!(bits(&narrow.0[LANES / 2..]), bits(&before.0[LANES / 2..]));
    }
}

#[test]
fn only_blocks_with_at_most_half_of_their_lanes_alive_are_narrow() {
    for isa in Isa::available() {
        assert!(!isa.for_live(LANES / 2 + 1).is_narrow());
        assert_eq!(isa.for_live(1), isa.for_live(LANES / 2));
    }
    assert!(!Isa::portable().for_live(1).is_narrow());
}

#[test]
fn convolutions_of_every_kind_leave_the_other_half_alone() {
    for seed in 0..40 {
        let problem = Problem::new(1000 * seed + 29);
        let Problem { convolution, from, to, input, .. } = &problem;
        let packed = problem.packed(convolution, Direction::Forward);
        let before = vec![Lanes::splat(f32::NAN); to.geometry.block_len()];
        let run = |isa: Isa| {
            let mut output = before.clone();
            let grid = 0..to.geometry.height / convolution.rows.output_step;
            convolve(isa, convolution, input, *from, &packed, Start::Zero, grid, &mut output, *to);
            output
        };
        for (wide, narrow) in narrow() {
            assert_first_half(&run(narrow), &run(wide), &before);
        }
    }
}

#[test]
fn weight_gradients_of_narrow_blocks_add_nothing_from_the_other_half() {
    for seed in 0..40 {
        let problem = Problem::new(1000 * seed + 31);
        let Problem { from, to, input, gradient, .. } = &problem;
        let kernel = WeightGradient::new(&problem.convolution);
        let all = 0..kernel.groups();
        let grid = 0..to.geometry.height / problem.convolution.rows.output_step;
        let mut alive = gradient.clone();
        alive.iter_mut().for_each(|lanes| lanes.0[LANES / 2..].fill(0.0));
        let mut garbage = gradient.clone();
        garbage.iter_mut().for_each(|lanes| lanes.0[LANES / 2..].fill(f32::NAN));
        for (wide, narrow) in narrow() {
            // A narrow block first, then whole ones, then a narrow one again.
            let sums = |isa: Isa, halved: &[Lanes]| {
                let mut sums = vec![Lanes::splat(f32::NAN); kernel.sums(all.clone())];
                for (isa, gradient, first) in [(isa, halved, true), (wide, &gradient[..], false), (isa, halved, false)] {
                    kernel.add_block(isa, all.clone(), grid.clone(), (input, *from), (gradient, *to), first, &mut sums);
                }
                let mut numbers = vec![0.0; sums.len()];
                add_lanes(wide, &sums, &mut numbers);
                numbers
            };
            assert_eq!(sums(narrow, &garbage), sums(wide, &alive));
        }
    }
}

#[test]
fn winograd_filtering_leaves_the_other_half_alone() {
    let convolution = Convolution::square(&Taps::same(3), 24, 20);
    let shape = WeightShape { input_channels: 24, output_channels: 20, kernel: 3, transposed: false };
    let (from, to) = (whole(8, 12, 24), whole(8, 12, 20));
    let input = random_block(3, from.geometry);
    let mut packed = vec![0.0; winograd::packed_len(&convolution)];
    winograd::pack(Isa::portable(), &convolution, &shape, Direction::Forward, &random(4, shape.len()), &mut packed);
    let before = vec![Lanes::splat(f32::NAN); to.geometry.block_len()];
    let run = |isa: Isa| {
        let (mut output, mut scratch) = (before.clone(), vec![Lanes::ZERO; winograd::scratch_len(&convolution)]);
        winograd::convolve(isa, &convolution, &input, from, &packed, Start::Zero, 0..8, &mut output, to, &mut scratch);
        output
    };
    for (wide, narrow) in narrow() {
        assert_first_half(&run(narrow), &run(wide), &before);
    }
}

#[test]
fn elementwise_kernels_leave_the_other_half_alone() {
    let (view, small) = (whole(4, 6, 5), whole(2, 3, 5));
    let (z, g) = (random_block(2, view.geometry), random_block(3, view.geometry));
    let channels = vec![Channel { mean: 0.1, inverse_deviation: 2.0, scale: 1.5, shift: -0.1 }; 5];
    let live = 5;
    let classes = vec![Lanes::splat(2.0); 24];
    let before = vec![Lanes::splat(7.0); z.len()];
    let run = |isa: Isa| {
        let mut a = before.clone();
        normalize_relu(isa, (&z, view), &channels, 4, (&mut a, view));
        let mut sums = [GradientSums::default(); 5];
        gradient_sums(isa, (&g, view), (&z, view), &channels, 4, live, &mut sums);
        let mut of_channels = [Moments::default(); 5];
        moments(isa, &z, view, 4, live, &mut of_channels);
        let mut totals = [0.0; 5];
        channel_sums(isa, (&z, view), 4, live, &mut totals);
        let mut argmax = vec![Argmax::splat(7.0); 30];
        let mut pooled = before[..small.geometry.block_len()].to_vec();
        max_pool(isa, (&z, view), 2, (&mut pooled, small), &mut argmax);
        let mut wide = before.clone();
        max_pool_gradient(isa, (&pooled, small), &argmax, 2, (&mut wide, view));
        let mut logits = z.clone();
        let score = cross_entropy(isa, (&mut logits, view), &classes, 4, live, Some(0.5));
        ([a, pooled, argmax, wide, logits], (sums, of_channels, totals, score))
    };
    for (wide, narrow) in narrow() {
        let ((own, own_sums), (expected, sums)) = (run(narrow), run(wide));
        assert_eq!(own_sums, sums);
        for (index, (own, expected)) in own.iter().zip(&expected).enumerate() {
            let before = if index == 4 { &z } else { &before };
            // The halo is nobody's and stays too.
            assert_first_half(own, expected, before);
        }
    }
}
