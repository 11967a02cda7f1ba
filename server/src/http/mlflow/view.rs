//! A run in MLflow's words: what searches compare and answers show is the same.

use std::borrow::Cow;
use std::collections::BTreeMap;

use trainyard_wire::state::Kind;
use trainyard_wire::{RunState, Spec};

use super::filter::{Attribute, Field, Subject};
use super::types::{Int, MlflowMetric, MlflowPair, MlflowRun, MlflowRunData, MlflowRunInfo};
use crate::comparison::flatten;
use crate::http::problem::ApiError;
use crate::store::{FoundRun, LastValue};

/// The tag that MLflow's clients keep a run's name in.
pub(super) const NAME_TAG: &str = "mlflow.runName";
const USER_TAG: &str = "mlflow.user";
pub(super) const COMMIT_TAG: &str = "mlflow.source.git.commit";
pub(super) const SOURCE_TAG: &str = "mlflow.source.name";
/// Longest text of a parameter of a trained run, in characters: initial weights may be written out in its spec.
const LONGEST_PARAM: usize = 6000;

/// A run with what is known of it.
pub(super) struct RunView {
    found: FoundRun,
    metrics: BTreeMap<String, LastValue>,
    /// Empty where the run was found without its spec.
    params: Vec<(String, String)>,
    tags: BTreeMap<String, String>,
}

/// A state as MLflow calls it.
pub(super) fn status(state: RunState) -> &'static str {
    match state {
        RunState::Queued | RunState::Paused => "SCHEDULED",
        RunState::Running => "RUNNING",
        RunState::Succeeded => "FINISHED",
        RunState::Failed => "FAILED",
        RunState::Cancelled => "KILLED",
    }
}

pub(super) fn stage(deleted: bool) -> &'static str {
    if deleted { "deleted" } else { "active" }
}

impl RunView {
    pub(super) fn new(mut found: FoundRun, metrics: BTreeMap<String, LastValue>) -> Result<Self, ApiError> {
        let params = found.spec.as_ref().map(params).transpose()?.unwrap_or_default();
        let mut tags = std::mem::take(&mut found.tags);
        tags.insert(NAME_TAG.to_owned(), name(&found));
        tags.insert("trainyard.kind".to_owned(), found.kind.to_string());
        tags.insert("trainyard.state".to_owned(), found.state.to_string());
        if let Some(reason) = found.stop_reason {
            tags.insert("trainyard.stop_reason".to_owned(), reason.to_string());
        }
        if found.kind != Kind::External {
            tags.insert("trainyard.job_id".to_owned(), found.job_id.to_string());
        }
        if let Some(Spec::External(spec)) = &found.spec {
            for (tag, told) in [(COMMIT_TAG, &spec.git_commit), (SOURCE_TAG, &spec.command), ("trainyard.host", &spec.host)] {
                if let Some(told) = told {
                    tags.entry(tag.to_owned()).or_insert_with(|| told.clone());
                }
            }
        }
        Ok(Self { found, metrics, params, tags })
    }

    pub(super) fn found(&self) -> &FoundRun {
        &self.found
    }

    pub(super) fn has_tag(&self, name: &str) -> bool {
        self.tags.contains_key(name)
    }

    fn start_time(&self) -> i64 {
        self.found.started_at.unwrap_or(self.found.created_at).0
    }

    fn artifact_uri(&self) -> String {
        format!("mlflow-artifacts:/{}/{}/artifacts", self.found.experiment, self.found.id)
    }

    pub(super) fn info(&self) -> MlflowRunInfo {
        MlflowRunInfo {
            run_id: self.found.id.to_string(),
            run_uuid: self.found.id.to_string(),
            run_name: name(&self.found),
            experiment_id: self.found.experiment.to_string(),
            user_id: self.tags.get(USER_TAG).cloned().unwrap_or_default(),
            status: status(self.found.state),
            start_time: self.start_time(),
            end_time: self.found.finished_at.map(|time| time.0),
            artifact_uri: self.artifact_uri(),
            lifecycle_stage: stage(self.found.deleted),
        }
    }

    pub(super) fn into_run(self) -> MlflowRun {
        let info = self.info();
        let metric = |(key, last): (String, LastValue)| {
            let step = Int(i64::try_from(last.step).unwrap_or(i64::MAX));
            MlflowMetric { key, value: last.value, timestamp: Some(Int(last.time.0)), step }
        };
        let pair = |(key, value)| MlflowPair { key, value };
        let data = MlflowRunData {
            metrics: self.metrics.into_iter().map(metric).collect(),
            params: self.params.into_iter().map(pair).collect(),
            tags: self.tags.into_iter().map(pair).collect(),
        };
        MlflowRun { info, data }
    }
}

/// The name under which a run is shown.
fn name(found: &FoundRun) -> String {
    found.name.clone().unwrap_or_else(|| format!("run-{}", found.id))
}

/// The parameters of a run: an external one's own, or the leaves of a spec by their dotted paths.
fn params(spec: &Spec) -> Result<Vec<(String, String)>, ApiError> {
    if let Spec::External(spec) = spec {
        return Ok(spec.params.iter().map(|(name, value)| (name.clone(), value.to_string())).collect());
    }
    let leaves = flatten(serde_json::to_value(spec).map_err(ApiError::internal)?);
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        value => value.to_string(),
    };
    Ok(leaves.into_iter().map(|(path, value)| (path, text(value).chars().take(LONGEST_PARAM).collect())).collect())
}

impl Subject for RunView {
    fn number(&self, field: &Field) -> Option<f64> {
        match field {
            Field::Metric(name) => self.metrics.get(name).map(|last| last.value.0),
            Field::Attribute(Attribute::StartTime) => Some(self.start_time() as f64),
            Field::Attribute(Attribute::EndTime) => self.found.finished_at.map(|time| time.0 as f64),
            _ => None,
        }
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::Param(name) => self.params.iter().find(|(param, _)| param == name).map(|(_, value)| value.into()),
            Field::Tag(name) => self.tags.get(name).map(Into::into),
            Field::Attribute(Attribute::RunId) => Some(self.found.id.to_string().into()),
            Field::Attribute(Attribute::RunName) => Some(name(&self.found).into()),
            Field::Attribute(Attribute::Status) => Some(status(self.found.state).into()),
            Field::Attribute(Attribute::ArtifactUri) => Some(self.artifact_uri().into()),
            Field::Attribute(Attribute::UserId) => self.tags.get(USER_TAG).map(Into::into),
            Field::Attribute(Attribute::ExperimentId) => Some(self.found.experiment.to_string().into()),
            _ => None,
        }
    }
}
