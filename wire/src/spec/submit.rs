//! The body of `POST /v1/jobs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::budget::{self, MOST_VALUES};
use super::strict;
use super::sweep::{Point, Sweep, expand};
use crate::annotation::Errors;
use crate::problem::FieldError;

/// What a user submits, before its spec is looked into.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The group that its runs belong to; 1 to 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Higher goes first; −1000 to 1000.
    #[serde(default)]
    pub priority: i32,
    /// What each run trains.
    #[schema(value_type = crate::Spec)]
    pub spec: Value,
    /// Dotted path into the spec → the values to try; one run a point of their product.
    #[serde(default, skip_serializing_if = "Sweep::is_empty")]
    #[schema(value_type = BTreeMap<String, Vec<Value>>)]
    pub sweep: Sweep,
}

/// A submit, parsed and expanded.
#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    pub name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub project: Option<String>,
    pub priority: i32,
    pub sweep: Sweep,
    /// At least one.
    pub points: Vec<Point>,
}

/// Why a body is no submission.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// 400: not JSON at all.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// 422: JSON, but not a valid job.
    #[error("the job is not valid")]
    Invalid(Vec<FieldError>),
}

impl Submission {
    /// Parses the body of a submit strictly and expands its sweep to at most `most_points` runs.
    pub fn parse(body: &[u8], most_points: u64) -> Result<Self, SubmitError> {
        if let Err(error) = budget::check(body, MOST_VALUES) {
            let detail = format!("{error}; a problem of many numbers is uploaded as a dataset");
            return Err(SubmitError::Invalid(vec![FieldError { pointer: String::new(), detail }]));
        }
        let value: Value = serde_json::from_slice(body).map_err(|error| SubmitError::Syntax(error.to_string()))?;
        Self::from_value(value, most_points).map_err(SubmitError::Invalid)
    }

    fn from_value(value: Value, most_points: u64) -> Result<Self, Vec<FieldError>> {
        strict::objects(&value, "", &["tags", "sweep"])?;
        let request: SubmitRequest = strict::from_value(value, "")?;
        let mut errors = Errors::default();
        errors.name(request.name.as_deref());
        errors.check((-1000..=1000).contains(&request.priority), "/priority", "must be from -1000 to 1000");
        errors.project(request.project.as_deref());
        errors.tags(request.tags.iter().map(|(tag, value)| (tag, value.as_str())));
        let Errors(errors) = errors;
        if !errors.is_empty() {
            return Err(errors);
        }
        let points = expand(&request.spec, &request.sweep, most_points)?;
        Ok(Self {
            name: request.name,
            tags: request.tags,
            project: request.project,
            priority: request.priority,
            sweep: request.sweep,
            points,
        })
    }
}
