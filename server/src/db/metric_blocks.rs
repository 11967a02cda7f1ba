//! Points of series, summed up in blocks of 2^shift steps on three levels, and charts made from them.
//!
//! A block is made anew from the level below (the lowest from the points) whenever a report has points in it: what it says never depends
//! on the order in which they came. A chart takes the coarsest level whose blocks are no wider than its buckets, and so reads at most
//! sixteen rows a bucket, however many points there are. Only at its ends, where a block may reach out of the asked stretch, it reads
//! points; so it does of a short series, which has no blocks.

use sqlx::SqliteConnection;
use trainyard_wire::metric::Bucket;

use super::metrics::{SeriesRow, Stretch};
use super::{Result, number, unsigned};

/// The levels, from the coarsest.
const SHIFTS: [u32; 3] = [12, 8, 4];

/// Makes the blocks anew that have steps of `stretches`, which is `[[series, first step, last step], …]` as JSON.
pub(super) async fn renew(conn: &mut SqliteConnection, stretches: &str) -> Result<()> {
    sqlx::query!(
        "INSERT OR REPLACE INTO metric_blocks
         SELECT series_id, 4, step >> 4, MIN(step), MAX(step), COUNT(*), MIN(metrics.value), MAX(metrics.value)
         FROM json_each(?1) AS stretch CROSS JOIN metrics
         WHERE series_id = stretch.value ->> 0
             AND step BETWEEN ((stretch.value ->> 1) >> 4) << 4 AND ((stretch.value ->> 2) | 15)
         GROUP BY series_id, step >> 4",
        stretches,
    )
    .execute(&mut *conn)
    .await?;
    for below in [4, 8] {
        let (shift, wide) = (below + 4, below + 4);
        sqlx::query!(
            "INSERT OR REPLACE INTO metric_blocks
             SELECT series_id, ?2, block >> 4, MIN(first_step), MAX(last_step), SUM(points), MIN(minimum), MAX(maximum)
             FROM json_each(?1) AS stretch CROSS JOIN metric_blocks
             WHERE series_id = stretch.value ->> 0 AND shift = ?3
                 AND block BETWEEN ((stretch.value ->> 1) >> ?4) << 4 AND (((stretch.value ->> 2) >> ?3) | 15)
             GROUP BY series_id, block >> 4",
            stretches,
            shift,
            below,
            wide,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// How a stretch is cut into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cut {
    /// Where the first bucket begins; not after the stretch does.
    origin: i64,
    /// Steps of a bucket.
    width: i64,
    /// The level that is read; points where there is none.
    shift: Option<u32>,
}

impl Cut {
    /// At most `buckets` (at least one) of equal width; on a level, whole blocks make up each.
    fn of(from: i64, to: i64, buckets: u32) -> Self {
        let buckets = i128::from(buckets.max(1));
        let width = |origin: i64| (i128::from(to) - i128::from(origin) + buckets) / buckets;
        let shift = SHIFTS.into_iter().find(|shift| width(from) >= 1 << shift);
        let origin = shift.map_or(from, |shift| from >> shift << shift);
        let unit = 1_i128 << shift.unwrap_or(0);
        let width = (width(origin) + unit - 1) / unit * unit;
        Self { origin, width: i64::try_from(width).unwrap_or(i64::MAX), shift }
    }
}

/// The points of a stretch of `row` in at most `buckets` buckets, by step.
pub(crate) async fn buckets(conn: &mut SqliteConnection, row: &SeriesRow, stretch: Stretch, buckets: u32) -> Result<Vec<Bucket>> {
    let Stretch { series, from, to } = stretch;
    let cut = Cut::of(from, to, buckets);
    let level = cut.shift.filter(|_| row.is_long());
    let shift = level.unwrap_or(0);
    // The blocks that lie within the stretch, and what is left of it before and behind them.
    let (first_block, last_block) = match level {
        Some(shift) => {
            ((from >> shift) + i64::from(from >> shift << shift != from), (to >> shift) - i64::from(to | ((1 << shift) - 1) != to))
        }
        None => (1, 0),
    };
    let (head_end, tail) = match level {
        Some(shift) if first_block <= last_block => ((first_block << shift) - 1, (last_block + 1) << shift),
        _ => (to, i64::MAX),
    };
    let rows = sqlx::query!(
        r#"SELECT
             first_step AS "first_step!: i64", last_step AS "last_step!: i64", points AS "points!: i64", minimum AS "minimum: f64",
             maximum AS "maximum: f64",
             (SELECT value FROM metrics WHERE series_id = ?1 AND step = first_step ORDER BY occurrence LIMIT 1) AS "first: f64",
             (SELECT value FROM metrics WHERE series_id = ?1 AND step = last_step ORDER BY occurrence DESC LIMIT 1) AS "last: f64"
         FROM (
             SELECT MIN(first_step) AS first_step, MAX(last_step) AS last_step, SUM(points) AS points, MIN(minimum) AS minimum,
                 MAX(maximum) AS maximum
             FROM (
                 SELECT first_step, last_step, points, minimum, maximum FROM metric_blocks
                 WHERE series_id = ?1 AND shift = ?2 AND block BETWEEN ?3 AND ?4
                 UNION ALL
                 SELECT step, step, 1, value, value FROM metrics WHERE series_id = ?1 AND step BETWEEN ?5 AND ?6
                 UNION ALL
                 SELECT step, step, 1, value, value FROM metrics WHERE series_id = ?1 AND step BETWEEN ?7 AND ?8
             )
             GROUP BY (first_step - ?9) / ?10
         )
         ORDER BY first_step"#,
        series,
        shift,
        first_block,
        last_block,
        from,
        head_end,
        tail,
        to,
        cut.origin,
        cut.width,
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
        count: unsigned(row.points),
    });
    Ok(buckets.collect())
}

#[cfg(test)]
mod tests {
    use super::Cut;

    #[test]
    fn a_stretch_is_cut_into_whole_steps_or_whole_blocks() {
        let table = [
            ((0, 99, 10), Cut { origin: 0, width: 10, shift: None }),
            ((0, 100, 10), Cut { origin: 0, width: 11, shift: None }),
            ((1, 3, 1000), Cut { origin: 1, width: 1, shift: None }),
            ((5, 5, 0), Cut { origin: 5, width: 1, shift: None }),
            ((1, 1_000_000, 1000), Cut { origin: 0, width: 1024, shift: Some(8) }),
            ((17, 1616, 100), Cut { origin: 16, width: 32, shift: Some(4) }),
            ((0, 409_599, 100), Cut { origin: 0, width: 4096, shift: Some(12) }),
            ((0, i64::MAX, 1), Cut { origin: 0, width: i64::MAX, shift: Some(12) }),
        ];
        for ((from, to, buckets), expected) in table {
            assert_eq!(Cut::of(from, to, buckets), expected, "{from} to {to} in {buckets}");
        }
    }

    #[test]
    fn there_are_never_more_buckets_than_were_asked_for() {
        for from in [0, 1, 15, 16, 4095, 1_000_001] {
            for steps in [1, 15, 16, 17, 1000, 4096, 65_537, 10_000_019] {
                for buckets in [1, 2, 7, 100, 1000, 10_000] {
                    let to = from + steps - 1;
                    let cut = Cut::of(from, to, buckets);
                    let count = (to - cut.origin) / cut.width + 1;
                    assert!(count <= i64::from(buckets) && cut.origin <= from, "{from} {steps} {buckets}: {cut:?}");
                }
            }
        }
    }
}
