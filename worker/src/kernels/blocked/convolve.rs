//! The convolution kernel: register tiles of some columns by some output channels.
//!
//! A tile keeps its sums in registers and walks over the taps that are inside the image (rows outside are left out,
//! columns outside fall on the halo) and over the input channels; at each it reads one vector per column and broadcasts
//! one weight per output channel. The weights of a tile lie in the order of that walk ([`super::weights`]).

use std::ops::Range;

use super::even_parts;
use super::geometry::View;
use super::isa::{Isa, Set};
use super::taps::Taps;
use super::vector::{Lanes, Vector};

/// Columns of a register tile, at most.
const TILE_COLUMNS: usize = 4;

/// Output channels of a register tile, at most: 24 sums, 4 inputs and a weight fit the 32 registers of AVX-512.
pub const TILE_CHANNELS: usize = 6;

/// A convolution of any kind, on maps of any size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Convolution {
    /// Taps over rows.
    pub rows: Taps,
    /// Taps over columns.
    pub columns: Taps,
    /// Channels read.
    pub input_channels: usize,
    /// Channels written.
    pub output_channels: usize,
}

impl Convolution {
    /// With the same taps over rows and columns.
    #[must_use]
    pub fn square(taps: &Taps, input_channels: usize, output_channels: usize) -> Self {
        Self { rows: taps.clone(), columns: taps.clone(), input_channels, output_channels }
    }

    /// Its input gradient, for the first `channels` input channels.
    #[must_use]
    pub fn input_gradient(&self, channels: usize) -> Self {
        Self {
            rows: self.rows.transpose(),
            columns: self.columns.transpose(),
            input_channels: self.output_channels,
            output_channels: channels,
        }
    }

    /// Number of weight matrices: one per tap over rows and tap over columns.
    #[must_use]
    pub fn matrices(&self) -> usize {
        self.rows.taps.len() * self.columns.taps.len()
    }

    /// The register tiles' output channels.
    #[must_use]
    pub fn channel_tiles(&self) -> Vec<Range<usize>> {
        even_parts(self.output_channels, TILE_CHANNELS)
    }

    /// Halo that the input needs.
    #[must_use]
    pub fn halo(&self) -> usize {
        self.columns.halo()
    }
}

/// What the output starts from.
#[derive(Debug, Clone, Copy)]
pub enum Start<'a> {
    /// Zero.
    Zero,
    /// A bias per output channel.
    Bias(&'a [f32]),
    /// What is there.
    Output,
}

/// One tap of a tile: where the input lies relative to the tile's first column, and which weight matrix it takes.
#[derive(Clone, Copy, Default)]
pub(super) struct TileTap {
    pub(super) input: isize,
    pub(super) matrix: usize,
}

/// A register tile's operands.
pub(super) struct Tile<'a> {
    pub(super) input: *const Lanes,
    pub(super) input_column_step: usize,
    pub(super) input_channel_step: usize,
    pub(super) input_channels: usize,
    pub(super) taps: &'a [TileTap],
    pub(super) weights: *const f32,
    /// Null where the sums start from zero or from the output.
    pub(super) bias: *const f32,
    pub(super) output: *mut Lanes,
    pub(super) output_column_step: usize,
    pub(super) output_channel_step: usize,
    pub(super) accumulate: bool,
}

/// Convolves the grid rows `band` of one block. `output` holds the output rows of the band alone, `input` the whole
/// block; `weights` are packed for the convolution's channel tiles.
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
) {
    let Convolution { rows, columns, input_channels, output_channels } = convolution;
    let (source, target) = (from.geometry, to.geometry);
    let width = target.width / columns.output_step;
    assert!(from.channels == *input_channels && to.channels == *output_channels, "channels do not fit");
    assert!(from.channel + from.channels <= source.channels, "view of channels that are not there");
    assert!(to.channel + to.channels <= target.channels, "view of channels that are not there");
    assert_eq!(input.len(), source.block_len(), "input is not one block");
    assert_eq!(output.len(), band.len() * rows.output_step * target.row_step(), "output is not the band");
    assert_eq!((width * columns.input_step, source.halo >= convolution.halo()), (source.width, true), "input width");
    assert!(width * columns.output_step == target.width && band.end * rows.output_step <= target.height);
    assert!(source.height * rows.output_step == target.height * rows.input_step, "heights do not fit");
    assert_eq!(weights.len(), convolution.matrices() * input_channels * output_channels, "weights do not fit");
    if let Start::Bias(bias) = start {
        assert_eq!(bias.len(), *output_channels, "bias does not fit");
    }
    let channel_tiles = convolution.channel_tiles();
    let column_tiles = even_parts(width, TILE_COLUMNS);
    let mut taps = Vec::with_capacity(convolution.matrices());
    for (grid_row, row_phase, column_phase) in phases(band.clone(), rows.output_step, columns.output_step) {
        taps.clear();
        for r in rows.phase(row_phase) {
            if rows.valid(r, grid_row..grid_row + 1, source.height).is_empty() {
                continue;
            }
            // `valid` has it that this is within 0..height.
            let row = (rows.input_step * grid_row).wrapping_add_signed(rows.taps[r].input);
            let start = from.start(row, 0).cast_signed();
            for c in columns.phase(column_phase) {
                let matrix = r * columns.taps.len() + c;
                taps.push(TileTap { input: start + columns.taps[c].input, matrix });
            }
        }
        let row = (grid_row - band.start) * rows.output_step + row_phase;
        for tile_columns in &column_tiles {
            for channels in &channel_tiles {
                let to_start = to.start(row, channels.start) + columns.output_step * tile_columns.start + column_phase;
                // SAFETY of all pointers: the taps' rows are within the image, their columns reach at most a halo
                // beyond its ends (asserted above), so every read is inside the input's block; the output's row and
                // columns are within the band; a tile's weights are `matrices·input_channels·channels` numbers from
                // `matrices·input_channels·channels.start` on, and the whole has the length asserted above.
                #[allow(unsafe_code)]
                let tile = unsafe {
                    Tile {
                        input: input.as_ptr().add(columns.input_step * tile_columns.start),
                        input_column_step: columns.input_step,
                        input_channel_step: source.channel_step(),
                        input_channels: *input_channels,
                        taps: &taps,
                        weights: weights.as_ptr().add(channels.start * convolution.matrices() * input_channels),
                        bias: match start {
                            Start::Bias(bias) => bias.as_ptr().add(channels.start),
                            Start::Zero | Start::Output => std::ptr::null(),
                        },
                        output: output.as_mut_ptr().add(to_start),
                        output_column_step: columns.output_step,
                        output_channel_step: target.channel_step(),
                        accumulate: matches!(start, Start::Output),
                    }
                };
                // SAFETY: as above, for a tile of these columns and channels.
                #[allow(unsafe_code)]
                unsafe {
                    run(isa, &tile, tile_columns.len(), channels.len());
                }
            }
        }
    }
}

/// Grid rows of a band with the output phases over rows and columns.
fn phases(band: Range<usize>, rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    band.flat_map(move |row| (0..rows).flat_map(move |r| (0..columns).map(move |c| (row, r, c))))
}

/// Runs a tile of some columns and channels.
///
/// # Safety
/// The tile's pointers must be valid for all its taps, channels and columns.
#[allow(unsafe_code)]
pub(super) unsafe fn run(isa: Isa, tile: &Tile<'_>, columns: usize, channels: usize) {
    macro_rules! dispatch {
        ($run:ident) => {
            dispatch!($run, [1 1, 1 2, 1 3, 1 4, 1 5, 1 6, 2 1, 2 2, 2 3, 2 4, 2 5, 2 6,
                             3 1, 3 2, 3 3, 3 4, 3 5, 3 6, 4 1, 4 2, 4 3, 4 4, 4 5, 4 6])
        };
        ($run:ident, [$($columns:literal $channels:literal),*]) => {
            match (columns, channels) {
                // SAFETY: an `Isa` exists only where the processor has its instructions; pointers are the caller's.
                $(($columns, $channels) => unsafe { $run::<$columns, $channels>(tile) },)*
                _ => unreachable!("register tile of {columns} columns and {channels} channels"),
            }
        };
    }
    match isa.set() {
        Set::Portable => dispatch!(run_portable),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => dispatch!(run_avx2),
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 => dispatch!(run_avx512),
        #[cfg(target_arch = "x86_64")]
        Set::NarrowAvx2 => dispatch!(run_narrow_avx2),
        #[cfg(target_arch = "x86_64")]
        Set::NarrowAvx512 => dispatch!(run_narrow_avx512),
    }
}

#[allow(unsafe_code)]
unsafe fn run_portable<const P: usize, const C: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's.
    unsafe { body::<Lanes, P, C>(tile) }
}

/// A column at a time, whose sums fit the 16 registers. Both halves of a cache line are taken at once, and the next column
/// finds the most of what it reads in the first cache.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_avx2<const P: usize, const C: usize>(tile: &Tile<'_>) {
    for column in 0..P {
        // SAFETY: the caller's; each column is walked once.
        unsafe {
            body::<super::x86::Pair, 1, C>(&Tile {
                input: tile.input.add(column * tile.input_column_step),
                output: tile.output.add(column * tile.output_column_step),
                ..*tile
            });
        }
    }
}

/// Two columns at a time of the eight lanes that the pointers point to.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_narrow_avx2<const P: usize, const C: usize>(tile: &Tile<'_>) {
    use super::x86::Half;
    for column in (0..P).step_by(2) {
        // SAFETY: the caller's; each column is walked once.
        unsafe {
            let part = Tile {
                input: tile.input.add(column * tile.input_column_step),
                output: tile.output.add(column * tile.output_column_step),
                ..*tile
            };
            if column + 1 < P { body::<Half, 2, C>(&part) } else { body::<Half, 1, C>(&part) }
        }
    }
}

/// All columns at once of the eight lanes that the pointers point to.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_narrow_avx512<const P: usize, const C: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's.
    unsafe { body::<super::x86::Half, P, C>(tile) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn run_avx512<const P: usize, const C: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's.
    unsafe { body::<std::arch::x86_64::__m512, P, C>(tile) }
}

/// # Safety
/// As for [`run`], with P columns and C channels, on a processor that has `V`.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always)]
unsafe fn body<V: Vector, const P: usize, const C: usize>(tile: &Tile<'_>) {
    // SAFETY: all pointers stay where the caller vouches for them: columns below P, channels below C and below
    // `input_channels`, taps from the list.
    unsafe {
        let mut sums = [[V::zero(); C]; P];
        if tile.accumulate {
            for (p, sums) in sums.iter_mut().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(tile.output.add(p * tile.output_column_step + c * tile.output_channel_step));
                }
            }
        } else if !tile.bias.is_null() {
            for c in 0..C {
                let bias = V::broadcast(tile.bias.add(c));
                for sums in &mut sums {
                    sums[c] = bias;
                }
            }
        }
        let step = tile.input_column_step;
        for tap in tile.taps {
            let mut input = tile.input.offset(tap.input);
            let mut weights = tile.weights.add(tap.matrix * tile.input_channels * C);
            for _ in 0..tile.input_channels {
                let mut columns = [V::zero(); P];
                for (p, column) in columns.iter_mut().enumerate() {
                    *column = V::load(input.add(p * step));
                }
                for c in 0..C {
                    let weight = V::broadcast(weights.add(c));
                    for (sums, &column) in sums.iter_mut().zip(&columns) {
                        sums[c] = sums[c].add_product(column, weight);
                    }
                }
                // After the last channel the pointers may leave their slices; they are not read there.
                input = input.wrapping_add(tile.input_channel_step);
                weights = weights.wrapping_add(C);
            }
        }
        for (p, sums) in sums.iter().enumerate() {
            for (c, sum) in sums.iter().enumerate() {
                sum.store(tile.output.add(p * tile.output_column_step + c * tile.output_channel_step));
            }
        }
    }
}
