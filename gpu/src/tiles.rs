//! How work is cut into blocks: from shapes alone, so that the order of sums is a function of the network and the batch.

mod tensor;

use crate::Precision;
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

/// Images, and groups of pixels down and across, of a block's tile.
#[derive(Clone, Copy)]
struct Tile {
    images: usize,
    gy: usize,
    gx: usize,
}

impl Tile {
    fn groups(self) -> usize {
        self.images * self.gy * self.gx
    }
}

/// Completes a convolution's shape with its tiles. Returns it with grid, threads and bytes of shared memory.
pub(crate) fn convolve(s: ConvolveShape, epilogue: Epilogue, images: usize, precision: Precision) -> (ConvolveShape, [u32; 3], u32, u32) {
    let [ci, co, so] = [s.ci, s.co, s.so].map(|value| value as usize);
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
    // At most so many groups of pixels.
    let cut = |limit: usize| {
        let gx = even(across, limit);
        let down = height.div_ceil(ry);
        let gy = if gx < across { 1 } else { even(down, limit / gx) };
        let whole = gx == across && gy == down;
        Tile { images: if whole { (limit / (gx * gy)).clamp(1, images) } else { 1 }, gy, gx }
    };
    let with = |tile: Tile| ConvolveShape {
        tile_images: int(tile.images),
        tile_rows: int((tile.gy * ry).min(height)),
        tile_cols: int((tile.gx * PIXELS).min(width)),
        tiles_x: int(width.div_ceil((tile.gx * PIXELS).min(width))),
        tiles_y: int(height.div_ceil((tile.gy * ry).min(height))),
        cg: int(cg),
        pg: int(tile.groups()),
        ry: int(ry),
        epilogue: epilogue as i32,
        ..s
    };
    let logits = |tile: Tile| if last { (tile.groups() * ry * PIXELS * (co | 1)).next_multiple_of(4) } else { 0 };
    let room = |tile: Tile| (SHARED / 4).saturating_sub(logits(tile));

    let mut tile = cut(limit(ry));
    let (mut shape, threads, mut behind);
    if tensor::worth(precision, ci, co) {
        let mut most = limit(ry);
        (shape, behind) = loop {
            match tensor::convolve(with(tile), room(tile)) {
                Some(found) => break found,
                // The smallest tile always has room.
                None => {
                    most = most.div_ceil(2);
                    tile = cut(most);
                }
            }
        };
        threads = (cg * tile.groups()).next_multiple_of(tensor::WARP);
    } else {
        let (si, taps) = (s.si as usize, s.taps as usize);
        let plane = tile.images * (si * (tile.gy * ry - 1) + taps.max(1)) * (si * (tile.gx * PIXELS - 1) + taps.max(1));
        let of_channel = taps * taps * bn + plane;
        let chunk = even(ci, (room(tile) / of_channel.max(1)).clamp(1, 16));
        (shape, threads, behind) = (with(tile), cg * tile.groups(), chunk * of_channel);
        shape.chunk = int(chunk);
    }
    // Behind the logits: operands, or sums of channels; and two doubles a thread in the end.
    behind = behind.max((tile.groups() + 1) * bn).max(2 * threads + 2);
    let shared = 4 * (logits(tile) + behind).max(4 * threads + 4);
    let blocks = (shape.tiles_x * shape.tiles_y) as usize * images.div_ceil(tile.images);
    (shape, [blocks as u32, channel_tiles as u32, (so * so) as u32], threads as u32, shared as u32)
}

/// Completes a correlation's shape. Returns it with grid, threads, bytes of shared memory and images of a split.
pub(crate) fn correlate(mut s: CorrelateShape, images: usize, precision: Precision) -> (CorrelateShape, [u32; 3], u32, u32, usize) {
    let (threads, shared);
    if tensor::worth(precision, s.ca as usize, s.cb as usize) {
        (s, threads, shared) = tensor::correlate(s);
    } else {
        (s, threads, shared) = correlate_fp32(s);
    }
    let (a_tiles, b_tiles) = ((s.ca as usize).div_ceil(s.ba as usize), (s.cb as usize).div_ceil(s.bb as usize));
    let images_per_split = images.div_ceil((WANTED_BLOCKS / (a_tiles * b_tiles)).clamp(1, images));
    let splits = images.div_ceil(images_per_split);
    (s, [splits as u32, a_tiles as u32, b_tiles as u32], threads as u32, shared as u32, images_per_split)
}

/// With channels of blocks and threads, and rows and columns; threads, and bytes of shared memory.
fn correlate_fp32(s: CorrelateShape) -> (CorrelateShape, usize, usize) {
    let [ca, cb, t, stride] = [s.ca, s.cb, s.t, s.stride].map(|value| value as usize);
    let ta = if ca >= 4 { 4 } else { 1 };
    let tb = match cb {
        0..4 => 1,
        _ if t > 4 => 2,
        _ => 4,
    };
    let na = even(ca.div_ceil(ta), 16);
    let nb = even(cb.div_ceil(tb), (MOST_CORRELATION_THREADS / (na * t)).max(1));
    let ba = na * ta;
    let bytes = |rows: usize, columns: usize, nb: usize| {
        let plane_a = (rows * columns).next_multiple_of(32) + 4;
        let plane_b = ((stride * (rows - 1) + t) * (stride * (columns - 1) + t)) | 1;
        4 * (ba * plane_a + nb * tb * plane_b)
    };
    let (rows, columns, nb) = part(s.ha as usize, s.wa as usize, nb, bytes);
    let shape = CorrelateShape { rows: int(rows), columns: int(columns), ba: int(ba), bb: int(nb * tb), ta: int(ta), tb: int(tb), ..s };
    (shape, na * nb * t, bytes(rows, columns, nb))
}

/// Rows and columns of the smaller map that have room in shared memory with the larger map's, and how many of the latter's `nb` groups of
/// channels.
fn part(height: usize, width: usize, mut nb: usize, bytes: impl Fn(usize, usize, usize) -> usize) -> (usize, usize, usize) {
    let columns = width.next_multiple_of(PIXELS).min(64);
    loop {
        let fits =
            |columns: usize| (1..=height).rev().find(|&rows| bytes(rows, columns, nb) <= SHARED).map(|rows| (even(height, rows), columns));
        let halves = std::iter::successors(Some(columns), |&columns| (columns > PIXELS).then(|| (columns / 2).next_multiple_of(PIXELS)));
        // A tile that is a few columns wide reads more margin than map, so the widest that has room for two rows is taken.
        let found = halves.clone().filter_map(fits).find(|(rows, _)| *rows >= 2.min(height)).or_else(|| halves.filter_map(fits).next());
        match found {
            Some((rows, columns)) => return (rows, columns, nb),
            None if nb > 1 => nb /= 2,
            None => return (1, PIXELS, nb),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What any card grants a block without being asked.
    const GRANTED: u32 = 48 << 10;

    const PRECISIONS: [Precision; 2] = [Precision::Fp32, Precision::Tf32];

    #[test]
    fn every_convolution_fits_on_a_card_and_covers_its_output_once() {
        for (precision, (taps, so, si)) in PRECISIONS.into_iter().flat_map(|precision| {
            (1..=8).flat_map(move |taps| [(precision, (taps, 1, 1)), (precision, (taps, 1, 2)), (precision, (taps, 2, 1))])
        }) {
            for (ci, co) in [(1, 1), (1, 32), (5, 4), (24, 24), (3, 256), (129, 65), (512, 300)] {
                for (height, width, images) in [(2, 2, 1), (8, 8, 100), (14, 10, 7), (32, 32, 100), (4, 1000, 3), (1000, 4, 2)] {
                    for epilogue in [Epilogue::Forward, Epilogue::ForwardPooled, Epilogue::Backward, Epilogue::Last] {
                        if (epilogue == Epilogue::Last && co > 256) || (epilogue == Epilogue::ForwardPooled && so == 2) {
                            continue;
                        }
                        let shape = ConvolveShape { ci, co, so, si, taps, ho: height, wo: width, ..ConvolveShape::default() };
                        let (s, grid, threads, shared) = convolve(shape, epilogue, images as usize, precision);
                        let case = format!("{s:?} {grid:?} {threads} {shared}");
                        assert!(shared <= GRANTED && (1..=1024).contains(&threads) && grid[1] < 65_536, "{case}");
                        assert!(s.tiles_x * s.tile_cols >= width / so && s.tiles_y * s.tile_rows >= height / so, "{case}");
                        assert!(s.tile_rows % s.ry == 0 || s.tiles_y == 1, "{case}");
                        assert!(s.tile_cols % 4 == 0 || s.tiles_x == 1, "{case}");
                        assert!(s.tile_images == 1 || (s.tiles_x == 1 && s.tiles_y == 1), "{case}");
                        assert_eq!(grid[0] as i32, s.tiles_x * s.tiles_y * ((images + s.tile_images - 1) / s.tile_images), "{case}");
                        assert!(s.chunk >= 1 && (threads as i32 - s.cg * s.pg) < 32, "{case}");
                        assert_eq!(s.wm > 0, precision == Precision::Tf32 && ci.min(co) >= 4, "{case}");
                        if s.wm == 0 {
                            assert_eq!(threads as i32, s.cg * s.pg, "{case}");
                            continue;
                        }
                        // Every tile of the output is one warp's, in arrays that the emulator has room for.
                        let (tiles_m, tiles_n) = ((s.pg * s.ry * 4 + 15) / 16, (s.cg * 4 + 7) / 8);
                        let warps = threads as i32 / 32;
                        assert!(tiles_n % s.wn == 0 && warps / (tiles_n / s.wn) * s.wm >= tiles_m, "{case}");
                        assert!(threads % 32 == 0 && s.wm <= 16 && s.wn <= 8 && s.wm * s.wn <= 20, "{case}");
                        assert!(s.chunk % 8 == 0 && (1..=taps).contains(&s.tap_rows), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_correlation_fits_on_a_card_and_takes_every_image_once() {
        for (precision, (t, stride)) in
            PRECISIONS.into_iter().flat_map(|precision| (1..=8).flat_map(move |t| [(precision, (t, 1)), (precision, (t, 2))]))
        {
            for (ca, cb) in [(1, 1), (32, 1), (1, 32), (4, 5), (24, 25), (64, 32), (3, 256), (300, 512)] {
                for (height, width, images) in [(1, 1, 1), (8, 8, 100), (14, 10, 7), (32, 32, 300), (4, 1000, 3), (1000, 4, 2)] {
                    let shape = CorrelateShape { ca, cb, t, stride, ha: height, wa: width, ..CorrelateShape::default() };
                    let (s, grid, threads, shared, images_per_split) = correlate(shape, images, precision);
                    let case = format!("{s:?} {grid:?} {threads} {shared} {images_per_split}");
                    assert!(shared <= GRANTED && (1..=1024).contains(&threads), "{case}");
                    assert!(
                        grid[1] as i32 * s.ba >= ca && grid[2] as i32 * s.bb >= cb && grid[0] as usize * images_per_split >= images,
                        "{case}"
                    );
                    assert!(s.columns % 4 == 0 && s.rows >= 1, "{case}");
                    assert_eq!(s.wm > 0, precision == Precision::Tf32 && ca.min(cb) >= 4, "{case}");
                    if s.wm > 0 {
                        let warps = s.t * (s.ba / (16 * s.wm)) * (s.bb / (8 * s.wn));
                        assert!(s.ba % (16 * s.wm) == 0 && s.bb % (8 * s.wn) == 0 && threads as i32 == 32 * warps, "{case}");
                        assert!(s.wm <= 2 && s.wn <= 4 && s.wm * s.wn * s.t <= 16, "{case}");
                    }
                }
            }
        }
    }
}
