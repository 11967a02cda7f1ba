//! How work is cut into blocks: from shapes alone, so that the order of sums is a function of the network and the batch.

use crate::shapes::{ConvolveShape, CorrelateShape, Epilogue};

/// Pixels of a row, and channels, that a thread computes: `TM` and `TN` of `prelude.cu`.
const PIXELS: usize = 4;
const CHANNELS: usize = 4;

/// Blocks that keep the cards in mind busy: two on each of 132 multiprocessors.
const WANTED_BLOCKS: usize = 264;

/// Threads of a block: enough to hide latencies, few enough that several blocks share a multiprocessor.
const LEAST_THREADS: usize = 128;
const MOST_THREADS: usize = 256;
const MOST_CORRELATION_THREADS: usize = 384;

/// Bytes of shared memory of a block; any card has 48 KiB without being asked.
const SHARED: usize = 44 << 10;

/// Floats of shared memory for the logits of a block.
const MOST_LOGITS: usize = 6 << 10;

fn int(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Cuts `count` into parts of at most `most`, as even as can be; returns the size of a part.
fn even(count: usize, most: usize) -> usize {
    count.div_ceil(count.div_ceil(most.max(1)).max(1)).max(1)
}

/// Completes a convolution's shape with its tiles. Returns it with grid, threads and bytes of shared memory.
pub(crate) fn convolve(mut s: ConvolveShape, epilogue: Epilogue, images: usize) -> (ConvolveShape, [u32; 3], u32, u32) {
    let [ci, co, so, si, taps] = [s.ci, s.co, s.so, s.si, s.taps].map(|value| value as usize);
    let (height, width) = (s.ho as usize / so, s.wo as usize / so);
    let last = epilogue == Epilogue::Last;
    let cg = even(co.div_ceil(CHANNELS), 16);
    let bn = cg * CHANNELS;
    let channel_tiles = if last { 1 } else { co.div_ceil(bn) };
    let across = width.div_ceil(PIXELS);
    let groups = |rows: usize| images * height.div_ceil(rows) * across;
    let others = channel_tiles * so * so;
    let limit = |rows: usize| {
        let most = if last { (MOST_LOGITS / (rows * PIXELS * (co | 1))).max(1) } else { usize::MAX };
        let (least, wanted) = (LEAST_THREADS.div_ceil(cg), groups(rows) * others / WANTED_BLOCKS);
        wanted.clamp(least, (MOST_THREADS / cg).max(least)).min(most)
    };
    let many = |rows: usize| groups(rows).div_ceil(limit(rows)) * others >= WANTED_BLOCKS * 3 / 4;
    let ry = if epilogue == Epilogue::ForwardPooled || (height > 1 && many(2)) { 2 } else { 1 };
    let limit = limit(ry);
    let gx = even(across, limit);
    let down = height.div_ceil(ry);
    let gy = if gx < across { 1 } else { even(down, limit / gx) };
    let whole = gx == across && gy == down;
    let tile_images = if whole { (limit / (gx * gy)).clamp(1, images) } else { 1 };
    let pg = tile_images * gx * gy;
    let (tile_rows, tile_cols) = ((gy * ry).min(height), (gx * PIXELS).min(width));

    let logits = if last { (pg * ry * PIXELS * (co | 1)).next_multiple_of(4) } else { 0 };
    let plane = tile_images * (si * (gy * ry - 1) + taps.max(1)) * (si * (gx * PIXELS - 1) + taps.max(1));
    let of_channel = taps * taps * bn + plane;
    let chunk = even(ci, ((SHARED / 4).saturating_sub(logits) / of_channel.max(1)).clamp(1, 16));
    let threads = cg * pg;
    // Behind the logits: operands, or sums of channels; and two doubles a thread in the end.
    let behind = (chunk * of_channel).max((pg + 1) * bn).max(2 * threads + 2);
    let shared = 4 * (logits + behind).max(4 * threads + 4);
    let (tiles_x, tiles_y) = (width.div_ceil(tile_cols), height.div_ceil(tile_rows));
    let blocks = tiles_x * tiles_y * images.div_ceil(tile_images);
    s.tile_images = int(tile_images);
    s.tile_rows = int(tile_rows);
    s.tile_cols = int(tile_cols);
    s.tiles_x = int(tiles_x);
    s.tiles_y = int(tiles_y);
    s.chunk = int(chunk);
    s.cg = int(cg);
    s.pg = int(pg);
    s.ry = int(ry);
    s.epilogue = epilogue as i32;
    (s, [blocks as u32, channel_tiles as u32, (so * so) as u32], threads as u32, shared as u32)
}

/// Completes a correlation's shape. Returns it with grid, threads, bytes of shared memory and images of a split.
pub(crate) fn correlate(mut s: CorrelateShape, images: usize) -> (CorrelateShape, [u32; 3], u32, u32, usize) {
    let [ca, cb, t, stride, height, width] = [s.ca, s.cb, s.t, s.stride, s.ha, s.wa].map(|value| value as usize);
    let ta = if ca >= 4 { 4 } else { 1 };
    let tb = match cb {
        0..4 => 1,
        _ if t > 4 => 2,
        _ => 4,
    };
    let na = even(ca.div_ceil(ta), 16);
    let mut nb = even(cb.div_ceil(tb), (MOST_CORRELATION_THREADS / (na * t)).max(1));
    let ba = na * ta;
    let bytes = |rows: usize, columns: usize, nb: usize| {
        let plane_a = (rows * columns).next_multiple_of(32) + 4;
        let plane_b = ((stride * (rows - 1) + t) * (stride * (columns - 1) + t)) | 1;
        4 * (ba * plane_a + nb * tb * plane_b)
    };
    let columns = width.next_multiple_of(PIXELS).min(64);
    let (rows, columns) = loop {
        let fits =
            |columns: usize| (1..=height).rev().find(|&rows| bytes(rows, columns, nb) <= SHARED).map(|rows| (even(height, rows), columns));
        let halves = std::iter::successors(Some(columns), |&columns| (columns > PIXELS).then(|| (columns / 2).next_multiple_of(PIXELS)));
        // A tile that is a few columns wide reads more margin than map, so the widest that has room for two rows is taken.
        let found = halves.clone().filter_map(fits).find(|(rows, _)| *rows >= 2.min(height)).or_else(|| halves.filter_map(fits).next());
        match found {
            Some(found) => break found,
            None if nb > 1 => nb /= 2,
            None => break (1, PIXELS),
        }
    };
    let bb = nb * tb;
    let (a_tiles, b_tiles) = (ca.div_ceil(ba), cb.div_ceil(bb));
    let images_per_split = images.div_ceil((WANTED_BLOCKS / (a_tiles * b_tiles)).clamp(1, images));
    s.rows = int(rows);
    s.columns = int(columns);
    s.ba = int(ba);
    s.bb = int(bb);
    s.ta = int(ta);
    s.tb = int(tb);
    let splits = images.div_ceil(images_per_split);
    let grid = [splits as u32, a_tiles as u32, b_tiles as u32];
    (s, grid, (na * nb * t) as u32, bytes(rows, columns, nb) as u32, images_per_split)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What any card grants a block without being asked.
    const GRANTED: u32 = 48 << 10;

    #[test]
    fn every_convolution_fits_on_a_card_and_covers_its_output_once() {
        for (taps, so, si) in (1..=8).flat_map(|taps| [(taps, 1, 1), (taps, 1, 2), (taps, 2, 1)]) {
            for (ci, co) in [(1, 1), (1, 32), (24, 24), (3, 256), (129, 65), (512, 300)] {
                for (height, width, images) in [(2, 2, 1), (8, 8, 100), (14, 10, 7), (32, 32, 100), (4, 1000, 3), (1000, 4, 2)] {
                    for epilogue in [Epilogue::Forward, Epilogue::ForwardPooled, Epilogue::Backward, Epilogue::Last] {
                        if (epilogue == Epilogue::Last && co > 256) || (epilogue == Epilogue::ForwardPooled && so == 2) {
                            continue;
                        }
                        let shape = ConvolveShape { ci, co, so, si, taps, ho: height, wo: width, ..ConvolveShape::default() };
                        let (s, grid, threads, shared) = convolve(shape, epilogue, images as usize);
                        let case = format!("{s:?} {grid:?} {threads} {shared}");
                        assert!(shared <= GRANTED && (1..=1024).contains(&threads) && grid[1] < 65_536, "{case}");
                        assert!(s.tiles_x * s.tile_cols >= width / so && s.tiles_y * s.tile_rows >= height / so, "{case}");
                        assert!(s.tile_rows % s.ry == 0 || s.tiles_y == 1, "{case}");
                        assert!(s.tile_cols % 4 == 0 || s.tiles_x == 1, "{case}");
                        assert!(s.tile_images == 1 || (s.tiles_x == 1 && s.tiles_y == 1), "{case}");
                        assert_eq!(grid[0] as i32, s.tiles_x * s.tiles_y * ((images + s.tile_images - 1) / s.tile_images), "{case}");
                        assert!(s.chunk >= 1 && threads as i32 == s.cg * s.pg, "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_correlation_fits_on_a_card_and_takes_every_image_once() {
        for (t, stride) in (1..=8).flat_map(|t| [(t, 1), (t, 2)]) {
            for (ca, cb) in [(1, 1), (32, 1), (1, 32), (24, 25), (64, 32), (3, 256), (300, 512)] {
                for (height, width, images) in [(1, 1, 1), (8, 8, 100), (14, 10, 7), (32, 32, 300), (4, 1000, 3), (1000, 4, 2)] {
                    let shape = CorrelateShape { ca, cb, t, stride, ha: height, wa: width, ..CorrelateShape::default() };
                    let (s, grid, threads, shared, images_per_split) = correlate(shape, images);
                    let case = format!("{s:?} {grid:?} {threads} {shared} {images_per_split}");
                    assert!(shared <= GRANTED && (1..=1024).contains(&threads), "{case}");
                    assert!(
                        grid[1] as i32 * s.ba >= ca && grid[2] as i32 * s.bb >= cb && grid[0] as usize * images_per_split >= images,
                        "{case}"
                    );
                    assert!(s.columns % 4 == 0 && s.rows >= 1, "{case}");
                }
            }
        }
    }
}
