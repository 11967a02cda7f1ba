//! `GET /v1/compare?runs=1,2` or `?job=3`: many runs side by side.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use trainyard_wire::compare::Comparison;
use trainyard_wire::{JobId, Problem, RunId};
use utoipa::IntoParams;

use super::app::{App, Shared};
use super::conditional::{etag, not_modified};
use super::extract::Query;
use super::problem::ApiError;
use crate::comparison::{Candidate, SideBySide};
use crate::store::Compared;

/// Most runs of a comparison.
const MOST_RUNS: usize = 1_000;
/// Of so many runs the results are told.
const MOST_RESULTS: usize = 50;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompareQuery {
    /// Ids, separated by commas; at most 1000.
    runs: Option<String>,
    /// All runs of this job, instead of `runs`; at most 1000.
    job: Option<i64>,
    /// The metric whose last values decide what is seed noise; that which the runs are judged by if left out.
    metric: Option<String>,
}

/// Compares runs: the settings in which they differ, their metrics and their results.
///
/// Runs that differ in nothing but `seed` are a group with a mean and a spread; pairs of groups tell whether they differ by more than their seeds do.
#[utoipa::path(get, path = "/v1/compare", tag = "runs", params(CompareQuery),
    responses((status = 200, body = Comparison), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Query(query): Query<CompareQuery>, headers: HeaderMap) -> Result<Response, ApiError> {
    let ids = compared(&app, query.runs.as_deref(), query.job).await?;
    let revision = app.store.revision_of(&ids).await?;
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let candidates = candidates(&app, &ids).await?;
    // A thousand specs are looked through: not on the runtime's threads.
    let answer = tokio::task::spawn_blocking(move || {
        let all = SideBySide::of(candidates);
        let metric = query.metric.or_else(|| all.main_metric()).unwrap_or_default();
        JsonAnswer(all.answer(&metric)).into_response()
    });
    Ok(([etag(revision)], answer.await.map_err(ApiError::internal)?).into_response())
}

/// The ids of the runs that `runs` or `job` name.
pub(super) async fn compared(app: &App, runs: Option<&str>, job: Option<i64>) -> Result<Vec<RunId>, ApiError> {
    let (which, parameter) = match (runs, job) {
        (Some(runs), None) => (Compared::Runs(ids(runs)?), "runs"),
        (None, Some(job)) => (Compared::Job(JobId(job)), "job"),
        _ => return Err(ApiError::query("runs", "either `runs` or `job` must be given")),
    };
    let missing = || ApiError::not_found(format!("job {}", job.unwrap_or_default()));
    let ids = app.store.compared_ids(which).await?.ok_or_else(missing)?;
    if ids.len() > MOST_RUNS {
        return Err(ApiError::query(parameter, format!("are {} runs; at most {MOST_RUNS} can be compared", ids.len())));
    }
    Ok(ids)
}

/// The runs with these ids, in this order.
pub(super) async fn candidates(app: &App, ids: &[RunId]) -> Result<Vec<Candidate>, ApiError> {
    let found = app.store.candidates(ids, ids.len() <= MOST_RESULTS).await?;
    let mut by_id: BTreeMap<RunId, Candidate> = found.into_iter().map(|run| (run.id, run)).collect();
    ids.iter().map(|id| by_id.remove(id).ok_or_else(|| super::runs::no_run(*id))).collect()
}

fn ids(text: &str) -> Result<Vec<RunId>, ApiError> {
    let ids: Result<Vec<RunId>, _> = text.split(',').map(|id| id.trim().parse()).collect();
    let ids = ids.map_err(|_| ApiError::query("runs", "must be ids, separated by commas"))?;
    let distinct: BTreeSet<_> = ids.iter().collect();
    if distinct.len() != ids.len() {
        return Err(ApiError::query("runs", "must name each run once"));
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_are_numbers_each_once() {
        assert!(ids("1, 2,3").is_ok());
        for wrong in ["", "1,", "1,1", "one"] {
            assert!(ids(wrong).is_err(), "{wrong}");
        }
    }
}
