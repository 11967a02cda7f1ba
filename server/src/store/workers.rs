//! The worker protocol: register, claim, heartbeat, report.

use std::time::Duration;

use trainyard_wire::worker::{ClaimedRun, Heartbeat, HeartbeatAnswer, Register, Registered, Report, ReportAnswer, Worker};
use trainyard_wire::{RunId, WorkerId};

use super::{Store, StoreError};

/// Why a worker's call was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// 409: the run is not running, or another attempt holds it. Nothing was changed; drop the run.
    #[error("the run is no longer held by this attempt")]
    Stale,
    /// 404: register again.
    #[error("there is no such worker")]
    UnknownWorker,
    /// 404.
    #[error("there is no such run")]
    UnknownRun,
    /// 422.
    #[error("an artifact's name is segments of letters, digits, `.`, `_` and `-`, joined by `/`, at most 200 characters")]
    ArtifactName,
    /// 422: what is wrong with the report, with its JSON pointer.
    #[error("{pointer}: {detail}")]
    Report { pointer: String, detail: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a worker known.
    pub async fn register(&self, register: Register) -> Result<Registered, StoreError> {
        todo!()
    }

    /// The workers that were heard of within a lease's time, by id.
    pub async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        todo!()
    }

    /// Takes up to `max` queued runs for a worker: the first by priority, then age; further ones only while all are small. Waits up
    /// to `wait` while nothing is queued. Empty when the wait ran out or the server drains.
    pub async fn claim(&self, worker: WorkerId, max: u32, wait: Duration) -> Result<Vec<ClaimedRun>, WorkerError> {
        todo!()
    }

    /// Renews the leases of a worker and tells what to do with each run.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, WorkerError> {
        todo!()
    }

    /// Stores all that a report tells, or nothing. A repeated report changes nothing.
    pub async fn report(&self, id: RunId, report: Report) -> Result<ReportAnswer, WorkerError> {
        todo!()
    }
}
