//! The HTTP API.

pub(crate) mod connections;

use axum::Router;
use axum::routing::get;

/// All routes.
pub(crate) fn router() -> Router {
    Router::new().route("/healthz", get(async || "ok\n"))
}
