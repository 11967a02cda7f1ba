//! Asking for runs, their events, logs and certificates.

use std::collections::BTreeMap;

use trainyard_wire::run::{Certificates, Event, LogLine, Run};
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, Revision, RunId, RunState};

use super::{Slice, Store, StoreError};

/// Which runs a list holds.
#[derive(Clone, Debug)]
pub struct RunFilter {
    pub state: Option<RunState>,
    pub kind: Option<Kind>,
    pub job: Option<JobId>,
    /// Only ids below this one: the last of the page before.
    pub before: Option<RunId>,
    /// At most 1000.
    pub limit: u32,
}

/// A part of a run's log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogSlice {
    pub lines: Vec<LogLine>,
    /// Ask with `after` this number for the lines that follow.
    pub last: i64,
    pub more: bool,
}

impl Store {
    /// Runs, newest first; without the numbers of inline problems.
    pub async fn runs(&self, filter: RunFilter) -> Result<Slice<Run>, StoreError> {
        todo!()
    }

    /// One run, with the numbers of an inline problem.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        todo!()
    }

    /// The runs with these ids that exist, by id; without the numbers of inline problems.
    pub async fn runs_by_id(&self, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        todo!()
    }

    /// The revision of a run, for an ETag or a long poll; `None` if there is no such run.
    pub async fn run_revision(&self, id: RunId) -> Result<Option<Revision>, StoreError> {
        todo!()
    }

    /// How many runs are in each state.
    pub async fn run_counts(&self) -> Result<BTreeMap<RunState, u64>, StoreError> {
        todo!()
    }

    /// The events of a run after a revision, oldest first; `None` if there is no such run.
    pub async fn events(&self, id: RunId, after: Revision, limit: u32) -> Result<Option<Slice<Event>>, StoreError> {
        todo!()
    }

    /// The events of several runs after a revision, oldest first.
    pub async fn events_of(&self, ids: &[RunId], after: Revision, limit: u32) -> Result<Slice<Event>, StoreError> {
        todo!()
    }

    /// The log of a run, oldest line first, after a [`LogSlice::last`] (0 for all); `None` if there is no such run.
    pub async fn logs(&self, id: RunId, after: i64, limit: u32) -> Result<Option<LogSlice>, StoreError> {
        todo!()
    }

    /// The certificates of a run; `None` if there is no such run.
    pub async fn certificates(&self, id: RunId) -> Result<Option<Certificates>, StoreError> {
        todo!()
    }
}
