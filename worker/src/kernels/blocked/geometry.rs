//! Where a position of a map lies.

use super::vector::LANES;

/// Shape of one block of a map, `[height, channels, row]` in vectors of sixteen images.
///
/// A row is `halo` zeros, `width` positions, and at least `halo` zeros; its length is odd, so that the same column of
/// neighbouring channels falls into different sets of the caches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Zeros before and after a row.
    pub halo: usize,
}

impl Geometry {
    /// Vectors from one channel to the next.
    #[must_use]
    pub fn channel_step(&self) -> usize {
        (self.width + 2 * self.halo) | 1
    }

    /// Vectors from one row to the next.
    #[must_use]
    pub fn row_step(&self) -> usize {
        self.channels * self.channel_step()
    }

    /// Vectors of a block.
    #[must_use]
    pub fn block_len(&self) -> usize {
        self.height * self.row_step()
    }

    /// Index in a block of the first column.
    #[must_use]
    pub fn start(&self, row: usize, channel: usize) -> usize {
        row * self.row_step() + channel * self.channel_step() + self.halo
    }

    /// Index range in a block of one row of one channel, without halo.
    #[must_use]
    pub fn row(&self, row: usize, channel: usize) -> std::ops::Range<usize> {
        let start = self.start(row, channel);
        start..start + self.width
    }
}

/// Some neighbouring channels of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// The map's shape.
    pub geometry: Geometry,
    /// First channel.
    pub channel: usize,
    /// Number of channels.
    pub channels: usize,
}

impl View {
    /// All channels.
    #[must_use]
    pub fn whole(geometry: Geometry) -> Self {
        Self { geometry, channel: 0, channels: geometry.channels }
    }

    /// Index in a block of the first column of a row of one of the view's channels.
    #[must_use]
    pub fn start(&self, row: usize, channel: usize) -> usize {
        self.geometry.start(row, self.channel + channel)
    }

    /// As [`View::start`], as a range over the columns.
    #[must_use]
    pub fn row(&self, row: usize, channel: usize) -> std::ops::Range<usize> {
        self.geometry.row(row, self.channel + channel)
    }
}

/// Blocks of a batch.
#[must_use]
pub fn blocks(images: usize) -> usize {
    images.div_ceil(LANES)
}

/// Images in a block of a batch: all lanes, fewer in the last block.
#[must_use]
pub fn live_lanes(images: usize, block: usize) -> usize {
    images.saturating_sub(block * LANES).min(LANES)
}
