//! The calculators, which queue nothing and know no HTTP: `/v1/tools` answers with them, and so does the command line without a server.

use trainyard_theory::convolution::{self, ConvolutionError, Plane, convolution_cost, convolve};
use trainyard_theory::network::{self, LayerAccounting, NetworkConfig, NetworkError};
use trainyard_theory::receptive_field::{ReceptiveField, receptive_fields};
use trainyard_wire::FieldError;
use trainyard_wire::tools::{
    ClosedForm, ClosedForms, ConvolutionAnswer, ConvolutionMode, ConvolutionOperation, ConvolutionQuestion, LayerAnswer, NetworkAnswer,
    NetworkQuestion,
};

use crate::admission::estimate::architecture;

/// Most multiply-adds of one convolution: about a second.
const MOST_WORK: u64 = 500_000_000;

/// Counts a network, layer by layer and by its closed forms, and tells the receptive field of each layer.
///
/// # Errors
/// The value that makes it no network, or one that is too large to count.
pub fn network(question: &NetworkQuestion) -> Result<NetworkAnswer, FieldError> {
    let config = NetworkConfig {
        architecture: architecture(question.name),
        kernel: question.kernel,
        dilation: question.dilation,
        num_filters: question.num_filters,
        in_channels: question.in_channels,
        num_colours: question.num_colours,
        height: question.height,
        width: question.width,
    };
    let counted = config.accounting().map_err(network_error)?;
    let forms = config.closed_forms().map_err(network_error)?;
    let fields = receptive_fields(&config).map_err(network_error)?;
    Ok(NetworkAnswer {
        weights: counted.weights,
        outputs: counted.outputs,
        connections: counted.connections,
        multiply_accumulates: counted.multiply_accumulates,
        activation_bytes: counted.activation_bytes,
        closed_forms: ClosedForms {
            weights: closed_form(forms.weights),
            outputs: closed_form(forms.outputs),
            connections: closed_form(forms.connections),
        },
        layers: counted.layers.into_iter().zip(fields).map(|(layer, field)| layer_answer(layer, &field)).collect(),
    })
}

fn closed_form(form: network::ClosedForm) -> ClosedForm {
    ClosedForm { formula: form.formula, value: form.value }
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

fn network_error(error: NetworkError) -> FieldError {
    let pointer = match error {
        NetworkError::Kernel(_) => "/kernel".to_owned(),
        NetworkError::Dilation(_) => "/dilation".to_owned(),
        NetworkError::Zero { field } | NetworkError::NotMultipleOfFour { field, .. } => format!("/{field}"),
        NetworkError::Overflow => String::new(),
    };
    FieldError { pointer, detail: error.to_string() }
}

/// Convolves a plane with a kernel, with zero padding. Takes up to a second.
///
/// # Errors
/// The plane that is none, or a kernel that is too large for the input or for the work that is allowed.
pub fn convolution(question: ConvolutionQuestion) -> Result<ConvolutionAnswer, FieldError> {
    let invalid = |pointer: &str, detail: String| FieldError { pointer: pointer.to_owned(), detail };
    let refused = |pointer| move |error: ConvolutionError| invalid(pointer, error.to_string());
    let input = Plane::try_from(question.input).map_err(refused("/input"))?;
    let kernel = Plane::try_from(question.kernel).map_err(refused("/kernel"))?;
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
        return Err(invalid("/kernel", format!("takes {work} multiply-adds on this input; at most {MOST_WORK} are allowed")));
    }
    let output = convolve(&input, &kernel, mode, operation).map_err(refused("/kernel"))?;
    Ok(ConvolutionAnswer { output: output.into() })
}
