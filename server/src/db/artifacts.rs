//! Artifacts of runs, and the blobs that they and datasets refer to.

use sqlx::SqliteConnection;
use trainyard_wire::run::Artifact;
use trainyard_wire::{Attempt, RunId, Timestamp};

use super::{Result, signed, to_json, unsigned};

/// Notes a blob whose file is in its place.
pub(crate) async fn insert_blob(conn: &mut SqliteConnection, sha256: &str, size: u64) -> Result<()> {
    let size = signed(size);
    sqlx::query!("INSERT INTO blobs (sha256, size) VALUES (?, ?) ON CONFLICT (sha256) DO NOTHING", sha256, size).execute(conn).await?;
    Ok(())
}

/// Forgets up to `limit` blobs that nothing refers to; answers their hashes.
pub(crate) async fn delete_unreferenced_blobs(conn: &mut SqliteConnection, limit: i64) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!(
        r#"DELETE FROM blobs WHERE sha256 IN (
             SELECT sha256 FROM blobs
             WHERE NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.sha256 = blobs.sha256)
                 AND NOT EXISTS (SELECT 1 FROM dataset_files WHERE dataset_files.sha256 = blobs.sha256)
             LIMIT ?
         ) RETURNING sha256 AS "sha256!: String""#,
        limit,
    )
    .fetch_all(conn)
    .await?)
}

/// The hashes of all blobs.
pub(crate) async fn blobs(conn: &mut SqliteConnection) -> Result<Vec<String>> {
    Ok(sqlx::query_scalar!("SELECT sha256 FROM blobs").fetch_all(conn).await?)
}

/// Those of these hashes that no blob is noted under.
pub(crate) async fn unknown_blobs(conn: &mut SqliteConnection, sha256s: &[String]) -> Result<Vec<String>> {
    let sha256s = to_json("list of contents", &sha256s)?;
    Ok(sqlx::query_scalar!(
        r#"SELECT DISTINCT CAST(value AS TEXT) AS "sha256!: String" FROM json_each(?) WHERE value NOT IN (SELECT sha256 FROM blobs)"#,
        sha256s,
    )
    .fetch_all(conn)
    .await?)
}

/// A noted blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) sha256: String,
    pub(crate) size: u64,
}

/// Blobs by hash, from the one after `after` on.
pub(crate) async fn blobs_after(conn: &mut SqliteConnection, after: &str, limit: i64) -> Result<Vec<Blob>> {
    let rows =
        sqlx::query!("SELECT sha256, size FROM blobs WHERE sha256 > ? ORDER BY sha256 LIMIT ?", after, limit).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| Blob { sha256: row.sha256, size: unsigned(row.size) }).collect())
}

/// Bytes of the contents that artifacts refer to, each counted once.
pub(crate) async fn total_bytes(conn: &mut SqliteConnection) -> Result<u64> {
    let bytes = sqlx::query_scalar!(
        r#"SELECT COALESCE(SUM(size), 0) AS "bytes!: i64" FROM blobs
           WHERE EXISTS (SELECT 1 FROM artifacts WHERE artifacts.sha256 = blobs.sha256)"#,
    );
    Ok(unsigned(bytes.fetch_one(conn).await?))
}

/// Bytes of those of these contents that no artifact refers to.
pub(crate) async fn let_go_bytes(conn: &mut SqliteConnection, sha256s: &[&str]) -> Result<u64> {
    let sha256s = to_json("list of contents", &sha256s)?;
    let bytes = sqlx::query_scalar!(
        r#"SELECT COALESCE(SUM(size), 0) AS "bytes!: i64" FROM blobs
           WHERE sha256 IN (SELECT value FROM json_each(?))
               AND NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.sha256 = blobs.sha256)"#,
        sha256s,
    );
    Ok(unsigned(bytes.fetch_one(conn).await?))
}

/// An artifact to note; its blob must be noted already.
pub(crate) struct ArtifactRow<'a> {
    pub(crate) run: RunId,
    pub(crate) name: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) attempt: Attempt,
}

/// Notes an artifact; replaces that of the same name. Answers whether that changed anything.
pub(crate) async fn put(conn: &mut SqliteConnection, artifact: &ArtifactRow<'_>, now: Timestamp) -> Result<bool> {
    let result = sqlx::query!(
        "INSERT INTO artifacts (run_id, name, content_type, sha256, attempt, created_at) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (run_id, name) DO UPDATE SET
             content_type = excluded.content_type, sha256 = excluded.sha256, attempt = excluded.attempt, created_at = excluded.created_at
         WHERE (content_type, sha256) <> (excluded.content_type, excluded.sha256)",
        artifact.run.0,
        artifact.name,
        artifact.content_type,
        artifact.sha256,
        artifact.attempt.0,
        now.0,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected() > 0)
}

/// Whether this attempt stored this very artifact.
pub(crate) async fn was_put(conn: &mut SqliteConnection, artifact: &ArtifactRow<'_>) -> Result<bool> {
    let row = sqlx::query_scalar!(
        r#"SELECT 1 AS "one!: i64" FROM artifacts WHERE run_id = ? AND name = ? AND sha256 = ? AND attempt = ?"#,
        artifact.run.0,
        artifact.name,
        artifact.sha256,
        artifact.attempt.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// The attempt that stored a run's artifact of this name.
pub(crate) async fn attempt_of(conn: &mut SqliteConnection, run: RunId, name: &str) -> Result<Option<Attempt>> {
    let attempt = sqlx::query_scalar!("SELECT attempt FROM artifacts WHERE run_id = ? AND name = ?", run.0, name);
    Ok(attempt.fetch_optional(conn).await?.map(Attempt))
}

pub(crate) async fn list(conn: &mut SqliteConnection, run: RunId) -> Result<Vec<Artifact>> {
    let rows = sqlx::query!(
        "SELECT name, size, artifacts.sha256, content_type, created_at
         FROM artifacts JOIN blobs ON blobs.sha256 = artifacts.sha256 WHERE run_id = ? ORDER BY name",
        run.0,
    )
    .fetch_all(conn)
    .await?;
    let artifacts = rows.into_iter().map(|row| Artifact {
        name: row.name,
        size: unsigned(row.size),
        sha256: row.sha256,
        content_type: row.content_type,
        created_at: Timestamp(row.created_at),
    });
    Ok(artifacts.collect())
}

pub(crate) async fn get(conn: &mut SqliteConnection, run: RunId, name: &str) -> Result<Option<Artifact>> {
    let row = sqlx::query!(
        "SELECT name, size, artifacts.sha256, content_type, created_at
         FROM artifacts JOIN blobs ON blobs.sha256 = artifacts.sha256 WHERE run_id = ? AND name = ?",
        run.0,
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Artifact {
        name: row.name,
        size: unsigned(row.size),
        sha256: row.sha256,
        content_type: row.content_type,
        created_at: Timestamp(row.created_at),
    }))
}

/// Forgets all artifacts of a run; their blobs are left to the sweep.
pub(crate) async fn delete(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM artifacts WHERE run_id = ?", run.0).execute(conn).await?;
    Ok(())
}

/// Forgets the artifact that is the run's checkpoint, if there is one; its blob is left to the sweep.
pub(crate) async fn delete_checkpoint(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM artifacts WHERE run_id = ?1 AND sha256 = (SELECT checkpoint_sha256 FROM runs WHERE id = ?1)", run.0)
        .execute(conn)
        .await?;
    Ok(())
}
