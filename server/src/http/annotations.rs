//! What people note on runs (`PATCH /v1/runs/{id}`), deleting with undo, and acting on many runs at once.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::annotation::{MOST_ACTED, MOST_MATCHING, RunPatch, RunsActed, RunsAction};
use trainyard_wire::run::Run;
use trainyard_wire::{Problem, RunId};

use super::app::{App, Shared};
use super::conditional::etag;
use super::extract::{Json, Path};
use super::listing;
use super::problem::ApiError;
use crate::store::AnnotateError;

impl From<AnnotateError> for ApiError {
    fn from(error: AnnotateError) -> Self {
        match error {
            AnnotateError::NotFound => Self::NotFound(error.to_string()),
            AnnotateError::Illegal { .. } => Self::Conflict(error.to_string()),
            AnnotateError::TooManyTags { .. } => Self::invalid("/tags", error.to_string()),
            AnnotateError::Store(error) => error.into(),
        }
    }
}

/// Changes a run's name, project, tags or notes, or archives it.
///
/// The body is a JSON merge patch (RFC 7396): what is left out stays as it is. Events `annotated`, `archived` and `unarchived` tell of it.
#[utoipa::path(patch, path = "/v1/runs/{id}", tag = "runs", params(("id" = i64, Path)),
    request_body(content((RunPatch = "application/json"), (RunPatch = "application/merge-patch+json"))),
    responses((status = 200, description = "As it is now", body = Run, headers(("ETag" = String, description = "The run's revision"))),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Not a valid patch", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn patch(State(app): State<Shared>, Path(id): Path<RunId>, Json(patch): Json<RunPatch>) -> Result<Response, ApiError> {
    let errors = patch.check();
    if !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    let run = app.store.annotate(id, patch).await?;
    Ok(([etag(run.revision)], JsonAnswer(run)).into_response())
}

/// Deletes a run that is neither queued nor running.
///
/// It is hidden from everything at once; `POST /v1/runs/{id}/restore` takes that back until the server removes it for good, 7 days later by
/// default.
#[utoipa::path(delete, path = "/v1/runs/{id}", tag = "runs", params(("id" = i64, Path)),
    responses((status = 204, description = "Hidden"),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is queued or running", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<StatusCode, ApiError> {
    app.store.delete_run(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes a delete back. A run that is not deleted stays as it is.
#[utoipa::path(post, path = "/v1/runs/{id}/restore", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, description = "As it is now", body = Run),
        (status = 404, description = "No such run, or it was removed for good", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn restore(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<JsonAnswer<Run>, ApiError> {
    Ok(JsonAnswer(app.store.restore_run(id).await?))
}

/// Does the same to many runs, each for itself: to those in `runs`, or to all that a query of the list matches.
///
/// Those that match are found once, and acted on a thousand at a time. `tag` sets the tags in `tags` and takes those away that are null there. What cannot be done to one of them is told in its outcome and keeps nothing from the others. Repeating the request changes nothing.
#[utoipa::path(post, path = "/v1/runs/actions", tag = "runs", request_body = RunsAction,
    responses((status = 200, description = "What became of each run", body = RunsActed),
        (status = 422, description = "No such action, not 1 to 1000 runs, no such query, too many runs that match, or no valid tags", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn act(State(app): State<Shared>, Json(asked): Json<RunsAction>) -> Result<JsonAnswer<RunsActed>, ApiError> {
    let errors = asked.check();
    if !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    let runs = match (asked.runs, asked.matching) {
        (Some(runs), None) if (1..=MOST_ACTED).contains(&runs.len()) => runs,
        (Some(_), None) => return Err(ApiError::invalid("/runs", format!("must be 1 to {MOST_ACTED} runs"))),
        (None, Some(query)) => matching(&app, &query).await?,
        _ => return Err(ApiError::invalid("/runs", "must be given, or `matching` instead")),
    };
    let mut outcomes = Vec::with_capacity(runs.len());
    for some in runs.chunks(MOST_ACTED) {
        outcomes.extend(app.store.act_on_runs(asked.action, &asked.tags, some).await?);
    }
    Ok(JsonAnswer(RunsActed { outcomes }))
}

/// The runs that a query of the list matches now.
async fn matching(app: &App, query: &str) -> Result<Vec<RunId>, ApiError> {
    let wrong = |detail: String| ApiError::invalid("/matching", detail);
    let search = listing::parse(query).map_err(|errors| {
        wrong(errors.into_iter().map(|error| format!("{} {}", error.pointer, error.detail)).collect::<Vec<_>>().join("; "))
    })?;
    // Whoever means one page is not to act on all.
    if let Some((name, _)) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| matches!(name.as_ref(), "limit" | "cursor")) {
        return Err(wrong(format!("?{name} is of one page of the list, and this acts on all that match")));
    }
    let found = app.store.matching_ids(search, MOST_MATCHING).await?;
    found.map_err(|count| wrong(format!("{count} runs match, and at most {MOST_MATCHING} can be acted on at once")))
}
