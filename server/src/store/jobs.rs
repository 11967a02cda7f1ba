//! Asking for jobs.

use trainyard_wire::job::Job;
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, RunState};

use super::{Slice, Store, StoreError};
use crate::db;

/// Which jobs a list holds.
#[derive(Clone, Debug)]
pub struct JobFilter {
    pub kind: Option<Kind>,
    /// Jobs that have a run in this state.
    pub state: Option<RunState>,
    /// Only ids below this one: the last of the page before.
    pub before: Option<JobId>,
    /// At most 1000.
    pub limit: u32,
}

impl Store {
    /// Jobs, newest first; without their `run_ids`.
    pub async fn jobs(&self, filter: JobFilter) -> Result<Slice<Job>, StoreError> {
        let mut conn = self.snapshot().await?;
        Ok(db::split_more(db::jobs::list(&mut conn, &filter).await?, filter.limit))
    }

    /// One job, with its `run_ids`.
    pub async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut conn = self.snapshot().await?;
        db::jobs::get(&mut conn, id).await
    }
}
