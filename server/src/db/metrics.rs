//! Metric points, and the summary of each series.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::SqliteConnection;
use trainyard_wire::metric::{Point, SeriesBatch};
use trainyard_wire::{Number, Revision, RunId, Timestamp};

use super::series::{self, Growing, SHORT};
use super::{Result, number, signed, unsigned};
use crate::store::MetricCursor;

/// The points of a run's series, with what their summaries need: made before the writer's turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Points {
    series: Vec<Stretched>,
}

/// A series with its extremes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stretched {
    batch: SeriesBatch,
    /// Of each point; empty where all are the first of their step.
    occurrences: Vec<i64>,
    first: i64,
    pub(super) last: i64,
    /// The value at the last step.
    pub(super) last_value: f64,
    /// Of the values that are no NaN; `None` if there are none.
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
}

impl Points {
    /// Of batches with different names; those without points are left out.
    pub(crate) fn of(batches: Vec<SeriesBatch>) -> Self {
        Self { series: batches.into_iter().filter_map(Stretched::of).collect() }
    }

    /// Of batches with different names, none of them empty, with the occurrence of each point.
    pub(super) fn occurring(batches: Vec<(SeriesBatch, Vec<i64>)>) -> Self {
        let series = batches.into_iter().filter_map(|(batch, occurrences)| Some(Stretched { occurrences, ..Stretched::of(batch)? }));
        Self { series: series.collect() }
    }

    fn count(&self) -> usize {
        self.series.iter().map(|series| series.batch.steps.len()).sum()
    }
}

impl Stretched {
    fn of(batch: SeriesBatch) -> Option<Self> {
        let (index, last) = batch.steps.iter().enumerate().max_by_key(|(_, step)| **step)?;
        let first = *batch.steps.iter().min()?;
        let numbers = || batch.values.iter().map(|value| value.0).filter(|value| !value.is_nan());
        Some(Self {
            first: signed(first),
            last: signed(*last),
            last_value: batch.values.get(index)?.0,
            minimum: numbers().reduce(f64::min),
            maximum: numbers().reduce(f64::max),
            occurrences: Vec::new(),
            batch,
        })
    }

    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.batch.steps.len()).unwrap_or(i64::MAX)
    }
}

/// Rows of one statement, from the most: few statements for many points, and few different ones, which stay prepared.
const ROWS: [usize; 4] = [256, 32, 4, 1];

/// The statement that inserts so many points, with six values bound for each: as values doubles arrive exactly, which SQLite's reading of
/// decimal numbers would miss by a bit now and then, and nothing has to be parsed. NaN becomes NULL on the way.
fn insertion(rows: usize) -> String {
    let mut statement = "INSERT INTO metrics (series_id, step, occurrence, value, time, revision) VALUES ".to_owned();
    for row in 0..rows {
        statement.push_str(if row == 0 { "(?, ?, ?, ?, ?, ?)" } else { ", (?, ?, ?, ?, ?, ?)" });
    }
    statement.push_str(" ON CONFLICT (series_id, step, occurrence) DO NOTHING");
    statement
}

/// [`insertion`] of each of [`ROWS`], made once.
static INSERTIONS: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| ROWS.map(insertion));

/// Stores the points that are not there yet, all with `revision`, and brings the summaries up to date. A run's points with one revision
/// must have come in one call. Answers how many points were new.
pub(crate) async fn insert(conn: &mut SqliteConnection, run: RunId, points: &Points, revision: Revision) -> Result<u64> {
    if points.series.is_empty() {
        return Ok(0);
    }
    let names: Vec<&str> = points.series.iter().map(|series| series.batch.name.as_str()).collect();
    let growing = series::growing(&mut *conn, run, &names).await?;
    insert_into(conn, &growing, points, revision).await
}

/// As [`insert`], into these series.
pub(super) async fn insert_into(conn: &mut SqliteConnection, growing: &[Growing], points: &Points, revision: Revision) -> Result<u64> {
    let inserted = insert_points(conn, growing, points, revision).await?;
    if inserted == 0 {
        return Ok(0);
    }
    let stretches: Vec<_> = growing.iter().zip(&points.series).map(|(series, added)| (series.id, added.first, added.last)).collect();
    let now: HashMap<i64, i64> = if inserted == points.count() as u64 {
        series::add(conn, growing, &points.series).await?;
        growing.iter().zip(&points.series).map(|(series, added)| (series.id, series.points.saturating_add(added.count()))).collect()
    } else {
        series::summarize(conn, &super::to_json("list of series", &stretches)?, revision).await?.into_iter().collect()
    };
    let was_long: Vec<_> =
        growing.iter().zip(&stretches).filter(|(series, _)| series.points > SHORT).map(|(_, stretch)| *stretch).collect();
    if !was_long.is_empty() {
        let stretches = super::to_json("list of series", &was_long)?;
        series::note_revision(conn, &stretches, revision).await?;
        super::metric_blocks::renew(conn, &stretches).await?;
    }
    let becomes_long = |series: &&Growing| series.points <= SHORT && now.get(&series.id).is_some_and(|points| *points > SHORT);
    let are_long: Vec<_> = growing.iter().filter(becomes_long).map(|series| (series.id, 0, i64::MAX)).collect();
    if !are_long.is_empty() {
        let stretches = super::to_json("list of series", &are_long)?;
        series::note_all_revisions(conn, &stretches).await?;
        super::metric_blocks::renew(conn, &stretches).await?;
    }
    Ok(inserted)
}

/// Inserts the points that are not there yet; answers how many those are.
async fn insert_points(conn: &mut SqliteConnection, growing: &[Growing], points: &Points, revision: Revision) -> Result<u64> {
    let rows = growing.iter().zip(&points.series).flat_map(|(Growing { id, .. }, series)| {
        let SeriesBatch { steps, values, times, .. } = &series.batch;
        let occurrences = series.occurrences.iter().copied().chain(std::iter::repeat(0));
        let points = steps.iter().zip(values).zip(times).zip(occurrences);
        points.map(move |(((step, value), time), occurrence)| (*id, signed(*step), occurrence, value.0, *time))
    });
    let rows: Vec<_> = rows.collect();
    let (mut rest, mut inserted) = (rows.as_slice(), 0);
    for (count, statement) in ROWS.iter().zip(INSERTIONS.iter()) {
        while let Some((chunk, others)) = rest.split_at_checked(*count) {
            rest = others;
            let mut query = sqlx::query(statement.as_str());
            for (series, step, occurrence, value, time) in chunk {
                query = query.bind(series).bind(step).bind(occurrence).bind(value).bind(time).bind(revision.0);
            }
            inserted += query.execute(&mut *conn).await?.rows_affected();
        }
    }
    Ok(inserted)
}

/// One metric of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesRow {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) points: i64,
}

impl SeriesRow {
    /// Whether it has blocks and the beginnings of revisions beside its points.
    pub(crate) fn is_long(&self) -> bool {
        self.points > SHORT
    }
}

/// The series of a run, by name; only those named, if any are.
pub(crate) async fn series(conn: &mut SqliteConnection, run: RunId, names: &[String]) -> Result<Vec<SeriesRow>> {
    let names = if names.is_empty() { None } else { Some(super::to_json("list of names", &names)?) };
    Ok(sqlx::query_as!(
        SeriesRow,
        r#"SELECT id AS "id!", name, points FROM series WHERE run_id = ?1 AND points > 0
             AND (?2 IS NULL OR name IN (SELECT value FROM json_each(?2))) ORDER BY name"#,
        run.0,
        names,
    )
    .fetch_all(conn)
    .await?)
}

/// A stretch of one series, both ends inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stretch {
    pub(crate) series: i64,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// The first step of the points of a long series that became known after a revision; `None` if there are none.
pub(crate) async fn first_step_after(conn: &mut SqliteConnection, series: i64, revision: Revision) -> Result<Option<i64>> {
    Ok(sqlx::query_scalar!(
        r#"SELECT MIN(first_step) AS "first: i64" FROM metric_batches WHERE series_id = ? AND revision > ?"#,
        series,
        revision.0,
    )
    .fetch_one(conn)
    .await?)
}

/// Points that became known after a revision, by step, from behind `cursor` on; each with its own cursor.
pub(crate) async fn points(
    conn: &mut SqliteConnection,
    stretch: Stretch,
    after: Revision,
    cursor: Option<MetricCursor>,
    limit: i64,
) -> Result<Vec<(MetricCursor, Point)>> {
    let (step, occurrence) = cursor.map_or((stretch.from, -1), |cursor| (cursor.step, cursor.occurrence));
    let rows = sqlx::query!(
        "SELECT step, occurrence, value, time FROM metrics
         WHERE series_id = ? AND (step, occurrence) > (?, ?) AND step <= ? AND revision > ?
         ORDER BY step, occurrence LIMIT ?",
        stretch.series,
        step,
        occurrence,
        stretch.to,
        after.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let points = rows.into_iter().map(|row| {
        let cursor = MetricCursor { series: stretch.series, step: row.step, occurrence: row.occurrence };
        (cursor, Point { step: unsigned(row.step), value: number(row.value), time: Timestamp(row.time) })
    });
    Ok(points.collect())
}

/// The first and the last step of a series.
pub(crate) async fn range(conn: &mut SqliteConnection, series: i64) -> Result<Option<(i64, i64)>> {
    let row = sqlx::query!(
        r#"SELECT
             (SELECT step FROM metrics WHERE series_id = ?1 ORDER BY step, occurrence LIMIT 1) AS "first: i64",
             (SELECT step FROM metrics WHERE series_id = ?1 ORDER BY step DESC, occurrence DESC LIMIT 1) AS "last: i64""#,
        series,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.first.zip(row.last))
}

/// The first values of a stretch that are NaN or infinite. Served by an index of those alone.
pub(crate) async fn not_finite(conn: &mut SqliteConnection, stretch: Stretch, limit: u32) -> Result<Vec<(u64, Number)>> {
    let rows = sqlx::query!(
        "SELECT step, value FROM metrics INDEXED BY not_finite_metrics
         WHERE series_id = ? AND step BETWEEN ? AND ? AND (value IS NULL OR value = 9e999 OR value = -9e999) ORDER BY step LIMIT ?",
        stretch.series,
        stretch.from,
        stretch.to,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (unsigned(row.step), number(row.value))).collect())
}

/// How many values of a stretch are NaN or infinite.
pub(crate) async fn count_not_finite(conn: &mut SqliteConnection, stretch: Stretch) -> Result<u64> {
    let count = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!: i64" FROM metrics INDEXED BY not_finite_metrics
         WHERE series_id = ? AND step BETWEEN ? AND ? AND (value IS NULL OR value = 9e999 OR value = -9e999)"#,
        stretch.series,
        stretch.from,
        stretch.to,
    )
    .fetch_one(conn)
    .await?;
    Ok(unsigned(count))
}

/// Forgets all points of a run.
pub(crate) async fn delete(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM series WHERE run_id = ?", run.0).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extremes_of_a_batch_leave_nan_out_and_its_end_is_its_largest_step() {
        let batch = |steps: &[u64], values: &[f64]| SeriesBatch {
            name: "loss".to_owned(),
            steps: steps.to_vec(),
            values: values.iter().map(|value| Number(*value)).collect(),
            times: vec![0; steps.len()],
        };
        let stretched = Stretched::of(batch(&[7, 9, 2], &[f64::NAN, 4.0, -1.0])).unwrap();
        assert_eq!((stretched.first, stretched.last, stretched.last_value), (2, 9, 4.0));
        assert_eq!((stretched.minimum, stretched.maximum), (Some(-1.0), Some(4.0)));
        let nan = Stretched::of(batch(&[1], &[f64::NAN])).unwrap();
        assert_eq!((nan.minimum, nan.maximum), (None, None));
        assert_eq!(Stretched::of(batch(&[], &[])), None);
    }

    #[test]
    fn an_insertion_has_six_values_a_point() {
        for rows in ROWS {
            assert_eq!(insertion(rows).matches('?').count(), 6 * rows);
        }
    }
}
