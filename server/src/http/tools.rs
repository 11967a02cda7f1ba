//! `/v1/tools`: calculators that queue nothing.

use axum::Json as JsonAnswer;
use serde::Serialize;
use trainyard_theory::convolution::{self, Plane, convolution_cost, convolve};
use trainyard_theory::network::{Accounting, LayerAccounting, NetworkConfig, NetworkError};
use trainyard_theory::receptive_field::{ReceptiveField, receptive_fields};
use trainyard_wire::Problem;
use trainyard_wire::tools::{ConvolutionAnswer, ConvolutionMode, ConvolutionOperation, ConvolutionQuestion, NetworkQuestion};

use super::extract::Json;
use super::problem::ApiError;
use crate::admission::estimate::architecture;

/// Most multiply-adds of one convolution: about a second.
const MOST_WORK: u64 = 500_000_000;

/// The answer of `POST /v1/tools/network`: the counts of the whole network and of each layer. Counts of outputs and connections are for one picture.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct NetworkAnswer {
    /// Trainable parameters.
    weights: u64,
    /// Units of convolutions, resampling and batch norm.
    outputs: u64,
    connections: u64,
    multiply_accumulates: u64,
    /// Bytes of all layers' outputs in f32.
    activation_bytes: u64,
    /// In the order of the forward pass.
    layers: Vec<LayerAnswer>,
}

/// One layer of a network.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct LayerAnswer {
    /// PyTorch's module name.
    name: String,
    /// PyTorch's class.
    kind: String,
    /// Channels, height, width.
    output: [u64; 3],
    weights: u64,
    outputs: u64,
    connections: u64,
    multiply_accumulates: u64,
    activation_bytes: u64,
    /// Sides of the square of inputs that one output depends on: the least and the greatest over its positions.
    receptive_field: [u64; 2],
}

/// Counts a colourization network and tells the receptive field of each layer.
#[utoipa::path(post, path = "/v1/tools/network", tag = "tools", request_body = NetworkQuestion,
    responses((status = 200, body = NetworkAnswer),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn network(Json(question): Json<NetworkQuestion>) -> Result<JsonAnswer<NetworkAnswer>, ApiError> {
    let config = NetworkConfig {
        architecture: architecture(question.name),
        kernel: question.kernel,
        num_filters: question.num_filters,
        in_channels: question.in_channels,
        num_colours: question.num_colours,
        height: question.height,
        width: question.width,
    };
    let Accounting { layers, weights, outputs, connections, multiply_accumulates, activation_bytes } =
        config.accounting().map_err(network_error)?;
    let fields = receptive_fields(&config).map_err(network_error)?;
    let layers = layers.into_iter().zip(fields).map(|(layer, field)| layer_answer(layer, &field)).collect();
    Ok(JsonAnswer(NetworkAnswer { weights, outputs, connections, multiply_accumulates, activation_bytes, layers }))
}

fn layer_answer(layer: LayerAccounting, field: &ReceptiveField) -> LayerAnswer {
    LayerAnswer {
        name: layer.name,
        kind: layer.kind,
        output: [layer.output.channels, layer.output.height, layer.output.width],
        weights: layer.weights,
        outputs: layer.outputs,
        connections: layer.connections,
        multiply_accumulates: layer.multiply_accumulates,
        activation_bytes: layer.activation_bytes,
        receptive_field: [field.least, field.greatest],
    }
}

fn network_error(error: NetworkError) -> ApiError {
    let pointer = match error {
        NetworkError::Kernel(_) => "/kernel".to_owned(),
        NetworkError::Zero { field } | NetworkError::NotMultipleOfFour { field, .. } => format!("/{field}"),
        NetworkError::Overflow => String::new(),
    };
    ApiError::invalid(pointer, error.to_string())
}

/// Convolves a small plane with a kernel, with zero padding.
#[utoipa::path(post, path = "/v1/tools/convolution", tag = "tools", request_body = ConvolutionQuestion,
    responses((status = 200, body = ConvolutionAnswer),
        (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn convolution(Json(question): Json<ConvolutionQuestion>) -> Result<JsonAnswer<ConvolutionAnswer>, ApiError> {
    let plane = |rows: Vec<Vec<f64>>, pointer| Plane::try_from(rows).map_err(|error| ApiError::invalid(pointer, error.to_string()));
    let input = plane(question.input, "/input")?;
    let kernel = plane(question.kernel, "/kernel")?;
    let mode = match question.mode {
        ConvolutionMode::Same => convolution::Mode::Same,
        ConvolutionMode::Valid => convolution::Mode::Valid,
        ConvolutionMode::Full => convolution::Mode::Full,
    };
    let operation = match question.operation {
        ConvolutionOperation::Convolution => convolution::ConvolutionOperation::Convolution,
        ConvolutionOperation::CrossCorrelation => convolution::ConvolutionOperation::CrossCorrelation,
    };
    let work = convolution_cost(&input, &kernel, mode);
    if work > MOST_WORK {
        return Err(ApiError::invalid("/kernel", format!("takes {work} multiply-adds on this input; at most {MOST_WORK} are allowed")));
    }
    let convolved = tokio::task::spawn_blocking(move || convolve(&input, &kernel, mode, operation)).await.map_err(ApiError::internal)?;
    let output = convolved.map_err(|error| ApiError::invalid("/kernel", error.to_string()))?.into();
    Ok(JsonAnswer(ConvolutionAnswer { output }))
}
