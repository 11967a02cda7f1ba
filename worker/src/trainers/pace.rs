//! How fast a run goes, and when something that is due by time is due.

use std::time::{Duration, Instant};

use trainyard_wire::run::Progress;

/// Fires once an interval, whatever else happens in it.
#[derive(Debug)]
pub(super) struct Timer {
    every: Duration,
    last: Instant,
}

impl Timer {
    /// First due `every` from now.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, last: Instant::now() }
    }

    /// Whether the interval has passed; if so, the next one begins.
    pub(super) fn is_due(&mut self) -> bool {
        let due = self.last.elapsed() >= self.every;
        if due {
            self.last = Instant::now();
        }
        due
    }
}

/// Steps a second since this attempt began, for the time to the end.
#[derive(Debug)]
pub(super) struct Pace {
    first_step: u64,
    total_steps: u64,
    begun: Instant,
}

impl Pace {
    /// An attempt that goes on from `first_step` of `total_steps`.
    pub(super) fn new(first_step: u64, total_steps: u64) -> Self {
        Self { first_step, total_steps, begun: Instant::now() }
    }

    /// Where the run is after `step` steps, of which `epoch` epochs are whole.
    pub(super) fn progress(&self, step: u64, epoch: Option<u64>) -> Progress {
        let done = step.saturating_sub(self.first_step);
        let rest = self.total_steps.saturating_sub(step);
        let eta_seconds = (done > 0).then(|| self.begun.elapsed().as_secs_f64() / done as f64 * rest as f64);
        Progress { step, total_steps: self.total_steps, epoch, eta_seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_of_no_time_is_always_due_and_one_of_an_hour_is_not() {
        let mut always = Timer::new(Duration::ZERO);
        assert!(always.is_due() && always.is_due());
        assert!(!Timer::new(Duration::from_secs(3600)).is_due());
    }

    #[test]
    fn the_time_to_the_end_is_known_after_the_first_step_and_zero_at_the_end() {
        let pace = Pace::new(10, 20);
        assert_eq!(pace.progress(10, None).eta_seconds, None);
        assert!(pace.progress(11, None).eta_seconds.is_some_and(|eta| eta >= 0.0));
        assert_eq!(pace.progress(20, Some(2)), Progress { step: 20, total_steps: 20, epoch: Some(2), eta_seconds: Some(0.0) });
    }
}
