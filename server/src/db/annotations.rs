//! What people note on runs, and which shelf a run stands on.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use trainyard_wire::{Revision, RunId, RunState, Timestamp};

use super::{Result, from_json, one_row, parse, to_json};

/// What is noted on a run, beside what its job says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Annotations {
    pub(crate) name: Option<String>,
    /// Empty: in none, whatever the job says.
    pub(crate) project: Option<String>,
    pub(crate) notes: Option<String>,
    /// A merge patch of the job's.
    pub(crate) tags: BTreeMap<String, Option<String>>,
}

/// A run as those decisions see it that concern its annotations and its shelf.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Annotated {
    pub(crate) state: RunState,
    pub(crate) job_project: Option<String>,
    pub(crate) job_tags: BTreeMap<String, String>,
    pub(crate) own: Annotations,
    pub(crate) archived_at: Option<Timestamp>,
    /// The epoch: its removal has begun.
    pub(crate) deleted_at: Option<Timestamp>,
}

/// A run, also one that is deleted.
pub(crate) async fn get(conn: &mut SqliteConnection, id: RunId) -> Result<Option<Annotated>> {
    let row = sqlx::query!(
        r#"SELECT runs.state, jobs.project, jobs.tags, own_name, own_project, own_tags, notes, archived_at, deleted_at
           FROM runs JOIN jobs ON jobs.id = runs.job_id WHERE runs.id = ?"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let tags = row.own_tags.map(|tags| from_json("run's tags", &tags)).transpose()?.unwrap_or_default();
    Ok(Some(Annotated {
        state: parse("run's state", &row.state)?,
        job_project: row.project,
        job_tags: from_json("job's tags", &row.tags)?,
        own: Annotations { name: row.own_name, project: row.own_project, notes: row.notes, tags },
        archived_at: row.archived_at.map(Timestamp),
        deleted_at: row.deleted_at.map(Timestamp),
    }))
}

pub(crate) async fn set(conn: &mut SqliteConnection, id: RunId, own: &Annotations, revision: Revision) -> Result<()> {
    let tags = if own.tags.is_empty() { None } else { Some(to_json("tags", &own.tags)?) };
    let result = sqlx::query!(
        "UPDATE runs SET own_name = ?, own_project = ?, own_tags = ?, notes = ?, revision = ? WHERE id = ?",
        own.name,
        own.project,
        tags,
        own.notes,
        revision.0,
        id.0,
    );
    one_row(&result.execute(conn).await?)
}

pub(crate) async fn set_archived(conn: &mut SqliteConnection, id: RunId, at: Option<Timestamp>, revision: Revision) -> Result<()> {
    let at = at.map(|at| at.0);
    let result = sqlx::query!("UPDATE runs SET archived_at = ?, revision = ? WHERE id = ?", at, revision.0, id.0);
    one_row(&result.execute(conn).await?)
}

pub(crate) async fn set_deleted(conn: &mut SqliteConnection, id: RunId, at: Option<Timestamp>, revision: Revision) -> Result<()> {
    let at = at.map(|at| at.0);
    let result = sqlx::query!("UPDATE runs SET deleted_at = ?, revision = ? WHERE id = ?", at, revision.0, id.0);
    one_row(&result.execute(conn).await?)
}
