//! Batch normalization and the rectifier on bands of blocked maps, forward and backward.
//!
//! A band is some whole rows of one block. Sums over a band are taken in f32 lane by lane, then over live lanes and bands
//! in f64; a band's squares are taken about the band's own mean, so a mean far from zero costs no precision.

use super::geometry::View;
use super::isa::for_each_isa;
use super::vector::{Lanes, Vector};

/// Sums of one channel over one band.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    /// Values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// What the squares are about: near the band's mean.
    pub centre: f64,
    /// Sum of squared distances from `centre`.
    pub squares: f64,
}

/// Mean and biased variance of one channel from its bands' moments, in order.
#[must_use]
pub fn mean_and_variance(bands: impl Iterator<Item = Moments> + Clone) -> (f64, f64) {
    let (count, sum) = bands.clone().fold((0.0, 0.0), |(n, s), band| (n + band.count, s + band.sum));
    let mean = sum / count;
    let squares = bands.fold(0.0, |total, band| {
        let shift = band.centre - mean;
        total + band.squares + shift * (2.0 * (band.sum - band.count * band.centre) + band.count * shift)
    });
    (mean, (squares / count).max(0.0))
}

/// How one channel is normalized: `y = (z − mean)·scale + shift`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Channel {
    /// Mean of the channel.
    pub mean: f32,
    /// `1/√(variance + ε)`.
    pub inverse_deviation: f32,
    /// Batch norm's weight times `inverse_deviation`.
    pub scale: f32,
    /// Batch norm's bias.
    pub shift: f32,
}

/// Sums of one channel's gradient over one band, where the rectifier lets it through.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GradientSums {
    /// `Σ g`, the gradient of batch norm's bias.
    pub shift: f64,
    /// `Σ g·ẑ` with `ẑ` the normalized value, the gradient of batch norm's weight.
    pub scale: f64,
}

/// How one channel's gradient passes batch norm: `dz = scale·g + constant + slope·(z − mean)`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ChannelGradient {
    constant: f32,
    slope: f32,
}

impl ChannelGradient {
    /// From the sums over the whole batch, of `count` values.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn new(channel: &Channel, sums: GradientSums, count: f64) -> Self {
        let scale = f64::from(channel.scale);
        Self {
            constant: (-scale * sums.shift / count) as f32,
            slope: (-scale * f64::from(channel.inverse_deviation) * sums.scale / count) as f32,
        }
    }
}

/// A channel's normalization in all lanes.
#[derive(Clone, Copy)]
struct Broadcast<V> {
    mean: V,
    scale: V,
    shift: V,
}

#[allow(unsafe_code, clippy::inline_always)]
impl<V: Vector> Broadcast<V> {
    /// # Safety
    /// On a processor that has the vector's instructions.
    #[inline(always)]
    unsafe fn new(channel: &Channel) -> Self {
        // SAFETY: the caller's.
        unsafe { Self { mean: V::splat(channel.mean), scale: V::splat(channel.scale), shift: V::splat(channel.shift) } }
    }

    /// The normalized value of something centred.
    ///
    /// # Safety
    /// On a processor that has the vector's instructions.
    #[inline(always)]
    unsafe fn of(self, centred: V) -> V {
        // SAFETY: the caller's.
        unsafe { self.shift.add_product(centred, self.scale) }
    }

    /// Adds a gradient `g` where the rectifier lets it through to `shift`, and times the centred value to `scale`. A function
    /// and not a closure, which would be compiled without the vector's instructions.
    ///
    /// # Safety
    /// On a processor that has the vector's instructions.
    #[inline(always)]
    unsafe fn add_gradient(self, g: &Lanes, z: &Lanes, shift: &mut V, scale: &mut V) {
        // SAFETY: the caller's; references are valid pointers.
        unsafe {
            let centred = V::load(z).sub(self.mean);
            let passed = V::load(g).gate(self.of(centred));
            *shift = shift.add(passed);
            *scale = scale.add_product(passed, centred);
        }
    }
}

for_each_isa! {
    /// Moments of each channel of a band of `rows` rows.
    pub fn moments[V](z: &[Lanes], view: View, rows: usize, live: usize, moments: &mut [Moments]) {
        assert_eq!(moments.len(), view.channels, "one moment per channel");
        let width = view.geometry.width;
        for (c, moments) in moments.iter_mut().enumerate() {
            let (mut even, mut odd) = (V::zero(), V::zero());
            for row in 0..rows {
                let (pairs, last) = z[view.row(row, c)].as_chunks::<2>();
                for [a, b] in pairs {
                    even = even.add(V::load(a));
                    odd = odd.add(V::load(b));
                }
                for a in last {
                    even = even.add(V::load(a));
                }
            }
            let mut sums = Lanes::ZERO;
            even.add(odd).store(&raw mut sums);
            #[allow(clippy::cast_precision_loss)]
            let count = (rows * width * live) as f64;
            let sum = sums.sum(live);
            #[allow(clippy::cast_possible_truncation)]
            let centre = (sum / count) as f32;
            let about = V::splat(centre);
            let (mut even, mut odd) = (V::zero(), V::zero());
            for row in 0..rows {
                let (pairs, last) = z[view.row(row, c)].as_chunks::<2>();
                for [a, b] in pairs {
                    let (a, b) = (V::load(a).sub(about), V::load(b).sub(about));
                    even = even.add_product(a, a);
                    odd = odd.add_product(b, b);
                }
                for a in last {
                    let a = V::load(a).sub(about);
                    even = even.add_product(a, a);
                }
            }
            let mut squares = Lanes::ZERO;
            even.add(odd).store(&raw mut squares);
            *moments = Moments { count, sum, centre: f64::from(centre), squares: squares.sum(live) };
        }
    }
}

for_each_isa! {
    /// `a = max((z − mean)·scale + shift, 0)` over a band; NaN stays NaN.
    pub fn normalize_relu[V](z: (&[Lanes], View), channels: &[Channel], rows: usize, a: (&mut [Lanes], View)) {
        assert_eq!(channels.len(), z.1.channels, "one normalization per channel");
        for row in 0..rows {
            for (c, channel) in channels.iter().enumerate() {
                let channel = Broadcast::<V>::new(channel);
                for (a, z) in a.0[a.1.row(row, c)].iter_mut().zip(&z.0[z.1.row(row, c)]) {
                    let y = channel.of(V::load(z).sub(channel.mean));
                    y.gate(y).store(a);
                }
            }
        }
    }
}

for_each_isa! {
    /// Sums of the gradient `g` of the rectifier's output over a band.
    pub fn gradient_sums[V](
        g: (&[Lanes], View), z: (&[Lanes], View), channels: &[Channel], rows: usize, live: usize, sums: &mut [GradientSums],
    ) {
        assert_eq!((channels.len(), sums.len()), (z.1.channels, z.1.channels), "one sum per channel");
        // Rows outside, as they lie in memory; even and odd columns apart, so that additions need not wait for each other.
        let mut totals = vec![[[Lanes::ZERO; 2]; 2]; channels.len()];
        for row in 0..rows {
            for (c, (channel, [shifts, scales])) in channels.iter().zip(&mut totals).enumerate() {
                let normalization = Broadcast::<V>::new(channel);
                let mut shift = [V::load(&raw const shifts[0]), V::load(&raw const shifts[1])];
                let mut scale = [V::load(&raw const scales[0]), V::load(&raw const scales[1])];
                let (g, z) = (&g.0[g.1.row(row, c)], &z.0[z.1.row(row, c)]);
                let ((pairs, last), (z_pairs, z_last)) = (g.as_chunks::<2>(), z.as_chunks::<2>());
                for (g, z) in pairs.iter().zip(z_pairs) {
                    normalization.add_gradient(&g[0], &z[0], &mut shift[0], &mut scale[0]);
                    normalization.add_gradient(&g[1], &z[1], &mut shift[1], &mut scale[1]);
                }
                for (g, z) in last.iter().zip(z_last) {
                    normalization.add_gradient(g, z, &mut shift[0], &mut scale[0]);
                }
                for i in 0..2 {
                    shift[i].store(&raw mut shifts[i]);
                    scale[i].store(&raw mut scales[i]);
                }
            }
        }
        for ((channel, sums), [shifts, scales]) in channels.iter().zip(sums).zip(&totals) {
            *sums = GradientSums {
                shift: shifts.iter().map(|lanes| lanes.sum(live)).sum(),
                scale: scales.iter().map(|lanes| lanes.sum(live)).sum::<f64>() * f64::from(channel.inverse_deviation),
            };
        }
    }
}

for_each_isa! {
    /// Turns the gradient of the rectifier's output into that of batch norm's input, in place; dead lanes become zero.
    pub fn input_gradient[V](
        g: (&mut [Lanes], View), z: (&[Lanes], View), channels: &[(Channel, ChannelGradient)], rows: usize, live: usize,
    ) {
        assert_eq!(channels.len(), z.1.channels, "one normalization per channel");
        for row in 0..rows {
            for (c, (channel, gradient)) in channels.iter().enumerate() {
                let channel = Broadcast::<V>::new(channel);
                let (constant, slope) = (V::splat(gradient.constant), V::splat(gradient.slope));
                for (g, z) in g.0[g.1.row(row, c)].iter_mut().zip(&z.0[z.1.row(row, c)]) {
                    let centred = V::load(z).sub(channel.mean);
                    let passed = V::load(g).gate(channel.of(centred));
                    constant.add_product(slope, centred).add_product(channel.scale, passed).store(g);
                    if live < g.0.len() {
                        g.0[live..].fill(0.0);
                    }
                }
            }
        }
    }
}
