//! Removing deleted runs for good.

use sqlx::SqliteConnection;
use trainyard_wire::{RunId, Timestamp};

use super::Result;

/// Points that go in one statement: removing a long run must not hold other writes up.
const POINTS_AT_ONCE: i64 = 20_000;

/// The runs that were deleted at `until` or before and may go, oldest first. The newest run stays, so that its number is not given to the
/// next one; and so does one that a worker is executing again, or colours a picture with.
pub(crate) async fn due(conn: &mut SqliteConnection, until: Timestamp, limit: i64) -> Result<Vec<RunId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT id AS "id!: i64" FROM runs
           WHERE deleted_at <= ? AND id < (SELECT MAX(id) FROM runs) AND NOT EXISTS (
               SELECT 1 FROM jobs JOIN runs AS other ON other.job_id = jobs.id
               WHERE (jobs.verifies = runs.id OR jobs.model_run_id = runs.id) AND other.state = 'running')
           ORDER BY deleted_at, id LIMIT ?"#,
        until.0,
        limit,
    );
    Ok(ids.fetch_all(conn).await?.into_iter().map(RunId).collect())
}

/// Notes that the removal of a run that is still due has begun, after which it cannot be restored; answers whether it is due.
pub(crate) async fn begin(conn: &mut SqliteConnection, id: RunId, until: Timestamp) -> Result<bool> {
    let result = sqlx::query!("UPDATE runs SET deleted_at = 0 WHERE id = ? AND deleted_at <= ?", id.0, until.0);
    Ok(result.execute(conn).await?.rows_affected() > 0)
}

/// Removes a part of a run's points; answers whether there may be more.
pub(crate) async fn remove_points(conn: &mut SqliteConnection, id: RunId) -> Result<bool> {
    let result = sqlx::query!(
        "DELETE FROM metrics WHERE (series_id, step, occurrence) IN (
             SELECT series_id, step, occurrence FROM metrics WHERE series_id IN (SELECT id FROM series WHERE run_id = ?) LIMIT ?)",
        id.0,
        POINTS_AT_ONCE,
    );
    Ok(result.execute(conn).await?.rows_affected() > 0)
}

/// The runs that execute this one again, and those that colour pictures with its model.
pub(crate) async fn depending(conn: &mut SqliteConnection, id: RunId) -> Result<Vec<RunId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT runs.id AS "id!: i64" FROM jobs JOIN runs ON runs.job_id = jobs.id WHERE jobs.verifies = ?1 OR jobs.model_run_id = ?1"#,
        id.0,
    );
    Ok(ids.fetch_all(conn).await?.into_iter().map(RunId).collect())
}

/// Removes the run and all that refers to it, and its job with the last of its runs unless that is the newest. Blobs are left to the
/// sweep.
pub(crate) async fn remove(conn: &mut SqliteConnection, id: RunId) -> Result<()> {
    let job = sqlx::query_scalar!("SELECT job_id FROM runs WHERE id = ?", id.0).fetch_one(&mut *conn).await?;
    sqlx::query!("DELETE FROM series WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM artifacts WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM certificates WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM left_out_certificates WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM logs WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM events WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM verifications WHERE run_id = ?1 OR again_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM external_runs WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM runs_deleted_in_mlflow WHERE run_id = ?", id.0).execute(&mut *conn).await?;
    // What executed it again is deleted, and outlives it for a while; so do its pictures.
    sqlx::query!("UPDATE jobs SET verifies = NULL WHERE verifies = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("UPDATE jobs SET model_run_id = NULL WHERE model_run_id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM runs WHERE id = ?", id.0).execute(&mut *conn).await?;
    sqlx::query!(
        "DELETE FROM jobs WHERE id = ?1 AND id < (SELECT MAX(id) FROM jobs) AND NOT EXISTS (SELECT 1 FROM runs WHERE job_id = ?1)",
        job,
    )
    .execute(conn)
    .await?;
    Ok(())
}
