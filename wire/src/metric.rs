//! Metrics: (run, name, step) → value.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Number, Revision, Timestamp};

/// Metrics that tell how long something took.
pub const TIMES: [&str; 3] = ["epoch_seconds", "images_per_second", "step_ms"];
/// Metrics of what a run took of its machine, in the order in which they are shown: cores in use (1 is one core) and bytes of its worker's process; of a GPU
/// the share of the time it was busy, the bytes in use, watts and degrees Celsius. They are recorded by the clock.
pub const MACHINE: [&str; 6] =
    ["cpu_utilization", "memory_bytes", "gpu_utilization", "gpu_memory_bytes", "gpu_power_watts", "gpu_temperature_celsius"];

/// Points of one metric as a worker reports them: columns of equal length, which is a third of the bytes of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SeriesBatch {
    pub name: String,
    pub steps: Vec<u64>,
    pub values: Vec<Number>,
    /// Milliseconds since the Unix epoch.
    pub times: Vec<i64>,
}

/// One point of a metric's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// The step; of a per-epoch metric (`train_loss`, `val_loss`, `val_accuracy`, `colour_error`, `checkerboard`, `epoch_seconds`) the epoch, from 1.
    pub step: u64,
    pub value: Number,
    pub time: Timestamp,
}

/// The history of one metric of one run, by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    pub name: String,
    pub points: Vec<Point>,
}

/// The answer of `GET /v1/runs/{id}/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricHistory {
    pub series: Vec<Series>,
    /// Ask for `?after_revision=` this number to get only what is newer.
    pub revision: Revision,
}

impl MetricHistory {
    /// Adds the page that follows. The first page's revision stands for all: what came in between the two is newer than it.
    pub fn extend(&mut self, page: Self) {
        for series in page.series {
            match self.series.last_mut() {
                Some(last) if last.name == series.name => last.points.extend(series.points),
                _ => self.series.push(series),
            }
        }
    }
}

/// What a run's answer tells of each of its metrics. NaN takes no part in `min` and `max` unless there is nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricSummary {
    pub last: Number,
    pub last_step: u64,
    pub min: Number,
    pub max: Number,
}

/// What the points of one bucket of steps came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Bucket {
    /// The first and the last step that the bucket has a point of.
    pub first_step: u64,
    pub last_step: u64,
    pub first: Number,
    pub last: Number,
    /// NaN takes no part in `min` and `max` unless there is nothing else.
    pub min: Number,
    pub max: Number,
    /// Points in the bucket.
    pub count: u64,
}

/// The history of one metric of one run, reduced to buckets of equally many steps; those without a point are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BucketSeries {
    pub name: String,
    pub buckets: Vec<Bucket>,
}

/// The answer of `GET /v1/runs/{id}/metrics?buckets=`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BucketHistory {
    pub series: Vec<BucketSeries>,
    pub revision: Revision,
}
