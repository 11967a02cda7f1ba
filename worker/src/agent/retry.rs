//! Trying again, at growing intervals.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Growing waits with jitter: workers that lost one server at one time must not all come back at one time.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    /// Waits of about `first`, twice as long each time, and about `most` in the end.
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { next: first.min(most), most }
    }

    /// The next wait: half to one and a half of what is due.
    pub(super) fn delay(&mut self) -> Duration {
        let due = self.next;
        self.next = (2 * due).min(self.most);
        due.mul_f64(0.5 + random())
    }
}

/// Uniform in `[0, 1)`, different in every process: a hash under keys that the standard library draws.
fn random() -> f64 {
    (RandomState::new().hash_one(0) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_within_the_jitter() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(350));
        for due in [100, 200, 350, 350] {
            let wait = backoff.delay().as_millis();
            assert!((due / 2..=due * 3 / 2).contains(&wait), "{due}: {wait}");
        }
    }

    #[test]
    fn two_workers_do_not_wait_alike() {
        let waits: Vec<Duration> = (0..10).map(|_| Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).delay()).collect();
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
