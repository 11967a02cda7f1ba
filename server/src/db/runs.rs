//! Runs as the store decides on them, and the changes of their state.
//!
//! Every update names the state and the attempt that the decision was made on and must find exactly one row.

use serde::Serialize;
use sqlx::SqliteConnection;
use trainyard_wire::run::{Progress, RequestedAction};
use trainyard_wire::state::Kind;
use trainyard_wire::worker::Outcome;
use trainyard_wire::{Attempt, JobId, Revision, RunId, RunState, StopReason, Timestamp, TokenId, WorkerId};

use super::{Result, one_row, parse, parse_option, signed, to_json, unsigned};
use crate::store::NewJob;

/// What decisions about a run depend on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunCore {
    pub(crate) id: RunId,
    pub(crate) job_id: JobId,
    pub(crate) kind: Kind,
    pub(crate) state: RunState,
    pub(crate) stop_reason: Option<StopReason>,
    pub(crate) attempt: Attempt,
    pub(crate) lost_attempts: i64,
    pub(crate) worker_id: Option<WorkerId>,
    /// The token that speaks for that worker.
    pub(crate) holder: Option<TokenId>,
    pub(crate) requested: Option<RequestedAction>,
    /// The last attempt that its worker ended, and how.
    pub(crate) ended: Option<(Attempt, Outcome)>,
    pub(crate) checkpoint_step: Option<u64>,
    /// Nobody but upkeep and who restores it knows of it any more.
    pub(crate) deleted: bool,
}

pub(crate) async fn core(conn: &mut SqliteConnection, id: RunId) -> Result<Option<RunCore>> {
    let row = sqlx::query!(
        r#"SELECT job_id, kind, state, stop_reason, attempt, lost_attempts, worker_id, workers.token_id AS "holder?: i64", requested,
             ended_attempt, ended_outcome, checkpoint_step, deleted_at IS NOT NULL AS "deleted!: bool"
         FROM runs LEFT JOIN workers ON workers.id = runs.worker_id WHERE runs.id = ?"#,
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let outcome = parse_option::<Outcome>("outcome", row.ended_outcome.as_deref())?;
    Ok(Some(RunCore {
        id,
        job_id: JobId(row.job_id),
        kind: parse("run's kind", &row.kind)?,
        state: parse("run's state", &row.state)?,
        stop_reason: parse_option("stop reason", row.stop_reason.as_deref())?,
        attempt: Attempt(row.attempt),
        lost_attempts: row.lost_attempts,
        worker_id: row.worker_id.map(WorkerId),
        holder: row.holder.map(TokenId),
        requested: parse_option("requested action", row.requested.as_deref())?,
        ended: row.ended_attempt.map(Attempt).zip(outcome),
        checkpoint_step: row.checkpoint_step.map(unsigned),
        deleted: row.deleted,
    }))
}

/// A run to insert; its spec has no inline numbers any more.
#[derive(Debug, Serialize)]
pub(crate) struct NewRunRow {
    pub(crate) spec: String,
    pub(crate) problem_sha256: Option<String>,
    pub(crate) sweep_point: String,
    pub(crate) small: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) total_steps: u64,
}

/// Queues runs under consecutive ids and revisions; answers the first id.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    job_id: JobId,
    job: &NewJob,
    rows: &[NewRunRow],
    revision: Revision,
    now: Timestamp,
) -> Result<RunId> {
    let first = sqlx::query_scalar!(r#"SELECT COALESCE(MAX(id), 0) + 1 AS "first!: i64" FROM runs"#).fetch_one(&mut *conn).await?;
    let (kind, priority, rows) = (job.kind.as_str(), i64::from(job.priority), to_json("runs", &rows)?);
    sqlx::query!(
        "INSERT INTO runs (id, job_id, kind, priority, state, created_at, revision, spec, problem_sha256, sweep_point, small, memory_bytes, total_steps)
         SELECT ?1 + run.key, ?2, ?3, ?4, 'queued', ?5, ?6 + run.key, run.value ->> 'spec', run.value ->> 'problem_sha256',
             run.value ->> 'sweep_point', run.value ->> 'small', run.value ->> 'memory_bytes', run.value ->> 'total_steps'
         FROM json_each(?7) AS run",
        first,
        job_id.0,
        kind,
        priority,
        now.0,
        revision.0,
        rows,
    )
    .execute(conn)
    .await?;
    Ok(RunId(first))
}

/// The revision of a run that is not deleted.
pub(crate) async fn revision(conn: &mut SqliteConnection, id: RunId) -> Result<Option<Revision>> {
    let revision = sqlx::query_scalar!("SELECT revision FROM runs WHERE id = ? AND deleted_at IS NULL", id.0);
    Ok(revision.fetch_optional(conn).await?.map(Revision))
}

/// A run that a worker holds.
pub(crate) struct Running {
    pub(crate) id: RunId,
    pub(crate) worker_id: WorkerId,
    pub(crate) attempt: Attempt,
    pub(crate) requested: Option<RequestedAction>,
}

pub(crate) async fn running(conn: &mut SqliteConnection) -> Result<Vec<Running>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", worker_id AS "worker_id!", attempt, requested FROM runs
         WHERE state = 'running' AND kind <> 'external' ORDER BY id"#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Running {
                id: RunId(row.id),
                worker_id: WorkerId(row.worker_id),
                attempt: Attempt(row.attempt),
                requested: parse_option("requested action", row.requested.as_deref())?,
            })
        })
        .collect()
}

/// Puts a run into a state in which nobody holds it and which is no end (`queued`, `paused`).
pub(crate) async fn set_waiting(conn: &mut SqliteConnection, run: &RunCore, state: RunState, revision: Revision) -> Result<()> {
    let (from, to) = (run.state.as_str(), state.as_str());
    let result = sqlx::query!(
        "UPDATE runs SET state = ?, requested = NULL, eta_seconds = NULL, revision = ? WHERE id = ? AND state = ? AND attempt = ?",
        to,
        revision.0,
        run.id.0,
        from,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

/// How a run ended for good.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    pub(crate) state: RunState,
    pub(crate) stop_reason: StopReason,
    pub(crate) error: Option<String>,
    pub(crate) result: Option<serde_json::Value>,
}

pub(crate) async fn set_finished(conn: &mut SqliteConnection, run: &RunCore, end: &End, revision: Revision, now: Timestamp) -> Result<()> {
    let (from, to, reason) = (run.state.as_str(), end.state.as_str(), end.stop_reason.as_str());
    let result = end.result.as_ref().map(ToString::to_string);
    let result = sqlx::query!(
        "UPDATE runs SET state = ?, stop_reason = ?, error = ?, result = ?, requested = NULL, eta_seconds = NULL, finished_at = ?,
             revision = ?
         WHERE id = ? AND state = ? AND attempt = ?",
        to,
        reason,
        end.error,
        result,
        now.0,
        revision.0,
        run.id.0,
        from,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

/// Remembers that the worker itself ended the attempt.
pub(crate) async fn set_ended(conn: &mut SqliteConnection, run: &RunCore, outcome: Outcome) -> Result<()> {
    let outcome = outcome.as_str();
    let result = sqlx::query!(
        "UPDATE runs SET ended_attempt = attempt, ended_outcome = ?, lost_attempts = 0 WHERE id = ? AND attempt = ?",
        outcome,
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

pub(crate) async fn set_lost_attempts(conn: &mut SqliteConnection, run: &RunCore, lost: i64) -> Result<()> {
    let result = sqlx::query!("UPDATE runs SET lost_attempts = ? WHERE id = ? AND attempt = ?", lost, run.id.0, run.attempt.0);
    one_row(&result.execute(conn).await?)
}

/// Notes what someone asks of the worker that holds the run.
pub(crate) async fn set_requested(
    conn: &mut SqliteConnection,
    run: &RunCore,
    requested: Option<RequestedAction>,
    revision: Revision,
) -> Result<()> {
    let requested = requested.map(RequestedAction::as_str);
    let result = sqlx::query!(
        "UPDATE runs SET requested = ?, revision = ? WHERE id = ? AND state = 'running' AND attempt = ?",
        requested,
        revision.0,
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

/// Stores how far a held run has come; answers whether that is news. An attempt does not go back: what says so has been under way for
/// long.
pub(crate) async fn set_progress(conn: &mut SqliteConnection, run: &RunCore, progress: &Progress) -> Result<bool> {
    let (step, total, epoch) = (signed(progress.step), signed(progress.total_steps), progress.epoch.map(signed));
    let result = sqlx::query!(
        "UPDATE runs SET step = ?1, total_steps = ?2, epoch = ?3, eta_seconds = ?4, progress_attempt = attempt
         WHERE id = ?5 AND state = 'running' AND attempt = ?6 AND (step <= ?1 OR progress_attempt < attempt)
             AND ((step, total_steps) <> (?1, ?2) OR epoch IS NOT ?3 OR eta_seconds IS NOT ?4)",
        step,
        total,
        epoch,
        progress.eta_seconds,
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Notes that what the run's answer, metrics or artifacts tell has changed.
pub(crate) async fn set_revision(conn: &mut SqliteConnection, run: &RunCore, revision: Revision) -> Result<()> {
    let result = sqlx::query!("UPDATE runs SET revision = ? WHERE id = ? AND attempt = ?", revision.0, run.id.0, run.attempt.0);
    one_row(&result.execute(conn).await?)
}

/// Notes the checkpoint that the next attempt resumes from.
pub(crate) async fn set_checkpoint(conn: &mut SqliteConnection, run: &RunCore, sha256: &str, step: u64) -> Result<()> {
    let step = signed(step);
    let result = sqlx::query!(
        "UPDATE runs SET checkpoint_sha256 = ?, checkpoint_step = ? WHERE id = ? AND state = 'running' AND attempt = ?",
        sha256,
        step,
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

/// Makes a finished run forget how it ended.
pub(crate) async fn forget_end(conn: &mut SqliteConnection, run: &RunCore) -> Result<()> {
    let result = sqlx::query!(
        "UPDATE runs SET stop_reason = NULL, error = NULL, result = NULL, finished_at = NULL, lost_attempts = 0
         WHERE id = ? AND attempt = ?",
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

/// Makes a run forget how far it came, so that its next attempt begins anew.
pub(crate) async fn forget_progress(conn: &mut SqliteConnection, run: &RunCore) -> Result<()> {
    let result = sqlx::query!(
        "UPDATE runs SET step = 0, epoch = NULL, started_at = NULL, checkpoint_sha256 = NULL, checkpoint_step = NULL
         WHERE id = ? AND attempt = ?",
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}

/// Makes a finished run forget its checkpoint, which is gone: a retry begins anew.
pub(crate) async fn forget_checkpoint(conn: &mut SqliteConnection, run: &RunCore) -> Result<()> {
    let result = sqlx::query!(
        "UPDATE runs SET checkpoint_sha256 = NULL, checkpoint_step = NULL WHERE id = ? AND attempt = ? AND finished_at IS NOT NULL",
        run.id.0,
        run.attempt.0,
    )
    .execute(conn)
    .await?;
    one_row(&result)
}
