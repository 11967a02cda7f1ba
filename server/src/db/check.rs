//! What `trainyard check` asks of a database.

use sqlx::{Row as _, SqliteConnection};
use trainyard_wire::RunId;

use super::Result;
use super::artifacts::Blob;
use super::unsigned;

/// What SQLite finds wrong with the file's structure, at most 100 things.
pub(crate) async fn integrity(conn: &mut SqliteConnection) -> Result<Vec<String>> {
    let rows = sqlx::query("PRAGMA integrity_check").fetch_all(conn).await?;
    let lines: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// Rows that refer to rows which are not there.
pub(crate) async fn foreign_keys(conn: &mut SqliteConnection) -> Result<Vec<String>> {
    let rows = sqlx::query("PRAGMA foreign_key_check").fetch_all(conn).await?;
    rows.iter()
        .map(|row| {
            let (table, parent): (String, String) = (row.try_get(0)?, row.try_get(2)?);
            // A table without row ids has none to tell.
            let row_id: Option<i64> = row.try_get(1)?;
            let row_id = row_id.map(|id| format!(" {id}")).unwrap_or_default();
            Ok(format!("row{row_id} of {table} refers to a row of {parent} that is not there"))
        })
        .collect()
}

/// Runs whose checkpoint is no noted blob.
pub(crate) async fn lost_checkpoints(conn: &mut SqliteConnection) -> Result<Vec<(RunId, String)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", checkpoint_sha256 AS "sha256!" FROM runs
           WHERE checkpoint_sha256 IS NOT NULL AND checkpoint_sha256 NOT IN (SELECT sha256 FROM blobs) ORDER BY id"#,
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| (RunId(row.id), row.sha256)).collect())
}

/// What refers to a blob, in words.
pub(crate) async fn users(conn: &mut SqliteConnection, sha256: &str) -> Result<Vec<String>> {
    let users = sqlx::query_scalar!(
        r#"SELECT 'artifact ' || name || ' of run ' || run_id AS "user!: String" FROM artifacts WHERE sha256 = ?1
           UNION ALL
           SELECT 'file ' || dataset_files.name || ' of dataset ' || datasets.name
           FROM dataset_files JOIN datasets ON datasets.id = dataset_id WHERE dataset_files.sha256 = ?1"#,
        sha256,
    );
    Ok(users.fetch_all(conn).await?)
}

/// Noted blobs that nothing refers to.
pub(crate) async fn unreferenced(conn: &mut SqliteConnection) -> Result<Vec<Blob>> {
    let rows = sqlx::query!(
        "SELECT sha256, size FROM blobs
         WHERE NOT EXISTS (SELECT 1 FROM artifacts WHERE artifacts.sha256 = blobs.sha256)
             AND NOT EXISTS (SELECT 1 FROM dataset_files WHERE dataset_files.sha256 = blobs.sha256)
         ORDER BY sha256",
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| Blob { sha256: row.sha256, size: unsigned(row.size) }).collect())
}
