//! Asking for the histories of metrics, in pages or in buckets; every answer is bounded.

use serde::{Deserialize, Serialize};
use trainyard_wire::metric::{BucketHistory, MetricHistory};
use trainyard_wire::{Revision, RunId};

use super::{Store, StoreError};

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
    /// Most buckets of a series, at least 1.
    pub buckets: u32,
}

impl Store {
    /// A page of points; `None` if there is no such run.
    pub async fn metrics(&self, id: RunId, query: MetricQuery) -> Result<Option<MetricPage>, StoreError> {
        todo!()
    }

    /// Minimum, maximum, first, last and count of each bucket of steps; `None` if there is no such run.
    pub async fn metric_buckets(&self, id: RunId, query: BucketQuery) -> Result<Option<BucketHistory>, StoreError> {
        todo!()
    }
}
