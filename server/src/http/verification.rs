//! `/v1/runs/{id}/verify`: executing a finished run again, and what the comparison found.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use trainyard_wire::verification::Verification;
use trainyard_wire::{Problem, RunId};
use utoipa::IntoParams;

use super::app::Shared;
use super::extract::{Path, Query};
use super::problem::ApiError;
use crate::store::VerifyError;

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::NotFound => Self::NotFound(error.to_string()),
            VerifyError::NotSucceeded(_) | VerifyError::External | VerifyError::IsVerification | VerifyError::Picture => {
                Self::Conflict(error.to_string())
            }
            VerifyError::Store(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct VerifyQuery {
    /// Execute it once more although there is a verdict.
    #[serde(default)]
    anew: bool,
}

/// Has a run that succeeded executed again, and the two compared.
///
/// A worker executes it as a run that lists leave out. Repeating the request while that is under way, or once there is a verdict, answers
/// the same verification.
#[utoipa::path(post, path = "/v1/runs/{id}/verify", tag = "runs", params(("id" = i64, Path), VerifyQuery),
    responses((status = 202, description = "Under way; ask at `Location`", body = Verification, headers(("Location" = String))),
        (status = 200, description = "There is a verdict", body = Verification),
        (status = 404, description = "No such run", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The run has not succeeded", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn verify(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    Query(query): Query<VerifyQuery>,
) -> Result<Response, ApiError> {
    let verification = app.store.verify(id, query.anew).await?;
    let status = if verification.verdict.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let location = HeaderValue::try_from(format!("/v1/runs/{id}/verify")).map_err(ApiError::internal)?;
    Ok((status, [(header::LOCATION, location)], JsonAnswer(verification)).into_response())
}

/// The verification of a run: its verdict, and the first difference or how far the result can be repeated.
#[utoipa::path(get, path = "/v1/runs/{id}/verify", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = Verification),
        (status = 404, description = "No such run, or it was never verified", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<JsonAnswer<Verification>, ApiError> {
    let verification = app.store.verification(id).await?;
    verification.map(JsonAnswer).ok_or_else(|| ApiError::not_found(format!("a verification of run {id}")))
}
