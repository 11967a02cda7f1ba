//! What happened to runs. An event's key is its revision.

use sqlx::SqliteConnection;
use trainyard_wire::run::Event;
use trainyard_wire::{Revision, RunId, Timestamp};

use super::{Result, from_json};

pub(crate) async fn insert(conn: &mut SqliteConnection, event: &Event) -> Result<()> {
    let detail = event.detail.to_string();
    sqlx::query!(
        "INSERT INTO events (revision, run_id, time, kind, detail) VALUES (?, ?, ?, ?, ?)",
        event.revision.0,
        event.run_id.0,
        event.time.0,
        event.kind,
        detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The `queued` events of runs with consecutive ids; the revisions are consecutive too.
pub(crate) async fn insert_queued(conn: &mut SqliteConnection, first: RunId, count: i64, revision: Revision, now: Timestamp) -> Result<()> {
    sqlx::query!(
        "INSERT INTO events (revision, run_id, time, kind, detail)
         SELECT ?1 + id - ?2, id, ?3, 'queued', '{}' FROM runs WHERE id >= ?2 AND id < ?2 + ?4",
        revision.0,
        first.0,
        now.0,
        count,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The events of these runs after a revision, oldest first.
pub(crate) async fn list(conn: &mut SqliteConnection, runs: &[RunId], after: Revision, limit: i64) -> Result<Vec<Event>> {
    let runs = super::to_json("list of runs", &runs)?;
    let rows = sqlx::query!(
        "SELECT revision, run_id, time, kind, detail FROM events
         WHERE run_id IN (SELECT value FROM json_each(?)) AND revision > ? ORDER BY revision LIMIT ?",
        runs,
        after.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Event {
                revision: Revision(row.revision),
                run_id: RunId(row.run_id),
                time: Timestamp(row.time),
                kind: row.kind,
                detail: from_json("event", &row.detail)?,
            })
        })
        .collect()
}
