//! The runs that this worker holds, and what is wanted of each.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use trainyard_wire::worker::{Directive, HeldRun};
use trainyard_wire::{Attempt, RunId};

use crate::trainers::Stop;

/// What is wanted of one run: by the server, and by the worker itself. The trainer asks for both before each step.
#[derive(Debug, Default)]
pub(super) struct Control {
    server: AtomicU8,
    worker: AtomicU8,
    changed: Notify,
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
        Stop::Drop => 4,
    }
}

fn decode(code: u8) -> Option<Stop> {
    [Stop::Release, Stop::Pause, Stop::Cancel, Stop::Drop].into_iter().find(|stop| encode(*stop) == code)
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

    /// From now on heartbeats name the run.
    pub(super) fn insert(&self, run: HeldRun) -> Arc<Control> {
        let mut table = self.table();
        let control = Arc::new(Control::default());
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
        let control = held.insert(RUN);
        held.obey(HeldRun { attempt: Attempt(1), ..RUN }, Directive::Lost);
        held.remove(HeldRun { attempt: Attempt(1), ..RUN });
        assert_eq!((control.stop(), held.list()), (None, vec![RUN]));
        held.remove(RUN);
        assert_eq!(held.list(), []);
    }

    #[test]
    fn a_run_that_arrives_while_the_worker_ends_is_given_back() {
        let held = HeldRuns::default();
        let before = held.insert(RUN);
        held.release();
        let after = held.insert(HeldRun { run_id: RunId(9), ..RUN });
        assert_eq!([before.stop(), after.stop()], [Some(Stop::Release); 2]);
        held.keep();
        assert_eq!(held.insert(HeldRun { run_id: RunId(10), ..RUN }).stop(), None);
    }
}
