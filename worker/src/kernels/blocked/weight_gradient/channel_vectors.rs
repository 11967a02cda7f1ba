//! Output channels side by side: what weight gradients with channels in the lanes are made of.
//!
//! A gradient is transposed from vectors of images to vectors of channels, position by position and image by image; then each
//! number of the input is broadcast and multiplied by the vectors of its position and image.

use std::ops::Range;

use super::super::even_parts;
use super::super::geometry::View;
use super::super::isa::{Isa, for_each_isa};
use super::super::vector::{LANES, Lanes, Vector, numbers, numbers_mut};

/// Output channels of the narrower vectors.
const OCTET: usize = 8;

/// Inputs in a register tile, at most.
pub const TILE_INPUTS: usize = 8;

/// Vectors of output channels in a register tile, at most.
pub const TILE_VECTORS: usize = 3;

/// A register tile: some inputs by some vectors of output channels.
pub(in super::super) struct RegisterTile {
    pub(in super::super) inputs: Range<usize>,
    pub(in super::super) vectors: Range<usize>,
}

/// How output channels lie across vectors for an instruction set.
#[derive(Clone, Copy)]
pub struct Across {
    /// Instructions on vectors of output channels: of sixteen where these come out even, else of eight.
    pub isa: Isa,
    /// Output channels with those that make the last vector whole.
    pub padded: usize,
}

impl Across {
    /// For so many output channels.
    #[must_use]
    pub fn new(isa: Isa, outputs: usize) -> Self {
        let narrow = isa.for_live(OCTET);
        let padded = outputs.next_multiple_of(if narrow.is_narrow() { OCTET } else { LANES });
        Self { isa: if padded.is_multiple_of(LANES) && !isa.has_few_registers() { isa } else { narrow }, padded }
    }

    /// Output channels in a vector.
    #[must_use]
    pub fn vector(self) -> usize {
        if self.isa.is_narrow() { OCTET } else { LANES }
    }

    /// All output channels in groups of as many vectors as a register tile has.
    pub(in super::super) fn groups(self) -> Vec<Range<usize>> {
        even_parts(self.padded / self.vector(), TILE_VECTORS)
    }

    /// The register tiles of some inputs by a group of vectors. Where there are sixteen registers, one or more stay free: a
    /// compiler that reads an input ahead would else put a sum into memory.
    pub(in super::super) fn tiles(self, inputs: usize, vectors: Range<usize>) -> impl Iterator<Item = RegisterTile> {
        let most = match vectors.len() {
            2 if self.isa.has_few_registers() => 6,
            3 if self.isa.has_few_registers() => 3,
            _ => TILE_INPUTS,
        };
        even_parts(inputs, most).into_iter().map(move |inputs| RegisterTile { inputs, vectors: vectors.clone() })
    }
}

/// Numbers in a vector.
pub(in super::super) const fn width<V: Vector>() -> usize {
    size_of::<V>() / size_of::<f32>()
}

/// Some positions of a row of a block.
#[derive(Debug, Clone, Copy)]
pub struct Positions {
    /// Index of the vector of the first position in the view's first channel.
    pub first: usize,
    /// Vectors from one to the next.
    pub step: usize,
    /// Their number.
    pub count: usize,
}

for_each_isa! {
    /// Some channels of a gradient at some positions as `[position][lane][channel]`, with zeros for the channels that pad;
    /// lanes from `live` on have any values.
    pub fn transpose[V](
        gradient: (&[Lanes], View), positions: Positions, channels: Range<usize>, live: usize, padded: usize, transposed: &mut [Lanes],
    ) {
        let (gradient, view) = (numbers(gradient.0), gradient.1);
        assert!(transposed.len() == positions.count * padded && padded >= channels.len() && live <= LANES, "transposed positions do not fit");
        assert!(padded.is_multiple_of(OCTET), "no whole vectors");
        let step = view.geometry.channel_step() * LANES;
        for (position, transposed) in numbers_mut(transposed).chunks_exact_mut(LANES * padded).enumerate() {
            let first = (positions.first + position * positions.step) * LANES + channels.start * step;
            for channel in (0..padded).step_by(OCTET) {
                let here = channels.len().saturating_sub(channel).min(OCTET);
                let from = first + channel * step;
                for half in (0..live).step_by(OCTET) {
                    if here == OCTET {
                        assert!(from + half + (OCTET - 1) * step + OCTET <= gradient.len(), "positions beyond the block");
                        let (from, into) = (gradient[from + half..].as_ptr(), transposed[half * padded + channel..].as_mut_ptr());
                        // Eight lanes of eight channels, read within the block, asserted above, from multiples of eight
                        // numbers on; written to eight lanes of eight channels, of which there are `LANES` and `padded`.
                        V::transpose_octets(from, step, into, padded);
                    } else {
                        for lane in half..half + OCTET {
                            for c in 0..OCTET {
                                let value = if c < here { gradient[from + c * step + lane] } else { 0.0 };
                                transposed[lane * padded + channel + c] = value;
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A register tile's operands: inputs by vectors of output channels, over positions and lanes.
pub(in super::super) struct Products {
    /// Lanes of the first position of each input.
    pub(in super::super) inputs: [*const f32; TILE_INPUTS],
    /// Numbers from one position of an input to the next.
    pub(in super::super) input_step: usize,
    /// Channels of the first lane of the first position.
    pub(in super::super) gradients: *const f32,
    /// Numbers from one lane of the gradients to the next; a position has sixteen lanes.
    pub(in super::super) gradient_step: usize,
    pub(in super::super) positions: usize,
    pub(in super::super) live: usize,
    /// Sums of the first input.
    pub(in super::super) sums: *mut f32,
    /// Numbers from the sums of one input to those of the next.
    pub(in super::super) sums_step: usize,
}

#[allow(unsafe_code, clippy::inline_always)]
impl Products {
    /// Adds the products of so many inputs and vectors of output channels to the sums.
    ///
    /// # Safety
    /// On a processor that has the vector's instructions; the pointers must be valid for all inputs, positions, lanes and
    /// vectors.
    #[inline(always)]
    pub(in super::super) unsafe fn add<V: Vector>(&self, inputs: usize, vectors: usize) {
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
    /// As for [`Products::add`], with A inputs and B vectors.
    #[inline(always)]
    unsafe fn tile<V: Vector, const A: usize, const B: usize>(&self) {
        // SAFETY: all pointers stay where the caller vouches for them.
        unsafe {
            let mut sums = [[V::zero(); B]; A];
            for position in 0..self.positions {
                let gradients = self.gradients.add(position * LANES * self.gradient_step);
                for lane in 0..self.live {
                    let mut vectors = [V::zero(); B];
                    for (b, vector) in vectors.iter_mut().enumerate() {
                        *vector = V::load(gradients.add(lane * self.gradient_step + b * width::<V>()).cast());
                    }
                    for (input, sums) in self.inputs.iter().zip(&mut sums) {
                        let input = V::broadcast(input.add(position * self.input_step + lane));
                        for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                            *sum = sum.add_product(input, vector);
                        }
                    }
                }
            }
            for (a, sums) in sums.iter().enumerate() {
                for (b, &sum) in sums.iter().enumerate() {
                    let into = self.sums.add(a * self.sums_step + b * width::<V>());
                    V::load(into.cast()).add(sum).store(into.cast());
                }
            }
        }
    }
}
