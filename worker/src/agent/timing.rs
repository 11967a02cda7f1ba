//! How long the agent waits for what.

use std::time::Duration;

/// The agent's times; tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    /// Between two reports of a run, unless there is much to tell.
    pub(super) report: Duration,
    /// The first and the longest wait before a call is tried again.
    pub(super) first_retry: Duration,
    pub(super) last_retry: Duration,
    /// How long a claim may wait at the server.
    pub(super) claim: Duration,
    /// After the stop: how long the answer to the last claim is waited for.
    pub(super) last_claim: Duration,
    /// After the stop: how long a server that is away is called again.
    pub(super) give_up: Duration,
    /// After the stop: how long the runs may take to finish their steps and to be given back.
    pub(super) leave: Duration,
    /// Between two looks at the process's memory.
    pub(super) memory: Duration,
    /// Between two looks at what a run's process takes of the machine.
    pub(super) usage: Duration,
    /// How long a run that is over the bound may take to stop.
    pub(super) memory_grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            report: Duration::from_millis(500),
            first_retry: Duration::from_millis(200),
            last_retry: Duration::from_secs(5),
            claim: Duration::from_secs(20),
            last_claim: Duration::from_millis(500),
            give_up: Duration::from_secs(5),
            leave: Duration::from_secs(30),
            memory: Duration::from_millis(200),
            usage: Duration::from_secs(5),
            memory_grace: Duration::from_secs(5),
        }
    }
}
