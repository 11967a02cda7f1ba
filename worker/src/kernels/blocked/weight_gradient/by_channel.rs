//! Output channels in the lanes: inputs are broadcast, and each pair of channels has one sum at each tap.
//!
//! A visit takes a few columns of a grid row, one output phase, and as many vectors of output channels as a register tile
//! has; their gradient is transposed once, stays in the first cache, and meets every input stream (an input channel at a tap
//! over columns) of every tap over rows.

use std::ops::Range;

use super::super::convolve::Convolution;
use super::super::even_parts;
use super::super::geometry::View;
use super::super::isa::{Isa, for_each_isa};
use super::super::vector::{LANES, Lanes, numbers, numbers_mut, prefetch};
use super::super::weights::{WeightShape, scatter};
use super::channel_vectors::{Across, Positions, Products, RegisterTile, TILE_INPUTS, TILE_VECTORS, transpose, width};
use super::{add_chunks, grid_width};

/// Columns of a visit, at most: with three vectors of eight channels, 24 kB of transposed gradient.
const VISIT_COLUMNS: usize = 16;

/// Vectors of sixteen in the transposed gradient of a visit, at most.
const TRANSPOSED: usize = VISIT_COLUMNS * LANES * TILE_VECTORS;

/// Input streams of one output phase over columns.
struct Phase {
    column: usize,
    /// Input channels and taps over columns, in the order of their sums.
    streams: Vec<(usize, usize)>,
    /// Streams of earlier phases.
    before: usize,
}

/// A convolution's weight gradient.
pub struct WeightGradient {
    convolution: Convolution,
    phases: Vec<Phase>,
}

impl WeightGradient {
    /// For the weights of a layer's forward convolution.
    #[must_use]
    pub fn new(convolution: &Convolution) -> Self {
        let mut before = 0;
        let phase = |column| {
            let taps: Vec<usize> = convolution.columns.phase(column).collect();
            let streams: Vec<(usize, usize)> =
                (0..convolution.input_channels).flat_map(|channel| taps.iter().map(move |&tap| (channel, tap))).collect();
            let phase = Phase { column, before, streams };
            before += phase.streams.len();
            phase
        };
        let phases = (0..convolution.columns.output_step).map(phase).collect();
        Self { convolution: convolution.clone(), phases }
    }

    /// Input streams at one tap over rows.
    fn streams(&self) -> usize {
        self.convolution.columns.taps.len() * self.convolution.input_channels
    }

    /// Numbers that [`WeightGradient::read_sums`] gives.
    #[must_use]
    pub fn sums(&self) -> usize {
        self.convolution.rows.taps.len() * self.streams() * self.convolution.output_channels
    }

    /// Vectors of scratch memory that [`WeightGradient::add_block`] needs; the sums stay there from block to block.
    #[must_use]
    pub fn scratch_len(&self) -> usize {
        let padded = self.convolution.output_channels.next_multiple_of(LANES);
        TRANSPOSED + self.convolution.rows.taps.len() * self.streams() * padded / LANES
    }

    /// Adds one block's products over the grid rows `band` to the sums in scratch memory (starts them if `first`).
    ///
    /// # Panics
    /// Where slices do not fit their shapes.
    #[allow(clippy::too_many_arguments)]
    pub fn add_block(
        &self,
        isa: Isa,
        band: Range<usize>,
        (input, from): (&[Lanes], View),
        (gradient, to): (&[Lanes], View),
        live: usize,
        first: bool,
        scratch: &mut [Lanes],
    ) {
        let Convolution { rows, columns, output_channels, .. } = &self.convolution;
        let source = from.geometry;
        let width = grid_width(&self.convolution, &band, (input, from), (gradient, to));
        assert_eq!(scratch.len(), self.scratch_len(), "scratch memory does not fit");
        let across = Across::new(isa, *output_channels);
        let (transposed, sums) = scratch.split_at_mut(TRANSPOSED);
        if first {
            sums.fill(Lanes::ZERO);
        }
        let column_parts = even_parts(width, VISIT_COLUMNS);
        let groups = across.groups();
        let tiles_of = |phase: &Phase| -> Vec<Vec<RegisterTile>> {
            groups.iter().map(|vectors| across.tiles(phase.streams.len(), vectors.clone()).collect()).collect()
        };
        let tiles: Vec<Vec<Vec<RegisterTile>>> = self.phases.iter().map(tiles_of).collect();
        let mut starts = Vec::with_capacity(self.streams());
        for grid_row in band.clone() {
            for (part, grid_columns) in column_parts.iter().enumerate() {
                prefetch_rows((input, from), rows.input_step, grid_row, (part, column_parts.len()));
                prefetch_rows((gradient, to), rows.output_step, grid_row, (part, column_parts.len()));
                for row_phase in 0..rows.output_step {
                    for (phase, tiles) in self.phases.iter().zip(&tiles) {
                        let row = grid_row * rows.output_step + row_phase;
                        let column = grid_columns.start * columns.output_step + phase.column;
                        let positions =
                            Positions { first: to.start(row, 0) + column, step: columns.output_step, count: grid_columns.len() };
                        for (vectors, tiles) in groups.iter().zip(tiles) {
                            let channels = vectors.start * across.vector()..vectors.end * across.vector();
                            let real = channels.start..channels.end.min(*output_channels);
                            let transposed = &mut transposed[..grid_columns.len() * channels.len()];
                            transpose(across.isa, (gradient, to), positions, real, live, channels.len(), transposed);
                            for tap in rows.phase(row_phase) {
                                if rows.valid(tap, grid_row..grid_row + 1, source.height).is_empty() {
                                    continue;
                                }
                                let row = (rows.input_step * grid_row).wrapping_add_signed(rows.taps[tap].input);
                                starts.clear();
                                starts.extend(phase.streams.iter().map(|&(channel, tap)| {
                                    let column = columns.input_step * grid_columns.start;
                                    (from.start(row, channel) + column).wrapping_add_signed(columns.taps[tap].input)
                                }));
                                let streams = Streams { starts: &starts, step: columns.input_step, columns: grid_columns.len() };
                                let first = tap * self.streams() + phase.before;
                                add_streams(across.isa, input, streams, transposed, live, across.padded, tiles, first, sums);
                            }
                        }
                    }
                }
            }
        }
    }

    /// The sums that the blocks left in scratch memory.
    ///
    /// # Panics
    /// Where slices do not fit their shapes.
    pub fn read_sums(&self, isa: Isa, scratch: &[Lanes], sums: &mut [f32]) {
        assert_eq!((sums.len(), scratch.len()), (self.sums(), self.scratch_len()), "sums do not fit");
        let outputs = self.convolution.output_channels;
        let padded = Across::new(isa, outputs).padded;
        for (sums, padded) in sums.chunks_exact_mut(outputs).zip(numbers(&scratch[TRANSPOSED..]).chunks_exact(padded)) {
            sums.copy_from_slice(&padded[..outputs]);
        }
    }

    /// Adds up chunks' sums in their order, in the weight's own order.
    ///
    /// # Panics
    /// Where slices do not fit their shapes.
    pub fn finish(&self, shape: &WeightShape, chunks: &mut [f32], gradient: &mut [f32]) {
        let len = self.sums();
        assert_eq!((chunks.len() % len, gradient.len()), (0, shape.len()), "chunks or gradient do not fit");
        gradient.fill(0.0);
        let (rows, columns) = (&self.convolution.rows.taps, &self.convolution.columns.taps);
        let mut sums = add_chunks(chunks, len).iter();
        for row in rows {
            for &(channel, column) in self.phases.iter().flat_map(|phase| &phase.streams) {
                for output in 0..self.convolution.output_channels {
                    let Some(&sum) = sums.next() else { return };
                    scatter(shape, (channel, output), (row, &columns[column]), sum, gradient);
                }
            }
        }
    }
}

/// Where some input streams start in a block, and how they go on.
#[derive(Clone, Copy)]
struct Streams<'a> {
    starts: &'a [usize],
    /// Vectors from one column to the next.
    step: usize,
    columns: usize,
}

for_each_isa! {
    /// Adds the products of some input streams and a transposed gradient `[column][lane][channel]`, in register tiles of one group
    /// of vectors, to their sums, which are rows of `padded` numbers from row `first` on.
    fn add_streams[V](
        input: &[Lanes], streams: Streams<'_>, transposed: &[Lanes], live: usize, padded: usize, tiles: &[RegisterTile], first: usize,
        sums: &mut [Lanes],
    ) {
        let Streams { starts, step, columns } = streams;
        let channels = transposed.len() / columns;
        let fits = |tile: &RegisterTile| {
            tile.inputs.end <= starts.len() && tile.vectors.len() * width::<V>() == channels && tile.vectors.end * width::<V>() <= padded
        };
        assert!(tiles.iter().all(fits) && live <= LANES, "tiles or lanes that are not there");
        assert!(starts.iter().all(|&start| start.saturating_add((columns - 1) * step) < input.len()), "stream beyond the block");
        assert!((first + starts.len()) * padded <= sums.len() * LANES, "sums do not fit");
        let (input, sums) = (numbers(input).as_ptr(), numbers_mut(sums).as_mut_ptr());
        for tile in tiles {
            let mut inputs = [std::ptr::null(); TILE_INPUTS];
            for (pointer, &start) in inputs.iter_mut().zip(&starts[tile.inputs.clone()]) {
                *pointer = input.add(start * LANES);
            }
            let products = Products {
                inputs,
                input_step: step * LANES,
                gradients: numbers(transposed).as_ptr(),
                gradient_step: channels,
                positions: columns,
                live,
                sums: sums.add((first + tile.inputs.start) * padded + tile.vectors.start * width::<V>()),
                sums_step: padded,
            };
            // Streams, columns, lanes and vectors are those that there are (asserted above).
            products.add::<V>(tile.inputs.len(), tile.vectors.len());
        }
    }
}

/// Asks for part of the rows of a view that the next grid row reads, which has `step` rows for one of the grid.
fn prefetch_rows((map, view): (&[Lanes], View), step: usize, grid_row: usize, (part, parts): (usize, usize)) {
    let next = (grid_row + 1) * step..((grid_row + 2) * step).min(view.geometry.height);
    for row in next {
        prefetch(&map[view.start(row, 0)..view.row(row, view.channels - 1).end], part, parts);
    }
}
