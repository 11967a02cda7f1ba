//! `/v1/retention`: what files of finished runs may go.

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::Deserialize;
use trainyard_wire::Problem;
use trainyard_wire::retention::{Pruned, RetentionPolicy};
use utoipa::IntoParams;

use super::app::Shared;
use super::extract::{Json, Query};
use super::problem::ApiError;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PruneQuery {
    /// Only answer what would go.
    #[serde(default)]
    dry_run: bool,
}

/// Removes files of finished runs by a policy, once. Each run that loses some gets an event `pruned` that names them.
#[utoipa::path(post, path = "/v1/retention", tag = "store", params(PruneQuery), request_body = RetentionPolicy,
    responses((status = 200, description = "What went, or would go", body = Pruned),
        (status = 422, description = "No policy", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn prune(
    State(app): State<Shared>,
    Query(query): Query<PruneQuery>,
    Json(policy): Json<RetentionPolicy>,
) -> Result<JsonAnswer<Pruned>, ApiError> {
    if policy.is_empty() {
        return Err(ApiError::invalid("", "give at least one of older_than_seconds, keep and max_bytes"));
    }
    Ok(JsonAnswer(app.store.prune(policy, query.dry_run, app.store.prudent_now()).await?))
}
