//! `/v1/jobs`: submitting, asking, acting on all runs of a job.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use trainyard_wire::job::{DryRun, Job, JobAccepted};
use trainyard_wire::spec::submit::{Submission, SubmitError as ParseError, SubmitRequest};
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, Page, Problem, RunState};
use utoipa::IntoParams;

use super::app::{App, Shared};
use super::conditional::{etag, not_modified};
use super::credentials::Identity;
use super::extract::{IdempotencyKey, JsonBytes, Path, Query};
use super::problem::ApiError;
use super::{paging, prefer};
use crate::admission::{self, Asked};
use crate::blobs::sha256_hex;
use crate::store::{Idempotency, JobFilter, NewJob, NewRun, SubmitError};

/// Tells that the answer is that of an earlier submit with the same key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Bodies over this size are parsed a few at a time.
const LARGE_BODY: usize = 1 << 18;
/// Bytes of specs, as text, that a sweep may expand to.
const SWEPT_TEXT: u64 = 128 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SubmitQuery {
    /// Only validate, and answer what would run.
    #[serde(default)]
    dry_run: bool,
}

/// Submits a job: one run for each point of its sweep.
///
/// With an `Idempotency-Key`, a repeat of the same body makes no second job and answers as the first time, with the header
/// `Idempotency-Replayed: true`. With `Prefer: handling=strict`, what would only be warned of (a learning rate at or over the stability limit)
/// is an error.
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(SubmitQuery, ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters"),
        ("Prefer" = Option<String>, Header, description = "`handling=strict`: warnings are errors")),
    request_body = SubmitRequest,
    responses(
        (status = 201, description = "Queued", body = JobAccepted, headers(("Location" = String))),
        (status = 200, description = "What would be queued (`dry_run`)", body = DryRun),
        (status = 422, description = "Not a valid job, or over the limits", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn submit(
    State(app): State<Shared>,
    identity: Identity,
    key: Option<IdempotencyKey>,
    Query(query): Query<SubmitQuery>,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Response, ApiError> {
    let asked = Asked { dry_run: query.dry_run, strict: prefer::strict(&headers) };
    let answer = submit_asked(&app, &identity, key, asked, body).await;
    if asked.strict {
        let (name, value) = prefer::applied("handling=strict");
        let mut response = answer.into_response();
        response.headers_mut().insert(name, value);
        return Ok(response);
    }
    answer
}

async fn submit_asked(
    app: &App,
    identity: &Identity,
    key: Option<IdempotencyKey>,
    asked: Asked,
    body: axum::body::Bytes,
) -> Result<Response, ApiError> {
    let idempotency = key.filter(|_| !asked.dry_run).map(|IdempotencyKey(key)| Idempotency {
        token: identity.token,
        key,
        body_sha256: sha256_hex(&body),
    });
    if let Some(idempotency) = &idempotency
        && let Some(accepted) = app.store.earlier_submit(idempotency).await.map_err(submit_error)?
    {
        return Ok(created(accepted, true));
    }
    let submission = parse(app, body).await?;
    let plan = admission::admit(&app.store, &app.limits, submission, asked).await?;
    if asked.dry_run {
        return Ok(JsonAnswer(plan.dry_run()).into_response());
    }
    let theory = plan.runs.iter().map_while(|run| run.theory.clone()).collect();
    let job = NewJob {
        name: plan.name,
        tags: plan.tags,
        project: plan.project,
        priority: plan.priority,
        kind: plan.kind,
        sweep: plan.sweep,
        runs: plan
            .runs
            .into_iter()
            .map(|run| NewRun {
                small: admission::is_small(&run.estimate),
                memory_bytes: run.estimate.memory_bytes,
                total_steps: run.estimate.steps,
                spec: run.spec,
                sweep_point: run.sweep_point,
            })
            .collect(),
        warnings: plan.warnings,
        theory,
        idempotency,
    };
    let submitted = app.store.submit(job).await.map_err(submit_error)?;
    Ok(created(submitted.accepted, submitted.replayed))
}

/// Parses off the runtime's threads; large bodies take turns, because each may take many times its size.
async fn parse(app: &App, body: axum::body::Bytes) -> Result<Submission, ApiError> {
    let _turn = match body.len() > LARGE_BODY {
        true => Some(app.parsers.acquire().await.map_err(ApiError::internal)?),
        false => None,
    };
    // Every point of a sweep is a whole spec: a large one cannot be swept ten thousand times.
    let most_points = app.limits.runs_per_sweep.min(SWEPT_TEXT / (body.len() as u64).max(1)).max(1);
    let parsed = tokio::task::spawn_blocking(move || Submission::parse(&body, most_points)).await.map_err(ApiError::internal)?;
    parsed.map_err(|error| match error {
        ParseError::Syntax(_) => ApiError::Malformed(error.to_string()),
        ParseError::Invalid(errors) => ApiError::Invalid(errors),
    })
}

fn submit_error(error: SubmitError) -> ApiError {
    match error {
        SubmitError::KeyReused => ApiError::KeyReused,
        SubmitError::UnknownProblem { .. } | SubmitError::ProblemMismatch { .. } => {
            ApiError::invalid("/spec/problem/sha256", error.to_string())
        }
        SubmitError::Store(error) => error.into(),
    }
}

fn created(accepted: JobAccepted, replayed: bool) -> Response {
    let mut response = (StatusCode::CREATED, JsonAnswer(&accepted)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/jobs/{}", accepted.id)) {
        headers.insert(header::LOCATION, location);
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Only jobs that have a run in this state.
    state: Option<RunState>,
    kind: Option<Kind>,
    /// 1 to 1000 (100).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// The jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobsQuery),
    responses((status = 200, body = Page<Job>), (status = 304, description = "Nothing changed")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Query(query): Query<JobsQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let before: Option<JobId> = paging::decode_cursor(query.cursor.as_deref())?;
    let filter = JobFilter { kind: query.kind, state: query.state, before, limit: paging::limit(query.limit)? };
    let revision = app.store.revision();
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let slice = app.store.jobs(filter).await?;
    let next = slice.items.last().filter(|_| slice.more).map(|job| paging::next_link(&uri, &job.id)).transpose()?;
    Ok(([etag(revision)], next.map(|link| [link]), JsonAnswer(Page { items: slice.items })).into_response())
}

/// One job with its runs.
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = i64, Path)),
    responses((status = 200, body = Job), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Path(id): Path<JobId>, headers: HeaderMap) -> Result<Response, ApiError> {
    let job = app.store.job(id).await?.ok_or_else(|| ApiError::not_found(format!("job {id}")))?;
    if let Some(unchanged) = not_modified(&headers, job.revision) {
        return Ok(unchanged);
    }
    Ok(([etag(job.revision)], JsonAnswer(job)).into_response())
}
