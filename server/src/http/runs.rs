//! `/v1/runs/{id}`: one run (with long poll), its place in the queue, events, logs, theory and certificates.

use std::time::Duration;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use trainyard_wire::queue::QueuePosition;
use trainyard_wire::run::{Certificates, Event, LogLine, Run};
use trainyard_wire::theory::RegressionTheory;
use trainyard_wire::{Page, Problem, Revision, RunId};
use utoipa::IntoParams;

use super::app::{App, Shared};
use super::conditional::{etag, known_revisions, not_modified};
use super::extract::{Path, Query};
use super::problem::ApiError;
use super::{paging, prefer};
use crate::admission;

/// One run.
///
/// `Prefer: wait=n` holds the request until the run's revision is another than the one in `If-None-Match` (without it: than the
/// present one), the run is finished, or n seconds are over.
#[utoipa::path(get, path = "/v1/runs/{id}", tag = "runs",
    params(("id" = i64, Path), ("Prefer" = Option<String>, Header, description = "`wait=n`: long poll of n seconds"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of an earlier answer")),
    responses((status = 200, body = Run, headers(("ETag" = String, description = "The run's revision"))),
        (status = 304, description = "Nothing changed"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Path(id): Path<RunId>, headers: HeaderMap) -> Result<Response, ApiError> {
    let waited = match prefer::wait(&headers) {
        Some(wait) => {
            wait_for_change(&app, id, &headers, wait.min(app.limits.longest_wait)).await?;
            Some([prefer::applied("wait")])
        }
        None => None,
    };
    // The revision alone costs less than the run, and a poll mostly ends here.
    let revision = app.store.run_revision(id).await?.ok_or_else(|| no_run(id))?;
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok((waited, unchanged).into_response());
    }
    let run = app.store.run(id).await?.ok_or_else(|| no_run(id))?;
    Ok((waited, [etag(run.revision)], JsonAnswer(run)).into_response())
}

async fn wait_for_change(app: &App, id: RunId, headers: &HeaderMap, wait: Duration) -> Result<(), ApiError> {
    let deadline = tokio::time::Instant::now() + wait;
    // Taken before the first look, so that no change falls between look and wait.
    let mut changes = app.store.revision_watch();
    changes.mark_unchanged();
    let run = app.store.run(id).await?.ok_or_else(|| no_run(id))?;
    let known = known_revisions(headers);
    let is_news = !known.is_empty() && !known.contains(&run.revision);
    if is_news || run.state.is_finished() {
        return Ok(());
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return Ok(()),
            () = app.stop.cancelled() => return Ok(()),
            changed = changes.changed() => if changed.is_err() { return Ok(()) },
        }
        if app.store.run_revision(id).await?.ok_or_else(|| no_run(id))? != run.revision {
            return Ok(());
        }
    }
}

pub(crate) fn no_run(id: RunId) -> ApiError {
    ApiError::not_found(format!("run {id}"))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only events after this revision.
    after_revision: Option<i64>,
    /// 1 to 1000 (100).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// What happened to a run, oldest first.
#[utoipa::path(get, path = "/v1/runs/{id}/events", tag = "runs", params(("id" = i64, Path), EventsQuery),
    responses((status = 200, body = Page<Event>), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let cursor: Option<Revision> = paging::decode_cursor(query.cursor.as_deref())?;
    let after = cursor.unwrap_or(Revision(query.after_revision.unwrap_or(0)));
    let limit = paging::limit(query.limit)?;
    let revision = app.store.run_revision(id).await?.ok_or_else(|| no_run(id))?;
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let slice = app.store.events(id, after, limit).await?.ok_or_else(|| no_run(id))?;
    let next = slice.items.last().filter(|_| slice.more).map(|event| paging::next_link(&uri, &event.revision)).transpose()?;
    Ok(([etag(revision)], next.map(|link| [link]), JsonAnswer(Page { items: slice.items })).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LogsQuery {
    /// 1 to 1000 (1000).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// What a run's workers logged, oldest line first.
#[utoipa::path(get, path = "/v1/runs/{id}/logs", tag = "runs", params(("id" = i64, Path), LogsQuery),
    responses((status = 200, body = Page<LogLine>), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn logs(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    Query(query): Query<LogsQuery>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let after: i64 = paging::decode_cursor(query.cursor.as_deref())?.unwrap_or(0);
    let limit = paging::limit_up_to(query.limit, 1000, 1000)?;
    let slice = app.store.logs(id, after, limit).await?.ok_or_else(|| no_run(id))?;
    let next = slice.more.then(|| paging::next_link(&uri, &slice.last)).transpose()?;
    Ok((next.map(|link| [link]), JsonAnswer(Page { items: slice.lines })).into_response())
}

/// The claims of theory that were checked on a run.
#[utoipa::path(get, path = "/v1/runs/{id}/certificates", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = Certificates), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn certificates(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<JsonAnswer<Certificates>, ApiError> {
    app.store.certificates(id).await?.map(JsonAnswer).ok_or_else(|| no_run(id))
}

/// What theory says of a regression before it runs: rank, eigenvalues, rates, and the steps to its tolerance.
#[utoipa::path(get, path = "/v1/runs/{id}/theory", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = RegressionTheory), (status = 304, description = "Nothing changed"),
        (status = 404, description = "No such run, or no regression", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn theory(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<JsonAnswer<RegressionTheory>, ApiError> {
    let run = app.store.run(id).await?.ok_or_else(|| no_run(id))?;
    let theory = admission::theory(&app.store, run.spec).await?;
    theory.map(JsonAnswer).ok_or_else(|| ApiError::not_found(format!("a theory of run {id}")))
}

/// Where a run stands in the queue, and what it waits for.
#[utoipa::path(get, path = "/v1/runs/{id}/queue", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = QueuePosition), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn queue(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<JsonAnswer<QueuePosition>, ApiError> {
    app.store.queue_position(id).await?.map(JsonAnswer).ok_or_else(|| no_run(id))
}
