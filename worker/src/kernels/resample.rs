//! Halving and doubling of height and width: 2×2 maximum pooling and nearest upsampling.

use rayon::prelude::*;

use super::images_per_chunk;

/// Height and width of the larger of the two images; both even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Height.
    pub height: usize,
    /// Width.
    pub width: usize,
}

impl Size {
    fn large(self) -> usize {
        assert!(self.height.is_multiple_of(2) && self.width.is_multiple_of(2), "odd size {self:?}");
        self.height * self.width
    }

    /// Calls `f` with each pair of rows of the large image and its row of the small one, plane by plane in parallel.
    fn for_row_pairs(self, large: &mut [f32], small: &[f32], f: impl Fn(&mut [f32], &mut [f32], &[f32]) + Sync) {
        let plane = self.large();
        assert_eq!(large.len(), 4 * small.len(), "the two images do not differ by a factor of 2");
        let planes = images_per_chunk(large.len() / plane);
        large.par_chunks_mut(planes * plane).zip(small.par_chunks(planes * plane / 4)).for_each(|(large, small)| {
            let pairs = large.chunks_exact_mut(2 * self.width);
            for (pair, small) in pairs.zip(small.chunks_exact(self.width / 2)) {
                let (top, bottom) = pair.split_at_mut(self.width);
                f(top, bottom, small);
            }
        });
    }

    /// Calls `f` with each row of the small image and its pair of rows of the large one, plane by plane in parallel.
    fn for_small_rows(self, small: &mut [f32], large: &[f32], f: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) {
        let plane = self.large();
        assert_eq!(large.len(), 4 * small.len(), "the two images do not differ by a factor of 2");
        let planes = images_per_chunk(large.len() / plane);
        small.par_chunks_mut(planes * plane / 4).zip(large.par_chunks(planes * plane)).for_each(|(small, large)| {
            let pairs = large.chunks_exact(2 * self.width);
            for (small, pair) in small.chunks_exact_mut(self.width / 2).zip(pairs) {
                let (top, bottom) = pair.split_at(self.width);
                f(small, top, bottom);
            }
        });
    }
}

/// Index of the maximum of a 2×2 window, rows first; of equal values the first, and NaN wins, as in PyTorch.
fn argmax(window: [f32; 4]) -> usize {
    let mut best = 0;
    for i in 1..4 {
        if window[i] > window[best] || window[i].is_nan() {
            best = i;
        }
    }
    best
}

/// Maximum of each 2×2 window; `size` is the input's.
pub fn max_pool2d(size: Size, input: &[f32], output: &mut [f32]) {
    size.for_small_rows(output, input, |output, top, bottom| {
        for ((o, top), bottom) in output.iter_mut().zip(top.as_chunks::<2>().0).zip(bottom.as_chunks::<2>().0) {
            let window = [top[0], top[1], bottom[0], bottom[1]];
            *o = window[argmax(window)];
        }
    });
}

/// Hands each output's gradient to the input that was the maximum of its window; `size` is the input's.
pub fn max_pool2d_gradient(size: Size, input: &[f32], output_gradient: &[f32], input_gradient: &mut [f32]) {
    assert_eq!(input.len(), input_gradient.len(), "input and its gradient differ in length");
    let plane = size.large();
    let planes = images_per_chunk(input.len() / plane);
    let (large, small) = (planes * plane, planes * plane / 4);
    input_gradient.par_chunks_mut(large).zip(input.par_chunks(large).zip(output_gradient.par_chunks(small))).for_each(
        |(into, (input, gradient))| {
            let width = size.width;
            let rows = into.chunks_exact_mut(2 * width).zip(input.chunks_exact(2 * width));
            for ((into, input), gradient) in rows.zip(gradient.chunks_exact(width / 2)) {
                into.fill(0.0);
                for (x, &g) in gradient.iter().enumerate() {
                    let at = [2 * x, 2 * x + 1, width + 2 * x, width + 2 * x + 1];
                    into[at[argmax(at.map(|i| input[i]))]] = g;
                }
            }
        },
    );
}

/// Repeats each pixel in a 2×2 window; `size` is the output's.
pub fn upsample_nearest2d(size: Size, input: &[f32], output: &mut [f32]) {
    size.for_row_pairs(output, input, |top, bottom, input| {
        for (pair, &x) in top.as_chunks_mut::<2>().0.iter_mut().zip(input) {
            *pair = [x, x];
        }
        bottom.copy_from_slice(top);
    });
}

/// Adds up the gradients of each 2×2 window; `size` is the output's.
pub fn upsample_nearest2d_gradient(size: Size, output_gradient: &[f32], input_gradient: &mut [f32]) {
    size.for_small_rows(input_gradient, output_gradient, |input, top, bottom| {
        for ((i, top), bottom) in input.iter_mut().zip(top.as_chunks::<2>().0).zip(bottom.as_chunks::<2>().0) {
            *i = (top[0] + top[1]) + (bottom[0] + bottom[1]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_gradient, random};

    const SIZE: Size = Size { height: 4, width: 6 };

    #[test]
    fn a_window_passes_its_whole_gradient_to_its_maximum() {
        let size = Size { height: 2, width: 2 };
        let (mut output, mut gradient) = ([0.0; 1], [9.0; 4]);
        max_pool2d(size, &[1.0, 2.0, 3.0, 4.0], &mut output);
        max_pool2d_gradient(size, &[1.0, 2.0, 3.0, 4.0], &[1.0], &mut gradient);
        assert_eq!((output, gradient), ([4.0], [0.0, 0.0, 0.0, 1.0]));
    }

    #[test]
    fn of_equal_maxima_the_first_gets_the_gradient() {
        let size = Size { height: 2, width: 4 };
        let mut gradient = [9.0; 8];
        max_pool2d_gradient(size, &[5.0, 5.0, 0.0, 7.0, 5.0, 5.0, 7.0, 7.0], &[1.0, 2.0], &mut gradient);
        assert_eq!(gradient, [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn pooling_passes_nan_on() {
        let mut output = [0.0; 1];
        max_pool2d(Size { height: 2, width: 2 }, &[1.0, f32::NAN, 3.0, 4.0], &mut output);
        assert!(output[0].is_nan());
    }

    #[test]
    fn upsampling_repeats_pixels_in_two_by_two_windows() {
        let mut output = [0.0; 8];
        upsample_nearest2d(Size { height: 2, width: 4 }, &[1.0, 2.0], &mut output);
        assert_eq!(output, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (large, small) = (random(1, 40 * 24), random(2, 40 * 6));
        let (large_weights, small_weights) = (random(3, large.len()), random(4, small.len()));

        let mut gradient = vec![f32::NAN; large.len()];
        max_pool2d_gradient(SIZE, &large, &small_weights, &mut gradient);
        assert_gradient(&large, &small_weights, &gradient, 1e-4, |x| {
            let mut output = vec![0.0; small.len()];
            max_pool2d(SIZE, x, &mut output);
            output
        });

        let mut gradient = vec![f32::NAN; small.len()];
        upsample_nearest2d_gradient(SIZE, &large_weights, &mut gradient);
        assert_gradient(&small, &large_weights, &gradient, 1e-2, |x| {
            let mut output = vec![0.0; large.len()];
            upsample_nearest2d(SIZE, x, &mut output);
            output
        });
    }
}
