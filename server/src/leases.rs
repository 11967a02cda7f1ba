//! Who holds which run, and until when; which workers are alive.
//!
//! All of it is in memory and on the monotonic clock: a heartbeat writes nothing to disk, and a wall clock that jumps changes nothing.
//! After a restart every running run gets one fresh lease. The clock comes in as a value, so tests move it as they like. What this
//! module says is only advice to the workers; what protects a run from a stale one is its attempt, checked in every transaction.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trainyard_wire::run::RequestedAction;
use trainyard_wire::worker::{Directive, HeldRun};
use trainyard_wire::{Attempt, RunId, WorkerId};

/// A worker's time-limited right to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) worker: WorkerId,
    pub(crate) attempt: Attempt,
    pub(crate) deadline: Instant,
    /// What the worker is to be told at its next heartbeat.
    pub(crate) requested: Option<RequestedAction>,
}

/// When a worker was heard of.
#[derive(Clone, Copy, Debug)]
struct Presence {
    last: Instant,
    /// Claims of it that wait for work right now.
    waiting: u32,
}

#[derive(Debug, Default)]
struct Table {
    leases: HashMap<RunId, Lease>,
    workers: HashMap<WorkerId, Presence>,
}

/// A worker that is alive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alive {
    pub(crate) worker: WorkerId,
    pub(crate) idle: Duration,
    /// By id.
    pub(crate) runs: Vec<RunId>,
}

/// The leases of a server.
#[derive(Debug)]
pub(crate) struct Leases {
    term: Duration,
    table: Mutex<Table>,
}

impl Leases {
    /// `term` is how long a lease lasts after the last heartbeat.
    pub(crate) fn new(term: Duration) -> Self {
        Self { term, table: Mutex::default() }
    }

    pub(crate) fn term(&self) -> Duration {
        self.term
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No operation leaves the table half changed, so one that panicked did not spoil it.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a run to a worker for a term.
    pub(crate) fn grant(&self, run: RunId, worker: WorkerId, attempt: Attempt, requested: Option<RequestedAction>, now: Instant) {
        self.table().leases.insert(run, Lease { worker, attempt, deadline: now + self.term, requested });
    }

    /// Ends a lease.
    pub(crate) fn end(&self, run: RunId) {
        self.table().leases.remove(&run);
    }

    /// Notes what the holder of a run is to be told.
    pub(crate) fn request(&self, run: RunId, requested: Option<RequestedAction>) {
        if let Some(lease) = self.table().leases.get_mut(&run) {
            lease.requested = requested;
        }
    }

    /// Renews the lease of a run if this attempt still has it.
    pub(crate) fn renew(&self, run: RunId, attempt: Attempt, now: Instant) {
        let mut table = self.table();
        let Some(lease) = table.leases.get_mut(&run).filter(|lease| lease.attempt == attempt) else { return };
        lease.deadline = now + self.term;
        let worker = lease.worker;
        table.hear(worker, now);
    }

    /// Renews what the worker holds of `held`, and tells it what to do with each.
    pub(crate) fn heartbeat(&self, worker: WorkerId, held: &[HeldRun], now: Instant) -> Vec<Directive> {
        let mut table = self.table();
        table.hear(worker, now);
        let mut directive = |held: &HeldRun| match table.leases.get_mut(&held.run_id) {
            Some(lease) if lease.worker == worker && lease.attempt == held.attempt => {
                lease.deadline = now + self.term;
                Directive::from(lease.requested)
            }
            _ => Directive::Lost,
        };
        held.iter().map(&mut directive).collect()
    }

    /// Takes away the leases whose deadline has passed. Until the store has put their runs back into the queue, a heartbeat for them is
    /// told that they are lost.
    pub(crate) fn take_expired(&self, now: Instant) -> Vec<(RunId, Lease)> {
        let mut expired: Vec<_> = self.table().leases.extract_if(|_, lease| lease.deadline <= now).collect();
        expired.sort_by_key(|(run, _)| *run);
        expired
    }

    /// Gives back an expired lease that the store could not deal with, so that the next round tries again.
    pub(crate) fn restore(&self, run: RunId, lease: Lease) {
        self.table().leases.entry(run).or_insert(lease);
    }

    /// Notes that a worker was heard of.
    pub(crate) fn hear(&self, worker: WorkerId, now: Instant) {
        self.table().hear(worker, now);
    }

    /// Counts a worker as present while its claim waits, until the answer is dropped.
    pub(crate) fn wait(&self, worker: WorkerId) -> Waiting<'_> {
        let mut table = self.table();
        table.hear(worker, Instant::now());
        if let Some(presence) = table.workers.get_mut(&worker) {
            presence.waiting += 1;
        }
        Waiting { leases: self, worker }
    }

    /// The workers that were heard of within a term, by id.
    pub(crate) fn alive(&self, now: Instant) -> Vec<Alive> {
        let table = self.table();
        let mut alive: Vec<Alive> = table
            .workers
            .iter()
            .filter_map(|(&worker, presence)| {
                let idle = presence.idle(now);
                (idle <= self.term).then_some(Alive { worker, idle, runs: Vec::new() })
            })
            .collect();
        alive.sort_by_key(|alive| alive.worker);
        for (&run, lease) in &table.leases {
            if let Ok(index) = alive.binary_search_by_key(&lease.worker, |alive| alive.worker) {
                alive[index].runs.push(run);
            }
        }
        alive.iter_mut().for_each(|alive| alive.runs.sort_unstable());
        alive
    }

    /// Forgets the workers that were not heard of for `silence` and hold nothing; answers those that are still known.
    pub(crate) fn forget_silent(&self, silence: Duration, now: Instant) -> Vec<WorkerId> {
        let mut table = self.table();
        let holders: Vec<WorkerId> = table.leases.values().map(|lease| lease.worker).collect();
        table.workers.retain(|worker, presence| presence.idle(now) <= silence || holders.contains(worker));
        // After a restart a holder may not have been heard of yet.
        let mut known: Vec<WorkerId> = table.workers.keys().copied().chain(holders).collect();
        known.sort_unstable();
        known.dedup();
        known
    }
}

impl Table {
    fn hear(&mut self, worker: WorkerId, now: Instant) {
        let presence = self.workers.entry(worker).or_insert(Presence { last: now, waiting: 0 });
        presence.last = presence.last.max(now);
    }
}

impl Presence {
    fn idle(&self, now: Instant) -> Duration {
        if self.waiting > 0 { Duration::ZERO } else { now.saturating_duration_since(self.last) }
    }
}

/// A claim that waits for work.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    leases: &'a Leases,
    worker: WorkerId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut table = self.leases.table();
        if let Some(presence) = table.workers.get_mut(&self.worker) {
            presence.waiting = presence.waiting.saturating_sub(1);
            presence.last = presence.last.max(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(20);
    const WORKER: WorkerId = WorkerId(1);
    const RUN: RunId = RunId(7);

    fn held(attempt: i64) -> [HeldRun; 1] {
        [HeldRun { run_id: RUN, attempt: Attempt(attempt) }]
    }

    fn second(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_ends_a_term_after_the_last_heartbeat() {
        let (leases, start) = (Leases::new(TERM), Instant::now());
        leases.grant(RUN, WORKER, Attempt(1), None, start);
        assert_eq!(leases.take_expired(second(start, 19)), []);
        assert_eq!(leases.heartbeat(WORKER, &held(1), second(start, 19)), [Directive::Continue]);
        assert_eq!(leases.take_expired(second(start, 38)), []);
        let expired = leases.take_expired(second(start, 39));
        assert_eq!(expired.iter().map(|(run, lease)| (*run, lease.attempt)).collect::<Vec<_>>(), [(RUN, Attempt(1))]);
        assert_eq!(leases.heartbeat(WORKER, &held(1), second(start, 40)), [Directive::Lost]);
    }

    #[test]
    fn a_heartbeat_brings_what_was_requested() {
        let (leases, start) = (Leases::new(TERM), Instant::now());
        leases.grant(RUN, WORKER, Attempt(1), None, start);
        leases.request(RUN, Some(RequestedAction::Pause));
        assert_eq!(leases.heartbeat(WORKER, &held(1), start), [Directive::Pause]);
        leases.request(RUN, Some(RequestedAction::Cancel));
        assert_eq!(leases.heartbeat(WORKER, &held(1), start), [Directive::Cancel]);
        leases.request(RUN, None);
        assert_eq!(leases.heartbeat(WORKER, &held(1), start), [Directive::Continue]);
    }

    #[test]
    fn another_worker_and_an_earlier_attempt_renew_nothing() {
        let (leases, start) = (Leases::new(TERM), Instant::now());
        leases.grant(RUN, WORKER, Attempt(2), None, start);
        assert_eq!(leases.heartbeat(WorkerId(2), &held(2), second(start, 10)), [Directive::Lost]);
        assert_eq!(leases.heartbeat(WORKER, &held(1), second(start, 10)), [Directive::Lost]);
        leases.renew(RUN, Attempt(1), second(start, 10));
        assert_eq!(leases.take_expired(second(start, 20)).len(), 1);
    }

    #[test]
    fn a_restored_lease_expires_again_but_does_not_displace_a_new_one() {
        let (leases, start) = (Leases::new(TERM), Instant::now());
        leases.grant(RUN, WORKER, Attempt(1), None, start);
        let (run, lease) = leases.take_expired(second(start, 20))[0];
        leases.restore(run, lease);
        assert_eq!(leases.take_expired(second(start, 20)).len(), 1);
        leases.grant(RUN, WORKER, Attempt(2), None, second(start, 20));
        leases.restore(run, lease);
        assert_eq!(leases.take_expired(second(start, 30)), []);
    }

    #[test]
    fn a_worker_is_alive_while_it_was_heard_of_within_a_term_or_waits_for_work() {
        let (leases, start) = (Leases::new(TERM), Instant::now());
        leases.hear(WORKER, start);
        leases.grant(RUN, WORKER, Attempt(1), None, start);
        let alive = leases.alive(second(start, 20));
        assert_eq!(alive, [Alive { worker: WORKER, idle: TERM, runs: vec![RUN] }]);
        assert_eq!(leases.alive(second(start, 21)), []);
        let waiting = leases.wait(WORKER);
        assert_eq!(leases.alive(second(start, 100)).len(), 1);
        drop(waiting);
        assert_eq!(leases.alive(second(start, 100)), []);
    }

    #[test]
    fn a_silent_worker_is_forgotten_unless_it_holds_a_run() {
        let (leases, start) = (Leases::new(TERM), Instant::now());
        for worker in [1, 2, 3] {
            leases.hear(WorkerId(worker), start);
        }
        leases.hear(WorkerId(3), second(start, 60));
        leases.grant(RUN, WORKER, Attempt(1), None, start);
        assert_eq!(leases.forget_silent(Duration::from_secs(30), second(start, 60)), [WORKER, WorkerId(3)]);
    }
}
