//! What a battery measured and found.

use std::time::Duration;

use serde::Serialize;

use crate::checker::Violation;

/// Times of one thing, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Spread {
    /// Of nothing where nothing was measured.
    pub fn of(times: &[Duration]) -> Self {
        let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        // The smallest time that so many percent do not exceed.
        let percentile = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0.0);
        Self { count: times.len(), p50_ms: percentile(50), p99_ms: percentile(99), max_ms: percentile(100) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:.0} ms, p99 {:.0} ms, max {:.0} ms of {}", self.p50_ms, self.p99_ms, self.max_ms, self.count)
    }
}

/// What a battery came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    pub battery: &'static str,
    pub seed: u64,
    /// What was counted, by name.
    pub counts: Vec<(&'static str, u64)>,
    pub times: Vec<(&'static str, Spread)>,
    pub violations: Vec<Violation>,
}

impl Summary {
    pub fn new(battery: &'static str, seed: u64) -> Self {
        Self { battery, seed, ..Self::default() }
    }

    pub fn count(&mut self, name: &'static str, count: usize) {
        self.counts.push((name, count as u64));
    }

    pub fn time(&mut self, name: &'static str, times: &[Duration]) {
        self.times.push((name, Spread::of(times)));
    }

    pub fn is_green(&self) -> bool {
        self.violations.is_empty()
    }

    /// Panics with what was found, for tests.
    pub fn assert_green(&self) {
        assert!(self.is_green(), "{self}");
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} (seed {}): {}", self.battery, self.seed, if self.is_green() { "green" } else { "RED" })?;
        for (name, count) in &self.counts {
            writeln!(f, "  {name}: {count}")?;
        }
        for (name, spread) in &self.times {
            writeln!(f, "  {name}: {spread}")?;
        }
        for violation in self.violations.iter().take(20) {
            writeln!(f, "  {violation}")?;
        }
        if self.violations.len() > 20 {
            writeln!(f, "  and {} more", self.violations.len() - 20)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Spread;

    #[test]
    fn a_percentile_is_the_smallest_time_that_so_many_do_not_exceed() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let Spread { count, p50_ms, p99_ms, max_ms } = Spread::of(&times);
        assert_eq!((count, p50_ms, p99_ms, max_ms), (200, 100.0, 198.0, 200.0));
        assert_eq!(Spread::of(&[]).max_ms, 0.0);
    }
}
