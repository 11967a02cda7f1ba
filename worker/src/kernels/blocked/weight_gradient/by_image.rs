//! Images in the lanes: register tiles of some inputs by some output channels.
//!
//! For each tap over rows, a tile pairs up to six input streams (an input channel at a tap over columns) with up to four
//! output channels and sums their products over grid positions, image by image in the lanes. Tiles' sums stay in memory
//! between visits; a visit covers rows enough to hide that, few enough that a tile's operands stay in the first cache.
//! At the end of a chunk of the batch the lanes are added up, and the chunks' sums in chunk order.

use std::ops::Range;

use super::super::convolve::Convolution;
use super::super::even_parts;
use super::super::geometry::View;
use super::super::isa::{Isa, Set, for_each_isa};
use super::super::vector::{LANES, Lanes, Vector, prefetch};
use super::super::weights::{WeightShape, scatter};
use super::{add_chunks, grid_width};

/// Input streams of a register tile, at most.
const TILE_STREAMS: usize = 6;

/// Output channels of a register tile, at most.
const TILE_OUTPUTS: usize = 4;

/// Grid positions per visit of a tile.
const VISIT_POSITIONS: usize = 64;

/// One register tile: streams (input channel, tap over columns) by output channels, at one tap over rows.
struct Tile {
    row: usize,
    column_phase: usize,
    streams: Vec<(usize, usize)>,
    outputs: Range<usize>,
}

/// The tiles of a weight gradient in the order of their sums, by tile of output channels.
pub struct WeightGradient {
    convolution: Convolution,
    tiles: Vec<Tile>,
    /// Per tile of output channels, its tiles.
    groups: Vec<Range<usize>>,
}

impl WeightGradient {
    /// For the weights of a layer's forward convolution.
    #[must_use]
    pub fn new(convolution: &Convolution) -> Self {
        let (mut tiles, mut groups) = (Vec::new(), Vec::new());
        for outputs in even_parts(convolution.output_channels, TILE_OUTPUTS) {
            let first = tiles.len();
            for row in 0..convolution.rows.taps.len() {
                for column_phase in 0..convolution.columns.output_step {
                    let taps: Vec<usize> = convolution.columns.phase(column_phase).collect();
                    let streams: Vec<(usize, usize)> =
                        (0..convolution.input_channels).flat_map(|channel| taps.iter().map(move |&tap| (channel, tap))).collect();
                    tiles.extend(even_parts(streams.len(), TILE_STREAMS).into_iter().map(|part| Tile {
                        row,
                        column_phase,
                        streams: streams[part].to_vec(),
                        outputs: outputs.clone(),
                    }));
                }
            }
            groups.push(first..tiles.len());
        }
        Self { convolution: convolution.clone(), tiles, groups }
    }

    /// Tiles of output channels: what work can be split by.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    fn tiles(&self, groups: Range<usize>) -> &[Tile] {
        match groups.is_empty() {
            true => &[],
            false => &self.tiles[self.groups[groups.start].start..self.groups[groups.end - 1].end],
        }
    }

    /// Sums of some groups of tiles.
    #[must_use]
    pub fn sums(&self, groups: Range<usize>) -> usize {
        self.tiles(groups).iter().map(|tile| tile.streams.len() * tile.outputs.len()).sum()
    }

    /// Adds up one block's products over the grid rows `band` in the sums of some groups (starts them if `first`).
    ///
    /// # Panics
    /// Where slices do not fit their shapes.
    #[allow(clippy::too_many_arguments)]
    pub fn add_block(
        &self,
        isa: Isa,
        groups: Range<usize>,
        band: Range<usize>,
        (input, from): (&[Lanes], View),
        (gradient, to): (&[Lanes], View),
        first: bool,
        sums: &mut [Lanes],
    ) {
        let Convolution { rows, columns, input_channels, .. } = &self.convolution;
        let (source, target) = (from.geometry, to.geometry);
        let width = grid_width(&self.convolution, &band, (input, from), (gradient, to));
        assert_eq!(sums.len(), self.sums(groups.clone()), "sums do not fit");
        if first && isa.is_narrow() {
            // What the kernels leave alone is added up with the rest.
            sums.fill(Lanes::ZERO);
        }
        let rows_per_visit = (VISIT_POSITIONS / width).max(1);
        let tiles = self.tiles(groups);
        let (Some(first_tile), Some(last_tile)) = (tiles.first(), tiles.last()) else { return };
        let outputs = first_tile.outputs.start..last_tile.outputs.end;
        // How far beyond `input_step` rows per grid row the taps read.
        let lead = rows.taps.iter().map(|tap| tap.input + 1 - rows.input_step.cast_signed()).max().unwrap_or(0);
        let mut visit_start = band.start;
        while visit_start < band.end {
            let visit = visit_start..band.end.min(visit_start + rows_per_visit);
            let accumulate = !(first && visit.start == band.start);
            let next = visit.end..band.end.min(visit.end + rows_per_visit);
            // The furthest row that the visit so far has read, and that the next one reads.
            let furthest = |end: usize| (end * rows.input_step).saturating_add_signed(lead).min(source.height);
            let mut sums = &mut *sums;
            for (index, tile) in tiles.iter().enumerate() {
                for row in furthest(next.start)..furthest(next.end) {
                    prefetch(&input[from.start(row, 0)..from.row(row, input_channels - 1).end], index, tiles.len());
                }
                for row in next.start * rows.output_step..next.end * rows.output_step {
                    prefetch(&gradient[to.start(row, outputs.start)..to.row(row, outputs.end - 1).end], index, tiles.len());
                }
                let (own, rest) = sums.split_at_mut(tile.streams.len() * tile.outputs.len());
                sums = rest;
                let grid = rows.valid(tile.row, visit.clone(), source.height);
                let mut streams = [std::ptr::null(); TILE_STREAMS];
                let mut outputs = gradient.as_ptr();
                if !grid.is_empty() {
                    let tap = &rows.taps[tile.row];
                    // `valid` has it that this is within 0..height.
                    let row = (rows.input_step * grid.start).wrapping_add_signed(tap.input);
                    for (stream, &(channel, column)) in streams.iter_mut().zip(&tile.streams) {
                        let at = from.start(row, channel).wrapping_add_signed(columns.taps[column].input);
                        *stream = input[at..].as_ptr();
                    }
                    let row = rows.output_step * grid.start + tap.output;
                    outputs = gradient[to.start(row, tile.outputs.start) + tile.column_phase..].as_ptr();
                }
                let visit = Visit {
                    rows: grid.len(),
                    columns: width,
                    streams,
                    input_row_step: rows.input_step * source.row_step(),
                    input_column_step: columns.input_step,
                    outputs,
                    output_row_step: rows.output_step * target.row_step(),
                    output_column_step: columns.output_step,
                    output_channel_step: target.channel_step(),
                    accumulate,
                    sums: own.as_mut_ptr(),
                };
                // SAFETY: grid rows are valid for the tap over rows, columns reach at most a halo beyond an input row's
                // ends (asserted above), output rows and columns are those of the grid, so all reads are inside the
                // two blocks; the tile's own sums are `streams·outputs` vectors.
                #[allow(unsafe_code)]
                unsafe {
                    run(isa, &visit, tile.streams.len(), tile.outputs.len());
                }
            }
            visit_start = visit.end;
        }
    }

    /// Adds up chunks' sums over lanes ([`add_lanes`]) in chunk order, in the weight's own order.
    ///
    /// # Panics
    /// Where slices do not fit their shapes.
    pub fn finish(&self, shape: &WeightShape, chunks: &mut [f32], gradient: &mut [f32]) {
        let len = self.sums(0..self.groups());
        assert_eq!((chunks.len() % len, gradient.len()), (0, shape.len()), "chunks or gradient do not fit");
        gradient.fill(0.0);
        let (rows, columns) = (&self.convolution.rows.taps, &self.convolution.columns.taps);
        let mut sums = add_chunks(chunks, len).iter();
        for tile in &self.tiles {
            for &(channel, column) in &tile.streams {
                for output in tile.outputs.clone() {
                    let Some(&sum) = sums.next() else { return };
                    scatter(shape, (channel, output), (&rows[tile.row], &columns[column]), sum, gradient);
                }
            }
        }
    }
}

for_each_isa! {
    /// The sum of each vector's lanes, as a tree over halves.
    pub fn add_lanes[V](sums: &[Lanes], into: &mut [f32]) {
        // Eight vectors at a time: halves are added, then lanes become vectors, so that each addition serves all eight.
        let (octets, rest) = sums.as_chunks::<8>();
        let (octets_into, rest_into) = into.split_at_mut(8 * octets.len());
        for (octet, into) in octets.iter().zip(octets_into.as_chunks_mut::<8>().0) {
            let mut halves = [Lanes::ZERO; 8];
            for (half, sum) in halves.iter_mut().zip(octet) {
                for i in 0..LANES / 2 {
                    half.0[i] = sum.0[i] + sum.0[i + LANES / 2];
                }
            }
            let mut by_lane = [Lanes::ZERO; 8];
            V::transpose_octets(halves.as_ptr().cast(), LANES, by_lane.as_mut_ptr().cast(), LANES);
            for (i, into) in into.iter_mut().enumerate() {
                let l = |lane: usize| by_lane[lane].0[i];
                *into = ((l(0) + l(4)) + (l(2) + l(6))) + ((l(1) + l(5)) + (l(3) + l(7)));
            }
        }
        for (into, lanes) in rest_into.iter_mut().zip(rest) {
            let mut lanes = lanes.0;
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    lanes[i] += lanes[i + half];
                }
                half /= 2;
            }
            *into = lanes[0];
        }
    }
}

struct Visit {
    rows: usize,
    columns: usize,
    streams: [*const Lanes; TILE_STREAMS],
    input_row_step: usize,
    input_column_step: usize,
    outputs: *const Lanes,
    output_row_step: usize,
    output_column_step: usize,
    output_channel_step: usize,
    accumulate: bool,
    sums: *mut Lanes,
}

/// Runs a tile of some streams and output channels.
///
/// # Safety
/// The pointers must be valid for all rows and columns of the visit.
#[allow(unsafe_code)]
unsafe fn run(isa: Isa, visit: &Visit, streams: usize, outputs: usize) {
    macro_rules! dispatch {
        ($run:ident) => {
            dispatch!($run, [1 1, 2 1, 3 1, 4 1, 5 1, 6 1, 1 2, 2 2, 3 2, 4 2, 5 2, 6 2,
                             1 3, 2 3, 3 3, 4 3, 5 3, 6 3, 1 4, 2 4, 3 4, 4 4, 5 4, 6 4])
        };
        ($run:ident, [$($streams:literal $outputs:literal),*]) => {
            match (streams, outputs) {
                // SAFETY: an `Isa` exists only where the processor has its instructions; pointers are the caller's.
                $(($streams, $outputs) => unsafe { $run::<$streams, $outputs>(visit) },)*
                _ => unreachable!("register tile of {streams} streams and {outputs} outputs"),
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
unsafe fn run_portable<const A: usize, const B: usize>(visit: &Visit) {
    // SAFETY: the caller's.
    unsafe { body::<Lanes, A, B>(visit) }
}

/// Eight lanes and up to three streams at a time, whose sums fit the 16 registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_avx2<const A: usize, const B: usize>(visit: &Visit) {
    for half in 0..2 {
        let mut part = Visit { outputs: visit.outputs.cast::<f32>().wrapping_add(half * LANES / 2).cast(), ..*visit };
        for stream in &mut part.streams {
            *stream = stream.cast::<f32>().wrapping_add(half * LANES / 2).cast();
        }
        part.sums = visit.sums.cast::<f32>().wrapping_add(half * LANES / 2).cast();
        // SAFETY: the caller's; each half of the lanes is walked once.
        unsafe { run_narrow_avx2::<A, B>(&part) }
    }
}

/// Up to three streams at a time of the eight lanes that the pointers point to.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_narrow_avx2<const A: usize, const B: usize>(visit: &Visit) {
    use crate::kernels::blocked::x86::Half;
    for first in (0..A).step_by(3) {
        let mut part = Visit { sums: visit.sums.wrapping_add(first * B), ..*visit };
        part.streams[..A - first].copy_from_slice(&visit.streams[first..A]);
        // SAFETY: the caller's; each stream is walked once.
        unsafe {
            match A - first {
                1 => body::<Half, 1, B>(&part),
                2 => body::<Half, 2, B>(&part),
                _ => body::<Half, 3, B>(&part),
            }
        }
    }
}

/// All streams at once of the eight lanes that the pointers point to.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
#[allow(unsafe_code)]
unsafe fn run_narrow_avx512<const A: usize, const B: usize>(visit: &Visit) {
    // SAFETY: the caller's.
    unsafe { body::<crate::kernels::blocked::x86::Half, A, B>(visit) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[allow(unsafe_code)]
unsafe fn run_avx512<const A: usize, const B: usize>(visit: &Visit) {
    // SAFETY: the caller's.
    unsafe { body::<std::arch::x86_64::__m512, A, B>(visit) }
}

/// # Safety
/// As for [`run`], with A streams and B output channels, on a processor that has `V`.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always)]
unsafe fn body<V: Vector, const A: usize, const B: usize>(visit: &Visit) {
    // SAFETY: all pointers stay where the caller vouches for them.
    unsafe {
        let mut sums = [[V::zero(); B]; A];
        let mut streams = [std::ptr::null::<Lanes>(); A];
        streams.copy_from_slice(&visit.streams[..A]);
        let mut outputs = visit.outputs;
        for _ in 0..visit.rows {
            let (mut x, mut g) = (0, outputs);
            for _ in 0..visit.columns {
                // The shorter side is held, so that the sums, it and one number of the other side fit the registers.
                if A < B {
                    let mut inputs = [V::zero(); A];
                    for (input, stream) in inputs.iter_mut().zip(&streams) {
                        *input = V::load(stream.add(x));
                    }
                    for b in 0..B {
                        let gradient = V::load(g.add(b * visit.output_channel_step));
                        for (sums, &input) in sums.iter_mut().zip(&inputs) {
                            sums[b] = sums[b].add_product(input, gradient);
                        }
                    }
                } else {
                    let mut gradients = [V::zero(); B];
                    for (b, gradient) in gradients.iter_mut().enumerate() {
                        *gradient = V::load(g.add(b * visit.output_channel_step));
                    }
                    for (sums, stream) in sums.iter_mut().zip(&streams) {
                        let input = V::load(stream.add(x));
                        for (sum, &gradient) in sums.iter_mut().zip(&gradients) {
                            *sum = sum.add_product(input, gradient);
                        }
                    }
                }
                x += visit.input_column_step;
                g = g.wrapping_add(visit.output_column_step);
            }
            // Beyond the last row and column the pointers may leave their blocks; they are not read there.
            outputs = outputs.wrapping_add(visit.output_row_step);
            for stream in &mut streams {
                *stream = stream.wrapping_add(visit.input_row_step);
            }
        }
        for (a, sums) in sums.iter().enumerate() {
            for (b, sum) in sums.iter().enumerate() {
                let into = visit.sums.add(a * B + b);
                let sum = if visit.accumulate { V::load(into).add(*sum) } else { *sum };
                sum.store(into);
            }
        }
    }
}
