//! Many runs side by side: their specs as plain JSON, which is all that telling them apart takes.

use sqlx::SqliteConnection;
use trainyard_wire::{Revision, RunId};

use super::run_rows::summaries;
use super::{Result, from_json, parse, parse_option, to_json};
use crate::comparison::Candidate;

/// The runs with these ids that exist, by id; without the numbers of inline problems, and with results only if asked for.
pub(crate) async fn by_id(conn: &mut SqliteConnection, ids: &[RunId], results: bool) -> Result<Vec<Candidate>> {
    let list = to_json("list of runs", &ids)?;
    let rows = sqlx::query!(
        r#"SELECT id, name, state, stop_reason, spec, CASE WHEN ?2 THEN result END AS "result: String"
         FROM run_rows WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id"#,
        list,
        results,
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let mut summaries = summaries(conn, &ids).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Candidate {
                summary: summaries.remove(&row.id).unwrap_or_default(),
                id: RunId(row.id),
                name: row.name,
                state: parse("run's state", &row.state)?,
                stop_reason: parse_option("stop reason", row.stop_reason.as_deref())?,
                spec: from_json("run's spec", &row.spec)?,
                result: row.result.map(|result| from_json("run's result", &result)).transpose()?,
            })
        })
        .collect()
}

/// The revision of the run that changed last.
pub(crate) async fn revision(conn: &mut SqliteConnection, ids: &[RunId]) -> Result<Revision> {
    let list = to_json("list of runs", &ids)?;
    let revision =
        sqlx::query_scalar!(r#"SELECT MAX(revision) AS "revision: i64" FROM runs WHERE id IN (SELECT value FROM json_each(?))"#, list,)
            .fetch_one(conn)
            .await?;
    Ok(Revision(revision.unwrap_or_default()))
}
