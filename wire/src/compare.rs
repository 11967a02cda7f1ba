//! Runs side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::metric::MetricSummary;
use crate::{RunId, RunState, StopReason};

/// The answer of `GET /v1/compare`. Lists of values are in the order of `runs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Comparison {
    pub runs: Vec<ComparedRun>,
    /// Where the specs differ.
    pub differences: Vec<Difference>,
    /// By metric; null where a run has none of the name.
    pub metrics: BTreeMap<String, Vec<Option<MetricSummary>>>,
    /// The runs whose specs are the same but for the seed, in the order of their first runs.
    #[serde(default)]
    pub groups: Vec<SeedGroup>,
    /// Which groups differ by more than their seeds do; null where no group has two seeds, or there is one group only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_noise: Option<SeedNoise>,
}

/// A run of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComparedRun {
    pub id: RunId,
    pub name: Option<String>,
    pub state: RunState,
    pub stop_reason: Option<StopReason>,
    /// Left out where more than 50 runs are compared.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
}

/// A setting in which the specs differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// Dotted path into the spec.
    pub path: String,
    /// Null where a spec has no such setting.
    pub values: Vec<Value>,
}

/// Runs that differ in nothing but their seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeedGroup {
    /// What tells the group from the others: dotted path → value.
    #[schema(value_type = Object)]
    pub settings: BTreeMap<String, Value>,
    pub run_ids: Vec<RunId>,
    /// The last values, by metric.
    pub metrics: BTreeMap<String, Spread>,
}

/// The last values of a metric over the seeds of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Spread {
    /// Runs with a finite value.
    pub n: u64,
    /// Runs whose value is NaN or infinite; they are no part of the mean.
    pub not_finite: u64,
    pub mean: Option<f64>,
    /// With n − 1; null for fewer than two values.
    pub standard_deviation: Option<f64>,
    /// Student's interval of the mean at 95 %; null for fewer than two values.
    pub interval: Option<[f64; 2]>,
}

/// Whether groups differ by more than their seeds do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SeedNoise {
    /// Of whose last values.
    pub metric: String,
    /// The test and its formula.
    pub test: String,
    /// All pairs of up to 32 groups; of more groups, each with the best one.
    pub pairs: Vec<GroupPair>,
}

/// Two groups compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupPair {
    /// Places in `groups`.
    pub groups: [usize; 2],
    /// Mean of the first minus mean of the second.
    pub difference: f64,
    /// Of the difference, at 95 %.
    pub interval: [f64; 2],
    pub degrees_of_freedom: f64,
    /// The interval holds 0: seeds alone explain the difference.
    pub within_noise: bool,
}
