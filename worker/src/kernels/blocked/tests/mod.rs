//! Each kernel on every instruction set against plain loops, on random shapes.

use super::convolve::{Convolution, Start, convolve};
use super::geometry::{Geometry, View};
use super::isa::Isa;
use super::normalize::{
    Channel, ChannelGradient, GradientSums, Moments, gradient_sums, input_gradient, mean_and_variance, moments, normalize_relu,
};
use super::pool::{Argmax, max_pool, max_pool_gradient};
use super::softmax::{NO_CLASS, cross_entropy};
use super::taps::Taps;
use super::vector::{LANES, Lanes};
use super::weights::{Direction, WeightShape, pack};
use crate::kernels::testing::{assert_near, random};

mod narrow;
mod weight_gradient;
mod winograd;

/// Small numbers from a seed, for shapes.
struct Shapes(u64);

impl Shapes {
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        1 + (self.0 >> 33) as usize % most
    }
}

/// A block with random values and zero halo.
fn random_block(seed: u64, geometry: Geometry) -> Vec<Lanes> {
    let mut block = vec![Lanes::ZERO; geometry.block_len()];
    let mut values = random(seed, geometry.block_len() * LANES).into_iter();
    for row in 0..geometry.height {
        for channel in 0..geometry.channels {
            for lanes in &mut block[geometry.row(row, channel)] {
                lanes.0 = std::array::from_fn(|_| values.next().unwrap());
            }
        }
    }
    block
}

fn flat(block: &[Lanes]) -> Vec<f32> {
    block.iter().flat_map(|lanes| lanes.0).collect()
}

fn at(block: &[Lanes], view: View, row: isize, channel: usize, column: isize, lane: usize) -> f32 {
    let inside = |i: isize, len: usize| i >= 0 && i.unsigned_abs() < len;
    if inside(row, view.geometry.height) && inside(column, view.geometry.width) {
        block[view.start(row.unsigned_abs(), channel) + column.unsigned_abs()].0[lane]
    } else {
        0.0
    }
}

/// A kind of convolution by PyTorch's definition: for each output pixel and kernel position, the input position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Same,
    Down,
    Up,
    SameUpsampled,
}

impl Kind {
    fn taps(self, kernel: usize) -> Taps {
        match self {
            Self::Same => Taps::same(kernel),
            Self::Down => Taps::down(kernel),
            Self::Up => Taps::up(kernel),
            Self::SameUpsampled => Taps::same_upsampled(kernel),
        }
    }

    /// The input position that output `o` reads with kernel weight `k`, if any; outside the image where padding is read.
    fn reads(self, kernel: usize, o: usize, k: usize) -> Option<isize> {
        let padding = (kernel as isize - 1) / 2;
        let (o, k) = (o as isize, k as isize);
        match self {
            Self::Same => Some(o + k - padding),
            Self::Down => Some(2 * o + k - padding),
            Self::Up => ((o - k + padding) % 2 == 0).then_some((o - k + padding).div_euclid(2)),
            Self::SameUpsampled => Some((o + k - padding).div_euclid(2)),
        }
    }
}

/// One random problem: shapes, views inside wider maps, operands.
struct Problem {
    kind: Kind,
    kernel: usize,
    convolution: Convolution,
    shape: WeightShape,
    from: View,
    to: View,
    input: Vec<Lanes>,
    gradient: Vec<Lanes>,
    weights: Vec<f32>,
}

impl Problem {
    fn new(seed: u64) -> Self {
        Self::with_outputs(seed, 14)
    }

    /// With at most so many output channels.
    fn with_outputs(seed: u64, most: usize) -> Self {
        let mut shapes = Shapes(seed);
        shapes.up_to(2);
        let kind = [Kind::Same, Kind::Down, Kind::Up, Kind::SameUpsampled][shapes.up_to(4) - 1];
        let kernel = shapes.up_to(7);
        let (height, width) = (shapes.up_to(5), shapes.up_to(11));
        let (input_channels, output_channels) = (shapes.up_to(9), shapes.up_to(most));
        let taps = kind.taps(kernel);
        let convolution = Convolution::square(&taps, input_channels, output_channels);
        let mut view = |step: usize, channels: usize| {
            let (channel, more) = (shapes.up_to(3) - 1, shapes.up_to(2) - 1);
            let channels_of_map = channels + channel + more;
            let geometry = Geometry { height: height * step, width: width * step, channels: channels_of_map, halo: kernel / 2 };
            View { geometry, channel, channels }
        };
        let (from, to) = (view(taps.input_step, input_channels), view(taps.output_step, output_channels));
        let shape = WeightShape { input_channels, output_channels, kernel, transposed: kind == Kind::Up };
        Self {
            kind,
            kernel,
            input: random_block(seed + 1, from.geometry),
            gradient: random_block(seed + 2, to.geometry),
            weights: random(seed + 3, shape.len()),
            convolution,
            shape,
            from,
            to,
        }
    }

    /// Every product: output row, column and channel, input row, column and channel, weight index.
    fn for_each(&self, mut f: impl FnMut([usize; 3], [isize; 2], usize, usize)) {
        let k = self.kernel;
        for row in 0..self.to.geometry.height {
            for column in 0..self.to.geometry.width {
                for (ky, kx) in (0..k).flat_map(|ky| (0..k).map(move |kx| (ky, kx))) {
                    let (Some(y), Some(x)) = (self.kind.reads(k, row, ky), self.kind.reads(k, column, kx)) else {
                        continue;
                    };
                    // A map upsampled by 2 ends where the small one does.
                    for (o, i) in (0..self.to.channels).flat_map(|o| (0..self.from.channels).map(move |i| (o, i))) {
                        let pair = match self.shape.transposed {
                            true => i * self.to.channels + o,
                            false => o * self.from.channels + i,
                        };
                        f([row, column, o], [y, x], i, pair * k * k + ky * k + kx);
                    }
                }
            }
        }
    }

    fn packed(&self, convolution: &Convolution, direction: Direction) -> Vec<f32> {
        let len = convolution.matrices() * convolution.input_channels * convolution.output_channels;
        let mut packed = vec![f32::NAN; len];
        pack(convolution, &self.shape, direction, &self.weights, &mut packed);
        packed
    }
}

#[test]
fn convolutions_of_every_kind_follow_their_definition() {
    for seed in 0..60 {
        let problem = Problem::new(1000 * seed);
        let Problem { convolution, from, to, input, .. } = &problem;
        let bias = random(seed, to.channels);
        let mut expected = vec![Lanes::ZERO; to.geometry.block_len()];
        for row in 0..to.geometry.height {
            for (c, &bias) in bias.iter().enumerate() {
                expected[to.row(row, c)].fill(Lanes::splat(bias));
            }
        }
        problem.for_each(|[row, column, o], [y, x], i, weight| {
            for lane in 0..LANES {
                let product = problem.weights[weight] * at(input, *from, y, i, x, lane);
                expected[to.start(row, o) + column].0[lane] += product;
            }
        });
        let packed = problem.packed(convolution, Direction::Forward);
        for isa in Isa::available() {
            let mut output = vec![Lanes::ZERO; to.geometry.block_len()];
            let grid = to.geometry.height / convolution.rows.output_step;
            let cut = grid / 2;
            let (first, second) = output.split_at_mut(cut * convolution.rows.output_step * to.geometry.row_step());
            for (band, output) in [(0..cut, first), (cut..grid, second)] {
                convolve(isa, convolution, input, *from, &packed, Start::Bias(&bias), band, output, *to);
            }
            assert_near(&flat(&output), &flat(&expected), 1e-5);
        }
    }
}

#[test]
fn input_gradients_are_the_transposed_products_added_to_what_is_there() {
    for seed in 0..60 {
        let problem = Problem::new(1000 * seed + 7);
        let Problem { from, to, gradient, .. } = &problem;
        let start = random_block(seed, from.geometry);
        let mut expected = start.clone();
        problem.for_each(|[row, column, o], [y, x], i, weight| {
            let inside = |i: isize, len: usize| i >= 0 && i.unsigned_abs() < len;
            if inside(y, from.geometry.height) && inside(x, from.geometry.width) {
                let g = gradient[to.start(row, o) + column];
                let into = &mut expected[from.start(y.unsigned_abs(), i) + x.unsigned_abs()];
                for (into, g) in into.0.iter_mut().zip(g.0) {
                    *into += problem.weights[weight] * g;
                }
            }
        });
        let backward = problem.convolution.input_gradient(from.channels);
        let packed = problem.packed(&backward, Direction::Backward);
        for isa in Isa::available() {
            let mut output = start.clone();
            let grid = from.geometry.height / backward.rows.output_step;
            convolve(isa, &backward, gradient, *to, &packed, Start::Output, 0..grid, &mut output, *from);
            assert_near(&flat(&output), &flat(&expected), 1e-5);
        }
    }
}

fn whole(height: usize, width: usize, channels: usize) -> View {
    View::whole(Geometry { height, width, channels, halo: 1 })
}

#[test]
fn moments_far_from_zero_keep_their_precision() {
    let view = whole(4, 7, 3);
    let mut z = random_block(1, view.geometry);
    z.iter_mut().for_each(|lanes| lanes.0.iter_mut().for_each(|z| *z += 1000.0));
    let live = 11;
    for isa in Isa::available() {
        let mut of_channels = [Moments::default(); 3];
        moments(isa, &z, view, 4, live, &mut of_channels);
        for (c, moments) in of_channels.iter().enumerate() {
            let values: Vec<f64> =
                (0..4).flat_map(|row| &z[view.row(row, c)]).flat_map(|lanes| lanes.0[..live].iter().map(|&z| f64::from(z))).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / values.len() as f64;
            let (own_mean, own_variance) = mean_and_variance([*moments].into_iter());
            assert!((own_mean - mean).abs() < 1e-3 && (own_variance - variance).abs() < 1e-5 * variance);
        }
    }
}

#[test]
fn elementwise_kernels_agree_on_every_instruction_set() {
    let view = whole(4, 6, 5);
    let (z, g) = (random_block(2, view.geometry), random_block(3, view.geometry));
    let channels: Vec<Channel> =
        (0..5).map(|c| Channel { mean: 0.1 * c as f32, inverse_deviation: 2.0, scale: 1.5, shift: -0.1 }).collect();
    let live = 9;
    let run = |isa: Isa| {
        let mut a = vec![Lanes::ZERO; z.len()];
        normalize_relu(isa, (&z, view), &channels, 4, (&mut a, view));
        let mut sums = [GradientSums::default(); 5];
        gradient_sums(isa, (&g, view), (&z, view), &channels, 4, live, &mut sums);
        let backward: Vec<_> = channels.iter().zip(sums).map(|(c, s)| (*c, ChannelGradient::new(c, s, 216.0))).collect();
        let mut dz = g.clone();
        input_gradient(isa, (&mut dz, view), (&z, view), &backward, 4, live);
        let (small, mut argmax) = (whole(2, 3, 5), vec![Argmax::ZERO; 30]);
        let mut pooled = vec![Lanes::ZERO; small.geometry.block_len()];
        max_pool(isa, (&z, view), 2, (&mut pooled, small), &mut argmax);
        let mut wide = vec![Lanes::ZERO; z.len()];
        max_pool_gradient(isa, (&pooled, small), &argmax, 2, (&mut wide, view));
        let sums = sums.iter().flat_map(|s| [s.shift as f32, s.scale as f32]).collect::<Vec<f32>>();
        [flat(&a), sums, flat(&dz), flat(&pooled), flat(&wide)]
    };
    let expected = run(Isa::portable());
    assert!(expected[2].chunks(LANES).all(|lanes| lanes[live..].iter().all(|&dead| dead == 0.0)));
    for isa in Isa::available() {
        for (own, expected) in run(isa).iter().zip(&expected) {
            assert_near(own, expected, 1e-5);
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient_follow_their_definition() {
    let view = whole(2, 5, 7);
    let mut logits = random_block(4, view.geometry);
    logits.iter_mut().for_each(|lanes| lanes.0.iter_mut().for_each(|l| *l *= 40.0));
    let live = 13;
    let classes: Vec<Lanes> =
        (0..10).map(|p| Lanes(std::array::from_fn(|lane| if lane < live { ((p + lane) % 7) as f32 } else { NO_CLASS }))).collect();
    let (mut loss, mut hits) = (0.0, 0);
    let mut expected = vec![Lanes::ZERO; logits.len()];
    for (p, class) in classes.iter().enumerate() {
        let index = |c: usize| view.start(p / 5, c) + p % 5;
        for lane in 0..live {
            let l: Vec<f64> = (0..7).map(|c| f64::from(logits[index(c)].0[lane])).collect();
            let maximum = l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum = l.iter().map(|l| (l - maximum).exp()).sum::<f64>();
            let own = class.0[lane] as usize;
            loss += sum.ln() + maximum - l[own];
            hits += u64::from(l[own] == maximum);
            for (c, l) in l.iter().enumerate() {
                let onehot = if c == own { 1.0 } else { 0.0 };
                expected[index(c)].0[lane] = (0.5 * ((l - maximum).exp() / sum - onehot)) as f32;
            }
        }
    }
    for isa in Isa::available() {
        let mut own = logits.clone();
        let score = cross_entropy(isa, (&mut own, view), &classes, 2, live, Some(0.5));
        assert!((score.loss_sum - loss).abs() < 1e-5 * loss, "{isa}: {} {loss}", score.loss_sum);
        assert_near(&flat(&own), &flat(&expected), 1e-6);
        let score = cross_entropy(isa, (&mut logits.clone(), view), &classes, 2, live, None);
        assert_eq!(score.hits, hits);
    }
}

#[test]
fn pooling_takes_the_first_of_equals_and_passes_nan_on() {
    let (wide, small) = (whole(2, 4, 1), whole(1, 2, 1));
    for isa in Isa::available() {
        let mut input = vec![Lanes::ZERO; wide.geometry.block_len()];
        for (row, values) in [[5.0, 5.0, 0.0, 7.0], [5.0, f32::NAN, 7.0, 7.0]].iter().enumerate() {
            for (lanes, &value) in input[wide.row(row, 0)].iter_mut().zip(values) {
                lanes.0 = std::array::from_fn(|lane| if lane == 0 && value.is_nan() { 1.0 } else { value });
            }
        }
        let (mut pooled, mut argmax) = (vec![Lanes::ZERO; small.geometry.block_len()], [Lanes::ZERO; 2]);
        max_pool(isa, (&input, wide), 1, (&mut pooled, small), &mut argmax);
        let first = small.start(0, 0);
        assert_eq!((pooled[first].0[0], argmax[0].0[0]), (5.0, 0.0));
        assert!(pooled[first].0[1].is_nan() && argmax[0].0[1] == 3.0);
        assert_eq!((pooled[first + 1].0[0], argmax[1].0[0]), (7.0, 1.0));
    }
}

#[test]
fn what_is_not_a_number_stays_so() {
    let view = whole(1, 2, 2);
    for isa in Isa::available() {
        let mut z = vec![Lanes::ZERO; view.geometry.block_len()];
        z[view.start(0, 1)].0[3] = f32::NAN;
        let channels = [Channel { scale: 1.0, ..Channel::default() }; 2];
        let mut a = vec![Lanes::ZERO; z.len()];
        normalize_relu(isa, (&z, view), &channels, 1, (&mut a, view));
        assert!(a[view.start(0, 1)].0[3].is_nan() && a[view.start(0, 0)].0[3] == 0.0);
        assert!(cross_entropy(isa, (&mut z, view), &[Lanes::ZERO; 2], 1, LANES, Some(1.0)).loss_sum.is_nan());
        assert!(z[view.start(0, 0)].0[3].is_nan() && !z[view.start(0, 0)].0[4].is_nan());
    }
}
