//! Hostile input, the same at every run.
//!
//! [`names`] are names and paths that want out of where they belong, [`specs`] bodies of submits that are no jobs, [`scripts`] texts that
//! a page must show and not run. Each says of itself how many it has at least.

pub mod names;
pub mod scripts;
pub mod specs;

/// A small generator for choices that nobody needs to foresee.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    /// From 0 to `below` - 1.
    pub fn roll(&mut self, below: usize) -> usize {
        // Knuth's constants for 64 bits; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}
