//! Which finished runs may lose their files.

use sqlx::SqliteConnection;
use trainyard_wire::{RunId, Timestamp};

use super::{Result, signed};

/// What protects a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protection {
    /// So many of the runs that finished last.
    pub(crate) newest: u64,
    /// All that finished after this.
    pub(crate) after: Timestamp,
}

/// Finished runs that have files and no protection (nor the tag `keep`), those that finished first coming first; without
/// pictures, which go with the run of their model. With `with_checkpoint` only those that still have a checkpoint.
pub(crate) async fn prunable(conn: &mut SqliteConnection, protection: Protection, with_checkpoint: bool, limit: i64) -> Result<Vec<RunId>> {
    let newest = signed(protection.newest);
    let ids = sqlx::query_scalar!(
        r#"SELECT id AS "id!: i64" FROM (
             SELECT runs.id, runs.finished_at, runs.checkpoint_sha256
             FROM (SELECT DISTINCT run_id FROM artifacts) AS with_files
             JOIN runs ON runs.id = with_files.run_id
             JOIN jobs ON jobs.id = runs.job_id
             WHERE runs.finished_at IS NOT NULL AND runs.kind <> 'picture'
                 AND json_type(CASE WHEN runs.own_tags IS NULL THEN jobs.tags ELSE json_patch(jobs.tags, runs.own_tags) END, '$.keep') IS NULL
             ORDER BY runs.finished_at DESC, runs.id DESC
             LIMIT -1 OFFSET ?1
         )
         WHERE finished_at <= ?2 AND (NOT ?3 OR checkpoint_sha256 IS NOT NULL)
         ORDER BY finished_at, id LIMIT ?4"#,
        newest,
        protection.after.0,
        with_checkpoint,
        limit,
    );
    Ok(ids.fetch_all(conn).await?.into_iter().map(RunId).collect())
}
