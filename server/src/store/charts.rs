//! What charts are made of: points where there are few, buckets where there are many, and the values that are not finite.

use sqlx::SqliteConnection;
use trainyard_wire::metric::Bucket;
use trainyard_wire::{JobId, Number, Revision, RunId};

use super::{Store, StoreError};
use crate::comparison::Candidate;
use crate::db;
use crate::db::metrics::Stretch;

/// Most values of a curve that are marked because they are not finite.
const MOST_MARKS: u32 = 500;

/// Which part of a run's metrics a chart shows, and how finely.
#[derive(Clone, Debug, Default)]
pub struct CurveQuery {
    pub names: Vec<String>,
    /// First step, inclusive.
    pub from: Option<u64>,
    /// Last step, inclusive.
    pub to: Option<u64>,
    /// Up to so many points come as they are.
    pub points: u32,
    /// More of them come in so many buckets.
    pub buckets: u32,
}

/// One metric of one run, drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub name: String,
    /// By step; a point is a bucket of one.
    pub buckets: Vec<Bucket>,
    /// The first values that are NaN or infinite.
    pub not_finite: Vec<(u64, Number)>,
    /// How many of those there are.
    pub not_finite_count: u64,
}

/// Which runs are compared.
#[derive(Clone, Debug)]
pub enum Compared {
    Runs(Vec<RunId>),
    /// All runs of a job.
    Job(JobId),
}

impl Store {
    /// The curves of a run's metrics, in the order of the names asked for; those without points are left out. `None` if there is no such run.
    pub async fn curves(&self, id: RunId, query: &CurveQuery) -> Result<Option<Vec<Curve>>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(curves(&mut conn, id, query).await?))
    }

    /// The curves of several runs; nothing of runs that do not exist.
    pub async fn curves_of(&self, ids: &[RunId], query: &CurveQuery) -> Result<Vec<(RunId, Curve)>, StoreError> {
        let mut conn = self.snapshot().await?;
        let mut all = Vec::new();
        for &id in ids {
            all.extend(curves(&mut conn, id, query).await?.into_iter().map(|curve| (id, curve)));
        }
        Ok(all)
    }

    /// The ids of what is compared; `None` if there is no such job.
    pub async fn compared_ids(&self, compared: Compared) -> Result<Option<Vec<RunId>>, StoreError> {
        match compared {
            Compared::Runs(ids) => Ok(Some(ids)),
            Compared::Job(job) => {
                let ids = db::jobs::run_ids(&mut *self.reader().await?, job).await?;
                Ok((!ids.is_empty()).then_some(ids))
            }
        }
    }

    /// The revision of the run that changed last.
    pub async fn revision_of(&self, ids: &[RunId]) -> Result<Revision, StoreError> {
        db::compared::revision(&mut *self.reader().await?, ids).await
    }

    /// The runs with these ids that exist, by id, as far as a comparison goes; with results only if asked for.
    pub(crate) async fn candidates(&self, ids: &[RunId], results: bool) -> Result<Vec<Candidate>, StoreError> {
        let mut conn = self.snapshot().await?;
        db::compared::by_id(&mut conn, ids, results).await
    }
}

async fn curves(conn: &mut SqliteConnection, id: RunId, query: &CurveQuery) -> Result<Vec<Curve>, StoreError> {
    let mut rows = db::metrics::series(conn, id, &query.names).await?;
    rows.sort_by_key(|row| query.names.iter().position(|name| *name == row.name));
    let column = |step: u64| i64::try_from(step).unwrap_or(i64::MAX);
    let mut curves = Vec::with_capacity(rows.len());
    for row in rows {
        let series = row.id;
        let Some((first, last)) = db::metrics::range(conn, series).await? else { continue };
        let stretch = Stretch { series, from: query.from.map_or(first, column), to: query.to.map_or(last, column) };
        let mut points = db::metrics::points(conn, stretch, Revision(-1), None, i64::from(query.points) + 1).await?;
        let buckets = if points.len() > query.points as usize {
            points.clear();
            db::metric_blocks::buckets(conn, &row, stretch, query.buckets).await?
        } else {
            let bucket =
                |step, value| Bucket { first_step: step, last_step: step, first: value, last: value, min: value, max: value, count: 1 };
            points.into_iter().map(|(_, point)| bucket(point.step, point.value)).collect()
        };
        let not_finite = db::metrics::not_finite(conn, stretch, MOST_MARKS).await?;
        let marks = not_finite.len() as u64;
        let not_finite_count = if marks < u64::from(MOST_MARKS) { marks } else { db::metrics::count_not_finite(conn, stretch).await? };
        curves.push(Curve { name: row.name, buckets, not_finite, not_finite_count });
    }
    Ok(curves)
}
