//! Jobs: what a user submits, and what comes back.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::{Kind, RunState};
use crate::theory::RegressionTheory;
use crate::{JobId, Revision, RunId, Spec, Timestamp};

/// The values that a sweep sets: dotted path into the spec → value.
pub type SweepPoint = IndexMap<String, serde_json::Value>;

/// The answer of `POST /v1/jobs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobAccepted {
    pub id: JobId,
    /// In sweep order: the last path of the sweep varies fastest.
    pub run_ids: Vec<RunId>,
    /// What the submitter should know although the job was accepted, such as a learning rate over the stability limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What theory says of each run, in the order of `run_ids`; of regressions only, and of no more than the first 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub theory: Vec<RegressionTheory>,
}

/// A job as lists and `GET /v1/jobs/{id}` show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    pub id: JobId,
    pub name: Option<String>,
    pub tags: BTreeMap<String, String>,
    /// The group that its runs belong to, unless they were put elsewhere.
    #[serde(default)]
    pub project: Option<String>,
    pub kind: Kind,
    pub priority: i32,
    /// How many of the job's runs are in each state; states without a run are left out.
    pub states: BTreeMap<RunState, u64>,
    pub run_count: u64,
    /// Only on `GET /v1/jobs/{id}`: the runs, in sweep order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_ids: Vec<RunId>,
    #[schema(value_type = Option<BTreeMap<String, Vec<serde_json::Value>>>)]
    pub sweep: Option<IndexMap<String, Vec<serde_json::Value>>>,
    pub created_at: Timestamp,
    pub revision: Revision,
}

/// The answer of a submit with `?dry_run=true`: what would run, and what it would cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    pub run_count: u64,
    pub runs: Vec<PlannedRun>,
    pub warnings: Vec<String>,
}

/// One run that a submit would queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedRun {
    /// What the sweep sets for this run.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub sweep_point: SweepPoint,
    /// The spec with every default written out.
    pub spec: Spec,
    pub estimate: Estimate,
    /// What theory says of it; of a regression only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theory: Option<RegressionTheory>,
}

/// What a run is expected to take, counted in checked integers before it is queued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Estimate {
    /// Optimizer steps.
    pub steps: u64,
    /// Trainable parameters: weights of the network, or width of the problem.
    pub parameters: u64,
    /// Peak memory of training, in bytes.
    pub memory_bytes: u64,
    /// Multiply-adds of the whole run.
    pub multiply_adds: u64,
    /// Artifacts and metrics on the server's disk, in bytes.
    pub disk_bytes: u64,
}
