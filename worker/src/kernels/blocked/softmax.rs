//! Softmax cross-entropy on bands of blocked maps, and the exponential behind it.

use super::geometry::View;
use super::isa::for_each_isa;
use super::vector::{LANES, Lanes};

/// The class of a pixel in each of sixteen images; [`NO_CLASS`] in dead lanes.
pub type Classes = [u32; LANES];

/// In no palette: for dead lanes.
pub const NO_CLASS: u32 = u32::MAX;

/// Pixels whose sums of exponentials are multiplied before one logarithm is taken: each is from 1 to the number of
/// classes, so the product of 16 stays far inside f64 for up to 2¹⁶ classes.
const PIXELS_PER_LOGARITHM: usize = 16;

/// `exp(x)` for x ≤ 0, within 2 units in the last place above −87 and 0 below it; NaN stays NaN.
///
/// Cody and Waite's reduction `x = n·ln 2 + r` and the polynomial of Cephes' `expf` on `|r| ≤ ln 2/2`.
#[inline(always)]
#[allow(clippy::inline_always, clippy::cast_possible_truncation, clippy::excessive_precision)]
fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5·2²³ rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x < -87.0 { -87.0 } else { x };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * 0.693_359_375) - n * -2.121_944_4e-4;
    let mut p = 1.987_569_15e-4;
    p = p * r + 1.398_199_95e-3;
    p = p * r + 8.333_451_9e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5.000_000_1e-1;
    let p = p * r * r + r + 1.0;
    // The low bits of `shifted` are n; as exponent bits they multiply by 2ⁿ.
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

/// Loss and hits of a band.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BandScore {
    /// Sum over live pixels of `−log softmax(logits)[class]`, in nats.
    pub loss_sum: f64,
    /// Live pixels whose largest logit (the first of equals) is their class.
    pub hits: u64,
}

/// Sum and product of what the loss needs, lane by lane.
struct LossSum {
    loss: [f64; LANES],
    product: [f64; LANES],
    pixels: usize,
}

impl LossSum {
    fn flush(&mut self) {
        for (loss, product) in self.loss.iter_mut().zip(&mut self.product) {
            *loss += product.ln();
            *product = 1.0;
        }
        self.pixels = 0;
    }
}

for_each_isa! {
    /// Scores a band of `rows` rows against `[rows, width]` classes. With a `share` of each pixel in the mean loss, the
    /// logits become their gradient `share·(softmax − onehot)`, zero in dead lanes; without, they become garbage.
    pub fn cross_entropy(
        logits: (&mut [Lanes], View), classes: &[Classes], rows: usize, live: usize, share: Option<f32>,
    ) -> BandScore {
        let (logits, view) = logits;
        let width = view.geometry.width;
        assert_eq!(classes.len(), rows * width, "one class per pixel");
        let step = view.geometry.channel_step();
        let mut total = LossSum { loss: [0.0; LANES], product: [1.0; LANES], pixels: 0 };
        let mut hits = [0u32; LANES];
        for row in 0..rows {
            let first = view.start(row, 0);
            let row_logits = &mut logits[first..first + (view.channels - 1) * step + width];
            for (x, class) in classes[row * width..][..width].iter().enumerate() {
                let mut maximum = [f32::NEG_INFINITY; LANES];
                let mut best = [0u32; LANES];
                for (c, at) in (0u32..).zip((x..row_logits.len()).step_by(step)) {
                    let l = &row_logits[at].0;
                    for i in 0..LANES {
                        let larger = l[i] > maximum[i] || l[i].is_nan();
                        maximum[i] = if larger { l[i] } else { maximum[i] };
                        best[i] = if larger { c } else { best[i] };
                    }
                }
                let mut sum = [0.0f32; LANES];
                let mut own = [0.0f32; LANES];
                for (c, at) in (0u32..).zip((x..row_logits.len()).step_by(step)) {
                    let l = &mut row_logits[at].0;
                    for i in 0..LANES {
                        let e = exp(l[i] - maximum[i]);
                        own[i] = if class[i] == c { l[i] } else { own[i] };
                        sum[i] += e;
                        l[i] = e;
                    }
                }
                for i in 0..LANES {
                    total.loss[i] += f64::from(maximum[i] - own[i]);
                    total.product[i] *= f64::from(sum[i]);
                    hits[i] += u32::from(best[i] == class[i]);
                }
                total.pixels += 1;
                if total.pixels == PIXELS_PER_LOGARITHM {
                    total.flush();
                }
                if let Some(share) = share {
                    let mut shares = [0.0f32; LANES];
                    shares[..live].fill(share);
                    let mut scale = shares;
                    for (scale, sum) in scale.iter_mut().zip(&sum) {
                        *scale /= sum;
                    }
                    for (c, at) in (0u32..).zip((x..row_logits.len()).step_by(step)) {
                        let l = &mut row_logits[at].0;
                        for i in 0..LANES {
                            l[i] = l[i] * scale[i] - if class[i] == c { shares[i] } else { 0.0 };
                        }
                    }
                }
            }
        }
        total.flush();
        BandScore {
            loss_sum: total.loss[..live].iter().sum(),
            hits: hits[..live].iter().map(|&h| u64::from(h)).sum(),
        }
    }
}

for_each_isa! {
    /// Adds a band's values of each channel over live lanes and pixels.
    pub fn channel_sums(values: (&[Lanes], View), rows: usize, live: usize, sums: &mut [f64]) {
        for (c, sum) in sums.iter_mut().enumerate() {
            let mut lanes = Lanes::ZERO;
            for row in 0..rows {
                for value in &values.0[values.1.row(row, c)] {
                    for (lane, &value) in lanes.0.iter_mut().zip(&value.0) {
                        *lane += value;
                    }
                }
            }
            *sum = lanes.sum(live);
        }
    }
}
