//! Taking runs from the queue.

use sqlx::SqliteConnection;
use trainyard_wire::{Attempt, JobId, Revision, RunId, Timestamp, WorkerId};

use super::{Result, signed, unsigned};

/// A run that was just taken.
pub(crate) struct Claimed {
    pub(crate) id: RunId,
    pub(crate) job_id: JobId,
    pub(crate) attempt: Attempt,
    /// Without the numbers of an inline problem.
    pub(crate) spec: String,
    pub(crate) checkpoint_sha256: Option<String>,
    pub(crate) memory_bytes: u64,
    /// Consecutive, in the order of the queue.
    pub(crate) revision: Revision,
}

/// Takes runs for a worker, in the order of the queue: the first, and up to `max - 1` after it as long as all are small. With `small`
/// the first too must be. Runs over `memory_bytes` are passed over. The revisions begin with `revision`.
pub(crate) async fn claim(
    conn: &mut SqliteConnection,
    worker: WorkerId,
    max: u32,
    small: bool,
    memory_bytes: u64,
    revision: Revision,
    now: Timestamp,
) -> Result<Vec<Claimed>> {
    let (max, memory_bytes) = (i64::from(max.max(1)), signed(memory_bytes));
    // Left to itself, SQLite takes the index of states and sorts the whole queue for its first run.
    let rows = sqlx::query!(
        r#"WITH head AS (
             SELECT id, small, ROW_NUMBER() OVER (ORDER BY priority DESC, id) - 1 AS place
             FROM (SELECT id, small, priority FROM runs INDEXED BY queued_runs
                   WHERE state = 'queued' AND memory_bytes <= ?6 ORDER BY priority DESC, id LIMIT ?1)
         ),
         picked AS (
             SELECT id, place FROM head
             WHERE (place = 0 AND NOT ?5) OR NOT EXISTS (SELECT 1 FROM head AS earlier WHERE earlier.place <= head.place AND earlier.small = 0)
         )
         UPDATE runs SET
             state = 'running', attempt = runs.attempt + 1, worker_id = ?2, requested = NULL,
             started_at = COALESCE(runs.started_at, ?3), revision = ?4 + picked.place
         FROM picked WHERE runs.id = picked.id AND runs.state = 'queued'
         RETURNING runs.id AS "id!: i64", runs.job_id AS "job_id!: i64", runs.attempt AS "attempt!: i64", runs.spec AS "spec!: String",
             runs.checkpoint_sha256 AS "checkpoint_sha256?: String", runs.memory_bytes AS "memory_bytes!: i64",
             runs.revision AS "revision!: i64""#,
        max,
        worker.0,
        now.0,
        revision.0,
        small,
        memory_bytes,
    )
    .fetch_all(conn)
    .await?;
    let mut claimed: Vec<Claimed> = rows
        .into_iter()
        .map(|row| Claimed {
            id: RunId(row.id),
            job_id: JobId(row.job_id),
            attempt: Attempt(row.attempt),
            spec: row.spec,
            checkpoint_sha256: row.checkpoint_sha256,
            memory_bytes: unsigned(row.memory_bytes),
            revision: Revision(row.revision),
        })
        .collect();
    claimed.sort_by_key(|run| run.revision);
    Ok(claimed)
}
