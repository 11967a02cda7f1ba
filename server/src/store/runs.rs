//! Asking for runs, their events, logs and certificates.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use trainyard_wire::run::{Certificates, Event, LogLine, Run};
use trainyard_wire::spec::regression::ProblemSource;
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, Revision, RunId, RunState, Spec, Timestamp};

use super::{Shelves, Slice, Store, StoreError};
use crate::db;

/// Which runs a list holds, newest first.
#[derive(Clone, Debug)]
pub struct RunFilter {
    pub state: Option<RunState>,
    pub kind: Option<Kind>,
    pub job: Option<JobId>,
    pub shelves: Shelves,
    /// Only ids below this one: the last of the page before.
    pub before: Option<RunId>,
    /// At most 1000.
    pub limit: u32,
}

impl Default for RunFilter {
    fn default() -> Self {
        Self { state: None, kind: None, job: None, shelves: Shelves::LISTED, before: None, limit: 100 }
    }
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
        let mut conn = self.snapshot().await?;
        Ok(db::split_more(db::run_rows::list(&mut conn, &filter).await?, filter.limit))
    }

    /// One run, with the numbers of an inline problem.
    pub async fn run(&self, id: RunId) -> Result<Option<Run>, StoreError> {
        let mut conn = self.snapshot().await?;
        let Some(mut run) = db::run_rows::by_id(&mut conn, &[id]).await?.pop() else { return Ok(None) };
        fill_in(&mut conn, &mut run.spec).await?;
        Ok(Some(run))
    }

    /// The runs with these ids that exist, by id; without the numbers of inline problems.
    pub async fn runs_by_id(&self, ids: &[RunId]) -> Result<Vec<Run>, StoreError> {
        let mut conn = self.snapshot().await?;
        db::run_rows::by_id(&mut conn, ids).await
    }

    /// The revision of a run, for an ETag or a long poll; `None` if there is no such run.
    pub async fn run_revision(&self, id: RunId) -> Result<Option<Revision>, StoreError> {
        db::runs::revision(&mut *self.reader().await?, id).await
    }

    /// How many runs are in each state.
    pub async fn run_counts(&self) -> Result<BTreeMap<RunState, u64>, StoreError> {
        db::run_rows::counts(&mut *self.reader().await?).await
    }

    /// How long the oldest run of the queue has waited since its submit, in seconds; 0 where nothing is queued.
    pub(crate) async fn queue_age(&self) -> Result<f64, StoreError> {
        let oldest = db::run_rows::oldest_queued(&mut *self.reader().await?).await?;
        Ok(oldest.map_or(0.0, |since| (Timestamp::now().0 - since.0).max(0) as f64 / 1000.0))
    }

    /// The images that all running runs train in a second, as far as they have told.
    pub(crate) async fn images_per_second(&self) -> Result<f64, StoreError> {
        db::run_rows::images_per_second(&mut *self.reader().await?).await
    }

    /// The events of a run after a revision, oldest first; `None` if there is no such run.
    pub async fn events(&self, id: RunId, after: Revision, limit: u32) -> Result<Option<Slice<Event>>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        let events = db::events::list(&mut conn, &[id], after, i64::from(limit) + 1).await?;
        Ok(Some(db::split_more(events, limit)))
    }

    /// The events of several runs after a revision, oldest first.
    pub async fn events_of(&self, ids: &[RunId], after: Revision, limit: u32) -> Result<Slice<Event>, StoreError> {
        let events = db::events::list(&mut *self.reader().await?, ids, after, i64::from(limit) + 1).await?;
        Ok(db::split_more(events, limit))
    }

    /// The log of a run, oldest line first, after a [`LogSlice::last`] (0 for all); `None` if there is no such run.
    pub async fn logs(&self, id: RunId, after: i64, limit: u32) -> Result<Option<LogSlice>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        let Slice { items, more } = db::split_more(db::logs::list(&mut conn, id, after, i64::from(limit) + 1).await?, limit);
        let last = items.last().map_or(after, |(id, _)| *id);
        Ok(Some(LogSlice { lines: items.into_iter().map(|(_, line)| line).collect(), last, more }))
    }

    /// The certificates of a run, and what was left out of them; `None` if there is no such run.
    pub async fn certificates(&self, id: RunId) -> Result<Option<Certificates>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        let certificates = db::certificates::list(&mut conn, id).await?;
        Ok(Some(Certificates { certificates, left_out: db::certificates::left_out(&mut conn, id).await? }))
    }
}

/// Puts the numbers of a stored inline problem back into a spec.
pub(super) async fn fill_in(conn: &mut SqliteConnection, spec: &mut Spec) -> Result<(), StoreError> {
    let Some(spec) = spec.problem_mut().filter(|problem| problem.source == ProblemSource::Inline) else { return Ok(()) };
    let Some(sha256) = &spec.sha256 else { return Ok(()) };
    let missing = || StoreError::Unreadable { what: "spec", detail: format!("the problem {sha256} is not stored") };
    let problem = db::problems::get(conn, sha256).await?.ok_or_else(missing)?.unpack()?;
    (spec.x, spec.t) = (Some(problem.x), Some(problem.t));
    Ok(())
}
