//! Windows: how a picture of any size goes through a network in bounded memory.
//!
//! An output of a network depends on the inputs around it alone, as far as its [receptive field](crate::receptive_field) reaches. So a
//! picture may go through in windows that overlap by twice that reach, the *halo*, and of each window that part is taken which no inner
//! edge of it can have changed. Where a window ends with the picture, the network's own padding is what it would be for the whole.

use super::{NetworkConfig, NetworkError};
use crate::network::Source;
use crate::receptive_field::interval;

/// Images that the fast networks take through at a time: memory is that of so many windows even where there are fewer.
pub const WINDOWS_AT_ONCE: u64 = 16;
/// Bytes that windows may take, unless the smallest take more.
pub const WINDOW_BYTES: u64 = 256 << 20;
/// Sides of windows are multiples of this where the picture is larger, so that what is computed in blocks lies in them as in the whole.
const SIDE_STEP: u64 = 16;
/// The longest side of a window: from here on longer ones save little.
const LONGEST_SIDE: u64 = 512;

/// The windows of a picture; all are of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Of a window, multiples of 4.
    pub height: u64,
    pub width: u64,
    /// Pixels at an inner edge of a window that are not to be taken, a multiple of 4.
    pub halo: u64,
    /// An upper estimate of what [`WINDOWS_AT_ONCE`] windows take in a pass without gradients, in f32.
    pub bytes: u64,
}

/// A stretch of one direction that a window covers, and the part of it that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where the window begins, in pixels of the picture, a multiple of 4.
    pub start: u64,
    /// What is taken, in pixels of the picture: from `first` up to, and without, `end`.
    pub first: u64,
    pub end: u64,
}

impl NetworkConfig {
    /// The windows in which a picture of `height`×`width` goes through: the largest within [`WINDOW_BYTES`].
    ///
    /// # Errors
    /// Where a field is out of range or a count exceeds 64 bits.
    pub fn tiling(&self) -> Result<Tiling, NetworkError> {
        let halo = self.halo()?;
        let most = self.height.max(self.width).min(LONGEST_SIDE).next_multiple_of(SIDE_STEP);
        // A window's inside must be more than nothing.
        let least = (2 * halo + SIDE_STEP).next_multiple_of(SIDE_STEP);
        let mut side = most.max(least);
        loop {
            let window = Self { height: self.height.min(side), width: self.width.min(side), ..*self };
            let bytes = window.pass_bytes()?;
            if bytes <= WINDOW_BYTES || side <= least {
                return Ok(Tiling { height: window.height, width: window.width, halo, bytes });
            }
            side -= SIDE_STEP;
        }
    }

    /// How far from an output the inputs lie on which it depends, rounded up to a multiple of 4.
    fn halo(&self) -> Result<u64, NetworkError> {
        let graph = self.graph()?;
        let last = Source::Layer(graph.layers.len().saturating_sub(1));
        // No layer is upsampled more than twice by 2, so four neighbouring outputs show every phase.
        let reach = (0..4).filter_map(|output| {
            let field = interval(&graph, last, output)?;
            Some(field.first.abs_diff(output).max(field.last.abs_diff(output)))
        });
        Ok(reach.max().unwrap_or(0).next_multiple_of(4))
    }

    /// All layers' outputs, and the logits twice more: as they are handed out, and while their largest are found.
    fn pass_bytes(&self) -> Result<u64, NetworkError> {
        let accounting = self.accounting()?;
        let logits = accounting.layers.last().map_or(0, |layer| layer.activation_bytes);
        let window = logits.checked_mul(2).and_then(|copies| copies.checked_add(accounting.activation_bytes));
        window.and_then(|bytes| bytes.checked_mul(WINDOWS_AT_ONCE)).ok_or(NetworkError::Overflow)
    }
}

/// The windows of length `window` with the halo `halo` along a direction of `length` pixels, in order: what they take lies side by side
/// and makes up the whole.
pub fn spans(length: u64, window: u64, halo: u64) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut first = 0;
    while first < length {
        // The last window ends with the picture.
        let start = if first == 0 { 0 } else { (first - halo).min(length.saturating_sub(window)) };
        let reached = start + window;
        let end = if reached >= length { length } else { reached - halo };
        spans.push(Span { start, first, end });
        // A window that takes nothing would be the same again and again.
        first = end.max(first + 1);
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Architecture;

    fn network(architecture: Architecture, kernel: u64, num_filters: u64, (height, width): (u64, u64)) -> NetworkConfig {
        NetworkConfig { architecture, kernel, dilation: 1, num_filters, in_channels: 1, num_colours: 24, height, width }
    }

    #[test]
    fn a_small_picture_is_one_window_and_a_large_one_is_cut_within_the_bound() {
        let tiling = network(Architecture::Unet, 3, 32, (32, 36)).tiling().unwrap();
        assert_eq!((tiling.height, tiling.width), (32, 36));
        for architecture in [Architecture::PoolUpsample, Architecture::ConvTranspose, Architecture::Unet] {
            let tiling = network(architecture, 3, 32, (1024, 1024)).tiling().unwrap();
            assert!(tiling.bytes <= WINDOW_BYTES && tiling.height == tiling.width && tiling.width >= 96, "{tiling:?}");
            // Even with the largest kernel and most filters, a window has an inside.
            let large = network(architecture, 7, 1024, (1024, 1024)).tiling().unwrap();
            assert!(large.height >= 2 * large.halo + SIDE_STEP && large.height.is_multiple_of(16), "{large:?}");
        }
        let strip = network(Architecture::Unet, 3, 32, (4, 1 << 18)).tiling().unwrap();
        assert_eq!(strip.height, 4);
        assert!(strip.width <= LONGEST_SIDE);
    }

    #[test]
    fn a_halo_is_at_least_half_of_the_receptive_field() {
        for (kernel, least) in [(3, 13), (5, 20), (7, 30)] {
            let halo = network(Architecture::PoolUpsample, kernel, 4, (64, 64)).halo().unwrap();
            assert!(halo >= least && halo.is_multiple_of(4) && halo < 2 * least, "{kernel}: {halo}");
        }
        assert!(network(Architecture::ConvTranspose, 1, 4, (64, 64)).halo().unwrap() <= 4);
    }

    #[test]
    fn what_windows_take_makes_up_the_whole_and_lies_a_halo_inside() {
        for (length, window, halo) in
            [(4, 4, 16), (128, 128, 16), (132, 128, 16), (1024, 128, 16), (1000, 80, 32), (100, 96, 0), (36, 36, 0)]
        {
            let spans = spans(length, window, halo);
            let mut next = 0;
            for span in &spans {
                assert_eq!(span.first, next, "{spans:?}");
                assert!(span.end > span.first && span.start + window <= length.max(window) && span.start % 4 == 0, "{spans:?}");
                assert!(span.start == 0 || span.first >= span.start + halo, "{spans:?}");
                assert!(span.end == length || span.end + halo <= span.start + window, "{spans:?}");
                next = span.end;
            }
            assert_eq!(next, length);
        }
        assert_eq!(spans(128, 128, 16).len(), 1);
        assert_eq!(spans(0, 16, 4), []);
    }
}
