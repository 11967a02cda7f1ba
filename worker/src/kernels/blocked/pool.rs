//! 2×2 maximum pooling on bands of blocked maps.

use super::geometry::View;
use super::isa::for_each_isa;
use super::vector::Lanes;

/// Which position of its window each maximum was, rows first, image by image: 0 to 3.
pub type Argmax = Lanes;

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
                    let (mut best, mut at) = (V::load(&raw const top[0]), V::zero());
                    for (candidate, index) in [(&top[1], 1.0), (&bottom[0], 2.0), (&bottom[1], 3.0)] {
                        let (candidate, index) = (V::load(candidate), V::splat(index));
                        at = index.where_greater(candidate, best, at);
                        best = candidate.where_greater(candidate, best, best);
                        // A NaN is not equal to itself.
                        at = at.where_equal(candidate, candidate, index);
                        best = best.where_equal(candidate, candidate, candidate);
                    }
                    best.store(pooled);
                    at.store(position);
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
                for (first, row_of_window) in [(0.0, 2 * row), (2.0, 2 * row + 1)] {
                    let (left, right) = (V::splat(first), V::splat(first + 1.0));
                    let into = wide[to.row(row_of_window, c)].as_chunks_mut::<2>().0;
                    for ((into, g), position) in into.iter_mut().zip(&pooled[view.row(row, c)]).zip(positions) {
                        let (g, position) = (V::load(g), V::load(position));
                        g.where_equal(position, left, V::zero()).store(&raw mut into[0]);
                        g.where_equal(position, right, V::zero()).store(&raw mut into[1]);
                    }
                }
            }
        }
    }
}
