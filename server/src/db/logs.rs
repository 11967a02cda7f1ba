//! What workers logged for runs.

use sqlx::SqliteConnection;
use trainyard_wire::run::LogLine;
use trainyard_wire::{RunId, Timestamp};

use super::{Result, parse, to_json};

/// Appends lines; a line that is there already, as of a repeated report, is left out. Answers how many were new.
pub(crate) async fn insert(conn: &mut SqliteConnection, run: RunId, lines: &[LogLine]) -> Result<u64> {
    let rows: Vec<_> = lines.iter().map(|line| (line.time.0, line.level.as_str(), &line.message)).collect();
    let rows = to_json("log", &rows)?;
    let result = sqlx::query!(
        "INSERT INTO logs (run_id, time, level, message)
         SELECT ?1, line.value ->> 0, line.value ->> 1, line.value ->> 2 FROM json_each(?2) AS line
         WHERE NOT EXISTS (
             SELECT 1 FROM logs
             WHERE run_id = ?1 AND time = line.value ->> 0 AND level = line.value ->> 1 AND message = line.value ->> 2
         )
         ORDER BY line.key",
        run.0,
        rows,
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
}

/// Lines with their ids, oldest first.
pub(crate) async fn list(conn: &mut SqliteConnection, run: RunId, after: i64, limit: i64) -> Result<Vec<(i64, LogLine)>> {
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", time, level, message FROM logs WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?"#,
        run.0,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.id, LogLine { time: Timestamp(row.time), level: parse("log level", &row.level)?, message: row.message })))
        .collect()
}

pub(crate) async fn delete(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM logs WHERE run_id = ?", run.0).execute(conn).await?;
    Ok(())
}
