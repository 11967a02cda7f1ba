//! Runs: one training execution of one concrete spec, with what it reported.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::SweepPoint;
use crate::metric::MetricSummary;
use crate::state::words;
use crate::{Attempt, JobId, Number, Revision, RunId, RunState, Spec, StopReason, Timestamp, WorkerId};

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    pub total_steps: u64,
    /// Epochs finished; null where the run has none.
    pub epoch: Option<u64>,
    /// Seconds to the end at the present pace; null where it is not known yet.
    pub eta_seconds: Option<f64>,
}

/// A run, as `GET /v1/runs/{id}` answers and lists show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    pub id: RunId,
    pub job_id: JobId,
    /// The job's, unless the run was given one of its own.
    pub name: Option<String>,
    /// The group that it belongs to: the job's, unless it was put elsewhere.
    #[serde(default)]
    pub project: Option<String>,
    /// The job's, with what was set and taken away on the run.
    pub tags: BTreeMap<String, String>,
    /// What people wrote about it.
    #[serde(default)]
    pub notes: Option<String>,
    pub priority: i32,
    pub state: RunState,
    pub stop_reason: Option<StopReason>,
    /// Why the run failed, in a sentence.
    pub error: Option<String>,
    /// The spec with every default written out; it can be submitted again as it stands. Lists leave out the numbers of an
    /// inline problem and keep its `sha256`.
    pub spec: Spec,
    /// What the job's sweep set for this run.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    pub sweep_point: SweepPoint,
    /// How often the run was claimed.
    pub attempt: Attempt,
    /// The worker that holds, or last held, the run.
    pub worker_id: Option<WorkerId>,
    /// What someone asked of a running run and its worker has not done yet.
    pub requested: Option<RequestedAction>,
    pub progress: Progress,
    pub summary: BTreeMap<String, MetricSummary>,
    /// What the run came to; null until it ends.
    #[schema(value_type = Option<Object>)]
    pub result: Option<serde_json::Value>,
    pub revision: Revision,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Lists leave it out since then, unless archived runs are asked for.
    #[serde(default)]
    pub archived_at: Option<Timestamp>,
}

words!(
    /// What the server asks of the worker that holds a run.
    RequestedAction {
        Cancel = "cancel",
        Pause = "pause",
    }
);

/// A file of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Artifact {
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub content_type: String,
    pub created_at: Timestamp,
}

/// The answer of `GET /v1/runs/{id}/artifacts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Artifacts {
    pub artifacts: Vec<Artifact>,
}

/// Something that happened to a run: queued, claimed, checkpointed, lost, ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    pub revision: Revision,
    pub run_id: RunId,
    pub time: Timestamp,
    /// `queued`, `claimed`, `checkpoint`, `released`, `lease_expired`, `cancel_requested`, `pause_requested`, `paused`,
    /// `resumed`, `retried`, `opened`, `reopened` (these two by a program outside), `succeeded`, `failed`, `cancelled`, `verified` (it was
    /// executed again, see `POST /v1/runs/{id}/verify`), `pruned` (its files went, see `POST /v1/retention`), `annotated` (name, project,
    /// tags or notes), `archived`, `unarchived`, `deleted` or `restored`.
    pub kind: String,
    #[schema(value_type = Object)]
    pub detail: serde_json::Value,
}

/// A message of `GET /v1/events`, whose id is the revision: an event, or that a run has changed without one (metrics, progress, files).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct News {
    pub revision: Revision,
    pub run_id: RunId,
    /// That of the event, or `changed`.
    pub kind: String,
    /// Of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Of an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub detail: Option<serde_json::Value>,
}

impl News {
    /// A run has changed without an event.
    pub fn changed(run_id: RunId, revision: Revision) -> Self {
        Self { revision, run_id, kind: "changed".to_owned(), time: None, detail: None }
    }
}

impl From<Event> for News {
    fn from(event: Event) -> Self {
        let Event { revision, run_id, time, kind, detail } = event;
        Self { revision, run_id, kind, time: Some(time), detail: Some(detail) }
    }
}

/// A line that a worker logged for a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    pub time: Timestamp,
    pub level: LogLevel,
    pub message: String,
}

words!(
    /// How grave a log line is.
    LogLevel {
        Info = "info",
        Warn = "warn",
        Error = "error",
    }
);

/// A claim of theory checked on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    pub claim: String,
    pub formula: String,
    pub predicted: Number,
    pub measured: Number,
    /// How far apart the two may be by rounding.
    pub tolerance: Number,
    pub holds: bool,
    /// Where the formula comes from. Empty where an older worker did not say.
    #[serde(default)]
    pub source: String,
}

/// Something that theory says of a run's kind and that could not be checked on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// What the certificate would have been about.
    pub claim: String,
    pub reason: String,
}

/// The answer of `GET /v1/runs/{id}/certificates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Certificates {
    pub certificates: Vec<Certificate>,
    /// What was not certified, and why.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
}
