//! Blocks whose warps multiply on tensor cores: see `tf32.cu` for how operands lie in shared memory.

use super::{even, int, part};
use crate::Precision;
use crate::shapes::{ConvolveShape, CorrelateShape};

/// Threads that multiply together.
pub(super) const WARP: usize = 32;

/// Sides of the matrices of one instruction: C is M × N, and K is what is added over.
const M: usize = 16;
const N: usize = 8;
const K: usize = 8;

/// Channels from which tensor cores are worth it: with fewer, most of a matrix would be zeros that fill it up.
const LEAST_CHANNELS: usize = 4;

/// Warps of a block of correlations, and tiles of the output that a warp holds in registers, four numbers a lane each.
const MOST_CORRELATION_WARPS: usize = 12;
const MOST_TILES: usize = 16;

/// Whether a convolution or a correlation between so many channels goes to the tensor cores.
pub(super) fn worth(precision: Precision, channels: usize, others: usize) -> bool {
    precision == Precision::Tf32 && channels.min(others) >= LEAST_CHANNELS
}

/// The least number from `count` on that is an odd multiple of `unit`: `odd_multiple` of `tf32.cu`.
fn odd_multiple(count: usize, unit: usize) -> usize {
    (count.div_ceil(unit) | 1) * unit
}

/// Length of a row of columns that are read `stride` apart: `row_length` of `tf32.cu`.
fn row_length(columns: usize, stride: usize) -> usize {
    columns.next_multiple_of(stride)
}

/// Completes a shape that has its tiles with what the warps do. Returns it with the floats of shared memory that the operands take, and
/// after them the results; nothing where they have no room in `room` floats.
pub(super) fn convolve(s: ConvolveShape, room: usize) -> Option<(ConvolveShape, usize)> {
    let [ci, si, taps, cg, pg, ry] = [s.ci, s.si, s.taps, s.cg, s.pg, s.ry].map(|value| value as usize);
    let (rows, columns) = ((s.tile_rows as usize).next_multiple_of(ry), (s.tile_cols as usize).next_multiple_of(super::PIXELS));
    let (pixels, tiles_n) = (pg * ry * super::PIXELS, (cg * super::CHANNELS).div_ceil(N));
    let stride = odd_multiple(tiles_n * N, N);
    let (ir, ic) = (si * (rows - 1) + taps.max(1), si * (columns - 1) + taps.max(1));
    let plane = odd_multiple(s.tile_images as usize * ir * row_length(ic, si), N);
    let weights = |chunk: usize, tap_rows: usize| chunk * tap_rows * taps * stride;
    // Two steps of channels at a time where they are there and all fits, else one with as many rows of taps as fit.
    let wide = ci.next_multiple_of(2 * K) == ci.next_multiple_of(K) && 2 * K * plane + weights(2 * K, taps) <= room;
    let chunk = if wide { 2 * K } else { K };
    let most = room.checked_sub(chunk * plane)? / weights(chunk, 1).max(1);
    let tap_rows = even(taps, most.min(taps));
    let operands = chunk * plane + weights(chunk, tap_rows);
    // The last stage's results go straight to the logits.
    let results = if s.epilogue == crate::shapes::Epilogue::Last as i32 { 0 } else { pixels * stride };
    if operands.max(results) > room {
        return None;
    }
    let (wm, wn) = share_out(pixels.div_ceil(M), tiles_n, (cg * pg).div_ceil(WARP));
    Some((ConvolveShape { chunk: int(chunk), wm: int(wm), wn: int(wn), tap_rows: int(tap_rows), ..s }, operands.max(results)))
}

/// Tiles of a warp, by pixels and by channels, where `warps` share out so many: as few as can be, and of these the form that reads the
/// fewest words a step, four a lane for each tile of pixels and two for each of channels.
fn share_out(tiles_m: usize, tiles_n: usize, warps: usize) -> (usize, usize) {
    let form = |wn: usize| (tiles_m.div_ceil(warps / (tiles_n / wn)), wn);
    let forms = (1..=tiles_n).filter(|wn| tiles_n.is_multiple_of(*wn) && tiles_n / wn <= warps).map(form);
    forms.min_by_key(|(wm, wn)| (wm * wn, 4 * wm + 2 * wn)).unwrap_or((tiles_m, tiles_n))
}

/// Completes a correlation's shape. Returns it with threads and bytes of shared memory.
pub(super) fn correlate(s: CorrelateShape) -> (CorrelateShape, usize, usize) {
    let [ca, cb, t, stride] = [s.ca, s.cb, s.t, s.stride].map(|value| value as usize);
    let (tiles_a, tiles_b) = (ca.div_ceil(M), cb.div_ceil(N));
    let wm = tiles_a.min(2);
    let wn = (MOST_TILES / (wm * t)).clamp(1, 4).min(tiles_b);
    let warps_a = even(tiles_a.div_ceil(wm), (MOST_CORRELATION_WARPS / t).max(1));
    let warps_b = even(tiles_b.div_ceil(wn), (MOST_CORRELATION_WARPS / (t * warps_a)).max(1));
    let ba = warps_a * wm * M;
    let bytes = |rows: usize, columns: usize, warps_b: usize| {
        let plane_a = odd_multiple(rows * columns, K / 2);
        let plane_b = odd_multiple((stride * (rows - 1) + t) * row_length(stride * (columns - 1) + t, stride), K / 2);
        4 * (ba * plane_a + warps_b * wn * N * plane_b)
    };
    let (rows, columns, warps_b) = part(s.ha as usize, s.wa as usize, warps_b, bytes);
    let (bb, wm, wn) = (int(warps_b * wn * N), int(wm), int(wn));
    let shape = CorrelateShape { rows: int(rows), columns: int(columns), ba: int(ba), bb, wm, wn, ..s };
    (shape, WARP * t * warps_a * warps_b, bytes(rows, columns, warps_b))
}
