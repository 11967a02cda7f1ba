//! Asking for the histories of metrics, in pages or in buckets; every answer is bounded.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use trainyard_wire::metric::{BucketHistory, BucketSeries, MetricHistory, Series};
use trainyard_wire::{Revision, RunId};

use super::{Store, StoreError};
use crate::db;
use crate::db::metrics::{SeriesRow, Stretch};

/// Most buckets of an answer, over all series, as long as each series has at least one.
const MOST_BUCKETS: usize = 100_000;

/// Which points of a run's metrics are asked for.
#[derive(Clone, Debug, Default)]
pub struct MetricQuery {
    /// Empty for all.
    pub names: Vec<String>,
    /// First step, inclusive.
    pub from: Option<u64>,
    /// Last step, inclusive.
    pub to: Option<u64>,
    /// Only points that became known after this revision.
    pub after_revision: Option<Revision>,
    /// Most points of the answer, over all series.
    pub limit: u32,
    /// Where the page before ended.
    pub cursor: Option<MetricCursor>,
}

/// Where a page of points ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricCursor {
    pub series: i64,
    pub step: i64,
    pub occurrence: i64,
}

/// A page of points, by name and step.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricPage {
    pub history: MetricHistory,
    /// Set if there is more.
    pub next: Option<MetricCursor>,
}

/// A history to be reduced to a fixed number of buckets.
#[derive(Clone, Debug, Default)]
pub struct BucketQuery {
    /// Empty for all.
    pub names: Vec<String>,
    /// First step, inclusive; the series' first if left out.
    pub from: Option<u64>,
    /// Last step, inclusive; the series' last if left out.
    pub to: Option<u64>,
    /// Most buckets of a series, at least 1; fewer where the answer would hold more than 100,000 over all series.
    pub buckets: u32,
}

impl MetricQuery {
    /// Points of one series, from behind `cursor` on.
    async fn points_of(
        &self,
        conn: &mut SqliteConnection,
        row: &SeriesRow,
        cursor: Option<MetricCursor>,
        limit: usize,
    ) -> Result<Vec<(MetricCursor, trainyard_wire::metric::Point)>, StoreError> {
        let mut from = self.from.map_or(0, column);
        if let Some(after) = self.after_revision.filter(|_| row.is_long()) {
            let Some(first) = db::metrics::first_step_after(conn, row.id, after).await? else { return Ok(Vec::new()) };
            from = from.max(first);
        }
        let stretch = Stretch { series: row.id, from, to: self.to.map_or(i64::MAX, column) };
        let cursor = cursor.filter(|cursor| cursor.step >= from);
        let after = self.after_revision.unwrap_or(Revision(-1));
        db::metrics::points(conn, stretch, after, cursor, i64::try_from(limit).unwrap_or(i64::MAX)).await
    }
}

/// A step as its column holds it.
fn column(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}

/// Buckets of each of `series` series, where `asked` are asked for.
fn buckets_each(asked: u32, series: usize) -> u32 {
    asked.min(u32::try_from(MOST_BUCKETS / series.max(1)).unwrap_or(u32::MAX)).max(1)
}

impl Store {
    /// A page of points; `None` if there is no such run.
    pub async fn metrics(&self, id: RunId, query: MetricQuery) -> Result<Option<MetricPage>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        let revision = db::revision::get(&mut conn).await?;
        let mut left = query.limit as usize;
        let (mut series, mut next) = (Vec::new(), None);
        let rows = db::metrics::series(&mut conn, id, &query.names).await?;
        // Whoever asks for a page after a series that a retry has dropped starts over.
        let start = query.cursor.and_then(|cursor| rows.iter().position(|row| row.id == cursor.series));
        for row in rows.into_iter().skip(start.unwrap_or(0)) {
            let cursor = query.cursor.filter(|cursor| cursor.series == row.id);
            let mut points = query.points_of(&mut conn, &row, cursor, left + 1).await?;
            if points.len() > left {
                points.truncate(left);
                // Where nothing of this series fits any more, the next page begins with it.
                let first = MetricCursor { series: row.id, step: -1, occurrence: -1 };
                next = Some(points.last().map(|(cursor, _)| *cursor).or(cursor).unwrap_or(first));
            }
            left -= points.len();
            if !points.is_empty() {
                series.push(Series { name: row.name, points: points.into_iter().map(|(_, point)| point).collect() });
            }
            if next.is_some() {
                break;
            }
        }
        Ok(Some(MetricPage { history: MetricHistory { series, revision }, next }))
    }

    /// Minimum, maximum, first, last and count of each bucket of steps; `None` if there is no such run.
    pub async fn metric_buckets(&self, id: RunId, query: BucketQuery) -> Result<Option<BucketHistory>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        let revision = db::revision::get(&mut conn).await?;
        let rows = db::metrics::series(&mut conn, id, &query.names).await?;
        let most = buckets_each(query.buckets, rows.len());
        let mut series = Vec::with_capacity(rows.len());
        for row in rows {
            let Some((first, last)) = db::metrics::range(&mut conn, row.id).await? else { continue };
            let (from, to) = (query.from.map_or(first, column), query.to.map_or(last, column));
            if from > to {
                continue;
            }
            let buckets = db::metric_blocks::buckets(&mut conn, &row, Stretch { series: row.id, from, to }, most).await?;
            if !buckets.is_empty() {
                series.push(BucketSeries { name: row.name, buckets });
            }
        }
        Ok(Some(BucketHistory { series, revision }))
    }
}

#[cfg(test)]
mod tests {
    use super::buckets_each;

    #[test]
    fn many_series_share_the_buckets_of_an_answer() {
        assert_eq!(buckets_each(10_000, 10), 10_000);
        assert_eq!(buckets_each(10_000, 11), 9_090);
        assert_eq!(buckets_each(500, 11), 500);
        assert_eq!(buckets_each(10_000, 1_000_000), 1);
        assert_eq!(buckets_each(0, 0), 1);
    }
}
