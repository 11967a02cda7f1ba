//! The three forms of a convolution, along one axis: forward, the gradient of its input, the gradient of its weights.
//!
//! Forward and backward are `out[so·i + p] = Σ_d in[si·i + d]·w_p[d]`; see `convolve.cu`. Where a map is upsampled before it is
//! convolved, several weights of the network meet the same value, and `w_p[d]` is their sum. Derivations, with padding `q`:
//!
//! - plain: `out[i] = Σ_k in[i + k − q]·w[k]`; its input's gradient is `Σ_k g[i + q − k]·w[k]`.
//! - down (stride 2): `out[i] = Σ_k in[2i + k − q]·w[k]`. Up is its transpose: `out[2i + p] = Σ_d in[i + d]·w[p + q − 2d]`. Each is
//!   the other's gradient.
//! - plain after upsampling: `out[2i + p] = Σ_k in[⌊(2i + p + k − q)/2⌋]·w[k]`; its input's gradient is
//!   `Σ_k (g[2i + q − k] + g[2i + 1 + q − k])·w[k]`.

/// A convolution of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Convolution {
    /// Stride 1, keeping height and width.
    Same,
    /// As `Same`, on the map upsampled to twice its height and width.
    SameUpsampled,
    /// Stride 2.
    Down,
    /// Transposed, stride 2.
    Up,
}

/// Weights of the network whose sum one tap takes: `first`, and `count` of them that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tap {
    pub(crate) first: usize,
    pub(crate) count: usize,
}

/// The taps of one phase: input offsets from `lo` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Phase {
    pub(crate) lo: i32,
    pub(crate) taps: Vec<Tap>,
}

/// One axis of a convolution or of its input's gradient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) si: usize,
    /// As many as output rows to a step.
    pub(crate) phases: Vec<Phase>,
}

/// One axis of the correlation that is the weights' gradient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Correlation {
    /// Whether the smaller map is the convolution's input; else it is the output's gradient.
    pub(crate) input_is_small: bool,
    pub(crate) stride: usize,
    pub(crate) lo: i32,
    pub(crate) taps: usize,
    /// Which taps add up to the gradient of each weight.
    pub(crate) of_weight: Vec<Tap>,
}

impl Convolution {
    fn padding(self, kernel: usize) -> i32 {
        let kernel = kernel as i32;
        match self {
            Self::Same | Self::SameUpsampled => (kernel - 1) / 2,
            Self::Down | Self::Up if kernel % 2 == 0 => kernel / 2 - 1,
            Self::Down | Self::Up => kernel / 2,
        }
    }

    pub(crate) fn forward(self, kernel: usize) -> Axis {
        let (k, q) = (kernel as i32, self.padding(kernel));
        match self {
            Self::Same => Axis { si: 1, phases: vec![collect(k, |w| vec![w - q])] },
            Self::Down => Axis { si: 2, phases: vec![collect(k, |w| vec![w - q])] },
            Self::Up => Axis { si: 1, phases: transposed(k, q) },
            Self::SameUpsampled => Axis { si: 1, phases: (0..2).map(|p| collect(k, |w| vec![(p + w - q).div_euclid(2)])).collect() },
        }
    }

    pub(crate) fn backward(self, kernel: usize) -> Axis {
        let (k, q) = (kernel as i32, self.padding(kernel));
        match self {
            Self::Same => Axis { si: 1, phases: vec![collect(k, |w| vec![q - w])] },
            Self::Down => Axis { si: 1, phases: transposed(k, q) },
            Self::Up => Axis { si: 2, phases: vec![collect(k, |w| vec![w - q])] },
            Self::SameUpsampled => Axis { si: 2, phases: vec![collect(k, |w| vec![q - w, q - w + 1])] },
        }
    }

    pub(crate) fn correlation(self, kernel: usize) -> Correlation {
        let q = self.padding(kernel);
        let single = |k| Tap { first: k, count: 1 };
        let plain = (0..kernel).map(single).collect();
        match self {
            Self::Same => Correlation { input_is_small: false, stride: 1, lo: -q, taps: kernel, of_weight: plain },
            Self::Down => Correlation { input_is_small: false, stride: 2, lo: -q, taps: kernel, of_weight: plain },
            Self::Up => Correlation { input_is_small: true, stride: 2, lo: -q, taps: kernel, of_weight: plain },
            Self::SameUpsampled => Correlation {
                input_is_small: true,
                stride: 2,
                lo: q + 1 - kernel as i32,
                taps: kernel + 1,
                of_weight: (0..kernel).map(|k| Tap { first: kernel - 1 - k, count: 2 }).collect(),
            },
        }
    }
}

/// The phase whose weight `w` meets the input at the offsets `of(w)`.
fn collect(kernel: i32, of: impl Fn(i32) -> Vec<i32>) -> Phase {
    let pairs: Vec<(i32, i32)> = (0..kernel).flat_map(|w| of(w).into_iter().map(move |d| (d, w))).collect();
    let Some(lo) = pairs.iter().map(|(d, _)| *d).min() else { return Phase { lo: 0, taps: Vec::new() } };
    let hi = pairs.iter().map(|(d, _)| *d).max().unwrap_or(lo);
    let tap = |offset| {
        let weights: Vec<usize> = pairs.iter().filter(|(d, _)| *d == offset).map(|(_, w)| *w as usize).collect();
        Tap { first: weights.iter().copied().min().unwrap_or(0), count: weights.len() }
    };
    Phase { lo, taps: (lo..=hi).map(tap).collect() }
}

/// `out[2i + p] = Σ_d in[i + d]·w[p + q − 2d]`
fn transposed(kernel: i32, q: i32) -> Vec<Phase> {
    let phase = |p: i32| collect(kernel, move |w| if (p + q - w) % 2 == 0 { vec![(p + q - w) / 2] } else { Vec::new() });
    (0..2).map(phase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_has_more_than_eight_taps_and_offsets_follow_one_another() {
        for kind in [Convolution::Same, Convolution::SameUpsampled, Convolution::Down, Convolution::Up] {
            for kernel in 1..=7 {
                for axis in [kind.forward(kernel), kind.backward(kernel)] {
                    let all: usize = axis.phases.iter().flat_map(|phase| &phase.taps).map(|tap| tap.count).sum();
                    let copies = if kind == Convolution::SameUpsampled { 2 } else { 1 };
                    assert_eq!(all, copies * kernel, "every weight is used {kind:?} {kernel}");
                    assert!(axis.phases.iter().all(|phase| phase.taps.len() <= 8 && phase.taps.iter().all(|tap| tap.count > 0)));
                }
                assert!(kind.correlation(kernel).taps <= 8);
            }
        }
    }

    #[test]
    fn upsampling_turns_three_taps_into_two_a_phase() {
        let axis = Convolution::SameUpsampled.forward(3);
        let taps = |phase: usize| axis.phases[phase].taps.iter().map(|tap| (tap.first, tap.count)).collect::<Vec<_>>();
        assert_eq!((axis.phases[0].lo, taps(0)), (-1, vec![(0, 1), (1, 2)]));
        assert_eq!((axis.phases[1].lo, taps(1)), (0, vec![(0, 2), (2, 1)]));
    }
}
