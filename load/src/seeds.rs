//! Seeded draws: a run of a scenario can be repeated by its seed.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub struct Draws(u64);

impl Draws {
    /// The draws of one purpose (a client, a connection) of a scenario.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut draws = Self(seed ^ purpose.wrapping_mul(0xd6e8_feb8_6659_fd93));
        draws.draw();
        draws
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.fraction() * bound as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Draws;

    #[test]
    fn draws_are_repeatable_and_purposes_differ() {
        let draw = |seed, purpose| {
            let mut draws = Draws::new(seed, purpose);
            [draws.draw(), draws.draw(), draws.below(10)]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
        let mut draws = Draws::new(3, 0);
        let mean = (0..10_000).map(|_| draws.fraction()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
