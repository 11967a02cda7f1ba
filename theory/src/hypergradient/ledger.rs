//! Bytes that are held, counted as they are taken and given back.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

/// Counts the bytes of the [`Vector`]s that are alive, and remembers the most there were at one time.
#[derive(Debug, Default)]
pub struct Ledger {
    held: Cell<u64>,
    peak: Cell<u64>,
}

impl Ledger {
    /// Nothing is held yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A vector of zeros.
    pub fn zeros(&self, length: usize) -> Vector<'_> {
        self.hold(vec![0.0; length])
    }

    /// A copy of `values`.
    pub fn copy_of(&self, values: &[f64]) -> Vector<'_> {
        self.hold(values.to_vec())
    }

    /// The bytes of the vectors that are alive.
    pub fn held(&self) -> u64 {
        self.held.get()
    }

    /// The most bytes that were held at one time.
    pub fn peak(&self) -> u64 {
        self.peak.get()
    }

    fn hold(&self, values: Vec<f64>) -> Vector<'_> {
        let vector = Vector { values, ledger: self };
        self.held.set(self.held.get() + vector.bytes());
        self.peak.set(self.peak.get().max(self.held.get()));
        vector
    }
}

/// A vector of a fixed length whose bytes stand in a [`Ledger`] as long as it lives.
#[derive(Debug)]
pub struct Vector<'a> {
    values: Vec<f64>,
    ledger: &'a Ledger,
}

impl Vector<'_> {
    /// What the allocator gave, which may be more than the length needs.
    fn bytes(&self) -> u64 {
        (self.values.capacity() * size_of::<f64>()) as u64
    }
}

impl Deref for Vector<'_> {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.values
    }
}

impl DerefMut for Vector<'_> {
    fn deref_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }
}

impl Drop for Vector<'_> {
    fn drop(&mut self) {
        self.ledger.held.set(self.ledger.held.get() - self.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_is_held_and_the_peak_stays() {
        let ledger = Ledger::new();
        let first = ledger.zeros(10);
        {
            let second = ledger.copy_of(&[1.0, 2.0]);
            assert_eq!((second[1], ledger.held()), (2.0, 96));
        }
        assert_eq!((ledger.held(), ledger.peak()), (80, 96));
        drop(first);
        assert_eq!((ledger.held(), ledger.peak()), (0, 96));
    }
}
