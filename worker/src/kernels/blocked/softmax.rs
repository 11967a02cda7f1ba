//! Softmax cross-entropy on bands of blocked maps, and the exponential behind it.

use super::geometry::View;
use super::isa::for_each_isa;
use super::vector::{LANES, Lanes, Vector};

/// The class of a pixel in each of sixteen images, as a float; [`NO_CLASS`] in dead lanes.
pub type Classes = Lanes;

/// In no palette: for dead lanes.
pub const NO_CLASS: f32 = -1.0;

/// Pixels whose sums of exponentials are multiplied before one logarithm is taken: each is from 1 to the number of
/// classes, so the product stays inside f32 for up to 2¹⁶ classes.
const PIXELS_PER_LOGARITHM: usize = 7;

/// `exp(x)` for x ≤ 0, within 2 units in the last place above −87; not zero but `exp(−87)` below. NaN stays NaN.
///
/// Cody and Waite's reduction `x = n·ln 2 + r` and the polynomial of Cephes' `expf` on `|r| ≤ ln 2/2`.
///
/// # Safety
/// On a processor that has the vector's instructions.
#[inline(always)]
#[allow(unsafe_code, clippy::inline_always, clippy::excessive_precision)]
unsafe fn exp<V: Vector>(x: V) -> V {
    // Adding and subtracting 1.5·2²³ rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    const POLYNOMIAL: [f32; 6] = [1.987_569_15e-4, 1.398_199_95e-3, 8.333_451_9e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1];
    // SAFETY: the caller's.
    unsafe {
        let x = V::splat(-87.0).max(x);
        let shifted = V::splat(ROUND).add_product(x, V::splat(std::f32::consts::LOG2_E));
        let n = shifted.sub(V::splat(ROUND));
        let r = x.add_product(n, V::splat(-0.693_359_375)).add_product(n, V::splat(2.121_944_4e-4));
        let mut p = V::splat(POLYNOMIAL[0]);
        for coefficient in &POLYNOMIAL[1..] {
            p = V::splat(*coefficient).add_product(p, r);
        }
        r.add_product(p, r.mul(r)).add(V::splat(1.0)).mul(shifted.power_of_two())
    }
}

/// Loss and hits of a band.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BandScore {
    /// Sum over live pixels of `−log softmax(logits)[class]`, in nats.
    pub loss_sum: f64,
    /// Live pixels whose largest logit (the first of equals) is their class.
    pub hits: u64,
}

/// Adds up losses lane by lane; one logarithm is taken for several pixels.
struct LossSum<V> {
    total: [f64; LANES],
    differences: V,
    product: V,
    pixels: usize,
}

#[allow(unsafe_code, clippy::inline_always)]
impl<V: Vector> LossSum<V> {
    /// # Safety
    /// On a processor that has the vector's instructions.
    #[inline(always)]
    unsafe fn new() -> Self {
        // SAFETY: the caller's.
        unsafe { Self { total: [0.0; LANES], differences: V::zero(), product: V::splat(1.0), pixels: 0 } }
    }

    /// Adds `difference + ln(sum)`.
    ///
    /// # Safety
    /// On a processor that has the vector's instructions.
    #[inline(always)]
    unsafe fn add(&mut self, difference: V, sum: V) {
        // SAFETY: the caller's.
        unsafe {
            self.differences = self.differences.add(difference);
            self.product = self.product.mul(sum);
            self.pixels += 1;
            if self.pixels == PIXELS_PER_LOGARITHM {
                self.flush();
            }
        }
    }

    /// # Safety
    /// On a processor that has the vector's instructions.
    #[inline(always)]
    unsafe fn flush(&mut self) {
        let (mut differences, mut product) = (Lanes::ZERO, Lanes::ZERO);
        // SAFETY: the caller's.
        unsafe {
            self.differences.store(&raw mut differences);
            self.product.store(&raw mut product);
            self.differences = V::zero();
            self.product = V::splat(1.0);
        }
        self.pixels = 0;
        for (total, (difference, product)) in self.total.iter_mut().zip(differences.0.iter().zip(&product.0)) {
            *total += f64::from(*difference) + f64::from(product.ln());
        }
    }
}

for_each_isa! {
    /// Scores a band of `rows` rows against `[rows, width]` classes. With a `share` of each pixel in the mean loss, the
    /// logits become their gradient `share·(softmax − onehot)`, zero in dead lanes, and hits are not counted; without,
    /// the logits are lost.
    pub fn cross_entropy[V](
        logits: (&mut [Lanes], View), classes: &[Classes], rows: usize, live: usize, share: Option<f32>,
    ) -> BandScore {
        let (logits, view) = logits;
        let width = view.geometry.width;
        assert_eq!(classes.len(), rows * width, "one class per pixel");
        let step = view.geometry.channel_step();
        let mut loss = LossSum::<V>::new();
        let mut hits = V::zero();
        let mut shares = Lanes::ZERO;
        shares.0[..live].fill(share.unwrap_or(0.0));
        let shares = V::load(&raw const shares);
        for row in 0..rows {
            let first = view.start(row, 0);
            let row_logits = &mut logits[first..first + (view.channels - 1) * step + width];
            for (x, class) in classes[row * width..][..width].iter().enumerate() {
                let class = V::load(class);
                let mut maximum = V::splat(f32::NEG_INFINITY);
                for l in row_logits[x..].iter().step_by(step) {
                    maximum = V::load(l).max(maximum);
                }
                if share.is_none() {
                    let (mut best, mut found) = (V::splat(NO_CLASS), V::splat(f32::NEG_INFINITY));
                    let mut c = V::zero();
                    for l in row_logits[x..].iter().step_by(step) {
                        let l = V::load(l);
                        best = c.where_greater(l, found, best);
                        found = l.max(found);
                        c = c.add(V::splat(1.0));
                    }
                    hits = hits.add(V::splat(1.0).where_equal(best, class, V::zero()));
                }
                let (mut sum, mut own, mut c) = (V::zero(), V::zero(), V::zero());
                for l in row_logits[x..].iter_mut().step_by(step) {
                    let value = V::load(l);
                    let e = exp(value.sub(maximum));
                    own = value.where_equal(class, c, own);
                    sum = sum.add(e);
                    e.store(l);
                    c = c.add(V::splat(1.0));
                }
                loss.add(maximum.sub(own), sum);
                if share.is_some() {
                    let scale = shares.div(sum);
                    let mut c = V::zero();
                    for l in row_logits[x..].iter_mut().step_by(step) {
                        let g = V::load(l).mul(scale);
                        g.sub(shares).where_equal(class, c, g).store(l);
                        c = c.add(V::splat(1.0));
                    }
                }
            }
        }
        loss.flush();
        let mut hit_lanes = Lanes::ZERO;
        hits.store(&raw mut hit_lanes);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let hits = hit_lanes.sum(live) as u64;
        BandScore { loss_sum: loss.total[..live].iter().sum(), hits }
    }
}

for_each_isa! {
    /// Adds a band's values of each channel over live lanes and pixels.
    pub fn channel_sums[V](values: (&[Lanes], View), rows: usize, live: usize, sums: &mut [f64]) {
        for (c, sum) in sums.iter_mut().enumerate() {
            let mut lanes = Lanes::ZERO;
            let mut total = V::zero();
            for row in 0..rows {
                for value in &values.0[values.1.row(row, c)] {
                    total = total.add(V::load(value));
                }
            }
            total.store(&raw mut lanes);
            *sum = lanes.sum(live);
        }
    }
}
