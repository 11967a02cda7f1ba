//! `/v1/worker`: what worker processes call. The protocol is described in `trainyard_wire::worker`.
//!
//! A worker and what it holds are those of the token that registered it: a session has none (see [`Identity::may`]), so the identity here is
//! always a token's own.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json as JsonAnswer};
use serde::Deserialize;
use trainyard_wire::dataset::Dataset;
use trainyard_wire::worker::{
    ClaimRequest, Claims, Heartbeat, HeartbeatAnswer, Register, Registered, Report, ReportAnswer, Reports, ReportsAnswer, RunReportAnswer,
};
use trainyard_wire::{Attempt, Problem, RunId};
use utoipa::IntoParams;

use super::app::Shared;
use super::artifacts::{self, content_type};
use super::credentials::Identity;
use super::extract::{Json, LongJson, Path, Pieces, Query};
use super::problem::ApiError;
use super::request_id::RequestId;
use crate::store::{ArtifactFile, NewArtifact, WorkerError};

/// Most runs of one claim.
const MOST_RUNS: u32 = 64;
/// Most reports of one request.
const MOST_REPORTS: usize = 256;

impl From<WorkerError> for ApiError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Stale => Self::Conflict(error.to_string()),
            WorkerError::UnknownWorker | WorkerError::UnknownRun => Self::NotFound(error.to_string()),
            WorkerError::ArtifactName => Self::invalid("", error.to_string()),
            WorkerError::Report { pointer, detail } => Self::invalid(pointer, detail),
            WorkerError::Store(error) => error.into(),
        }
    }
}

/// Makes a worker known.
#[utoipa::path(post, path = "/v1/worker/register", tag = "worker", request_body = Register,
    responses((status = 200, body = Registered)))]
pub(crate) async fn register(
    State(app): State<Shared>,
    identity: Identity,
    Json(body): Json<Register>,
) -> Result<JsonAnswer<Registered>, ApiError> {
    Ok(JsonAnswer(app.store.register(identity.token, body).await?))
}

/// Takes runs from the queue; held while there are none.
#[utoipa::path(post, path = "/v1/worker/claims", tag = "worker", request_body = ClaimRequest,
    responses((status = 200, description = "Empty when the wait ran out", body = Claims),
        (status = 404, description = "Register again", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn claim(
    State(app): State<Shared>,
    identity: Identity,
    Json(body): Json<ClaimRequest>,
) -> Result<JsonAnswer<Claims>, ApiError> {
    if !(1..=MOST_RUNS).contains(&body.max) {
        return Err(ApiError::invalid("/max", format!("must be from 1 to {MOST_RUNS}, is {}", body.max)));
    }
    let wait = Duration::try_from_secs_f64(body.wait_seconds)
        .map_err(|_| ApiError::invalid("/wait_seconds", "must be a number of seconds, 0 or more"))?;
    let runs = match body.small {
        true => app.store.claim_small(identity.token, body.worker_id, body.max).await?,
        false => app.store.claim(identity.token, body.worker_id, body.max, wait.min(app.limits.longest_wait)).await?,
    };
    Ok(JsonAnswer(Claims { runs }))
}

/// Renews leases.
#[utoipa::path(post, path = "/v1/worker/heartbeats", tag = "worker", request_body = Heartbeat,
    responses((status = 200, body = HeartbeatAnswer),
        (status = 404, description = "Register again", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn heartbeat(
    State(app): State<Shared>,
    identity: Identity,
    Json(body): Json<Heartbeat>,
) -> Result<JsonAnswer<HeartbeatAnswer>, ApiError> {
    Ok(JsonAnswer(app.store.heartbeat(identity.token, &body).await?))
}

/// Stores what a run has to tell, all or nothing.
#[utoipa::path(post, path = "/v1/worker/runs/{id}/reports", tag = "worker", params(("id" = i64, Path)), request_body = Report,
    responses((status = 200, body = ReportAnswer),
        (status = 409, description = "The attempt is stale: drop the run", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn report(
    State(app): State<Shared>,
    identity: Identity,
    Path(id): Path<RunId>,
    LongJson(body): LongJson<Report>,
) -> Result<JsonAnswer<ReportAnswer>, ApiError> {
    Ok(JsonAnswer(app.store.report(identity.token, id, body).await?))
}

/// Stores what several runs have to tell, each all or nothing, in one commit.
#[utoipa::path(post, path = "/v1/worker/reports", tag = "worker", request_body = Reports,
    responses((status = 200, description = "What became of each, in their order", body = ReportsAnswer)))]
pub(crate) async fn report_all(
    State(app): State<Shared>,
    Extension(request): Extension<RequestId>,
    identity: Identity,
    LongJson(body): LongJson<Reports>,
) -> Result<JsonAnswer<ReportsAnswer>, ApiError> {
    if !(1..=MOST_REPORTS).contains(&body.reports.len()) {
        return Err(ApiError::invalid("/reports", format!("must be from 1 to {MOST_REPORTS}, are {}", body.reports.len())));
    }
    let answer = |answer: Result<ReportAnswer, WorkerError>| match answer {
        Ok(answer) => RunReportAnswer::Stored(answer),
        Err(error) => RunReportAnswer::Refused { problem: ApiError::from(error).into_problem(request) },
    };
    let answers = app.store.report_all(identity.token, body.reports).await;
    Ok(JsonAnswer(ReportsAnswer { answers: answers.into_iter().map(answer).collect() }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutArtifactQuery {
    /// The attempt that holds the run.
    attempt: i64,
    /// Of the bytes, in hexadecimal.
    sha256: String,
    /// Marks the file as the checkpoint of this step.
    checkpoint_step: Option<u64>,
}

/// Stores a file of a run.
#[utoipa::path(put, path = "/v1/worker/runs/{id}/artifacts/{*name}", tag = "worker",
    params(("id" = i64, Path), ("name" = String, Path), PutArtifactQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "Stored"),
        (status = 409, description = "The attempt is stale: drop the run", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put_artifact(
    State(app): State<Shared>,
    identity: Identity,
    Path((id, name)): Path<(RunId, String)>,
    Query(query): Query<PutArtifactQuery>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    let blob = Pieces::new(request, app.limits.artifact_bytes)?.stage(&app.store).await?;
    if !blob.sha256().eq_ignore_ascii_case(&query.sha256) {
        return Err(ApiError::query("sha256", format!("is not that of the bytes, which is {}", blob.sha256())));
    }
    let artifact = NewArtifact {
        attempt: Attempt(query.attempt),
        content_type: content_type(&name).to_owned(),
        name,
        blob,
        checkpoint_step: query.checkpoint_step,
    };
    app.store.put_artifact(identity.token, id, artifact).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HeldArtifactQuery {
    /// The attempt that holds the run.
    attempt: i64,
}

/// A file of a run that the worker holds: the checkpoint to resume from.
#[utoipa::path(get, path = "/v1/worker/runs/{id}/artifacts/{*name}", tag = "worker",
    params(("id" = i64, Path), ("name" = String, Path), HeldArtifactQuery),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 409, description = "The attempt is stale: drop the run", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn held_artifact(
    State(app): State<Shared>,
    identity: Identity,
    Path((id, name)): Path<(RunId, String)>,
    Query(query): Query<HeldArtifactQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let held = app.store.held_artifact(identity.token, id, Attempt(query.attempt), &name).await?;
    let ArtifactFile { artifact, file } = held.ok_or_else(|| ApiError::not_found(format!("the artifact `{name}` of run {id}")))?;
    artifacts::send(&artifact, file, &headers).await
}

/// A dataset, as a worker needs to know it.
#[utoipa::path(get, path = "/v1/worker/datasets/{name}", tag = "worker", params(("name" = String, Path)),
    responses((status = 200, body = Dataset), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn dataset(State(app): State<Shared>, Path(name): Path<String>) -> Result<JsonAnswer<Dataset>, ApiError> {
    app.store.dataset(&name).await?.map(JsonAnswer).ok_or_else(|| ApiError::not_found(format!("the dataset `{name}`")))
}

/// The bytes of a file of a dataset.
#[utoipa::path(get, path = "/v1/worker/datasets/{name}/files/{sha256}", tag = "worker",
    params(("name" = String, Path), ("sha256" = String, Path)),
    responses((status = 200, description = "The bytes", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn dataset_file(State(app): State<Shared>, Path((name, sha256)): Path<(String, String)>) -> Result<Response, ApiError> {
    let found = app.store.dataset_file(&name, &sha256).await?;
    let (described, file) = found.ok_or_else(|| ApiError::not_found(format!("the file {sha256} of the dataset `{name}`")))?;
    let headers = [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, described.size.to_string())];
    Ok((headers, artifacts::body(file)).into_response())
}
