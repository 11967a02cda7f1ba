//! 2×2 maximum pooling on bands of blocked maps.

use super::geometry::View;
use super::isa::for_each_isa;
use super::vector::{LANES, Lanes};

/// Which position of its window each maximum was, rows first, image by image.
pub type Argmax = [u8; LANES];

for_each_isa! {
    /// Pools a band of `rows` pooled rows; `argmax` is `[rows, channels, width]` of the pooled map. Of equal values the
    /// first is taken, and NaN wins, as in PyTorch.
    pub fn max_pool[V](
        wide: (&[Lanes], View), rows: usize, pooled: (&mut [Lanes], View), argmax: &mut [Argmax],
    ) {
        let (pooled, view) = pooled;
        let width = view.geometry.width;
        assert_eq!(argmax.len(), rows * view.channels * width, "one position per maximum");
        let mut argmax = argmax.chunks_exact_mut(width);
        for row in 0..rows {
            for c in 0..view.channels {
                let top = wide.0[wide.1.row(2 * row, c)].as_chunks::<2>().0;
                let bottom = wide.0[wide.1.row(2 * row + 1, c)].as_chunks::<2>().0;
                let positions = argmax.next().unwrap_or_default();
                let windows = top.iter().zip(bottom).zip(&mut pooled[view.row(row, c)]).zip(positions);
                for (((top, bottom), pooled), position) in windows {
                    for i in 0..LANES {
                        let (mut best, mut at) = (top[0].0[i], 0u8);
                        for (candidate, index) in [(top[1].0[i], 1), (bottom[0].0[i], 2), (bottom[1].0[i], 3)] {
                            let better = candidate > best || candidate.is_nan();
                            best = if better { candidate } else { best };
                            at = if better { index } else { at };
                        }
                        pooled.0[i] = best;
                        position[i] = at;
                    }
                }
            }
        }
    }
}

for_each_isa! {
    /// Hands each pooled gradient to the position of its maximum, and zero to the other three of the window.
    pub fn max_pool_gradient[V](
        pooled: (&[Lanes], View), argmax: &[Argmax], rows: usize, wide: (&mut [Lanes], View),
    ) {
        let (wide, to) = wide;
        let (pooled, view) = pooled;
        let width = view.geometry.width;
        assert_eq!(argmax.len(), rows * view.channels * width, "one position per maximum");
        let mut argmax = argmax.chunks_exact(width);
        for row in 0..rows {
            for c in 0..view.channels {
                let positions = argmax.next().unwrap_or_default();
                for (half, row_of_window) in [(0u8, 2 * row), (2, 2 * row + 1)] {
                    let into = wide[to.row(row_of_window, c)].as_chunks_mut::<2>().0;
                    for ((into, g), position) in into.iter_mut().zip(&pooled[view.row(row, c)]).zip(positions) {
                        for i in 0..LANES {
                            into[0].0[i] = if position[i] == half { g.0[i] } else { 0.0 };
                            into[1].0[i] = if position[i] == half + 1 { g.0[i] } else { 0.0 };
                        }
                    }
                }
            }
        }
    }
}
