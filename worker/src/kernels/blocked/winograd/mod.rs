//! Winograd's minimal filtering F(4×4, 3×3) for stride-1 convolutions with a 3×3 kernel (Lavin & Gray, 2016).
//!
//! Sixteen outputs take 36 multiply-adds per pair of channels instead of 144, at the price of transforms of inputs and
//! outputs, which in a blocked map are plain additions of vectors. The products at each of the 36 points are the register
//! tiles of [`super::convolve`]. Rounding grows by about a digit, far inside what training needs.

pub mod weight_gradient;
mod weights;

use std::mem::MaybeUninit;
use std::ops::Range;

use super::convolve::{Convolution, Start, Tile, TileTap, run};
use super::even_parts;
use super::geometry::View;
use super::isa::{Isa, for_each_isa};
use super::vector::{Lanes, Vector, prefetch};

pub use weights::pack;

/// Outputs per side of a tile.
pub const TILE: usize = 4;

/// Inputs per side of a tile, and points of the product.
const POINTS: usize = TILE + 2;

/// Tiles that are multiplied together.
const GROUP: usize = 4;

/// Whether a convolution between maps of this height and width can go this way: a 3×3 kernel at stride 1, whole tiles, and
/// channels enough to be worth the transforms.
#[must_use]
pub fn applies(convolution: &Convolution, height: usize, width: usize) -> bool {
    let Convolution { rows, columns, input_channels, output_channels } = convolution;
    let plain = [rows, columns].iter().all(|taps| {
        let mut offsets: Vec<isize> = taps.taps.iter().map(|tap| tap.input).collect();
        offsets.sort_unstable();
        (taps.input_step, taps.output_step, &offsets[..]) == (1, 1, &[-1, 0, 1][..])
    });
    plain && height.is_multiple_of(TILE) && width.is_multiple_of(TILE) && (*input_channels).min(*output_channels) >= 16
}

/// Length of the packed weights.
#[must_use]
pub fn packed_len(convolution: &Convolution) -> usize {
    POINTS * POINTS * convolution.input_channels * convolution.output_channels
}

/// Vectors from one point to the next in scratch memory. It is odd, so that the 36 points of a tile, which are written
/// and read together, fall into different sets of the first cache.
fn point_step(channels: usize) -> usize {
    (GROUP * channels) | 1
}

/// Vectors of scratch memory that [`convolve`] needs.
#[must_use]
pub fn scratch_len(convolution: &Convolution) -> usize {
    POINTS * POINTS * (point_step(convolution.input_channels) + point_step(convolution.output_channels))
}

/// As [`super::convolve::convolve`] for a band of whole tiles, with weights from [`pack`].
///
/// # Panics
/// Where slices do not fit their shapes.
#[allow(clippy::too_many_arguments)]
pub fn convolve(
    isa: Isa,
    convolution: &Convolution,
    input: &[Lanes],
    from: View,
    weights: &[f32],
    start: Start<'_>,
    band: Range<usize>,
    output: &mut [Lanes],
    to: View,
    scratch: &mut [Lanes],
) {
    let (inputs, outputs) = (convolution.input_channels, convolution.output_channels);
    assert!(from.channels == inputs && to.channels == outputs, "channels do not fit");
    assert_eq!((weights.len(), scratch.len()), (packed_len(convolution), scratch_len(convolution)), "wrong lengths");
    assert!(band.start.is_multiple_of(TILE) && band.len().is_multiple_of(TILE), "band of broken tiles");
    let (input_step, output_step) = (point_step(inputs), point_step(outputs));
    let (points, products) = scratch.split_at_mut(POINTS * POINTS * input_step);
    let channel_tiles = convolution.channel_tiles();
    let tiles = to.geometry.width / TILE;
    let groups = even_parts(tiles, GROUP);
    for tile_row in (band.start..band.end).step_by(TILE) {
        // What the next row of tiles reads and writes, which follows in memory.
        let source = from.geometry.row_step();
        let ahead = (tile_row + TILE + 1).min(from.geometry.height)..(tile_row + 2 * TILE + 1).min(from.geometry.height);
        let next_input = &input[ahead.start * source..ahead.end * source];
        let target = to.geometry.row_step();
        for (index, group) in groups.iter().enumerate() {
            transform_input(isa, input, from, tile_row, group.clone(), points);
            let next_output = (tile_row - band.start + TILE).min(band.len() - TILE) * target;
            for point in 0..POINTS * POINTS {
                let (part, parts) = (index * POINTS * POINTS + point, groups.len() * POINTS * POINTS);
                prefetch(next_input, part, parts);
                prefetch(&output[next_output..next_output + TILE * target], part, parts);
                let weights = &weights[point * inputs * outputs..][..inputs * outputs];
                let points = &points[point * input_step..][..inputs * GROUP];
                let products = &mut products[point * output_step..][..outputs * GROUP];
                for channels in &channel_tiles {
                    let tile = Tile {
                        input: points.as_ptr(),
                        input_column_step: 1,
                        input_channel_step: GROUP,
                        input_channels: inputs,
                        taps: &[TileTap { input: 0, matrix: 0 }],
                        weights: weights[channels.start * inputs..].as_ptr(),
                        bias: std::ptr::null(),
                        output: products[channels.start * GROUP..].as_mut_ptr(),
                        output_column_step: 1,
                        output_channel_step: GROUP,
                        accumulate: false,
                    };
                    // SAFETY: a tile of at most GROUP columns reads `inputs·GROUP` vectors, all of `points`, and from
                    // `channels.start` on `inputs·channels` weights, and writes `channels·GROUP` vectors, within the
                    // `inputs·outputs` and `outputs·GROUP` of the other two slices.
                    #[allow(unsafe_code)]
                    unsafe {
                        run(isa, &tile, group.len(), channels.len());
                    }
                }
            }
            transform_output(isa, products, tile_row - band.start, group.clone(), start, output, to);
        }
    }
}

/// One line of the input's transform `Bᵀ`.
///
/// # Safety
/// On a processor that has the vector's instructions.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always)]
unsafe fn input_line<V: Vector>(d: [V; POINTS]) -> [V; POINTS] {
    // SAFETY: the caller's.
    unsafe {
        let (four, five, two) = (V::splat(4.0), V::splat(-5.0), V::splat(2.0));
        let minus_four = V::splat(-4.0);
        let even = d[4].add_product(minus_four, d[2]);
        let odd = d[3].add_product(minus_four, d[1]);
        let difference = d[4].sub(d[2]);
        let double = d[3].sub(d[1]).mul(two);
        [
            d[4].add_product(four, d[0]).add_product(five, d[2]),
            even.add(odd),
            even.sub(odd),
            difference.add(double),
            difference.sub(double),
            d[5].add_product(four, d[1]).add_product(five, d[3]),
        ]
    }
}

/// One line of the output's transform `Aᵀ`.
///
/// # Safety
/// On a processor that has the vector's instructions.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always)]
unsafe fn output_line<V: Vector>(m: [V; POINTS]) -> [V; TILE] {
    // SAFETY: the caller's.
    unsafe {
        let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (far_sum, far_difference) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(sum).add(far_sum),
            difference.add_product(V::splat(2.0), far_difference),
            sum.add_product(V::splat(4.0), far_sum),
            difference.add_product(V::splat(8.0), far_difference).add(m[5]),
        ]
    }
}

for_each_isa! {
    /// Transforms the inputs of a group of tiles to `[point][channel][tile of the group]`.
    pub fn transform_input[V](input: &[Lanes], from: View, row: usize, group: Range<usize>, points: &mut [Lanes]) {
        let step = point_step(from.channels);
        assert!(group.len() <= GROUP && points.len() == POINTS * POINTS * step, "points do not fit");
        let points = points.as_mut_ptr();
        for c in 0..from.channels {
            for (t, tile) in group.clone().enumerate() {
                // Not zeros first: two thousand bytes of them for each tile take as long as its additions.
                let mut lines = [MaybeUninit::<[V; POINTS]>::uninit(); POINTS];
                for (y, line) in lines.iter_mut().enumerate() {
                    let mut d = [V::zero(); POINTS];
                    // The first line lies one row above the tile.
                    if (1..=from.geometry.height).contains(&(row + y)) {
                        let first = from.start(row + y - 1, c) + tile * TILE - 1;
                        for (d, input) in d.iter_mut().zip(&input[first..first + POINTS]) {
                            *d = V::load(input);
                        }
                        d = input_line(d);
                    }
                    line.write(d);
                }
                // Points of this channel and tile: the step holds `channels·GROUP` vectors, the slice 36 steps.
                let into = points.add(c * GROUP + t);
                for x in 0..POINTS {
                    let mut column = [V::zero(); POINTS];
                    for (value, line) in column.iter_mut().zip(&lines) {
                        // Every line has been written.
                        *value = line.assume_init_ref()[x];
                    }
                    let column = input_line(column);
                    for (y, value) in column.iter().enumerate() {
                        value.store(into.add((y * POINTS + x) * step));
                    }
                }
            }
        }
    }
}

for_each_isa! {
    /// Transforms products `[point][channel][tile of the group]` to a group of tiles.
    pub fn transform_output[V](
        products: &[Lanes], row: usize, group: Range<usize>, start: Start<'_>, output: &mut [Lanes], to: View,
    ) {
        let step = point_step(to.channels);
        assert!(group.len() <= GROUP && products.len() == POINTS * POINTS * step, "products do not fit");
        let products = products.as_ptr();
        for channel in 0..to.channels {
            let bias = match start {
                Start::Bias(bias) => V::splat(bias[channel]),
                Start::Zero | Start::Output => V::zero(),
            };
            for (t, tile) in group.clone().enumerate() {
                // Products of this channel and tile: the step holds `channels·GROUP` vectors, the slice 36 steps.
                let from = products.add(channel * GROUP + t);
                let mut lines = [[V::zero(); TILE]; POINTS];
                for (y, line) in lines.iter_mut().enumerate() {
                    let mut m = [V::zero(); POINTS];
                    for (x, m) in m.iter_mut().enumerate() {
                        *m = V::load(from.add((y * POINTS + x) * step));
                    }
                    *line = output_line(m);
                }
                let mut columns = [[V::zero(); TILE]; TILE];
                for (x, results) in columns.iter_mut().enumerate() {
                    let mut column = [V::zero(); POINTS];
                    for (value, line) in column.iter_mut().zip(&lines) {
                        *value = line[x];
                    }
                    *results = output_line(column);
                }
                for y in 0..TILE {
                    let first = to.start(row + y, channel) + tile * TILE;
                    for (into, results) in output[first..first + TILE].iter_mut().zip(&columns) {
                        let before = if matches!(start, Start::Output) { V::load(into) } else { bias };
                        before.add(results[y]).store(into);
                    }
                }
            }
        }
    }
}
