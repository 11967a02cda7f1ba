//! What the process takes of the machine while a run trains: cores and memory, told beside the run's own metrics every few seconds.
//!
//! Reading it takes microseconds and touches nothing that is trained. A run that is over sooner is told nothing of it, so a sweep of thousands of
//! small ones stores no row more.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

use super::memory::resident_bytes;

/// How to find out what was taken; `None` where the system does not tell.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// The time of all threads on all cores so far.
    cpu: fn() -> Option<Duration>,
    /// Bytes in memory now.
    memory: fn() -> Option<u64>,
}

/// By all threads of this process on all cores.
fn cpu_time() -> Option<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let time = usage.user_time() + usage.system_time();
    u64::try_from(time.num_microseconds()).ok().map(Duration::from_micros)
}

/// Tells what was taken since it was last asked.
#[derive(Debug)]
pub(super) struct Meter {
    every: Duration,
    source: Source,
    since: Instant,
    cpu: Option<Duration>,
}

impl Meter {
    /// Of the process, from now on.
    pub(super) fn new(every: Duration) -> Self {
        Self::with(every, Source { cpu: cpu_time, memory: resident_bytes })
    }

    fn with(every: Duration, source: Source) -> Self {
        Self { every, source, since: Instant::now(), cpu: (source.cpu)() }
    }

    /// Names and values of what was taken, where it is time to tell: cores in use (1 is one core), and bytes.
    pub(super) fn due(&mut self) -> Vec<(&'static str, f64)> {
        self.due_at(Instant::now())
    }

    fn due_at(&mut self, now: Instant) -> Vec<(&'static str, f64)> {
        let passed = now.saturating_duration_since(self.since);
        if passed < self.every {
            return Vec::new();
        }
        let cpu = (self.source.cpu)();
        let spent = cpu.zip(self.cpu).and_then(|(now, before)| now.checked_sub(before));
        (self.since, self.cpu) = (now, cpu);
        let cores = spent.map(|spent| ("cpu_utilization", spent.as_secs_f64() / passed.as_secs_f64()));
        let memory = (self.source.memory)().map(|bytes| ("memory_bytes", bytes as f64));
        cores.into_iter().chain(memory).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    static SECONDS: AtomicU64 = AtomicU64::new(0);

    const BUSY: Source = Source { cpu: || Some(Duration::from_secs(SECONDS.load(Ordering::SeqCst))), memory: || Some(1000) };

    #[test]
    fn cores_are_counted_between_two_looks_and_none_is_told_before_its_time() {
        let mut meter = Meter::with(Duration::from_secs(5), BUSY);
        let start = meter.since;
        assert_eq!(meter.due_at(start + Duration::from_millis(4900)), []);
        SECONDS.store(15, Ordering::SeqCst);
        assert_eq!(meter.due_at(start + Duration::from_secs(5)), [("cpu_utilization", 3.0), ("memory_bytes", 1000.0)]);
        assert_eq!(meter.due_at(start + Duration::from_secs(5)), []);
        assert_eq!(meter.due_at(start + Duration::from_secs(15)), [("cpu_utilization", 0.0), ("memory_bytes", 1000.0)]);
    }

    #[test]
    fn what_the_system_does_not_tell_is_no_metric() {
        let mut meter = Meter::with(Duration::from_secs(1), Source { cpu: || None, memory: || None });
        assert_eq!(meter.due_at(meter.since + Duration::from_secs(1)), []);
    }

    #[test]
    fn the_process_knows_what_it_takes() {
        let before = cpu_time().unwrap();
        let mut sum = 0_u64;
        while cpu_time().unwrap() <= before {
            sum = (0..100_000).fold(sum, |sum, number| sum.rotate_left(1) ^ number);
        }
        assert!(resident_bytes().unwrap() > 1 << 20, "{sum}");
    }
}
