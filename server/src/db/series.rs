//! Series of runs: found or made by their names, and their summaries. A request may bring points of a thousand of them, so nothing here is
//! asked of each by itself.

use std::sync::LazyLock;

use sqlx::SqliteConnection;
use trainyard_wire::{Revision, RunId};

use super::Result;
use super::metrics::Stretched;

/// A series of no more points than this has neither blocks ([`metric_blocks`](super::metric_blocks)) nor the beginnings of revisions: whoever
/// wants to know reads its points, and a program that logs a thousand names a step writes nothing but points.
pub(super) const SHORT: i64 = 512;

/// A series that points are added to, as it is before they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Growing {
    pub(super) id: i64,
    pub(super) points: i64,
    /// The largest step of its points, if it has any.
    pub(super) last_step: Option<i64>,
}

/// The series of a run with these names, which differ, in their order; made where they are new.
pub(super) async fn growing(conn: &mut SqliteConnection, run: RunId, names: &[&str]) -> Result<Vec<Growing>> {
    let mut found = vec![None; names.len()];
    find(&mut *conn, run, names, &mut found).await?;
    let missing: Vec<&str> = names.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        let list = super::to_json("list of names", &missing)?;
        sqlx::query!("INSERT INTO series (run_id, name) SELECT ?1, value FROM json_each(?2)", run.0, list).execute(&mut *conn).await?;
        find(conn, run, names, &mut found).await?;
    }
    found.into_iter().map(|series| series.ok_or_else(|| sqlx::Error::RowNotFound.into())).collect()
}

async fn find(conn: &mut SqliteConnection, run: RunId, names: &[&str], found: &mut [Option<Growing>]) -> Result<()> {
    let list = super::to_json("list of names", &names)?;
    // One row of text: a row for each of a thousand would cost more than finding them.
    let known = sqlx::query_scalar!(
        r#"SELECT json_group_array(json_array(asked.key, series.id, series.points, series.last_step)) AS "known!: String"
         FROM json_each(?2) AS asked CROSS JOIN series WHERE series.run_id = ?1 AND series.name = asked.value"#,
        run.0,
        list,
    )
    .fetch_one(conn)
    .await?;
    let known: Vec<(usize, i64, i64, i64)> = super::from_json("list of series", &known)?;
    for (place, id, points, last_step) in known {
        if let Some(found) = found.get_mut(place) {
            *found = Some(Growing { id, points, last_step: (points > 0).then_some(last_step) });
        }
    }
    Ok(())
}

/// Summaries of one statement, from the most.
const ROWS: [usize; 4] = [256, 32, 4, 1];

/// The statement that adds to so many summaries, with six values bound for each; NaN becomes NULL on the way.
fn addition(rows: usize) -> String {
    let mut statement = "WITH new (id, points, minimum, maximum, last_step, last) AS (VALUES ".to_owned();
    for row in 0..rows {
        statement.push_str(if row == 0 { "(?, ?, ?, ?, ?, ?)" } else { ", (?, ?, ?, ?, ?, ?)" });
    }
    statement.push_str(
        ") UPDATE series SET
             points = series.points + new.points,
             minimum = CASE WHEN series.minimum <= new.minimum OR new.minimum IS NULL THEN series.minimum ELSE new.minimum END,
             maximum = CASE WHEN series.maximum >= new.maximum OR new.maximum IS NULL THEN series.maximum ELSE new.maximum END,
             last = CASE WHEN series.points = 0 OR series.last_step <= new.last_step THEN new.last ELSE series.last END,
             last_step = CASE WHEN series.points = 0 OR series.last_step <= new.last_step THEN new.last_step ELSE series.last_step END
         FROM new WHERE series.id = new.id",
    );
    statement
}

/// [`addition`] of each of [`ROWS`], made once.
static ADDITIONS: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| ROWS.map(addition));

/// Adds points, all of which are new, to the summaries of their series.
pub(super) async fn add(conn: &mut SqliteConnection, growing: &[Growing], added: &[Stretched]) -> Result<()> {
    let rows: Vec<_> = growing.iter().zip(added).collect();
    let mut rest = rows.as_slice();
    for (count, statement) in ROWS.iter().zip(ADDITIONS.iter()) {
        while let Some((chunk, others)) = rest.split_at_checked(*count) {
            rest = others;
            let mut query = sqlx::query(statement.as_str());
            for (series, added) in chunk {
                query = query.bind(series.id).bind(added.count()).bind(added.minimum).bind(added.maximum);
                query = query.bind(added.last).bind(added.last_value);
            }
            query.execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Adds those points of `stretches`, which is `[[series, first step, last step], …]` as JSON, that have this revision to the summaries;
/// answers `(series, points)` as it is then.
pub(super) async fn summarize(conn: &mut SqliteConnection, stretches: &str, revision: Revision) -> Result<Vec<(i64, i64)>> {
    // MIN and MAX over rows pass over NULL, which is NaN; the two-argument forms would not.
    sqlx::query!(
        "UPDATE series SET
             points = series.points + new.points,
             minimum = CASE WHEN series.minimum <= new.minimum OR new.minimum IS NULL THEN series.minimum ELSE new.minimum END,
             maximum = CASE WHEN series.maximum >= new.maximum OR new.maximum IS NULL THEN series.maximum ELSE new.maximum END,
             (last, last_step) = (
                 SELECT value, step FROM metrics WHERE series_id = series.id ORDER BY step DESC, occurrence DESC LIMIT 1
             )
         FROM (
             SELECT series_id, COUNT(*) AS points, MIN(metrics.value) AS minimum, MAX(metrics.value) AS maximum
             FROM json_each(?1) AS stretch CROSS JOIN metrics
             WHERE series_id = stretch.value ->> 0 AND step BETWEEN stretch.value ->> 1 AND stretch.value ->> 2 AND revision = ?2
             GROUP BY series_id
         ) AS new
         WHERE series.id = new.series_id",
        stretches,
        revision.0,
    )
    .execute(&mut *conn)
    .await?;
    let rows = sqlx::query!(
        r#"SELECT id AS "id!: i64", points AS "points!: i64" FROM series WHERE id IN (SELECT value ->> 0 FROM json_each(?))"#,
        stretches,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.points)).collect())
}

/// Notes where the points of a revision begin in each of `stretches`.
pub(super) async fn note_revision(conn: &mut SqliteConnection, stretches: &str, revision: Revision) -> Result<()> {
    sqlx::query!(
        "INSERT INTO metric_batches (series_id, revision, first_step)
         SELECT stretch.value ->> 0, ?2, stretch.value ->> 1 FROM json_each(?1) AS stretch",
        stretches,
        revision.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes where the points of every revision begin in the series of `stretches`.
pub(super) async fn note_all_revisions(conn: &mut SqliteConnection, stretches: &str) -> Result<()> {
    sqlx::query!(
        "INSERT OR REPLACE INTO metric_batches (series_id, revision, first_step)
         SELECT series_id, revision, MIN(step) FROM json_each(?) AS stretch CROSS JOIN metrics
         WHERE series_id = stretch.value ->> 0 GROUP BY series_id, revision",
        stretches,
    )
    .execute(conn)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{ROWS, addition};

    #[test]
    fn an_addition_has_six_values_a_series() {
        for rows in ROWS {
            assert_eq!(addition(rows).matches('?').count(), 6 * rows);
        }
    }
}
