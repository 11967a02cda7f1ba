//! The memory that a worker allows its runs, and what becomes of a run that takes more.
//!
//! A run whose estimate is over the bound is not claimed, and refused where it comes all the same. Estimates may be wrong, so the process
//! looks at its own size. Where that is over the bound, the run that was expected to take most is stopped and fails; the others go on.
//! A trainer that does not come to ask whether to stop is left behind: its failure is reported, the other runs are given back, and the
//! process ends, because nothing else ends a thread. Whoever keeps workers alive starts the next one.
//!
//! What grows too fast for this is the kernel's: it is told to take a worker before anything else of the machine.

use std::fmt;
use std::fs;
use std::time::Duration;

use super::server::Server;
use super::{Agent, WorkerError};
use crate::kernels::memory::give_back;

/// Bytes of the process apart from what it trains: code, threads, buffers for the server.
pub const OWN_BYTES: u64 = 96 << 20;
/// How willingly the kernel takes this process where memory runs out, from -1000 to 1000.
const VICTIM: &str = "500";

/// The bound of a worker's memory.
pub(super) struct Memory {
    /// Bytes of the whole process.
    pub(super) bound: Option<u64>,
    /// The bytes that the process takes now, where the system tells.
    pub(super) taken: fn() -> Option<u64>,
}

impl Memory {
    /// Of this process.
    pub(super) fn new(bound: Option<u64>) -> Self {
        Self { bound, taken: anonymous_bytes }
    }

    /// Bytes for a run.
    pub(super) fn for_runs(&self) -> Option<u64> {
        self.bound.map(|bound| bound.saturating_sub(OWN_BYTES))
    }

    /// Why a run that is expected to take so much is refused.
    pub(super) fn refusal(&self, estimate: u64) -> Option<String> {
        let allowed = self.for_runs().filter(|allowed| estimate > *allowed)?;
        Some(format!("the run asks for {} of memory; this worker has {} for a run", Size(estimate), Size(allowed)))
    }

    /// The bytes taken, where they are over the bound.
    fn excess(&self) -> Option<u64> {
        let bound = self.bound?;
        (self.taken)().filter(|taken| *taken > bound)
    }
}

impl<S: Server> Agent<S> {
    /// Watches the process's memory. Answers only where the process has to end because of it.
    pub(super) async fn watch_memory(&self) -> WorkerError {
        loop {
            tokio::time::sleep(self.timing.memory).await;
            let Some(taken) = self.memory.excess() else { continue };
            let Some((run, control)) = self.held.largest() else {
                // What an ended run has let go may still be with the allocator.
                give_back();
                match self.memory.excess() {
                    None => continue,
                    Some(taken) => return WorkerError::Memory { taken },
                }
            };
            let bound = self.memory.bound.unwrap_or_default();
            let reason = format!("training took more memory than the worker allows: {} of {}", Size(taken), Size(bound));
            tracing::warn!(run = %run.run_id, reason, "a run is stopped");
            control.give_up(reason);
            if !self.waits_until(self.timing.memory_grace, || !control.is_training()).await {
                tracing::error!(run = %run.run_id, "the run does not stop: the worker ends");
                control.abandon();
                self.held.release();
                self.waits_until(self.timing.give_up, || self.held.list().is_empty()).await;
                return WorkerError::Memory { taken };
            }
            give_back();
        }
    }

    /// Waits until `done`, at most so long; answers whether it is.
    async fn waits_until(&self, bound: Duration, done: impl Fn() -> bool) -> bool {
        let end = tokio::time::Instant::now() + bound;
        while !done() {
            if tokio::time::Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(self.timing.memory.min(bound)).await;
        }
        true
    }
}

/// Bytes of the process that no file holds; what is mapped from files can be had again at any time.
fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    kibibytes(&status, "RssAnon:")
}

/// Bytes of the process that are in memory.
pub(super) fn resident_bytes() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The value of a line such as `RssAnon:     1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The machine's memory in bytes, or what its container may take of it; `None` where the system does not tell.
pub fn machine_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kibibytes(&text, "MemTotal:"));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    machine.into_iter().chain(container).min()
}

/// Has the kernel take this process before others where the machine's memory runs out. Systems that cannot are left as they are.
pub(super) fn volunteer() {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", VICTIM) {
        tracing::debug!(%error, "the kernel is not told to take workers first");
    }
}

/// Bytes, for people.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} MiB", (self.0 as f64 / f64::from(1 << 20)).ceil())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_refused_for_what_it_asks_beside_what_the_process_needs_itself() {
        let memory = Memory { bound: Some(OWN_BYTES + 1000), taken: || None };
        assert_eq!(memory.refusal(1000), None);
        let refusal = memory.refusal(300 << 20).unwrap();
        assert_eq!(refusal, "the run asks for 300 MiB of memory; this worker has 1 MiB for a run");
        assert_eq!(Memory { bound: None, taken: || None }.refusal(u64::MAX), None);
    }

    #[test]
    fn the_process_knows_what_it_takes_and_what_the_machine_has() {
        let before = anonymous_bytes().unwrap();
        let block = vec![1u8; 64 << 20];
        let after = anonymous_bytes().unwrap();
        assert!(after > before + (32 << 20), "{before} {after} {}", block.len());
        assert!(machine_bytes().unwrap() > after);
        assert_eq!(kibibytes("A:  5 kB\nRssAnon:\t   12 kB\n", "RssAnon:"), Some(12 << 10));
        assert_eq!(kibibytes("RssAnon: much kB", "RssAnon:"), None);
    }
}
