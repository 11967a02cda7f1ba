//! Where a run stands in the queue.

use sqlx::SqliteConnection;
use trainyard_wire::{RunId, RunState};

use super::{Result, parse, unsigned};

/// A run as its place in the queue depends on it.
pub(crate) struct Place {
    pub(crate) state: RunState,
    pub(crate) memory_bytes: u64,
    /// Queued runs that come before it; none unless it is queued itself.
    pub(crate) ahead: Option<u64>,
}

pub(crate) async fn place(conn: &mut SqliteConnection, id: RunId) -> Result<Option<Place>> {
    // Two counts, since each is a range of the index, and their disjunction none.
    let row = sqlx::query!(
        r#"SELECT state, memory_bytes, CASE WHEN state = 'queued' THEN
             (SELECT COUNT(*) FROM runs AS other INDEXED BY queued_runs
              WHERE other.state = 'queued' AND other.priority > runs.priority)
             + (SELECT COUNT(*) FROM runs AS other INDEXED BY queued_runs
                WHERE other.state = 'queued' AND other.priority = runs.priority AND other.id < runs.id)
             END AS "ahead?: i64"
         FROM runs WHERE id = ? AND deleted_at IS NULL"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let state = parse("run's state", &row.state)?;
        Ok(Place { state, memory_bytes: unsigned(row.memory_bytes), ahead: row.ahead.map(unsigned) })
    })
    .transpose()
}
