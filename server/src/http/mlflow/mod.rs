//! `/api/2.0/mlflow`: the tracking API of MLflow, so that its unmodified client reads Trainyard's runs and logs runs of its own.
//!
//! - [`experiments`]: groups of runs. Each kind that Trainyard trains is one, read only; external runs are in others.
//! - [`runs`]: opening, changing and writing. Only external runs take metrics, parameters and files; tags can be set on trained ones.
//! - [`search`] with the language of its [`filter`]
//! - [`history`]: all points of a metric
//! - [`artifacts`]: files, through MLflow's artifact proxy
//! - [`models`]: that there are none
//! - [`types`]: what crosses HTTP, in MLflow's words; [`view`]: how a run looks in them
//!
//! Errors have MLflow's shape ([`problem`](super::problem) writes it under `/api/`), answers are always 200. Fields of a request that
//! Trainyard has no use for (a dataset's name beside a metric) are passed over, because every release of the client brings new ones;
//! what it would have to keep and cannot is an error.

pub(super) mod artifacts;
pub(super) mod experiments;
mod filter;
pub(super) mod history;
pub(super) mod models;
pub(super) mod runs;
pub(super) mod search;
mod types;
mod view;

use serde::Serialize;
use trainyard_wire::RunId;
use utoipa::ToSchema;

use super::problem::ApiError;
use filter::FilterError;

/// An answer that has nothing to say.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct MlflowNothing {}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self::invalid("", error.to_string())
    }
}

/// The run that a client means. Its ids are texts, ours are numbers: what is none names no run.
fn run_id(text: &str) -> Result<RunId, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(format!("run `{text}`")))
}

fn experiment_id(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(format!("experiment `{text}`")))
}
