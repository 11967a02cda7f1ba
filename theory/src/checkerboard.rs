//! How much of a picture is the pattern of period two that strides of two leave.
//!
//! A transposed convolution of stride 2 whose kernel is no multiple of 2 reaches some output pixels more often than others, and paints a
//! checkerboard or stripes of one pixel; upsampling before a convolution does not (A. Odena, V. Dumoulin and C. Olah, "Deconvolution and
//! Checkerboard Artifacts", Distill 2016, doi:10.23915/distill.00003). In the discrete Fourier transform such a pattern is all at the
//! frequencies (π, 0), (0, π) and (π, π), where pictures of the world have next to nothing.

/// The share of a picture's energy at the frequencies of stride 2, a number from 0 to 1 without a unit:
///
/// `Σ_c (|X_c(π, 0)|² + |X_c(0, π)|² + |X_c(π, π)|²) / Σ_c Σ_{k ≠ 0} |X_c(k)|²`,
///
/// where `X_c` is the discrete Fourier transform of channel c and the sum below has every frequency but the mean's. Checkerboards and stripes of
/// one pixel have 1, smooth pictures about 0, and white noise `3/(height·width − 1)` on average. It is 0 for a picture of one colour.
/// Along a side of odd length there is no frequency π, and nothing is counted there.
///
/// `planes` are the channels, each `height·width` values, rows first. Takes time in proportion to their number: of the transform only
/// three values are needed, and the sum below is `height·width·Σ(x − mean)²` by Parseval's theorem.
///
/// # Panics
/// Where a plane is not of that length.
pub fn share(planes: &[&[f64]], height: usize, width: usize) -> f64 {
    let (mut at_stride, mut all) = (0.0, 0.0);
    for plane in planes {
        assert_eq!(plane.len(), height * width, "a plane of {height} × {width} values");
        let mean = plane.iter().sum::<f64>() / plane.len().max(1) as f64;
        let [mut rows, mut columns, mut both, mut squares] = [0.0; 4];
        for (y, row) in plane.chunks_exact(width.max(1)).enumerate() {
            for (x, value) in row.iter().enumerate() {
                let value = value - mean;
                rows += if y % 2 == 0 { value } else { -value };
                columns += if x % 2 == 0 { value } else { -value };
                both += if (x + y) % 2 == 0 { value } else { -value };
                squares += value * value;
            }
        }
        let (even_height, even_width) = (height.is_multiple_of(2), width.is_multiple_of(2));
        for (amplitude, is_a_frequency) in [(rows, even_height), (columns, even_width), (both, even_height && even_width)] {
            at_stride += if is_a_frequency { amplitude * amplitude } else { 0.0 };
        }
        all += plane.len() as f64 * squares;
    }
    if all > 0.0 { at_stride / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::random::{Generator, Purpose};

    const SIDE: usize = 16;

    fn plane(value: impl Fn(usize, usize) -> f64) -> Vec<f64> {
        (0..SIDE * SIDE).map(|pixel| value(pixel / SIDE, pixel % SIDE)).collect()
    }

    fn share_of(plane: &[f64]) -> f64 {
        share(&[plane], SIDE, SIDE)
    }

    #[test]
    fn checkerboards_and_stripes_of_one_pixel_are_all_of_their_picture() {
        for pattern in [plane(|y, x| 0.3 + 0.1 * ((x + y) % 2) as f64), plane(|y, _| (y % 2) as f64), plane(|_, x| (x % 2) as f64)] {
            assert!((share_of(&pattern) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn smooth_pictures_wider_stripes_and_single_colours_have_none() {
        let wave = plane(|y, x| (TAU * x as f64 / SIDE as f64).sin() + (TAU * 3.0 * y as f64 / SIDE as f64).cos());
        assert!(share_of(&wave) < 1e-24);
        assert!(share_of(&plane(|_, x| (x / 2 % 2) as f64)) < 1e-24);
        assert_eq!(share_of(&plane(|_, _| 0.1)), 0.0);
        // A ramp's jump from one edge to the other has every frequency, this one least.
        assert!(share_of(&plane(|_, x| x as f64)) < 0.02);
    }

    #[test]
    fn a_checkerboard_laid_over_a_picture_counts_by_its_energy() {
        let wave = |x: usize| (TAU * x as f64 / SIDE as f64).sin();
        let laid_over = plane(|y, x| wave(x) + if (x + y) % 2 == 0 { 0.5 } else { -0.5 });
        // Mean squares: 1/2 of the wave, 1/4 of the checkerboard.
        assert!((share_of(&laid_over) - 0.25 / 0.75).abs() < 1e-12);
        let beside = plane(|_, x| wave(x));
        assert!((share(&[&laid_over, &beside], SIDE, SIDE) - 0.25 / 1.25).abs() < 1e-12);
    }

    #[test]
    fn it_is_what_the_whole_transform_says() {
        let mut generator = Generator::new(4, Purpose::Problem, 0);
        let (height, width) = (4, 6);
        let picture: Vec<f64> = (0..height * width).map(|_| generator.uniform()).collect();
        let energy = |u: usize, v: usize| {
            let (mut real, mut imaginary) = (0.0, 0.0);
            for (pixel, value) in picture.iter().enumerate() {
                let (y, x) = ((pixel / width) as f64, (pixel % width) as f64);
                let angle = TAU * (u as f64 * y / height as f64 + v as f64 * x / width as f64);
                real += value * angle.cos();
                imaginary -= value * angle.sin();
            }
            real * real + imaginary * imaginary
        };
        let all: f64 = (0..height * width).skip(1).map(|k| energy(k / width, k % width)).sum();
        let expected = (energy(2, 0) + energy(0, 3) + energy(2, 3)) / all;
        assert!((share(&[&picture], height, width) - expected).abs() < 1e-12);
    }

    #[test]
    fn white_noise_has_three_of_its_frequencies_on_average() {
        let pictures = 4_000;
        let mut generator = Generator::new(1, Purpose::Problem, 0);
        let total: f64 = (0..pictures).map(|_| share_of(&(0..SIDE * SIDE).map(|_| generator.uniform()).collect::<Vec<_>>())).sum();
        let expected = 3.0 / (SIDE * SIDE - 1) as f64;
        assert!((total / f64::from(pictures) - expected).abs() < 0.05 * expected, "{} {expected}", total / f64::from(pictures));
    }

    #[test]
    fn an_odd_side_has_no_such_frequency() {
        let stripes = |width: usize| (0..12).map(|pixel| (pixel % width % 2) as f64).collect::<Vec<_>>();
        assert!((share(&[&stripes(4)], 3, 4) - 1.0).abs() < 1e-12);
        assert!(share(&[&stripes(3)], 4, 3) < 1e-24);
    }
}
