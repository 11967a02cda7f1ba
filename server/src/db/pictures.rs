//! Pictures that are coloured with the model of a run: each is the only run of a job of its own.

use sqlx::SqliteConnection;
use trainyard_wire::colourize::Colourized;
use trainyard_wire::run::Progress;
use trainyard_wire::spec::PictureSpec;
use trainyard_wire::spec::picture::{COLOURIZED, COMPARISON, DESCRIPTION, GREY, MODEL};
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, Revision, RunId, RunState, Spec, Timestamp};

use super::{Result, from_json, parse, signed, to_json, unsigned};

/// A picture to queue; its files are noted as artifacts after it.
pub(crate) struct NewPictureRow<'a> {
    pub(crate) spec: &'a PictureSpec,
    pub(crate) priority: i32,
    pub(crate) memory_bytes: u64,
}

/// Queues a run that colours a picture, as the only run of a job of its own. The run takes `revision`.
pub(crate) async fn queue(
    conn: &mut SqliteConnection,
    picture: &NewPictureRow<'_>,
    revision: Revision,
    now: Timestamp,
) -> Result<(JobId, RunId)> {
    let model_run = picture.spec.model_run_id;
    let (name, kind) = (format!("picture with the model of run {model_run}"), Kind::Picture.as_str());
    let spec = to_json("spec", &Spec::Picture(picture.spec.clone()))?;
    let (priority, memory_bytes) = (i64::from(picture.priority), signed(picture.memory_bytes));
    let job = sqlx::query!(
        "INSERT INTO jobs (name, tags, kind, priority, sweep, created_at, revision, model_run_id) VALUES (?, '{}', ?, ?, NULL, ?, ?, ?)",
        name,
        kind,
        priority,
        now.0,
        revision.0,
        model_run.0,
    )
    .execute(&mut *conn)
    .await?
    .last_insert_rowid();
    let run = sqlx::query!(
        "INSERT INTO runs (job_id, kind, priority, state, created_at, revision, spec, sweep_point, small, memory_bytes, hidden)
         VALUES (?, ?, ?, 'queued', ?, ?, ?, '{}', 0, ?, 1)",
        job,
        kind,
        priority,
        now.0,
        revision.0,
        spec,
        memory_bytes,
    )
    .execute(conn)
    .await?
    .last_insert_rowid();
    Ok((JobId(job), RunId(run)))
}

struct PictureRow {
    id: i64,
    state: String,
    error: Option<String>,
    spec: String,
    step: i64,
    total_steps: i64,
    eta_seconds: Option<f64>,
    result: Option<String>,
    created_at: i64,
    finished_at: Option<i64>,
}

impl PictureRow {
    /// Nothing where the run's spec is another's.
    fn picture(self) -> Result<Option<Colourized>> {
        let id = RunId(self.id);
        let Spec::Picture(spec) = from_json::<Spec>("spec", &self.spec)? else { return Ok(None) };
        let state: RunState = parse("run's state", &self.state)?;
        let result: serde_json::Value = self.result.map(|result| from_json("run's result", &result)).transpose()?.unwrap_or_default();
        let made = |name| (state == RunState::Succeeded).then(|| address(id, name));
        Ok(Some(Colourized {
            run_id: id,
            model_run_id: spec.model_run_id,
            state,
            error: self.error,
            progress: Progress {
                step: unsigned(self.step),
                total_steps: unsigned(self.total_steps),
                epoch: None,
                eta_seconds: self.eta_seconds,
            },
            format: spec.picture.format,
            width: spec.picture.width,
            height: spec.picture.height,
            size: spec.picture.size,
            created_at: Timestamp(self.created_at),
            finished_at: self.finished_at.map(Timestamp),
            accuracy: result["accuracy"].as_f64(),
            original: address(id, spec.picture.format.original_name()),
            grey: made(GREY),
            colourized: made(COLOURIZED),
            comparison: made(COMPARISON),
        }))
    }
}

/// The columns of [`PictureRow`] of pictures that are not deleted, where `$condition` holds.
macro_rules! picture_rows {
    ($condition:literal, $id:expr) => {
        sqlx::query_as!(
            PictureRow,
            r#"SELECT runs.id AS "id!: i64", runs.state AS "state!: String", runs.error AS "error?: String", runs.spec AS "spec!: String",
                 runs.step AS "step!: i64", runs.total_steps AS "total_steps!: i64", runs.eta_seconds AS "eta_seconds?: f64",
                 runs.result AS "result?: String", runs.created_at AS "created_at!: i64", runs.finished_at AS "finished_at?: i64"
             FROM jobs JOIN runs ON runs.job_id = jobs.id WHERE runs.deleted_at IS NULL AND "#
                + $condition,
            $id
        )
    };
}

/// The pictures of a run's model that are not deleted, newest first.
pub(crate) async fn of(conn: &mut SqliteConnection, model_run: RunId) -> Result<Vec<Colourized>> {
    let rows = picture_rows!("jobs.model_run_id = ?1 ORDER BY runs.id DESC", model_run.0).fetch_all(conn).await?;
    rows.into_iter().filter_map(|row| row.picture().transpose()).collect()
}

/// The picture that a run colours.
pub(crate) async fn get(conn: &mut SqliteConnection, id: RunId) -> Result<Option<Colourized>> {
    let row = picture_rows!("jobs.model_run_id IS NOT NULL AND runs.id = ?1", id.0).fetch_optional(conn).await?;
    row.map_or(Ok(None), PictureRow::picture)
}

fn address(run: RunId, name: &str) -> String {
    format!("/v1/runs/{run}/artifacts/{name}")
}

/// How a picture of a model stands.
pub(crate) struct Kept {
    pub(crate) id: RunId,
    pub(crate) finished: bool,
}

/// The pictures of a run's model that are not deleted, oldest first.
pub(crate) async fn kept(conn: &mut SqliteConnection, model_run: RunId) -> Result<Vec<Kept>> {
    let rows = sqlx::query!(
        r#"SELECT runs.id AS "id!: i64", runs.finished_at IS NOT NULL AS "finished!: bool"
         FROM jobs JOIN runs ON runs.job_id = jobs.id AND runs.deleted_at IS NULL WHERE jobs.model_run_id = ? ORDER BY runs.id"#,
        model_run.0,
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| Kept { id: RunId(row.id), finished: row.finished }).collect())
}

/// Has a run that has ended refer to the model no more; its bytes are left to the sweep.
pub(crate) async fn let_go_of_model(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM artifacts WHERE run_id = ? AND name IN (?, ?)", run.0, MODEL, DESCRIPTION).execute(conn).await?;
    Ok(())
}

/// Deletes the pictures of a run's model that have ended and are not deleted, as of `at`.
pub(crate) async fn delete_with(conn: &mut SqliteConnection, model_run: RunId, at: Timestamp) -> Result<()> {
    sqlx::query!(
        "UPDATE runs SET deleted_at = ? WHERE deleted_at IS NULL AND finished_at IS NOT NULL
             AND job_id IN (SELECT id FROM jobs WHERE model_run_id = ?)",
        at.0,
        model_run.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes back what [`delete_with`] did at `at`.
pub(crate) async fn restore_with(conn: &mut SqliteConnection, model_run: RunId, at: Timestamp) -> Result<()> {
    sqlx::query!(
        "UPDATE runs SET deleted_at = NULL WHERE deleted_at = ? AND job_id IN (SELECT id FROM jobs WHERE model_run_id = ?)",
        at.0,
        model_run.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}
