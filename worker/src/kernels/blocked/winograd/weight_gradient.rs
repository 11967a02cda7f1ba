//! The gradient of a 3×3 kernel through the points of F(4×4, 3×3).
//!
//! The output is `Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A`, so the gradient of the kernel `g` is `Gᵀ[Σ (Bᵀ d B) ⊙ (A y Aᵀ)]G` with `y` the
//! gradient of a tile of outputs: 36 multiply-adds per tile and pair of channels instead of 144. The sums at each point
//! are a matrix of input by output channels over tiles and images. Its rows are vectors of output channels, so it has one
//! number per pair of channels and not a vector of images: it stays in the second cache, and images that are not there
//! cost nothing. For that the gradient is transposed from images side by side to channels side by side before its
//! transform; of the input single numbers are broadcast.

use std::ops::Range;

use super::super::convolve::Convolution;
use super::super::even_parts;
use super::super::geometry::View;
use super::super::isa::{Isa, for_each_isa};
use super::super::vector::{LANES, Lanes, Vector, numbers, numbers_mut, prefetch};
use super::super::weight_gradient::add_chunks;
use super::super::weight_gradient::channel_vectors::{Across, Positions, Products, RegisterTile, TILE_INPUTS, transpose, width};
use super::super::weights::WeightShape;
use super::weights::unpack;
use super::{GROUP, POINTS, TILE, point_step, transform_input};

/// Outputs of a tile.
const POSITIONS: usize = TILE * TILE;

/// The parts of scratch memory, in vectors of sixteen: transformed inputs, transformed gradients, a tile of the gradient,
/// sums.
fn scratch_parts(inputs: usize, padded: usize) -> [usize; 4] {
    let points = POINTS * POINTS;
    [points * point_step(inputs), points * point_step(padded), POSITIONS * padded, points * inputs * padded / LANES]
}

/// Scratch memory in its parts.
fn split<'a>(convolution: &Convolution, across: Across, scratch: &'a mut [Lanes]) -> [&'a mut [Lanes]; 4] {
    assert_eq!(scratch.len(), scratch_len(convolution), "scratch memory does not fit");
    let parts = scratch_parts(convolution.input_channels, across.padded);
    let mut rest = scratch;
    parts.map(|len| {
        let part;
        (part, rest) = std::mem::take(&mut rest).split_at_mut(len);
        part
    })
}

/// Vectors of scratch memory that [`add_block`] needs; the sums stay there from block to block.
#[must_use]
pub fn scratch_len(convolution: &Convolution) -> usize {
    scratch_parts(convolution.input_channels, convolution.output_channels.next_multiple_of(LANES)).iter().sum()
}

/// Numbers that [`read_sums`] gives: at each point, input by output channels.
#[must_use]
pub fn sums(convolution: &Convolution) -> usize {
    POINTS * POINTS * convolution.input_channels * convolution.output_channels
}

/// Adds one block's products at each point over the rows `band` of the output, which are whole tiles, to the sums in scratch
/// memory (starts them if `first`).
///
/// # Panics
/// Where slices do not fit their shapes.
#[allow(clippy::too_many_arguments)]
pub fn add_block(
    isa: Isa,
    convolution: &Convolution,
    band: Range<usize>,
    (input, from): (&[Lanes], View),
    (gradient, to): (&[Lanes], View),
    live: usize,
    first: bool,
    scratch: &mut [Lanes],
) {
    let (inputs, outputs) = (convolution.input_channels, convolution.output_channels);
    assert!(from.channels == inputs && to.channels == outputs, "channels do not fit");
    assert_eq!((input.len(), gradient.len()), (from.geometry.block_len(), to.geometry.block_len()), "not one block each");
    assert!(band.start.is_multiple_of(TILE) && band.len().is_multiple_of(TILE), "band of broken tiles");
    let across = Across::new(isa, outputs);
    let [points, gradients, transposed, products] = split(convolution, across, scratch);
    if first {
        products.fill(Lanes::ZERO);
    }
    let groups = even_parts(to.geometry.width / TILE, GROUP);
    let tiles: Vec<RegisterTile> = across.groups().into_iter().flat_map(|vectors| across.tiles(inputs, vectors)).collect();
    for row in band.clone().step_by(TILE) {
        let ahead = |rows: Range<usize>, view: View| {
            let last = view.geometry.height.min(band.end + 1);
            rows.start.min(last) * view.geometry.row_step()..rows.end.min(last) * view.geometry.row_step()
        };
        let next_input = &input[ahead(row + TILE + 1..row + 2 * TILE + 1, from)];
        let next_gradient = &gradient[ahead(row + TILE..row + 2 * TILE, to)];
        for (index, group) in groups.iter().enumerate() {
            transform_input(isa.for_live(live), input, from, row, group.clone(), points);
            for (t, tile) in group.clone().enumerate() {
                let at = (index * GROUP + t, groups.len() * GROUP);
                prefetch(next_input, at.0, at.1);
                prefetch(next_gradient, at.0, at.1);
                for (y, transposed) in transposed.chunks_exact_mut(TILE * across.padded).enumerate() {
                    let first = to.start(row + y, 0) + tile * TILE;
                    let positions = Positions { first, step: 1, count: TILE };
                    transpose(across.isa, (gradient, to), positions, 0..to.channels, live, across.padded, transposed);
                }
                transform_gradient(across.isa, transposed, t, live, across, gradients);
            }
            multiply(across.isa, points, gradients, (inputs, group.len(), live), across, &tiles, products);
        }
    }
}

/// The sums that the blocks left in scratch memory, in `sums`.
///
/// # Panics
/// Where slices do not fit the convolution.
pub fn read_sums(isa: Isa, convolution: &Convolution, scratch: &mut [Lanes], sums: &mut [f32]) {
    assert_eq!(sums.len(), self::sums(convolution), "sums do not fit");
    let across = Across::new(isa, convolution.output_channels);
    let [.., products] = split(convolution, across, scratch);
    for (sums, products) in sums.chunks_exact_mut(convolution.output_channels).zip(numbers(products).chunks_exact(across.padded)) {
        sums.copy_from_slice(&products[..convolution.output_channels]);
    }
}

/// One line of the gradient's transform `A`.
///
/// # Safety
/// On a processor that has the vector's instructions.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always)]
unsafe fn gradient_line<V: Vector>(y: [V; TILE]) -> [V; POINTS] {
    // SAFETY: the caller's.
    unsafe {
        let (even, odd) = (y[0].add(y[2]), y[1].add(y[3]));
        let far_even = y[0].add_product(V::splat(4.0), y[2]);
        let far_odd = y[1].add_product(V::splat(4.0), y[3]).mul(V::splat(2.0));
        [y[0], even.add(odd), even.sub(odd), far_even.add(far_odd), far_even.sub(far_odd), y[3]]
    }
}

for_each_isa! {
    /// Transforms the `t`-th tile of a group, as [`transpose`] left it, to `[point][tile of the group][lane][channel]`.
    fn transform_gradient[V](transposed: &[Lanes], t: usize, live: usize, across: Across, gradients: &mut [Lanes]) {
        let padded = across.padded;
        let step = point_step(padded) * LANES;
        assert_eq!((transposed.len(), gradients.len()), (POSITIONS * padded, POINTS * POINTS * point_step(padded)), "wrong lengths");
        assert!(t < GROUP && live <= LANES && padded.is_multiple_of(width::<V>()), "tile, lanes or vectors that are not there");
        // Within a position: lanes below `LANES` of `padded` numbers each, whole vectors. Within a point: as many of `GROUP` tiles.
        let (from, into) = (numbers(transposed).as_ptr(), numbers_mut(gradients).as_mut_ptr().add(t * LANES * padded));
        for at in (0..live * padded).step_by(width::<V>()) {
            let mut lines = [[V::zero(); POINTS]; TILE];
            for (y, line) in lines.iter_mut().enumerate() {
                let mut values = [V::zero(); TILE];
                for (x, value) in values.iter_mut().enumerate() {
                    *value = V::load(from.add((y * TILE + x) * LANES * padded + at).cast());
                }
                *line = gradient_line(values);
            }
            for x in 0..POINTS {
                let mut column = [V::zero(); TILE];
                for (value, line) in column.iter_mut().zip(&lines) {
                    *value = line[x];
                }
                for (y, value) in gradient_line(column).iter().enumerate() {
                    value.store(into.add((y * POINTS + x) * step + at).cast());
                }
            }
        }
    }
}

for_each_isa! {
    /// Adds the products of a group of tiles to the sums of each point.
    fn multiply[V](
        points: &[Lanes], gradients: &[Lanes], extent: (usize, usize, usize), across: Across, register_tiles: &[RegisterTile],
        sums: &mut [Lanes],
    ) {
        let ((channels, tiles, live), padded) = (extent, across.padded);
        let (input_step, gradient_step) = (point_step(channels), point_step(padded));
        assert!(points.len() == POINTS * POINTS * input_step && gradients.len() == POINTS * POINTS * gradient_step, "wrong lengths");
        assert!(tiles <= GROUP && live <= LANES, "tiles or lanes that are not there");
        assert!(register_tiles.iter().all(|tile| tile.inputs.end <= channels && tile.vectors.end * width::<V>() <= padded), "no such channels");
        assert_eq!(sums.len() * LANES, POINTS * POINTS * channels * padded, "sums do not fit");
        let (points, gradients, sums) = (numbers(points).as_ptr(), numbers(gradients).as_ptr(), numbers_mut(sums).as_mut_ptr());
        for point in 0..POINTS * POINTS {
            for tile in register_tiles {
                let mut inputs = [std::ptr::null(); TILE_INPUTS];
                for (channel, input) in tile.inputs.clone().zip(&mut inputs) {
                    *input = points.add((point * input_step + channel * GROUP) * LANES);
                }
                let first = tile.vectors.start * width::<V>();
                let products = Products {
                    inputs,
                    input_step: LANES,
                    gradients: gradients.add(point * gradient_step * LANES + first),
                    gradient_step: padded,
                    positions: tiles,
                    live,
                    sums: sums.add((point * channels + tile.inputs.start) * padded + first),
                    sums_step: padded,
                };
                // Input channels and vectors of output channels are those that there are (asserted above).
                products.add::<V>(tile.inputs.len(), tile.vectors.len());
            }
        }
    }
}

/// Adds up the sums of all parts in their order, in the first one's memory, and transforms them to the weight's gradient.
///
/// # Panics
/// Where lengths do not fit.
pub fn finish(isa: Isa, convolution: &Convolution, shape: &WeightShape, parts: &mut [f32], gradient: &mut [f32]) {
    let len = sums(convolution);
    assert_eq!((parts.len() % len, gradient.len()), (0, shape.len()), "parts or gradient do not fit");
    unpack(isa, convolution, shape, add_chunks(parts, len), gradient);
}
