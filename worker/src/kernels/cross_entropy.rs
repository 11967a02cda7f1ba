//! Softmax cross-entropy averaged over pixels, its gradient, and the share of pixels that are right.
//!
//! Logits lie as `[N, C, pixels]`, classes as `[N, pixels]` with values below C.

use rayon::prelude::*;

/// Loss and hits summed over pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// Sum of `−log softmax(logits)[class]`, in nats.
    pub loss_sum: f64,
    /// Pixels whose largest logit (the first of equals) is their class.
    pub hits: u64,
    /// Pixels seen.
    pub pixels: u64,
}

impl Score {
    /// Mean loss and share of hits.
    #[must_use]
    pub fn means(&self) -> (f64, f64) {
        (self.loss_sum / self.pixels as f64, self.hits as f64 / self.pixels as f64)
    }
}

impl std::ops::AddAssign for Score {
    fn add_assign(&mut self, other: Self) {
        self.loss_sum += other.loss_sum;
        self.hits += other.hits;
        self.pixels += other.pixels;
    }
}

/// Maximum logit of each pixel (NaN where there is one).
fn maxima(logits: &[f32], maximum: &mut [f32]) {
    maximum.fill(f32::NEG_INFINITY);
    for plane in logits.chunks_exact(maximum.len()) {
        for (m, &l) in maximum.iter_mut().zip(plane) {
            *m = if l > *m || l.is_nan() { l } else { *m };
        }
    }
}

/// Loss of one image's pixels from their maxima and sums of exponentials, added up in f64.
fn image_loss(logits: &[f32], classes: &[u32], maximum: &[f32], sum: &[f32]) -> f64 {
    let pixels = classes.len();
    let terms = classes.iter().enumerate().map(|(p, &class)| f64::from(sum[p].ln() + (maximum[p] - logits[class as usize * pixels + p])));
    terms.sum()
}

/// Scores a batch without gradient.
///
/// # Panics
/// Where lengths do not fit or a class is not below `colours`.
#[must_use]
pub fn score(logits: &[f32], classes: &[u32], colours: usize, pixels: usize) -> Score {
    assert_eq!(logits.len(), classes.len() * colours, "logits and classes do not fit");
    let images: Vec<Score> = logits
        .par_chunks(colours * pixels)
        .zip(classes.par_chunks(pixels))
        .map(|(logits, classes)| {
            let (mut maximum, mut sum) = (vec![0.0f32; pixels], vec![0.0f32; pixels]);
            let mut first = vec![u32::MAX; pixels];
            maxima(logits, &mut maximum);
            for (class, plane) in (0u32..).zip(logits.chunks_exact(pixels)) {
                for (p, &l) in plane.iter().enumerate() {
                    sum[p] += (l - maximum[p]).exp();
                    if l >= maximum[p] && first[p] == u32::MAX {
                        first[p] = class;
                    }
                }
            }
            Score {
                loss_sum: image_loss(logits, classes, &maximum, &sum),
                hits: first.iter().zip(classes).filter(|(a, b)| a == b).count() as u64,
                pixels: pixels as u64,
            }
        })
        .collect();
    let mut total = Score::default();
    images.into_iter().for_each(|image| total += image);
    total
}

/// Mean loss over all pixels, and its gradient `(softmax − onehot)/(N·pixels)` for all logits.
///
/// # Panics
/// Where lengths do not fit or a class is not below `colours`.
pub fn loss_and_gradient(logits: &[f32], classes: &[u32], colours: usize, pixels: usize, gradient: &mut [f32]) -> f32 {
    assert_eq!(logits.len(), classes.len() * colours, "logits and classes do not fit");
    assert_eq!(logits.len(), gradient.len(), "logits and gradient differ in length");
    let count = classes.len() as f64;
    let share = (1.0 / count) as f32;
    let images: Vec<f64> = gradient
        .par_chunks_mut(colours * pixels)
        .zip(logits.par_chunks(colours * pixels).zip(classes.par_chunks(pixels)))
        .map(|(gradient, (logits, classes))| {
            let (mut maximum, mut sum) = (vec![0.0f32; pixels], vec![0.0f32; pixels]);
            maxima(logits, &mut maximum);
            for (gradient, logits) in gradient.chunks_exact_mut(pixels).zip(logits.chunks_exact(pixels)) {
                for (((g, &l), &m), s) in gradient.iter_mut().zip(logits).zip(&maximum).zip(&mut sum) {
                    *g = (l - m).exp();
                    *s += *g;
                }
            }
            let loss = image_loss(logits, classes, &maximum, &sum);
            let scale = &mut maximum;
            for (scale, &s) in scale.iter_mut().zip(&sum) {
                *scale = share / s;
            }
            for gradient in gradient.chunks_exact_mut(pixels) {
                for (g, &scale) in gradient.iter_mut().zip(scale.iter()) {
                    *g *= scale;
                }
            }
            for (p, &class) in classes.iter().enumerate() {
                gradient[class as usize * pixels + p] -= share;
            }
            loss
        })
        .collect();
    (images.into_iter().sum::<f64>() / count) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{assert_gradient, assert_same_bits_on_any_threads, random};

    const COLOURS: usize = 5;
    const PIXELS: usize = 6;

    fn batch(images: usize) -> (Vec<f32>, Vec<u32>) {
        let logits = random(1, images * COLOURS * PIXELS).iter().map(|l| 3.0 * l).collect();
        (logits, (0..images * PIXELS).map(|i| (i * 7 % COLOURS) as u32).collect())
    }

    #[test]
    fn equal_logits_cost_the_log_of_the_number_of_colours() {
        let mut gradient = [0.0; 4];
        let loss = loss_and_gradient(&[7.0; 4], &[2], 4, 1, &mut gradient);
        assert!((loss - 4f32.ln()).abs() < 1e-6);
        assert_eq!(gradient, [0.25, 0.25, -0.75, 0.25]);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let mut gradient = [0.0; 2];
        assert_eq!(loss_and_gradient(&[1e30, -1e30], &[0], 2, 1, &mut gradient), 0.0);
        assert_eq!(gradient, [0.0, 0.0]);
    }

    #[test]
    fn nan_logits_make_a_nan_loss() {
        assert!(loss_and_gradient(&[0.0, f32::NAN], &[0], 2, 1, &mut [0.0; 2]).is_nan());
        assert!(score(&[0.0, f32::NAN], &[0], 2, 1).loss_sum.is_nan());
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (logits, classes) = batch(3);
        let mut gradient = vec![f32::NAN; logits.len()];
        loss_and_gradient(&logits, &classes, COLOURS, PIXELS, &mut gradient);
        assert_gradient(&logits, &[1.0], &gradient, 3e-2, |logits| {
            vec![loss_and_gradient(logits, &classes, COLOURS, PIXELS, &mut vec![0.0; logits.len()])]
        });
    }

    #[test]
    fn score_counts_first_maxima_and_agrees_with_the_loss() {
        let hits = score(&[1.0, 0.0, 1.0, 5.0], &[0, 1], 2, 2);
        assert_eq!((hits.hits, hits.pixels), (2, 2));
        assert_eq!(score(&[1.0, 1.0], &[1], 2, 1).hits, 0);
        let (logits, classes) = batch(4);
        let loss = loss_and_gradient(&logits, &classes, COLOURS, PIXELS, &mut vec![0.0; logits.len()]);
        assert!((score(&logits, &classes, COLOURS, PIXELS).means().0 - f64::from(loss)).abs() < 1e-6);
    }

    #[test]
    fn results_are_the_same_bits_on_any_number_of_threads() {
        let (logits, classes) = batch(50);
        assert_same_bits_on_any_threads(|| {
            let mut result = vec![0.0; logits.len()];
            let loss = loss_and_gradient(&logits, &classes, COLOURS, PIXELS, &mut result);
            result.push(loss);
            result
        });
    }
}
