//! The runs that this worker holds, and what is wanted of each.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trainyard_wire::worker::{Directive, HeldRun};
use trainyard_wire::{Attempt, RunId};

use crate::trainers::Stop;

/// What is wanted of one run: by the server, and by the worker itself. The trainer asks for both before each step.
#[derive(Debug, Default)]
pub(super) struct Control {
    server: AtomicU8,
    worker: AtomicU8,
    changed: Notify,
    /// What the run is expected to take, in bytes.
    memory: u64,
    /// A trainer is at work.
    training: AtomicBool,
    /// Why the run was given up.
    given_up: OnceLock<String>,
    abandoned: CancellationToken,
}

impl Control {
    /// The stronger of what the server and the worker want.
    pub(super) fn stop(&self) -> Option<Stop> {
        decode(self.server.load(Ordering::Relaxed).max(self.worker.load(Ordering::Relaxed)))
    }

    /// Waits until something is wanted: for what has no steps to ask before.
    pub(super) async fn stopped(&self) -> Stop {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Counts from here on, so that no change falls between the look and the wait.
            changed.as_mut().enable();
            if let Some(stop) = self.stop() {
                return stop;
            }
            changed.await;
        }
    }

    /// The server's word, which replaces its earlier one: a pause may be taken back. A lost lease is lost.
    pub(super) fn obey(&self, directive: Directive) {
        match directive {
            Directive::Continue => self.server.store(0, Ordering::Relaxed),
            Directive::Pause => self.server.store(encode(Stop::Pause), Ordering::Relaxed),
            Directive::Cancel => self.server.store(encode(Stop::Cancel), Ordering::Relaxed),
            Directive::Lost => self.want(Stop::Drop),
        }
        self.changed.notify_waiters();
    }

    /// The worker's own wish; a weaker one does not replace a stronger one.
    pub(super) fn want(&self, stop: Stop) {
        self.worker.fetch_max(encode(stop), Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// Ends the run in failure: it takes too much memory.
    pub(super) fn give_up(&self, reason: String) {
        // The first reason is the reason.
        let _ = self.given_up.set(reason);
        self.want(Stop::Memory);
    }

    /// Why the run was given up, if it was.
    pub(super) fn reason(&self) -> Option<&str> {
        self.given_up.get().map(String::as_str)
    }

    /// The trainer is no longer waited for: it does not stop.
    pub(super) fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Waits until the trainer is no longer waited for.
    pub(super) async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }

    /// Whether a trainer is at work.
    pub(super) fn is_training(&self) -> bool {
        self.training.load(Ordering::Relaxed)
    }

    /// Notes that a trainer begins or has ended.
    pub(super) fn set_training(&self, training: bool) {
        self.training.store(training, Ordering::Relaxed);
    }

    /// Whether nothing of this run is to be written any more.
    pub(super) fn is_dropped(&self) -> bool {
        self.stop() == Some(Stop::Drop)
    }
}

fn encode(stop: Stop) -> u8 {
    match stop {
        Stop::Release => 1,
        Stop::Pause => 2,
        Stop::Cancel => 3,
        Stop::Memory => 4,
        Stop::Drop => 5,
    }
}

fn decode(code: u8) -> Option<Stop> {
    [Stop::Release, Stop::Pause, Stop::Cancel, Stop::Memory, Stop::Drop].into_iter().find(|stop| encode(*stop) == code)
}

#[derive(Debug, Default)]
struct Table {
    runs: BTreeMap<RunId, (Attempt, Arc<Control>)>,
    /// New runs are to be given back at once.
    releasing: bool,
}

/// All runs that this worker holds.
#[derive(Debug, Default)]
pub(super) struct HeldRuns {
    table: Mutex<Table>,
}

impl HeldRuns {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on heartbeats name the run, which is expected to take so many bytes.
    pub(super) fn insert(&self, run: HeldRun, memory: u64) -> Arc<Control> {
        let mut table = self.table();
        let control = Arc::new(Control { memory, ..Control::default() });
        if table.releasing {
            control.want(Stop::Release);
        }
        table.runs.insert(run.run_id, (run.attempt, Arc::clone(&control)));
        control
    }

    /// The run is done with, unless a later attempt of it is held by now.
    pub(super) fn remove(&self, run: HeldRun) {
        let mut table = self.table();
        if table.runs.get(&run.run_id).is_some_and(|(attempt, _)| *attempt == run.attempt) {
            table.runs.remove(&run.run_id);
        }
    }

    /// What a heartbeat names.
    pub(super) fn list(&self) -> Vec<HeldRun> {
        self.table().runs.iter().map(|(run_id, (attempt, _))| HeldRun { run_id: *run_id, attempt: *attempt }).collect()
    }

    /// Hands the server's word to a run, if the same attempt of it is still held.
    pub(super) fn obey(&self, run: HeldRun, directive: Directive) {
        if let Some((attempt, control)) = self.table().runs.get(&run.run_id)
            && *attempt == run.attempt
        {
            control.obey(directive);
        }
    }

    /// Gives all runs back, those that are still to come included, until [`keep`](Self::keep).
    pub(super) fn release(&self) {
        let mut table = self.table();
        table.releasing = true;
        table.runs.values().for_each(|(_, control)| control.want(Stop::Release));
    }

    /// Of the runs that train and were not given up yet, the one that is expected to take most.
    pub(super) fn largest(&self) -> Option<(HeldRun, Arc<Control>)> {
        let table = self.table();
        let training = table.runs.iter().filter(|(_, (_, control))| control.is_training() && control.reason().is_none());
        let (run_id, (attempt, control)) = training.max_by_key(|(_, (_, control))| control.memory)?;
        Some((HeldRun { run_id: *run_id, attempt: *attempt }, Arc::clone(control)))
    }

    /// New runs are kept again.
    pub(super) fn keep(&self) {
        self.table().releasing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: HeldRun = HeldRun { run_id: RunId(1), attempt: Attempt(2) };

    #[test]
    fn the_stronger_wish_wins_and_the_servers_can_be_taken_back() {
        let control = Control::default();
        assert_eq!(control.stop(), None);
        control.obey(Directive::Pause);
        assert_eq!(control.stop(), Some(Stop::Pause));
        control.obey(Directive::Continue);
        assert_eq!(control.stop(), None);
        control.want(Stop::Release);
        control.obey(Directive::Cancel);
        assert_eq!(control.stop(), Some(Stop::Cancel));
        control.obey(Directive::Lost);
        control.obey(Directive::Continue);
        assert!(control.is_dropped());
    }

    #[test]
    fn a_word_for_another_attempt_is_not_heard() {
        let held = HeldRuns::default();
        let control = held.insert(RUN, 0);
        held.obey(HeldRun { attempt: Attempt(1), ..RUN }, Directive::Lost);
        held.remove(HeldRun { attempt: Attempt(1), ..RUN });
        assert_eq!((control.stop(), held.list()), (None, vec![RUN]));
        held.remove(RUN);
        assert_eq!(held.list(), []);
    }

    #[test]
    fn a_run_that_arrives_while_the_worker_ends_is_given_back() {
        let held = HeldRuns::default();
        let before = held.insert(RUN, 0);
        held.release();
        let after = held.insert(HeldRun { run_id: RunId(9), ..RUN }, 0);
        assert_eq!([before.stop(), after.stop()], [Some(Stop::Release); 2]);
        held.keep();
        assert_eq!(held.insert(HeldRun { run_id: RunId(10), ..RUN }, 0).stop(), None);
    }

    #[test]
    fn of_the_runs_that_train_the_largest_is_given_up_and_then_the_next() {
        let held = HeldRuns::default();
        let run = |id| HeldRun { run_id: RunId(id), ..RUN };
        let controls = [(1, 10), (2, 30), (3, 20), (4, 90)].map(|(id, memory)| held.insert(run(id), memory));
        assert!(held.largest().is_none());
        controls[..3].iter().for_each(|control| control.set_training(true));
        for expected in [2, 3, 1] {
            let (largest, control) = held.largest().unwrap();
            assert_eq!(largest, run(expected));
            control.give_up("too large".to_owned());
            assert_eq!((control.stop(), control.reason()), (Some(Stop::Memory), Some("too large")));
        }
        assert!(held.largest().is_none());
    }
}
