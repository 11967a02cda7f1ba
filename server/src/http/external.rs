//! Runs of programs outside of Trainyard: `POST /v1/runs` opens one, and what is below `/v1/runs/{id}` adds to it and ends it. Reading them
//! is as reading any run.

use axum::Json as JsonAnswer;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::external::{FinishRun, LogMetrics, Logged, LoggedPoint, MOST_POINTS, OpenRun, SetParams};
use trainyard_wire::run::Run;
use trainyard_wire::{Problem, RunId};

use super::app::{App, Shared};
use super::artifacts::content_type;
use super::credentials::Identity;
use super::extract::{IdempotencyKey, Json, JsonBytes, LongJson, Path, Pieces};
use super::problem::ApiError;
use super::runs::no_run;
use crate::blobs::sha256_hex;
use crate::store::{ExternalError, Idempotency, Late, LogBatch, NewExternalFile, NewExternalRun, RunUpdate};

impl From<ExternalError> for ApiError {
    fn from(error: ExternalError) -> Self {
        match error {
            ExternalError::UnknownRun | ExternalError::UnknownExperiment => Self::NotFound(error.to_string()),
            ExternalError::NotItsExperiment(_) | ExternalError::NotExternal { .. } | ExternalError::Finished { .. } => {
                Self::Conflict(error.to_string())
            }
            ExternalError::KeyReused => Self::KeyReused,
            ExternalError::ArtifactName => Self::invalid("", error.to_string()),
            ExternalError::Invalid(errors) => Self::Invalid(errors),
            ExternalError::Store(error) => error.into(),
        }
    }
}

/// Opens a run of a program outside of Trainyard, which then logs to it.
///
/// The run is running until `POST /v1/runs/{id}/finish`, or until somebody cancels it: then the program's next write is refused with 409. With
/// an `Idempotency-Key`, a repeat of the same body opens no second run and answers the first.
#[utoipa::path(post, path = "/v1/runs", tag = "external runs", request_body = OpenRun,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters")),
    responses((status = 201, description = "Open", body = Run, headers(("Location" = String))),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn open(
    State(app): State<Shared>,
    identity: Identity,
    key: Option<IdempotencyKey>,
    body: JsonBytes,
) -> Result<Response, ApiError> {
    let open: OpenRun = body.read()?;
    open.check().map_err(ApiError::Invalid)?;
    let idempotency = key.map(|IdempotencyKey(key)| Idempotency { token: identity.token, key, body_sha256: sha256_hex(&body.0) });
    let (spec, OpenRun { name, tags, .. }) = (open.spec(), open);
    let id = app.store.open_external(NewExternalRun { name, tags, spec, idempotency, ..NewExternalRun::default() }).await?;
    let mut response = (StatusCode::CREATED, JsonAnswer(run(&app, id).await?)).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/runs/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn run(app: &App, id: RunId) -> Result<Run, ApiError> {
    app.store.run(id).await?.ok_or_else(|| no_run(id))
}

/// What adding to a run is refused with, as the document has it.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it stands in the document alone")]
enum AddRefused {
    #[response(status = 404, description = "No such run", content_type = "application/problem+json")]
    UnknownRun(Problem),
    #[response(status = 409, description = "No external run, or not running", content_type = "application/problem+json")]
    NotOpen(Problem),
    #[response(status = 422, description = "Not valid, with pointers", content_type = "application/problem+json")]
    Invalid(Problem),
}

async fn add(app: &App, id: RunId, batch: LogBatch) -> Result<JsonAnswer<Logged>, ApiError> {
    Ok(JsonAnswer(app.store.log(id, batch, Late::Refused).await?))
}

/// Logs points of metrics, all or nothing.
///
/// A point whose name, step and value (and time, where it has one) are there already changes nothing, so a request whose answer was lost can
/// be sent again.
#[utoipa::path(post, path = "/v1/runs/{id}/metrics", tag = "external runs", params(("id" = i64, Path)), request_body = LogMetrics,
    responses((status = 200, body = Logged), AddRefused))]
pub(crate) async fn log_metrics(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    LongJson(body): LongJson<LogMetrics>,
) -> Result<JsonAnswer<Logged>, ApiError> {
    if body.metrics.len() > MOST_POINTS {
        return Err(ApiError::invalid("/metrics", format!("must be at most {MOST_POINTS}, are {}", body.metrics.len())));
    }
    let mut batch = LogBatch::default();
    for (index, LoggedPoint { name, step, value, time }) in body.metrics.iter().enumerate() {
        let step = i64::try_from(*step).unwrap_or(-1);
        let added = batch.points.add(name, step, *value, time.map(|time| time.0));
        added.map_err(|error| ApiError::invalid(format!("/metrics/{index}"), error.to_string()))?;
    }
    add(&app, id, batch).await
}

/// Adds parameters, and replaces those of the same names.
#[utoipa::path(post, path = "/v1/runs/{id}/params", tag = "external runs", params(("id" = i64, Path)), request_body = SetParams,
    responses((status = 200, body = Logged), AddRefused))]
pub(crate) async fn set_params(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    Json(body): Json<SetParams>,
) -> Result<JsonAnswer<Logged>, ApiError> {
    body.check().map_err(ApiError::Invalid)?;
    add(&app, id, LogBatch { params: body.params, ..LogBatch::default() }).await
}

/// Stores a file of a run; replaces the one of the same name.
#[utoipa::path(put, path = "/v1/runs/{id}/artifacts/{*name}", tag = "external runs",
    params(("id" = i64, Path), ("name" = String, Path, description = "May hold slashes: `plots/loss.png`")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204, description = "Stored"), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No external run, or not running", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The name", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put_artifact(
    State(app): State<Shared>,
    Path((id, name)): Path<(RunId, String)>,
    request: Request,
) -> Result<StatusCode, ApiError> {
    receive(&app, id, name, Late::Refused, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Stores a body as a file of a run.
pub(crate) async fn receive(app: &App, id: RunId, name: String, late: Late, request: Request) -> Result<(), ApiError> {
    app.store.may_put(id, &name, late).await?;
    let blob = Pieces::new(request, app.limits.artifact_bytes)?.stage(&app.store).await?;
    let file = NewExternalFile { content_type: content_type(&name).to_owned(), name, blob };
    app.store.put_external(id, file, late).await?;
    Ok(())
}

/// Ends a run. A repeat of the same end changes nothing.
#[utoipa::path(post, path = "/v1/runs/{id}/finish", tag = "external runs", params(("id" = i64, Path)), request_body = FinishRun,
    responses((status = 200, description = "As it is now", body = Run), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No external run, or ended otherwise", body = Problem, content_type = "application/problem+json"),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn finish(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    Json(body): Json<FinishRun>,
) -> Result<JsonAnswer<Run>, ApiError> {
    if body.error.as_ref().is_some_and(|error| error.chars().count() > 8000) {
        return Err(ApiError::invalid("/error", "must have at most 8000 characters"));
    }
    let update = RunUpdate { error: body.error, ..body.state.into() };
    app.store.update_external(id, update, Late::Refused).await?;
    run(&app, id).await.map(JsonAnswer)
}
