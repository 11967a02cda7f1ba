//! `/v1/tools`: calculators that queue nothing.

use axum::Json as JsonAnswer;
use trainyard_wire::tools::{ConvolutionAnswer, ConvolutionQuestion, NetworkAnswer, NetworkQuestion};
use trainyard_wire::{FieldError, Problem};

use super::extract::Json;
use super::problem::ApiError;
use crate::tools;

/// Counts a colourization network, also by its closed forms, and tells the receptive field of each layer.
#[utoipa::path(post, path = "/v1/tools/network", tag = "tools", request_body = NetworkQuestion,
    responses((status = 200, body = NetworkAnswer),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn network(Json(question): Json<NetworkQuestion>) -> Result<JsonAnswer<NetworkAnswer>, ApiError> {
    calculate(move || tools::network(&question)).await
}

/// Convolves a small plane with a kernel, with zero padding.
#[utoipa::path(post, path = "/v1/tools/convolution", tag = "tools", request_body = ConvolutionQuestion,
    responses((status = 200, body = ConvolutionAnswer),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn convolution(Json(question): Json<ConvolutionQuestion>) -> Result<JsonAnswer<ConvolutionAnswer>, ApiError> {
    calculate(move || tools::convolution(question)).await
}

/// Off the runtime's threads.
async fn calculate<T: Send + 'static>(
    calculation: impl FnOnce() -> Result<T, FieldError> + Send + 'static,
) -> Result<JsonAnswer<T>, ApiError> {
    let answer = tokio::task::spawn_blocking(calculation).await.map_err(ApiError::internal)?;
    answer.map(JsonAnswer).map_err(|error| ApiError::Invalid(vec![error]))
}
