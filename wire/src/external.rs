//! External runs: opened by programs outside of Trainyard, which say over plain HTTP how they get on.
//!
//! `POST /v1/runs` opens one, `…/metrics`, `…/params` and `…/artifacts/{name}` add to it, `…/finish` ends it. No worker ever claims it and
//! no lease runs out on it: it is running until somebody says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::FieldError;
use crate::spec::ExternalSpec;
use crate::spec::check::Checker;
use crate::spec::external::{Params, check_params};
use crate::spec::strict;
use crate::state::words;
use crate::{Number, Revision, RunState, Timestamp};

/// Most points of one request.
pub const MOST_POINTS: usize = 100_000;
/// Most points of one request with the same name and step.
pub const MOST_POINTS_OF_A_STEP: usize = 1000;
/// Most tags of a run.
pub const MOST_TAGS: usize = 500;
/// Longest name of a tag, in characters.
pub const LONGEST_TAG_NAME: usize = 250;
/// Longest value of a tag, in characters.
pub const LONGEST_TAG: usize = 8000;

/// The body of `POST /v1/runs`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"name": "ridge", "tags": {"topic": "baseline"}, "params": {"alpha": 0.1, "solver": "svd"}, "host": "lab-3",
    "git_commit": "4b825dc", "command": "python fit.py"}))]
pub struct OpenRun {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// What the run depends on: texts, numbers and truth values by name.
    #[serde(default, skip_serializing_if = "Params::is_empty")]
    #[schema(value_type = BTreeMap<String, crate::spec::external::ParamValue>)]
    pub params: Params,
    /// The machine it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// The command that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl OpenRun {
    /// What is too long or too many, with pointers.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut checker = Checker::new("");
        let named = self.name.as_ref().is_none_or(|name| (1..=LONGEST_TAG_NAME).contains(&name.chars().count()));
        checker.check(named, "/name", || format!("must have 1 to {LONGEST_TAG_NAME} characters"));
        check_tags(&self.tags, &mut checker, "/tags");
        self.spec().check(&mut checker);
        checker.finish()
    }

    /// The spec of the run.
    pub fn spec(&self) -> ExternalSpec {
        let Self { params, host, git_commit, command, .. } = self.clone();
        ExternalSpec { params, host, git_commit, command }
    }
}

/// Checks the tags of an external run, which stand at `base`.
pub fn check_tags(tags: &BTreeMap<String, String>, checker: &mut Checker, base: &str) {
    checker.check(tags.len() <= MOST_TAGS, base, || format!("must be at most {MOST_TAGS}, are {}", tags.len()));
    for (name, value) in tags {
        let fits = (1..=LONGEST_TAG_NAME).contains(&name.chars().count()) && value.chars().count() <= LONGEST_TAG;
        checker.check(fits, &format!("{base}/{}", strict::escape(name)), || {
            format!("must be a name of 1 to {LONGEST_TAG_NAME} characters and a value of at most {LONGEST_TAG}")
        });
    }
}

/// One point of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoggedPoint {
    pub name: String,
    pub step: u64,
    pub value: Number,
    /// When it was measured; when it arrives, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// The body of `POST /v1/runs/{id}/metrics`. A point whose name, step and value (and time, where one is given) are there already changes
/// nothing, so a batch whose answer was lost can be sent again; another value at a step is stored beside the first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"metrics": [{"name": "loss", "step": 1, "value": 0.5}, {"name": "loss", "step": 2, "value": "NaN"}]}))]
pub struct LogMetrics {
    pub metrics: Vec<LoggedPoint>,
}

/// What a write to an external run did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Logged {
    /// How many of the points were new; 0 of what is no metric.
    pub points: u64,
    /// The run's revision now.
    pub revision: Revision,
}

/// The body of `POST /v1/runs/{id}/params`: each is added, or replaces the one of its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"params": {"alpha": 0.2, "fitted": true}}))]
pub struct SetParams {
    #[schema(value_type = BTreeMap<String, crate::spec::external::ParamValue>)]
    pub params: Params,
}

impl SetParams {
    /// What is too long or too many, with pointers.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let mut checker = Checker::new("");
        check_params(&self.params, &mut checker, "/params");
        checker.finish()
    }
}

words!(
    /// How an external run ended.
    EndState {
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
    }
);

impl From<EndState> for RunState {
    fn from(state: EndState) -> Self {
        match state {
            EndState::Succeeded => Self::Succeeded,
            EndState::Failed => Self::Failed,
            EndState::Cancelled => Self::Cancelled,
        }
    }
}

/// The body of `POST /v1/runs/{id}/finish`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"state": "succeeded"}))]
pub struct FinishRun {
    pub state: EndState,
    /// Why it failed, in a sentence of at most 8000 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
