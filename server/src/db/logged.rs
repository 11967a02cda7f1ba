//! Points that programs outside of Trainyard log, which may have several values at one step.
//!
//! A worker's points are the only ones of their step; a program may log a metric again without counting its steps. So each step has
//! occurrences, numbered as they came, and a point that comes again is known by its value (and its time, where it was told one). What
//! is new to a series' end needs no look at what is there, and that is what programs mostly log.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::{Number, Revision, RunId, Timestamp};

use super::metrics::{Points, insert_into};
use super::series::{self, Growing};
use super::{Result, signed};

/// The last occurrences of a step among which one that comes again is looked for: twice as many as a request may bring of it
/// (`trainyard_wire::external::MOST_POINTS_OF_A_STEP`), so that a request which is repeated is known even after the next one.
const LOOK_BACK: i64 = 2000;

/// Points of one metric, in the order in which they were logged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LoggedSeries {
    pub(crate) name: String,
    pub(crate) steps: Vec<u64>,
    pub(crate) values: Vec<Number>,
    /// Milliseconds; `None`: when it arrives.
    pub(crate) times: Vec<Option<i64>>,
}

impl LoggedSeries {
    /// Whether the points all come behind what is there, each at a step of its own.
    fn appends_to(&self, series: Growing) -> bool {
        let ascends = self.steps.windows(2).all(|pair| pair[0] < pair[1]);
        ascends && self.steps.first().is_some_and(|first| series.last_step.is_none_or(|last| signed(*first) > last))
    }

    /// All points, each the first of its step.
    fn whole(&self, now: Timestamp) -> (SeriesBatch, Vec<i64>) {
        let Self { name, steps, values, times } = self.clone();
        let times = times.into_iter().map(|time| time.unwrap_or(now.0)).collect();
        (SeriesBatch { name, steps, values, times }, Vec::new())
    }

    /// The points that are not among `stored`, with their occurrences.
    fn new_among(&self, series: i64, stored: &mut HashMap<(i64, i64), Vec<Occurrence>>, now: Timestamp) -> (SeriesBatch, Vec<i64>) {
        let mut batch = SeriesBatch { name: self.name.clone(), ..SeriesBatch::default() };
        let mut numbers = Vec::new();
        for ((step, value), time) in self.steps.iter().zip(&self.values).zip(&self.times) {
            let at_step = stored.entry((series, signed(*step))).or_default();
            let same = |it: &Occurrence| same_bits(it.value, value.0) && time.is_none_or(|time| it.time == time);
            if at_step.iter().any(same) {
                continue;
            }
            let number = at_step.last().map_or(0, |last| last.number + 1);
            let time = time.unwrap_or(now.0);
            at_step.push(Occurrence { number, value: value.0, time });
            batch.steps.push(*step);
            batch.values.push(*value);
            batch.times.push(time);
            numbers.push(number);
        }
        (batch, numbers)
    }
}

/// Whether two values are the same once they are stored: NaN is NULL, whatever its bits.
fn same_bits(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan()) || one == other
}

/// A point of a step that has several.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Occurrence {
    number: i64,
    value: f64,
    time: i64,
}

/// Stores the points that are not there yet, all with `revision`. The series have different names. Answers how many points were new.
pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    run: RunId,
    series: &[LoggedSeries],
    revision: Revision,
    now: Timestamp,
) -> Result<u64> {
    let names: Vec<&str> = series.iter().map(|series| series.name.as_str()).collect();
    if names.is_empty() {
        return Ok(0);
    }
    let growing = series::growing(&mut *conn, run, &names).await?;
    let looked_at: Vec<(i64, i64)> = series
        .iter()
        .zip(&growing)
        .filter(|(series, growing)| !series.appends_to(**growing))
        .flat_map(|(series, growing)| series.steps.iter().map(|step| (growing.id, signed(*step))))
        .collect();
    let mut stored = if looked_at.is_empty() { HashMap::new() } else { occurrences(conn, looked_at).await? };
    let (mut grown, mut batches) = (Vec::with_capacity(series.len()), Vec::with_capacity(series.len()));
    for (series, growing) in series.iter().zip(growing) {
        let batch = match series.appends_to(growing) {
            true => series.whole(now),
            false => series.new_among(growing.id, &mut stored, now),
        };
        if !batch.0.steps.is_empty() {
            grown.push(growing);
            batches.push(batch);
        }
    }
    if grown.is_empty() {
        return Ok(0);
    }
    insert_into(conn, &grown, &Points::occurring(batches), revision).await
}

/// The last points of these steps of series, by step, each step's in their order.
async fn occurrences(conn: &mut SqliteConnection, mut steps: Vec<(i64, i64)>) -> Result<HashMap<(i64, i64), Vec<Occurrence>>> {
    steps.sort_unstable();
    steps.dedup();
    let steps = super::to_json("list of steps", &steps)?;
    let rows = sqlx::query!(
        r#"SELECT metrics.series_id AS "series!: i64", metrics.step AS "step!: i64", metrics.occurrence AS "number!: i64",
             metrics.value AS "value: f64", metrics.time AS "time!: i64"
         FROM json_each(?1) AS asked CROSS JOIN metrics
         WHERE metrics.series_id = asked.value ->> 0 AND metrics.step = asked.value ->> 1 AND metrics.occurrence > (
             SELECT MAX(last.occurrence) FROM metrics AS last
             WHERE last.series_id = asked.value ->> 0 AND last.step = asked.value ->> 1
         ) - ?2
         ORDER BY metrics.series_id, metrics.step, metrics.occurrence"#,
        steps,
        LOOK_BACK,
    )
    .fetch_all(conn)
    .await?;
    let mut stored: HashMap<(i64, i64), Vec<Occurrence>> = HashMap::new();
    for row in rows {
        let occurrence = Occurrence { number: row.number, value: row.value.unwrap_or(f64::NAN), time: row.time };
        stored.entry((row.series, row.step)).or_default().push(occurrence);
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(u64, f64, Option<i64>)]) -> LoggedSeries {
        LoggedSeries {
            name: "loss".to_owned(),
            steps: points.iter().map(|point| point.0).collect(),
            values: points.iter().map(|point| Number(point.1)).collect(),
            times: points.iter().map(|point| point.2).collect(),
        }
    }

    #[test]
    fn points_append_where_each_is_behind_all_others() {
        let growing = |last_step| Growing { id: 1, points: 1, last_step };
        assert!(series(&[(1, 0.5, None), (2, 0.5, None)]).appends_to(growing(None)));
        assert!(series(&[(1, 0.5, None)]).appends_to(growing(Some(0))));
        assert!(!series(&[(1, 0.5, None)]).appends_to(growing(Some(1))));
        assert!(!series(&[(2, 0.5, None), (1, 0.5, None)]).appends_to(growing(None)));
        assert!(!series(&[(1, 0.5, None), (1, 0.5, None)]).appends_to(growing(None)));
    }

    #[test]
    fn a_point_is_known_by_its_value_and_its_time_where_it_has_one() {
        let stored = [Occurrence { number: 4, value: 0.5, time: 10 }, Occurrence { number: 5, value: f64::NAN, time: 20 }];
        let mut stored = HashMap::from([((1, 7), stored.to_vec())]);
        let logged =
            series(&[(7, 0.5, None), (7, 0.5, Some(10)), (7, f64::NAN, Some(20)), (7, 0.5, Some(11)), (7, 0.25, None), (7, 0.25, None)]);
        let (batch, numbers) = logged.new_among(1, &mut stored, Timestamp(99));
        assert_eq!((batch.values, batch.times, numbers), (vec![Number(0.5), Number(0.25)], vec![11, 99], vec![6, 7]));
    }
}
