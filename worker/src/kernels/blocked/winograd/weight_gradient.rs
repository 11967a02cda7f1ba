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
use super::super::weights::{WeightShape, scatter};
use super::{GROUP, KERNEL, POINTS, TILE, point_step, transform_input};

/// Output channels of the narrower vectors.
const OCTET: usize = 8;

/// Input channels and vectors of output channels in a register tile, at most.
const TILE_INPUTS: usize = 8;
const TILE_VECTORS: usize = 3;

/// Input channels of a register tile where there are sixteen registers.
const FEW_INPUTS: usize = 4;

/// Outputs of a tile.
const POSITIONS: usize = TILE * TILE;

/// How output channels lie across vectors for an instruction set.
#[derive(Clone, Copy)]
struct Across {
    /// Instructions on vectors of output channels: of sixteen where these come out even, else of eight.
    isa: Isa,
    /// Output channels with those that make the last vector whole.
    padded: usize,
}

impl Across {
    fn new(isa: Isa, outputs: usize) -> Self {
        let narrow = isa.for_live(OCTET);
        let padded = outputs.next_multiple_of(if narrow.is_narrow() { OCTET } else { LANES });
        Self { isa: if padded.is_multiple_of(LANES) && !isa.has_few_registers() { isa } else { narrow }, padded }
    }
}

/// The parts of scratch memory, in vectors of sixteen: transformed inputs, transformed gradients, a tile of the gradient,
/// sums.
fn scratch_parts(inputs: usize, padded: usize) -> [usize; 4] {
    let points = POINTS * POINTS;
    [points * point_step(inputs), points * point_step(padded), POSITIONS * padded, points * inputs * padded / LANES]
}

/// Vectors of scratch memory that [`gradient`] needs.
#[must_use]
pub fn scratch_len(convolution: &Convolution) -> usize {
    scratch_parts(convolution.input_channels, convolution.output_channels.next_multiple_of(LANES)).iter().sum()
}

/// Numbers that [`gradient`] gives: at each point, input by output channels.
#[must_use]
pub fn sums(convolution: &Convolution) -> usize {
    POINTS * POINTS * convolution.input_channels * convolution.output_channels
}

/// One block of the operands: input, gradient, and how many of its lanes are images.
pub type Block<'a> = (&'a [Lanes], &'a [Lanes], usize);

/// Sums the products at each point over blocks and the rows `band` of the output, which are whole tiles.
///
/// # Panics
/// Where slices do not fit their shapes.
#[allow(clippy::too_many_arguments)]
pub fn gradient<'a>(
    isa: Isa,
    convolution: &Convolution,
    from: View,
    to: View,
    band: Range<usize>,
    blocks: impl Iterator<Item = Block<'a>>,
    scratch: &mut [Lanes],
    sums: &mut [f32],
) {
    let (inputs, outputs) = (convolution.input_channels, convolution.output_channels);
    assert!(from.channels == inputs && to.channels == outputs, "channels do not fit");
    assert_eq!((sums.len(), scratch.len()), (self::sums(convolution), scratch_len(convolution)), "wrong lengths");
    assert!(band.start.is_multiple_of(TILE) && band.len().is_multiple_of(TILE), "band of broken tiles");
    let across = Across::new(isa, outputs);
    let parts = scratch_parts(inputs, across.padded);
    let (points, scratch) = scratch.split_at_mut(parts[0]);
    let (gradients, scratch) = scratch.split_at_mut(parts[1]);
    let (transposed, scratch) = scratch.split_at_mut(parts[2]);
    let products = &mut scratch[..parts[3]];
    products.fill(Lanes::ZERO);
    let most_inputs = if isa.has_few_registers() { FEW_INPUTS } else { TILE_INPUTS };
    let (input_tiles, groups) = (even_parts(inputs, most_inputs), even_parts(to.geometry.width / TILE, GROUP));
    for (input, gradient, live) in blocks {
        assert_eq!((input.len(), gradient.len()), (from.geometry.block_len(), to.geometry.block_len()), "not one block each");
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
                    transpose(across.isa, gradient, to, (row, tile), live, across.padded, transposed);
                    transform_gradient(across.isa, transposed, t, live, across, gradients);
                }
                multiply(across.isa, points, gradients, (inputs, group.len(), live), across, &input_tiles, products);
            }
        }
    }
    for (sums, products) in sums.chunks_exact_mut(outputs).zip(numbers(products).chunks_exact(across.padded)) {
        sums.copy_from_slice(&products[..outputs]);
    }
}

for_each_isa! {
    /// A tile of the gradient of the outputs as `[position][lane][channel]`, with zeros for the channels that pad.
    fn transpose[V](gradient: &[Lanes], to: View, at: (usize, usize), live: usize, padded: usize, transposed: &mut [Lanes]) {
        let (row, tile) = at;
        assert_eq!(transposed.len(), POSITIONS * padded, "transposed tile does not fit");
        let gradient_numbers = numbers(gradient);
        let transposed = numbers_mut(transposed);
        let step = to.geometry.channel_step() * LANES;
        for (position, transposed) in transposed.chunks_exact_mut(LANES * padded).enumerate() {
            let first = to.start(row + position / TILE, 0) + tile * TILE + position % TILE;
            for channel in (0..padded).step_by(OCTET) {
                let here = to.channels.saturating_sub(channel).min(OCTET);
                let from = first * LANES + channel * step;
                for half in (0..live).step_by(OCTET) {
                    if here == OCTET {
                        assert!(from + half + (OCTET - 1) * step + OCTET <= gradient_numbers.len(), "tile beyond the block");
                        let (from, into) = (gradient_numbers[from + half..].as_ptr(), transposed[half * padded + channel..].as_mut_ptr());
                        // Eight lanes of eight channels, read within the block, asserted above, from multiples of eight
                        // numbers on; written to eight lanes of eight channels, of which there are `LANES` and `padded`.
                        V::transpose_octets(from, step, into, padded);
                    } else {
                        for lane in half..half + OCTET {
                            for c in 0..OCTET {
                                let value = if c < here { gradient_numbers[from + c * step + lane] } else { 0.0 };
                                transposed[lane * padded + channel + c] = value;
                            }
                        }
                    }
                }
            }
        }
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

/// Numbers in a vector.
const fn width<V: Vector>() -> usize {
    size_of::<V>() / size_of::<f32>()
}

for_each_isa! {
    /// Adds the products of a group of tiles to the sums of each point.
    fn multiply[V](
        points: &[Lanes], gradients: &[Lanes], extent: (usize, usize, usize), across: Across, input_tiles: &[Range<usize>],
        sums: &mut [Lanes],
    ) {
        let ((inputs, tiles, live), padded) = (extent, across.padded);
        let (input_step, gradient_step) = (point_step(inputs), point_step(padded));
        assert!(points.len() == POINTS * POINTS * input_step && gradients.len() == POINTS * POINTS * gradient_step, "wrong lengths");
        assert!(tiles <= GROUP && live <= LANES && padded.is_multiple_of(width::<V>()), "tiles, lanes or vectors that are not there");
        assert_eq!(sums.len() * LANES, POINTS * POINTS * inputs * padded, "sums do not fit");
        let (points, gradients, sums) = (numbers(points).as_ptr(), numbers(gradients).as_ptr(), numbers_mut(sums).as_mut_ptr());
        let vectors = padded / width::<V>();
        for point in 0..POINTS * POINTS {
            for inputs_of_tile in input_tiles {
                let x = points.add((point * input_step + inputs_of_tile.start * GROUP) * LANES);
                let mut first = 0;
                while first < vectors {
                    let count = (vectors - first).min(TILE_VECTORS);
                    let tile = Product {
                        x,
                        g: gradients.add(point * gradient_step * LANES + first * width::<V>()),
                        tiles,
                        live,
                        padded,
                        sums: sums.add((point * inputs + inputs_of_tile.start) * padded + first * width::<V>()),
                    };
                    // Input channels and vectors of output channels are those that there are (asserted above).
                    tile.run::<V>(inputs_of_tile.len(), count);
                    first += count;
                }
            }
        }
    }
}

/// A register tile's operands.
struct Product {
    x: *const f32,
    g: *const f32,
    tiles: usize,
    live: usize,
    padded: usize,
    sums: *mut f32,
}

#[allow(unsafe_code, clippy::inline_always)]
impl Product {
    /// Adds the products of so many input channels and vectors of output channels.
    ///
    /// # Safety
    /// On a processor that has the vector's instructions; the pointers must be valid for all tiles, lanes and channels.
    #[inline(always)]
    unsafe fn run<V: Vector>(&self, inputs: usize, vectors: usize) {
        macro_rules! dispatch {
            ($($inputs:literal),*) => {
                match (inputs, vectors) {
                    // SAFETY: the caller's.
                    $(($inputs, 1) => unsafe { self.tile::<V, $inputs, 1>() },
                      ($inputs, 2) => unsafe { self.tile::<V, $inputs, 2>() },
                      ($inputs, 3) => unsafe { self.tile::<V, $inputs, 3>() },)*
                    _ => unreachable!("register tile of {inputs} inputs and {vectors} vectors"),
                }
            };
        }
        dispatch!(1, 2, 3, 4, 5, 6, 7, 8);
    }

    /// # Safety
    /// As for [`Product::run`], with A input channels and B vectors.
    #[inline(always)]
    unsafe fn tile<V: Vector, const A: usize, const B: usize>(&self) {
        // SAFETY: all pointers stay where the caller vouches for them.
        unsafe {
            let mut sums = [[V::zero(); B]; A];
            for t in 0..self.tiles {
                let (x, g) = (self.x.add(t * LANES), self.g.add(t * LANES * self.padded));
                for lane in 0..self.live {
                    let (x, g) = (x.add(lane), g.add(lane * self.padded));
                    let mut gradients = [V::zero(); B];
                    for (b, gradient) in gradients.iter_mut().enumerate() {
                        *gradient = V::load(g.add(b * width::<V>()).cast());
                    }
                    for (a, sums) in sums.iter_mut().enumerate() {
                        let x = V::broadcast(x.add(a * GROUP * LANES));
                        for (sum, &gradient) in sums.iter_mut().zip(&gradients) {
                            *sum = sum.add_product(x, gradient);
                        }
                    }
                }
            }
            for (a, sums) in sums.iter().enumerate() {
                for (b, &sum) in sums.iter().enumerate() {
                    let into = self.sums.add(a * self.padded + b * width::<V>());
                    V::load(into.cast()).add(sum).store(into.cast());
                }
            }
        }
    }
}

/// Adds up the sums of all parts in their order, and transforms them to the weight's gradient.
///
/// # Panics
/// Where lengths do not fit.
pub fn finish(convolution: &Convolution, shape: &WeightShape, parts: &[f32], gradient: &mut [f32]) {
    let len = sums(convolution);
    assert_eq!((parts.len() % len, gradient.len()), (0, shape.len()), "parts or gradient do not fit");
    gradient.fill(0.0);
    let mut total = parts[..len].to_vec();
    for part in parts[len..].chunks_exact(len) {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }
    let (rows, columns) = (&convolution.rows.taps, &convolution.columns.taps);
    let pairs = convolution.input_channels * convolution.output_channels;
    for pair in 0..pairs {
        let (input, output) = (pair / convolution.output_channels, pair % convolution.output_channels);
        let mut lines = [[0.0f32; POINTS]; 3];
        for x in 0..POINTS {
            for (k, line) in lines.iter_mut().enumerate() {
                line[x] = (0..POINTS).map(|y| KERNEL[y][k] * total[(y * POINTS + x) * pairs + pair]).sum();
            }
        }
        for row in rows {
            let line = &lines[(row.input + 1).unsigned_abs()];
            for column in columns {
                let k = (column.input + 1).unsigned_abs();
                let sum = (0..POINTS).map(|x| line[x] * KERNEL[x][k]).sum::<f32>();
                scatter(shape, (input, output), (row, column), sum, gradient);
            }
        }
    }
}
