//! Which steps of a long run are recorded: densely at first, then a fixed number for each factor of
//! ten, so that a run of 500,000 steps and one of 5,000 both make a smooth curve on a logarithmic
//! axis with few points.

/// The recorded steps of a run of `total_steps` updates: step 0 (the start, before any update),
/// every step up to `dense`, from there on the roundings of `10^(k/per_decade)` for whole `k`, and
/// `total_steps`.
///
/// Whether a step under `total_steps` is recorded does not depend on `total_steps`: runs of
/// different lengths share their grid, and a longer run records what a shorter one did, but for its
/// end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSchedule {
    total_steps: u64,
    dense: u64,
    per_decade: u32,
}

impl LogSchedule {
    /// Every step up to this one is recorded, unless [`with_density`](Self::with_density) says
    /// otherwise.
    pub const DENSE: u64 = 100;
    /// Steps recorded for each factor of ten, unless [`with_density`](Self::with_density) says
    /// otherwise.
    pub const PER_DECADE: u32 = 100;

    /// The schedule with the usual density: at most 101 steps up to 100, 100 more for each further
    /// factor of ten (about 470 for 500,000 steps), and the end.
    pub fn new(total_steps: u64) -> Self {
        Self::with_density(total_steps, Self::DENSE, Self::PER_DECADE)
    }

    /// A schedule of any density. A `per_decade` of 0 leaves nothing between `dense` and the end.
    pub fn with_density(total_steps: u64, dense: u64, per_decade: u32) -> Self {
        Self { total_steps, dense, per_decade }
    }

    /// The first recorded step after `step`, or `None` at the end of the run. A training loop keeps
    /// this number and compares it with its counter; a resumed one asks for it again.
    pub fn next_after(&self, step: u64) -> Option<u64> {
        if step >= self.total_steps {
            return None;
        }
        if step < self.dense {
            return Some(step + 1);
        }
        Some(self.next_of_grid(step).min(self.total_steps))
    }

    /// Whether `step` is recorded.
    pub fn records(&self, step: u64) -> bool {
        step == 0 || self.next_after(step - 1) == Some(step)
    }

    /// All recorded steps in order.
    pub fn steps(&self) -> impl Iterator<Item = u64> {
        std::iter::successors(Some(0), |step| self.next_after(*step))
    }

    fn next_of_grid(&self, step: u64) -> u64 {
        if self.per_decade == 0 {
            return self.total_steps;
        }
        let per_decade = f64::from(self.per_decade);
        // One before the exponent of `step` itself, against the rounding of the logarithm.
        let mut exponent = (per_decade * (step.max(1) as f64).log10()).floor() - 1.0;
        loop {
            // A float above u64::MAX saturates in the cast, which ends the loop.
            let candidate = 10_f64.powf(exponent / per_decade).round() as u64;
            if candidate > step || candidate == u64::MAX {
                return candidate;
            }
            exponent += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_the_first_steps_and_the_end_are_always_recorded() {
        for total in [0, 1, 2, 99, 100, 101, 12_345, 500_000, u64::MAX] {
            let schedule = LogSchedule::new(total);
            assert!(schedule.records(0));
            assert!(schedule.records(total), "{total}");
            assert!((1..=total.min(100)).all(|step| schedule.records(step)));
            assert_eq!(schedule.next_after(total), None);
        }
    }

    #[test]
    fn each_factor_of_ten_has_the_same_number_of_steps_evenly_spread() {
        let steps: Vec<u64> = LogSchedule::new(1_000_000).steps().collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
        for decade in [1_000, 10_000, 100_000] {
            let inside = steps.iter().filter(|step| (decade..decade * 10).contains(*step)).count();
            assert_eq!(inside, 100, "{decade}");
        }
        for pair in steps.windows(2).filter(|pair| pair[0] > 1000) {
            let ratio = pair[1] as f64 / pair[0] as f64;
            assert!((1.021..1.026).contains(&ratio), "{pair:?}");
        }
        assert!(LogSchedule::new(500_000).steps().count() < 500);
    }

    #[test]
    fn a_longer_run_records_what_a_shorter_one_did() {
        let short = LogSchedule::new(3_000);
        let long = LogSchedule::new(100_000);
        for step in 0..3_000 {
            assert_eq!(short.records(step), long.records(step), "{step}");
        }
    }

    #[test]
    fn resuming_anywhere_gives_the_steps_of_an_undisturbed_run() {
        let schedule = LogSchedule::with_density(20_000, 10, 20);
        let steps: Vec<u64> = schedule.steps().collect();
        for resumed_at in 0..20_000 {
            let expected = steps.iter().copied().find(|step| *step > resumed_at);
            assert_eq!(schedule.next_after(resumed_at), expected);
        }
    }

    #[test]
    fn a_schedule_without_density_keeps_start_and_end() {
        let steps: Vec<u64> = LogSchedule::with_density(1000, 0, 0).steps().collect();
        assert_eq!(steps, [0, 1000]);
    }
}
