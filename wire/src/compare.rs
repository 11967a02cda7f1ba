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
}

/// A run of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ComparedRun {
    pub id: RunId,
    pub name: Option<String>,
    pub state: RunState,
    pub stop_reason: Option<StopReason>,
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
