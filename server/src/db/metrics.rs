//! Metric points, and the summary of each series.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use trainyard_wire::metric::{Bucket, Point, SeriesBatch};
use trainyard_wire::{Revision, RunId, Timestamp};

use super::{Result, number, signed, unsigned};
use crate::store::MetricCursor;

/// The points of a run's series, as the database takes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Points {
    series: Vec<Stretched>,
    /// A JSON array for `json_each`, which has for each series the text of another, `[[step, significand, exponent, time], …]`: each
    /// value a whole number times a power of two, which SQLite reads and multiplies exactly (a decimal fraction it may miss by a bit).
    /// JSON has neither NaN nor infinity: NaN becomes null, which is how the column holds it, and an infinity a number that overflows
    /// to it.
    rows: String,
}

/// A series with its first and its last step.
#[derive(Clone, Debug, PartialEq)]
struct Stretched {
    name: String,
    first: i64,
    last: i64,
}

impl Points {
    /// Of batches with different names; those without points are left out.
    pub(crate) fn of(batches: Vec<SeriesBatch>) -> Self {
        let mut series = Vec::with_capacity(batches.len());
        let mut rows = String::with_capacity(2 + batches.iter().map(|batch| batch.steps.len() * 48).sum::<usize>());
        rows.push('[');
        for batch in batches {
            let (Some(first), Some(last)) = (batch.steps.iter().min(), batch.steps.iter().max()) else { continue };
            rows.push_str(if series.is_empty() { "\"" } else { ",\"" });
            write_rows(&batch, &mut rows);
            rows.push('"');
            series.push(Stretched { first: signed(*first), last: signed(*last), name: batch.name });
        }
        rows.push(']');
        Self { series, rows }
    }
}

fn write_rows(batch: &SeriesBatch, rows: &mut String) {
    use std::fmt::Write as _;
    for (index, ((step, value), time)) in batch.steps.iter().zip(&batch.values).zip(&batch.times).enumerate() {
        let start = if index == 0 { '[' } else { ',' };
        // Writing to a String cannot fail.
        let _ = match value.0 {
            value if value.is_nan() => write!(rows, "{start}[{step},null,0,{time}]"),
            f64::INFINITY => write!(rows, "{start}[{step},9e999,0,{time}]"),
            f64::NEG_INFINITY => write!(rows, "{start}[{step},-9e999,0,{time}]"),
            value => {
                let (significand, exponent) = split(value);
                write!(rows, "{start}[{step},{significand},{exponent},{time}]")
            }
        };
    }
    rows.push(']');
}

/// A finite double as an odd (or zero) whole number of at most 53 bits times a power of two from −1074 to 1023.
fn split(value: f64) -> (i64, i64) {
    const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
    let bits = value.to_bits();
    let (biased, fraction) = ((bits >> FRACTION_BITS & 0x7ff) as i64, (bits & ((1 << FRACTION_BITS) - 1)) as i64);
    let (significand, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << FRACTION_BITS, biased - 1075) };
    if significand == 0 {
        return (0, 0);
    }
    let zeros = significand.trailing_zeros();
    let odd = significand >> zeros;
    (if value < 0.0 { -odd } else { odd }, exponent + i64::from(zeros))
}

/// Stores the points that are not there yet, all with `revision`, and brings the summaries up to date. A run's points with one revision
/// must have come in one call. Answers how many points were new.
pub(crate) async fn insert(conn: &mut SqliteConnection, run: RunId, points: &Points, revision: Revision) -> Result<u64> {
    if points.series.is_empty() {
        return Ok(0);
    }
    let ids = series_ids(&mut *conn, run, &points.series).await?;
    let series = super::to_json("list of series", &ids)?;
    let inserted = sqlx::query!(
        "INSERT INTO metrics (series_id, step, occurrence, value, time, revision)
         SELECT ?1 ->> series.key, point.value ->> 0, 0,
             (point.value ->> 1) * (SELECT powers_of_two.value FROM powers_of_two WHERE exponent = point.value ->> 2),
             point.value ->> 3, ?2
         FROM json_each(?3) AS series, json_each(series.value) AS point WHERE true
         ON CONFLICT (series_id, step, occurrence) DO NOTHING",
        series,
        revision.0,
        points.rows,
    )
    .execute(&mut *conn)
    .await?
    .rows_affected();
    if inserted > 0 {
        let stretches: Vec<_> = ids.iter().zip(&points.series).map(|(id, series)| (id, series.first, series.last)).collect();
        summarize(conn, &super::to_json("list of series", &stretches)?, revision).await?;
    }
    Ok(inserted)
}

/// The ids of a run's series, in the order of `series`; made where they are new.
async fn series_ids(conn: &mut SqliteConnection, run: RunId, series: &[Stretched]) -> Result<Vec<i64>> {
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    let list = super::to_json("list of names", &names)?;
    let rows = sqlx::query!(
        r#"INSERT INTO series (run_id, name) SELECT ?, value FROM json_each(?) WHERE true
         ON CONFLICT (run_id, name) DO UPDATE SET name = name RETURNING id AS "id!: i64", name AS "name!: String""#,
        run.0,
        list,
    )
    .fetch_all(conn)
    .await?;
    let ids: HashMap<String, i64> = rows.into_iter().map(|row| (row.name, row.id)).collect();
    names.iter().map(|name| ids.get(*name).copied().ok_or_else(|| sqlx::Error::RowNotFound.into())).collect()
}

/// Adds the points of `revision` to the summaries of `stretches`, which is `[[series, first step, last step], …]` as JSON.
async fn summarize(conn: &mut SqliteConnection, stretches: &str, revision: Revision) -> Result<()> {
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
    sqlx::query!(
        "INSERT INTO metric_batches (series_id, revision, first_step)
         SELECT series_id, ?2, MIN(step) FROM json_each(?1) AS stretch CROSS JOIN metrics
         WHERE series_id = stretch.value ->> 0 AND step BETWEEN stretch.value ->> 1 AND stretch.value ->> 2 AND revision = ?2
         GROUP BY series_id",
        stretches,
        revision.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One metric of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesRow {
    pub(crate) id: i64,
    pub(crate) name: String,
}

/// The series of a run, by name; only those named, if any are.
pub(crate) async fn series(conn: &mut SqliteConnection, run: RunId, names: &[String]) -> Result<Vec<SeriesRow>> {
    let names = if names.is_empty() { None } else { Some(super::to_json("list of names", &names)?) };
    Ok(sqlx::query_as!(
        SeriesRow,
        r#"SELECT id AS "id!", name FROM series WHERE run_id = ?1 AND points > 0
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

/// The first step of the points that became known after a revision; `None` if there are none.
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

/// The points of a stretch in buckets of `width` steps, by step.
pub(crate) async fn buckets(conn: &mut SqliteConnection, stretch: Stretch, width: i64) -> Result<Vec<Bucket>> {
    let rows = sqlx::query!(
        r#"SELECT
             first_step AS "first_step!: i64", last_step AS "last_step!: i64", count AS "count!: i64", minimum AS "minimum: f64",
             maximum AS "maximum: f64",
             (SELECT value FROM metrics WHERE series_id = ?1 AND step = first_step ORDER BY occurrence LIMIT 1) AS "first: f64",
             (SELECT value FROM metrics WHERE series_id = ?1 AND step = last_step ORDER BY occurrence DESC LIMIT 1) AS "last: f64"
         FROM (
             SELECT MIN(step) AS first_step, MAX(step) AS last_step, COUNT(*) AS count, MIN(value) AS minimum, MAX(value) AS maximum
             FROM metrics WHERE series_id = ?1 AND step BETWEEN ?2 AND ?3 GROUP BY (step - ?2) / ?4
         )
         ORDER BY first_step"#,
        stretch.series,
        stretch.from,
        stretch.to,
        width,
    )
    .fetch_all(conn)
    .await?;
    let buckets = rows.into_iter().map(|row| Bucket {
        first_step: unsigned(row.first_step),
        last_step: unsigned(row.last_step),
        first: number(row.first),
        last: number(row.last),
        min: number(row.minimum),
        max: number(row.maximum),
        count: unsigned(row.count),
    });
    Ok(buckets.collect())
}

/// Forgets all points of a run.
pub(crate) async fn delete(conn: &mut SqliteConnection, run: RunId) -> Result<()> {
    sqlx::query!("DELETE FROM series WHERE run_id = ?", run.0).execute(conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_double_is_an_odd_whole_number_times_a_power_of_two() {
        let table = [
            (0.0, (0, 0)),
            (1.0, (1, 0)),
            (-6.0, (-3, 1)),
            (0.75, (3, -2)),
            (5e-324, (1, -1074)),
            (f64::MIN_POSITIVE, (1, -1022)),
            (f64::MAX, ((1 << 53) - 1, 971)),
            (2f64.powi(1023), (1, 1023)),
            (0.1, (3_602_879_701_896_397, -55)),
        ];
        for (value, expected) in table {
            assert_eq!(split(value), expected, "{value}");
        }
    }
}
