//! Verifications: which run executes which again, and where the two part.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use trainyard_wire::verification::{Findings, Platform, Verdict, Verification};
use trainyard_wire::{JobId, Number, Revision, RunId, Timestamp, WorkerId};

use super::{Result, from_json, number, parse, to_json, unsigned};
use crate::db::runs::RunCore;

/// Queues a run that executes `run` again, as the only run of a job of its own. The run takes `revision`.
pub(crate) async fn queue(conn: &mut SqliteConnection, run: &RunCore, revision: Revision, now: Timestamp) -> Result<RunId> {
    let name = format!("verification of run {}", run.id);
    let job = sqlx::query!(
        "INSERT INTO jobs (name, tags, kind, priority, sweep, created_at, revision, verifies)
         SELECT ?1, '{}', kind, priority, NULL, ?2, ?3, id FROM runs WHERE id = ?4",
        name,
        now.0,
        revision.0,
        run.id.0,
    )
    .execute(&mut *conn)
    .await?
    .last_insert_rowid();
    let again = sqlx::query!(
        "INSERT INTO runs (job_id, kind, priority, state, created_at, revision, spec, problem_sha256, sweep_point, small, total_steps, hidden)
         SELECT ?1, kind, priority, 'queued', ?2, ?3, spec, problem_sha256, sweep_point, small, total_steps, 1 FROM runs WHERE id = ?4",
        job,
        now.0,
        revision.0,
        run.id.0,
    )
    .execute(&mut *conn)
    .await?
    .last_insert_rowid();
    sqlx::query!(
        "INSERT INTO verifications (run_id, again_id, requested_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (run_id) DO UPDATE SET again_id = ?2, requested_at = ?3, verdict = NULL, findings = NULL, compared_at = NULL",
        run.id.0,
        again,
        now.0,
    )
    .execute(conn)
    .await?;
    Ok(RunId(again))
}

/// Whether a run executes another one again.
pub(crate) async fn is_verification(conn: &mut SqliteConnection, job: JobId) -> Result<bool> {
    let verifies = sqlx::query_scalar!(r#"SELECT verifies AS "verifies: i64" FROM jobs WHERE id = ?"#, job.0).fetch_one(conn).await?;
    Ok(verifies.is_some())
}

/// The verification of a run that is not deleted, if one was asked for.
pub(crate) async fn get(conn: &mut SqliteConnection, run: RunId) -> Result<Option<Verification>> {
    let row = sqlx::query!(
        r#"SELECT again_id AS "again_id!: i64", runs.state AS "state!: String", requested_at AS "requested_at!: i64", findings,
             compared_at
         FROM verifications JOIN runs ON runs.id = again_id JOIN runs AS original ON original.id = run_id AND original.deleted_at IS NULL
         WHERE run_id = ?"#,
        run.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let findings: Option<Findings> = row.findings.map(|findings| from_json("verification", &findings)).transpose()?;
    let mut verification = Verification {
        run_id: run,
        verification_run_id: RunId(row.again_id),
        state: parse("run's state", &row.state)?,
        requested_at: Timestamp(row.requested_at),
        verdict: None,
        compared_at: row.compared_at.map(Timestamp),
        first_difference: None,
        determinism: None,
        compared: None,
        left_out: Vec::new(),
        error: None,
    };
    if let Some(findings) = findings {
        verification.verdict = Some(findings.verdict);
        verification.first_difference = findings.first_difference;
        verification.determinism = Some(findings.determinism);
        verification.compared = Some(findings.compared);
        verification.left_out = findings.left_out;
        verification.error = findings.error;
    }
    Ok(Some(verification))
}

/// The runs whose execution that followed has ended and was not compared yet, with that execution.
pub(crate) async fn to_compare(conn: &mut SqliteConnection) -> Result<Vec<(RunId, RunId)>> {
    let rows = sqlx::query!(
        r#"SELECT run_id AS "run_id!: i64", again_id AS "again_id!: i64" FROM verifications
         JOIN runs ON runs.id = again_id AND runs.deleted_at IS NULL
         JOIN runs AS original ON original.id = run_id AND original.deleted_at IS NULL
         WHERE verdict IS NULL AND runs.finished_at IS NOT NULL ORDER BY run_id"#,
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| (RunId(row.run_id), RunId(row.again_id))).collect())
}

/// Stores what was found, unless another execution was asked for meanwhile; answers whether it was stored.
pub(crate) async fn set_findings(
    conn: &mut SqliteConnection,
    run: RunId,
    again: RunId,
    verdict: Verdict,
    findings: &Findings,
    now: Timestamp,
) -> Result<bool> {
    let (verdict, findings) = (verdict.as_str(), to_json("verification", findings)?);
    let result = sqlx::query!(
        "UPDATE verifications SET verdict = ?, findings = ?, compared_at = ? WHERE run_id = ? AND again_id = ? AND verdict IS NULL",
        verdict,
        findings,
        now.0,
        run.0,
        again.0,
    );
    Ok(result.execute(conn).await?.rows_affected() > 0)
}

/// What a worker's results depend on.
pub(crate) async fn platform(conn: &mut SqliteConnection, worker: WorkerId) -> Result<Option<Platform>> {
    let row = sqlx::query!("SELECT device, build, instructions FROM workers WHERE id = ?", worker.0).fetch_optional(conn).await?;
    Ok(row.filter(|row| !row.build.is_empty()).map(|row| {
        let device = if row.instructions.is_empty() { row.device } else { format!("{} ({})", row.device, row.instructions) };
        Platform { build: row.build, device }
    }))
}

/// The `claimed` events of a run.
pub(crate) async fn claims(conn: &mut SqliteConnection, run: RunId) -> Result<Vec<serde_json::Value>> {
    let rows = sqlx::query_scalar!("SELECT detail FROM events WHERE run_id = ? AND kind = 'claimed' ORDER BY revision", run.0);
    rows.fetch_all(conn).await?.iter().map(|detail| from_json("event", detail)).collect()
}

/// Whether a retention policy has taken files of a run.
pub(crate) async fn is_pruned(conn: &mut SqliteConnection, run: RunId) -> Result<bool> {
    let found =
        sqlx::query_scalar!(r#"SELECT EXISTS (SELECT 1 FROM events WHERE run_id = ? AND kind = 'pruned') AS "found!: bool""#, run.0);
    Ok(found.fetch_one(conn).await?)
}

/// The series of a run by name, with their ids and how many points they have.
pub(crate) async fn series(conn: &mut SqliteConnection, run: RunId) -> Result<BTreeMap<String, (i64, u64)>> {
    let rows = sqlx::query!(r#"SELECT id AS "id!: i64", name, points FROM series WHERE run_id = ? AND points > 0"#, run.0);
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| (row.name, (row.id, unsigned(row.points)))).collect())
}

/// A step at which two series differ; a value is missing where one has no point there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Parting {
    pub(crate) step: u64,
    pub(crate) original: Option<Number>,
    pub(crate) again: Option<Number>,
}

/// The first step at which two series differ; with `common` only among those that both have. A series that is not there has the id −1.
pub(crate) async fn parting(conn: &mut SqliteConnection, original: i64, again: i64, common: bool) -> Result<Option<Parting>> {
    // Both walk along the first series in the order of its key and stop at the first row that they find.
    let differing = sqlx::query!(
        r#"SELECT one.step AS "step!: i64", one.value AS "original: f64", other.value AS "again: f64", other.series_id IS NULL AS "missing!: bool"
         FROM metrics AS one
         LEFT JOIN metrics AS other ON other.series_id = ?2 AND other.step = one.step AND other.occurrence = one.occurrence
         WHERE one.series_id = ?1
             AND CASE WHEN other.series_id IS NULL THEN NOT ?3 ELSE one.value IS NOT other.value END
         ORDER BY one.step, one.occurrence LIMIT 1"#,
        original,
        again,
        common,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let added = sqlx::query!(
        r#"SELECT one.step AS "step!: i64", one.value AS "again: f64" FROM metrics AS one
         WHERE one.series_id = ?2 AND NOT ?3
             AND NOT EXISTS (SELECT 1 FROM metrics AS other
                 WHERE other.series_id = ?1 AND other.step = one.step AND other.occurrence = one.occurrence)
         ORDER BY one.step, one.occurrence LIMIT 1"#,
        original,
        again,
        common,
    )
    .fetch_optional(conn)
    .await?;
    let differing = differing.map(|row| Parting {
        step: unsigned(row.step),
        original: Some(number(row.original)),
        again: (!row.missing).then(|| number(row.again)),
    });
    let added = added.map(|row| Parting { step: unsigned(row.step), original: None, again: Some(number(row.again)) });
    Ok(match (differing, added) {
        (Some(differing), Some(added)) => Some(if added.step < differing.step { added } else { differing }),
        (differing, added) => differing.or(added),
    })
}
