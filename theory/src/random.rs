//! Seeded random numbers whose every draw is a function of (seed, purpose, index), so that a run
//! can be resumed at any epoch without saving a generator's state.
//!
//! The construction, in full, so that another program can repeat it: ChaCha with 8 rounds, a 64-bit
//! block counter that starts at 0 and a 64-bit stream number. The 256-bit key is the seed as 8
//! little-endian bytes followed by 24 zero bytes. The stream number is `purpose · 2⁵⁶ + index`. The
//! keystream is read as 64-bit little-endian words; every draw below takes whole words.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What random numbers are drawn for. Each purpose has its own streams, so that for one seed the
/// initial weights never depend on how many numbers the shuffling took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// The order of examples in an epoch; the index is the epoch.
    Permutation = 0,
    /// Initial weights of a model; the index tells models of one run apart.
    InitialWeights = 1,
    /// The matrix, weights and noise of a synthetic regression problem.
    Problem = 2,
    /// The initial centres of a clustering; the index is the restart.
    Clustering = 3,
    /// Procedural images; the index is the image's number.
    Image = 4,
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Generator {
    words: ChaCha8Rng,
    spare_normal: Option<f64>,
}

impl Generator {
    /// The stream of `(seed, purpose, index)` at its beginning. Only the low 56 bits of `index`
    /// count.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut words = ChaCha8Rng::from_seed(key);
        words.set_stream((purpose as u64) << 56 | (index & ((1 << 56) - 1)));
        Self { words, spare_normal: None }
    }

    /// 64 random bits: one word of the keystream.
    pub fn bits(&mut self) -> u64 {
        self.words.next_u64()
    }

    /// Uniform in [0, 1): the high 53 bits of one word, times 2⁻⁵³.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in [`low`, `high`): `low + (high − low)·u` with `u` from [`uniform`](Self::uniform).
    /// (Rounding can give `high` itself.)
    pub fn uniform_between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform among `0..bound`, without bias: the high word of `word · bound`, where words whose
    /// low product falls under `2⁶⁴ mod bound` are drawn again (Lemire, "Fast random integer
    /// generation in an interval", 2019).
    ///
    /// # Panics
    /// If `bound` is 0: there is nothing to draw from.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no integer is below zero");
        let mut product = u128::from(self.bits()) * u128::from(bound);
        if (product as u64) < bound {
            let reject_under = bound.wrapping_neg() % bound;
            while (product as u64) < reject_under {
                product = u128::from(self.bits()) * u128::from(bound);
            }
        }
        (product >> 64) as u64
    }

    /// Standard normal, by Marsaglia's polar method: pairs of `2u − 1` are drawn until one lies
    /// inside the unit circle without its centre; the pair's second number is given by the next
    /// call.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let first = 2.0 * self.uniform() - 1.0;
            let second = 2.0 * self.uniform() - 1.0;
            let square = first * first + second * second;
            if square > 0.0 && square < 1.0 {
                let scale = (-2.0 * square.ln() / square).sqrt();
                self.spare_normal = Some(second * scale);
                return first * scale;
            }
        }
    }

    /// Puts the items in random order (Fisher–Yates): for `i` from the last index down to 1, items
    /// `i` and [`below(i + 1)`](Self::below) change places. Every order is equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last as u64 + 1) as usize;
            items.swap(last, chosen);
        }
    }
}

/// The order of examples in epoch `epoch`: a permutation of `0..n`, a function of `(seed, epoch)`
/// and `n` alone. It is the identity shuffled by the stream `(seed, Purpose::Permutation, epoch)`.
pub fn permutation(seed: u64, epoch: u64, n: usize) -> Vec<usize> {
    let mut order = vec![0; n];
    permutation_into(seed, epoch, &mut order);
    order
}

/// [`permutation`] of `0..order.len()`, written over `order` without allocating.
pub fn permutation_into(seed: u64, epoch: u64, order: &mut [usize]) {
    for (index, place) in order.iter_mut().enumerate() {
        *place = index;
    }
    Generator::new(seed, Purpose::Permutation, epoch).shuffle(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_chacha8_keystream_of_its_key_and_number() {
        // The first keystream bytes of ChaCha8 with an all-zero key and stream, a published test
        // vector (TC1 of draft-strombergson-chacha-test-vectors): 3e 00 ef 2f 89 5f 40 d6 …
        let mut generator = Generator::new(0, Purpose::Permutation, 0);
        assert_eq!(generator.bits().to_le_bytes(), [0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
    }

    #[test]
    fn streams_of_other_seeds_purposes_and_epochs_differ() {
        let first = |seed, purpose, index| Generator::new(seed, purpose, index).bits();
        let reference = first(7, Purpose::Permutation, 3);
        assert_ne!(reference, first(8, Purpose::Permutation, 3));
        assert_ne!(reference, first(7, Purpose::InitialWeights, 3));
        assert_ne!(reference, first(7, Purpose::Permutation, 4));
        assert_eq!(reference, first(7, Purpose::Permutation, 3));
    }

    #[test]
    fn a_permutation_holds_every_index_once_and_depends_on_seed_and_epoch_alone() {
        let order = permutation(5, 2, 1000);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        let mut again = vec![17; 1000];
        permutation_into(5, 2, &mut again);
        assert_eq!(order, again);
        assert_ne!(order, permutation(5, 3, 1000));
        assert_ne!(order, permutation(6, 2, 1000));
        assert!(permutation(0, 0, 0).is_empty());
        assert_eq!(permutation(0, 0, 1), [0]);
    }

    #[test]
    fn all_orders_of_three_are_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        let epochs = 60_000;
        for epoch in 0..epochs {
            *counts.entry(permutation(1, epoch, 3)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        // Six standard deviations of a binomial count with p = 1/6.
        let spread = 6.0 * (epochs as f64 * (1.0 / 6.0) * (5.0 / 6.0)).sqrt();
        for (order, count) in counts {
            assert!((f64::from(count) - epochs as f64 / 6.0).abs() < spread, "{order:?}: {count}");
        }
    }

    #[test]
    fn bounded_integers_fill_their_range_evenly() {
        let mut generator = Generator::new(3, Purpose::Problem, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[generator.below(7) as usize] += 1;
        }
        for count in counts {
            assert!((f64::from(count) - 10_000.0).abs() < 6.0 * 93.0, "{counts:?}");
        }
        // A bound whose rejection zone is almost half of all words.
        let bound = (1 << 63) + 1;
        let high = (0..1000).filter(|_| generator.below(bound) >= bound / 2).count();
        assert!((400..600).contains(&high), "{high}");
        assert_eq!(generator.below(1), 0);
    }

    #[test]
    fn uniforms_and_normals_have_the_moments_of_their_laws() {
        let mut generator = Generator::new(11, Purpose::InitialWeights, 0);
        let count = 200_000;
        let uniforms: Vec<f64> = (0..count).map(|_| generator.uniform()).collect();
        let normals: Vec<f64> = (0..count).map(|_| generator.normal()).collect();
        let moment = |values: &[f64], centre: f64, power: i32| values.iter().map(|v| (v - centre).powi(power)).sum::<f64>() / count as f64;
        assert!(uniforms.iter().all(|u| (0.0..1.0).contains(u)));
        assert!((moment(&uniforms, 0.0, 1) - 0.5).abs() < 0.005);
        assert!((moment(&uniforms, 0.5, 2) - 1.0 / 12.0).abs() < 0.002);
        assert!(moment(&normals, 0.0, 1).abs() < 0.015);
        assert!((moment(&normals, 0.0, 2) - 1.0).abs() < 0.02);
        assert!(moment(&normals, 0.0, 3).abs() < 0.05);
        assert!((moment(&normals, 0.0, 4) - 3.0).abs() < 0.15);
        assert!((-2.0..3.0).contains(&generator.uniform_between(-2.0, 3.0)));
    }
}
