//! The worker protocol.
//!
//! A worker registers, then loops: claim (long poll), train, report, finish. A claim is a lease: it lasts `lease_seconds` from the
//! last heartbeat, and carries an [`Attempt`]. Every write names that attempt; a write whose attempt is no longer the run's, or
//! whose run is no longer running, gets 409 and changes nothing, and the worker drops the run. So does one that comes with another
//! token than the one that the run's worker registered with: workers that do not trust each other have tokens of their own.
//!
//! | request | body → answer |
//! |---|---|
//! | `POST /v1/worker/register` | [`Register`] → [`Registered`] |
//! | `POST /v1/worker/claims` | [`ClaimRequest`] → [`Claims`] |
//! | `POST /v1/worker/heartbeats` | [`Heartbeat`] → [`HeartbeatAnswer`] |
//! | `POST /v1/worker/runs/{id}/reports` | [`Report`] → [`ReportAnswer`] |
//! | `POST /v1/worker/reports` | [`Reports`] → [`ReportsAnswer`]: of several runs at once |
//! | `PUT /v1/worker/runs/{id}/artifacts/{name}?attempt=&sha256=&checkpoint_step=` | the bytes → 204 |
//! | `GET /v1/worker/runs/{id}/artifacts/{name}?attempt=` | the bytes |
//! | `GET /v1/worker/datasets/{name}` | [`crate::dataset::Dataset`] |
//! | `GET /v1/worker/datasets/{name}/files/{sha256}` | the bytes |

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::metric::SeriesBatch;
use crate::problem::Problem;
use crate::run::{Certificate, LeftOut, LogLine, Progress, RequestedAction};
use crate::state::words;
use crate::{Attempt, JobId, RunId, Spec, StopReason, Timestamp, WorkerId};

/// What a worker says of itself when it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Register {
    pub pid: u32,
    pub host: String,
    /// `cpu`, with the reason where a GPU was looked for and cannot be used, or `cuda:` and what was found.
    pub device: String,
    pub threads: u32,
    /// Bytes that the worker has for a run: larger ones are left to others. Without it there is no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Of the worker's build.
    pub version: String,
    /// The version with a hash of the program: what results depend on, beside the spec.
    #[serde(default)]
    pub build: String,
    /// Which instructions the kernels use.
    #[serde(default)]
    pub instructions: String,
}

impl Register {
    /// This process under a name, with one thread of a CPU and no bound of memory; what it was built from stays unsaid.
    #[must_use]
    pub fn cpu(host: &str) -> Self {
        Self {
            pid: std::process::id(),
            host: host.to_owned(),
            device: "cpu".to_owned(),
            threads: 1,
            memory_bytes: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            build: String::new(),
            instructions: String::new(),
        }
    }
}

/// The server's answer to a registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Registered {
    pub worker_id: WorkerId,
    pub lease_seconds: f64,
    pub heartbeat_seconds: f64,
}

/// A worker as `GET /v1/workers` lists it: those that were heard of within a lease's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    pub id: WorkerId,
    pub pid: u32,
    pub host: String,
    pub device: String,
    pub threads: u32,
    /// Bytes it has for a run; null where it has no bound.
    pub memory_bytes: Option<u64>,
    pub version: String,
    /// The run it trains (the oldest, if it holds several); null when it is idle.
    pub run_id: Option<RunId>,
    pub run_ids: Vec<RunId>,
    pub registered_at: Timestamp,
    /// Seconds since the server last heard of it.
    pub idle_seconds: f64,
}

/// Asks for work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRequest {
    pub worker_id: WorkerId,
    /// At most this many runs. More than one is given only of small runs.
    pub max: u32,
    /// Only small runs, and none if there are none right now: for a worker that still trains others.
    #[serde(default)]
    pub small: bool,
    /// How long the server may hold the request while nothing is queued.
    pub wait_seconds: f64,
}

/// The runs that a worker now holds; empty when the wait ran out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Claims {
    pub runs: Vec<ClaimedRun>,
}

/// One claimed run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClaimedRun {
    pub run_id: RunId,
    pub job_id: JobId,
    pub attempt: Attempt,
    /// What training the run takes, by the submit's estimate; 0 where there was none.
    #[serde(default)]
    pub memory_bytes: u64,
    /// An inline problem has its numbers, unless a run before it in the same answer has them under the same hash.
    pub spec: Spec,
    /// The sha256 of `checkpoint.safetensors` to resume from, if an earlier attempt left one.
    pub checkpoint: Option<String>,
}

/// Renews the leases of all runs that a worker holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    pub worker_id: WorkerId,
    pub runs: Vec<HeldRun>,
}

/// A run that a worker believes it holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldRun {
    pub run_id: RunId,
    pub attempt: Attempt,
}

/// The server's word on each run of a heartbeat, in its order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeartbeatAnswer {
    pub runs: Vec<Directive>,
    /// The server shuts the queue down: finish the step, checkpoint, give the runs back, claim nothing more.
    pub drain: bool,
}

words!(
    /// What a worker has to do with a run.
    Directive {
        /// Go on.
        Continue = "continue",
        /// Stop and report the run as cancelled.
        Cancel = "cancel",
        /// Checkpoint, stop and report the run as paused.
        Pause = "pause",
        /// The lease is lost: drop the run, write nothing more.
        Lost = "lost",
    }
);

impl From<Option<RequestedAction>> for Directive {
    fn from(requested: Option<RequestedAction>) -> Self {
        match requested {
            None => Self::Continue,
            Some(RequestedAction::Cancel) => Self::Cancel,
            Some(RequestedAction::Pause) => Self::Pause,
        }
    }
}

/// What a run has to tell: all of it is stored in one transaction, or nothing of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub attempt: Attempt,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<SeriesBatch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogLine>,
    /// Replaces the certificates of the same claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Certificate>,
    /// Replaces what was said of the same claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Ends the attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<Finish>,
}

/// The reports of several runs. Each is stored or refused by itself, as if it had come alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// From 1 to 256 of them.
    pub reports: Vec<RunReport>,
}

/// A report with the run that it is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    pub run_id: RunId,
    pub report: Report,
}

/// What became of each of several reports, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportsAnswer {
    pub answers: Vec<RunReportAnswer>,
}

/// What became of one of several reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum RunReportAnswer {
    /// It is stored.
    Stored(ReportAnswer),
    /// It changed nothing: the problem that the report alone would have been answered with, such as 409 where the attempt is stale.
    Refused {
        /// Its pointers are into the report.
        problem: Problem,
    },
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Finish {
    pub outcome: Outcome,
    /// Of a run that ended for good (`succeeded`, `failed`, `cancelled`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// Why it failed, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// An object.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub result: Option<serde_json::Value>,
}

fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    let object: Option<serde_json::Map<String, serde_json::Value>> = Option::deserialize(deserializer)?;
    Ok(object.map(serde_json::Value::Object))
}

words!(
    /// What becomes of a run when its attempt ends.
    Outcome {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        /// Someone asked for it.
        Paused = "paused",
        /// The worker stops and gives the run back to the queue; not a lost attempt.
        Released = "released",
    }
);

/// The server's answer to a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReportAnswer {
    pub directive: Directive,
}

#[cfg(test)]
mod tests {
    use super::Finish;

    #[test]
    fn a_result_is_an_object_or_none() {
        let finish = |result: &str| serde_json::from_str::<Finish>(&format!(r#"{{"outcome": "succeeded", "result": {result}}}"#));
        for result in ["null", "{}", r#"{"loss": [0.5, null]}"#] {
            assert!(finish(result).is_ok(), "{result}");
        }
        for result in ["[null, null]", "1", r#""text""#, "true"] {
            assert!(finish(result).is_err(), "{result}");
        }
    }
}
