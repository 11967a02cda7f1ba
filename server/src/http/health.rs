//! `/healthz`, `/readyz`, `/metrics` and `/v1/workers`: how the server and its workers are.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::worker::Worker;
use trainyard_wire::{Page, Problem};

use super::app::Shared;
use super::problem::ApiError;
use crate::figures;

/// Whether the process answers at all.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the store answers and the server is not shutting down.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, content_type = "text/plain", body = String),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn readyz(State(app): State<Shared>) -> Result<&'static str, ApiError> {
    if app.stop.is_cancelled() {
        return Err(ApiError::Unavailable("the server is shutting down".to_owned()));
    }
    if let Err(error) = app.store.ping().await {
        tracing::error!(%error, "the store does not answer");
        return Err(ApiError::Unavailable("the store does not answer".to_owned()));
    }
    Ok("ready\n")
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, content_type = "text/plain", body = String)))]
pub(crate) async fn metrics(State(app): State<Shared>) -> Result<Response, ApiError> {
    let text = figures::scrape(&app.store, &app.metrics).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// The workers that were heard of within a lease's time.
#[utoipa::path(get, path = "/v1/workers", tag = "workers", responses((status = 200, body = Page<Worker>)))]
pub(crate) async fn workers(State(app): State<Shared>) -> Result<JsonAnswer<Page<Worker>>, ApiError> {
    Ok(JsonAnswer(Page { items: app.store.workers().await? }))
}
