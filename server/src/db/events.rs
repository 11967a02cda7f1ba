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
    let rows = sqlx::query_as!(
        EventRow,
        "SELECT revision, run_id, time, kind, detail FROM events
         WHERE run_id IN (SELECT value FROM json_each(?)) AND revision > ? ORDER BY revision LIMIT ?",
        runs,
        after.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(EventRow::event).collect()
}

/// The events of all runs after a revision, oldest first.
pub(crate) async fn list_all(conn: &mut SqliteConnection, after: Revision, limit: i64) -> Result<Vec<Event>> {
    let rows = sqlx::query_as!(
        EventRow,
        "SELECT revision, run_id, time, kind, detail FROM events WHERE revision > ? ORDER BY revision LIMIT ?",
        after.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(EventRow::event).collect()
}

struct EventRow {
    revision: i64,
    run_id: i64,
    time: i64,
    kind: String,
    detail: String,
}

impl EventRow {
    fn event(self) -> Result<Event> {
        Ok(Event {
            revision: Revision(self.revision),
            run_id: RunId(self.run_id),
            time: Timestamp(self.time),
            kind: self.kind,
            detail: from_json("event", &self.detail)?,
        })
    }
}

/// Those of these runs, or of all, whose last change came after one revision and not after another; with the revision of that change.
pub(crate) async fn changed_runs(
    conn: &mut SqliteConnection,
    runs: Option<&[RunId]>,
    after: Revision,
    until: Revision,
) -> Result<Vec<(RunId, Revision)>> {
    let runs = runs.map(|runs| super::to_json("list of runs", &runs)).transpose()?;
    let rows = match runs {
        Some(runs) => {
            let rows = sqlx::query!(
                r#"SELECT id AS "id!", revision FROM runs
                 WHERE id IN (SELECT value FROM json_each(?)) AND revision > ? AND revision <= ? ORDER BY revision"#,
                runs,
                after.0,
                until.0,
            );
            rows.fetch_all(conn).await?.into_iter().map(|row| (RunId(row.id), Revision(row.revision))).collect()
        }
        None => {
            let rows = sqlx::query!(
                r#"SELECT id AS "id!", revision FROM runs WHERE revision > ? AND revision <= ? ORDER BY revision"#,
                after.0,
                until.0,
            );
            rows.fetch_all(conn).await?.into_iter().map(|row| (RunId(row.id), Revision(row.revision))).collect()
        }
    };
    Ok(rows)
}

/// Those of these runs that do not exist, or are deleted.
pub(crate) async fn missing_runs(conn: &mut SqliteConnection, runs: &[RunId]) -> Result<Vec<RunId>> {
    let runs = super::to_json("list of runs", &runs)?;
    let missing = sqlx::query_scalar!(
        r#"SELECT CAST(value AS INTEGER) AS "id!: i64" FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = value AND runs.deleted_at IS NULL)"#,
        runs,
    );
    Ok(missing.fetch_all(conn).await?.into_iter().map(RunId).collect())
}
