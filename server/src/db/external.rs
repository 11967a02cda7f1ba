//! Runs of programs outside of Trainyard.

use sqlx::SqliteConnection;
use trainyard_wire::spec::ExternalSpec;
use trainyard_wire::{Revision, RunId, Spec, Timestamp};

use super::{Result, from_json, one_row, to_json};
use crate::store::NewExternalRun;

/// Opens a run, as the only one of a job of its own.
pub(crate) async fn insert(conn: &mut SqliteConnection, run: &NewExternalRun, revision: Revision, now: Timestamp) -> Result<RunId> {
    let (tags, spec) = (to_json("tags", &run.tags)?, to_json("spec", &Spec::External(run.spec.clone()))?);
    let started_at = run.started_at.unwrap_or(now);
    let job = sqlx::query!(
        "INSERT INTO jobs (name, tags, kind, priority, created_at, revision) VALUES (?, ?, 'external', 0, ?, ?)",
        run.name,
        tags,
        now.0,
        revision.0,
    )
    .execute(&mut *conn)
    .await?
    .last_insert_rowid();
    let id = sqlx::query!(
        "INSERT INTO runs (job_id, kind, priority, small, spec, sweep_point, state, revision, created_at, started_at)
         VALUES (?, 'external', 0, 0, ?, '{}', 'running', ?, ?, ?)",
        job,
        spec,
        revision.0,
        now.0,
        started_at.0,
    )
    .execute(&mut *conn)
    .await?
    .last_insert_rowid();
    sqlx::query!("INSERT INTO external_runs (run_id, experiment_id) VALUES (?, ?)", id, run.experiment).execute(conn).await?;
    Ok(RunId(id))
}

/// The spec of an external run.
pub(crate) async fn spec(conn: &mut SqliteConnection, run: RunId) -> Result<ExternalSpec> {
    let text = sqlx::query_scalar!("SELECT spec FROM runs WHERE id = ? AND kind = 'external'", run.0).fetch_one(conn).await?;
    match from_json("run's spec", &text)? {
        Spec::External(spec) => Ok(spec),
        _ => Err(sqlx::Error::RowNotFound.into()),
    }
}

pub(crate) async fn set_spec(conn: &mut SqliteConnection, run: RunId, spec: &ExternalSpec, revision: Revision) -> Result<()> {
    let spec = to_json("spec", &Spec::External(spec.clone()))?;
    let result = sqlx::query!("UPDATE runs SET spec = ?, revision = ? WHERE id = ? AND kind = 'external'", spec, revision.0, run.0);
    one_row(&result.execute(conn).await?)
}

/// Notes that a run has points up to this step, or files.
pub(crate) async fn set_step(conn: &mut SqliteConnection, run: RunId, step: i64, revision: Revision) -> Result<()> {
    let result =
        sqlx::query!("UPDATE runs SET step = MAX(step, ?), revision = ? WHERE id = ? AND kind = 'external'", step, revision.0, run.0,);
    one_row(&result.execute(conn).await?)
}

/// Makes a finished run a running one again.
pub(crate) async fn reopen(conn: &mut SqliteConnection, run: RunId, revision: Revision) -> Result<()> {
    let result = sqlx::query!(
        "UPDATE runs SET state = 'running', stop_reason = NULL, error = NULL, result = NULL, finished_at = NULL, revision = ?
         WHERE id = ? AND kind = 'external' AND finished_at IS NOT NULL",
        revision.0,
        run.0,
    );
    one_row(&result.execute(conn).await?)
}

/// Sets the time at which a finished run ended, where its program knows better.
pub(crate) async fn set_finished_at(conn: &mut SqliteConnection, run: RunId, time: Timestamp) -> Result<()> {
    let result = sqlx::query!("UPDATE runs SET finished_at = ? WHERE id = ? AND finished_at IS NOT NULL", time.0, run.0);
    one_row(&result.execute(conn).await?)
}

/// Notes that an MLflow client has deleted a run, or restored it.
pub(crate) async fn set_deleted(conn: &mut SqliteConnection, run: RunId, deleted: bool, now: Timestamp) -> Result<()> {
    if deleted {
        sqlx::query!("INSERT INTO runs_deleted_in_mlflow (run_id, deleted_at) VALUES (?, ?) ON CONFLICT (run_id) DO NOTHING", run.0, now.0)
            .execute(conn)
            .await?;
    } else {
        sqlx::query!("DELETE FROM runs_deleted_in_mlflow WHERE run_id = ?", run.0).execute(conn).await?;
    }
    Ok(())
}
