//! Where a run stands in the queue, and what it waits for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::words;
use crate::{RunId, RunState};

words!(
    /// What a queued run waits for.
    WaitsFor {
        /// No worker is connected.
        Worker = "worker",
        /// No connected worker has the memory that it may take.
        Memory = "memory",
        /// For runs that are before it, or workers that train others.
        Turn = "turn",
    }
);

/// The answer of `GET /v1/runs/{id}/queue`. It follows the workers and the other runs, so it changes without the run's revision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QueuePosition {
    pub run_id: RunId,
    pub state: RunState,
    /// How many queued runs come before it, by priority, then age; null unless it is queued.
    pub ahead: Option<u64>,
    /// Null unless it is queued.
    pub waits_for: Option<WaitsFor>,
    /// The same in a sentence, with what to do where something can be done.
    pub detail: Option<String>,
    /// Bytes that the run may take at its peak, as they were estimated at its submit.
    pub memory_bytes: u64,
    /// Workers that were heard of within a lease's time.
    pub workers: u64,
    /// Those of them that hold a run.
    pub busy_workers: u64,
}
