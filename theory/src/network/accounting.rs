//! What the layers of a network cost, counted layer by layer in checked 64-bit integers.
//!
//! - **weights**: trainable parameters. A (transposed) convolution has `K²·C_in·C_out` and `C_out`
//!   biases, batch norm a scale and a shift per channel (its running statistics are not trained and
//!   not counted).
//! - **outputs**: the units that a layer adds, for one picture: those of convolutions, resampling
//!   and batch norm. ReLU changes units in place and a concatenation only lines up existing ones;
//!   both add 0.
//! - **connections**: pairs of an input and an output that a layer joins, for one picture. A
//!   convolution has `K²·C_in` per output, zero padding included; a transposed one `K²·C_out` per
//!   input, what falls off the border included; 2×2 pooling four per output; upsampling and batch
//!   norm one. Biases are not connections.
//! - **multiply_accumulates**: the connections that carry a weight: of convolutions and batch norm.
//! - **activation_bytes**: the layer's output tensor for one picture in f32, also where it adds no
//!   units.

use serde::{Deserialize, Serialize};

use super::graph::{Graph, Layer, Operation, Shape, product};
use super::{NetworkConfig, NetworkError};

/// The counts of one layer; for one picture where it depends on pictures. The module header defines
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerAccounting {
    /// PyTorch's module name, as in [`Layer::name`].
    pub name: String,
    /// PyTorch's class: `Conv2d`, `ConvTranspose2d`, `MaxPool2d`, `Upsample`, `BatchNorm2d`,
    /// `ReLU`; or `cat`.
    pub kind: String,
    pub output: Shape,
    pub weights: u64,
    pub outputs: u64,
    pub connections: u64,
    pub multiply_accumulates: u64,
    pub activation_bytes: u64,
}

/// The counts of a network: its layers in the order of the forward pass, and their sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    pub layers: Vec<LayerAccounting>,
    pub weights: u64,
    pub outputs: u64,
    pub connections: u64,
    pub multiply_accumulates: u64,
    pub activation_bytes: u64,
}

const F32_BYTES: u64 = size_of::<f32>() as u64;

impl NetworkConfig {
    /// Counts the network. Fails where a field is out of range or a count exceeds 64 bits.
    pub fn accounting(&self) -> Result<Accounting, NetworkError> {
        let graph = self.graph()?;
        let layers: Vec<LayerAccounting> = graph.layers.iter().map(|layer| account(&graph, layer)).collect::<Result<_, _>>()?;
        let total = |count: fn(&LayerAccounting) -> u64| sum(layers.iter().map(count));
        Ok(Accounting {
            weights: total(|layer| layer.weights)?,
            outputs: total(|layer| layer.outputs)?,
            connections: total(|layer| layer.connections)?,
            multiply_accumulates: total(|layer| layer.multiply_accumulates)?,
            activation_bytes: total(|layer| layer.activation_bytes)?,
            layers,
        })
    }

    /// An upper estimate of the bytes that training on batches of `batch_size` pictures holds at
    /// once, in f32:
    ///
    /// - the weights, their gradient, and `optimizer_slots` more copies (2 for Adam, 1 for momentum
    ///   or RMSProp, 0 for SGD);
    /// - per picture the input, every layer's output and its gradient, and two more tensors of the
    ///   logits' size for the loss;
    /// - per picture the largest unfolded input (`K²·C_in` values per position) of any convolution,
    ///   as convolution by matrix product needs it.
    ///
    /// Data sets and the process itself are not in it.
    pub fn training_memory(&self, batch_size: u64, optimizer_slots: u64) -> Result<u64, NetworkError> {
        let graph = self.graph()?;
        let accounting = self.accounting()?;
        let copies = sum([2, optimizer_slots].into_iter())?;
        let state = product(&[accounting.weights, copies, F32_BYTES])?;
        let logits = product(&[self.num_colours, self.height, self.width])?;
        let mut unfolded = 0;
        for layer in &graph.layers {
            unfolded = unfolded.max(unfolded_size(&graph, layer)?);
        }
        let values = sum([graph.input.size()?, product(&[2, logits])?, unfolded].into_iter())?;
        let picture = sum([product(&[2, accounting.activation_bytes])?, product(&[values, F32_BYTES])?].into_iter())?;
        sum([state, product(&[picture, batch_size])?].into_iter())
    }
}

fn account(graph: &Graph, layer: &Layer) -> Result<LayerAccounting, NetworkError> {
    let size = layer.output.size()?;
    let channels = layer.output.channels;
    let (kind, weights, outputs, connections, multiply_accumulates) = match layer.operation {
        Operation::Conv2d(window) => {
            let taps = product(&[window.kernel, window.kernel, layer.in_channels])?;
            let weights = sum([product(&[taps, channels])?, channels].into_iter())?;
            let connections = product(&[taps, size])?;
            ("Conv2d", weights, size, connections, connections)
        }
        Operation::ConvTranspose2d(window) => {
            let taps = product(&[window.kernel, window.kernel, channels])?;
            let weights = sum([product(&[taps, layer.in_channels])?, channels].into_iter())?;
            let read = graph.shape_of(layer.sources[0]).size()?;
            let connections = product(&[taps, read])?;
            ("ConvTranspose2d", weights, size, connections, connections)
        }
        Operation::MaxPool2d => ("MaxPool2d", 0, size, product(&[4, size])?, 0),
        Operation::Upsample => ("Upsample", 0, size, size, 0),
        Operation::BatchNorm2d => ("BatchNorm2d", product(&[2, channels])?, size, size, size),
        Operation::Relu => ("ReLU", 0, 0, 0, 0),
        Operation::Concatenate => ("cat", 0, 0, 0, 0),
    };
    Ok(LayerAccounting {
        name: layer.name.clone(),
        kind: kind.to_owned(),
        output: layer.output,
        weights,
        outputs,
        connections,
        multiply_accumulates,
        activation_bytes: product(&[size, F32_BYTES])?,
    })
}

/// The matrix that a convolution by matrix product multiplies its weights with, for one picture.
fn unfolded_size(graph: &Graph, layer: &Layer) -> Result<u64, NetworkError> {
    let (kernel, channels, positions) = match layer.operation {
        Operation::Conv2d(window) => (window.kernel, layer.in_channels, layer.output),
        Operation::ConvTranspose2d(window) => {
            let read = graph.shape_of(layer.sources[0]);
            (window.kernel, layer.output.channels, read)
        }
        _ => return Ok(0),
    };
    product(&[kernel, kernel, channels, positions.height, positions.width])
}

fn sum(mut terms: impl Iterator<Item = u64>) -> Result<u64, NetworkError> {
    terms.try_fold(0_u64, |sum, term| sum.checked_add(term)).ok_or(NetworkError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::super::Architecture;
    use super::*;

    const ARCHITECTURES: [Architecture; 3] = [Architecture::PoolUpsample, Architecture::ConvTranspose, Architecture::Unet];

    fn config(architecture: Architecture) -> NetworkConfig {
        NetworkConfig { architecture, kernel: 3, dilation: 1, num_filters: 32, in_channels: 1, num_colours: 24, height: 32, width: 32 }
    }

    #[test]
    fn the_usual_networks_have_their_known_numbers_of_parameters() {
        let weights = ARCHITECTURES.map(|a| config(a).accounting().unwrap().weights);
        assert_eq!(weights, [49_728, 49_728, 56_856]);
    }

    #[test]
    fn pool_upsample_counts_to_its_closed_forms() {
        for k in NetworkConfig::KERNELS {
            for (nic, nf, nc) in [(1, 32, 24), (1, 1, 1), (3, 5, 7), (2, 64, 3), (1, 16, 100)] {
                let counted =
                    NetworkConfig { kernel: k, num_filters: nf, in_channels: nic, num_colours: nc, ..config(Architecture::PoolUpsample) }
                        .accounting()
                        .unwrap();
                let square = k * k;
                assert_eq!(counted.weights, square * (nic * nf + nf * nc + nc * nc + 4 * nf * nf) + 12 * nf + 4 * nc);
                assert_eq!(counted.outputs, 2880 * nf + 3328 * nc);
                assert_eq!(
                    counted.connections,
                    square * (1024 * nic * nf + 256 * nf * nc + 1024 * nc * nc + 640 * nf * nf) + 2432 * nf + 2048 * nc
                );
            }
        }
    }

    #[test]
    fn doubling_height_and_width_leaves_weights_and_quadruples_outputs_and_connections() {
        for architecture in ARCHITECTURES {
            let small = config(architecture);
            let large = NetworkConfig { height: 64, width: 64, ..small };
            let (small, large) = (small.accounting().unwrap(), large.accounting().unwrap());
            assert_eq!(large.weights, small.weights);
            assert_eq!(large.outputs, 4 * small.outputs);
            assert_eq!(large.connections, 4 * small.connections);
            assert_eq!(large.multiply_accumulates, 4 * small.multiply_accumulates);
            assert_eq!(large.activation_bytes, 4 * small.activation_bytes);
        }
    }

    #[test]
    fn a_transposed_convolution_joins_every_input_to_a_kernel_of_outputs() {
        let counted = config(Architecture::Unet).accounting().unwrap();
        let layer = |name: &str| counted.layers.iter().find(|l| l.name == name).unwrap();
        // 8×8 inputs of 64 channels, each joined to 3×3 outputs of 32 channels.
        assert_eq!(layer("layer3.0").connections, 8 * 8 * 64 * 9 * 32);
        // 16×16 inputs of 32 + 32 channels.
        assert_eq!(layer("layer4.0").connections, 16 * 16 * 64 * 9 * 24);
        assert_eq!(layer("layer4.0").weights, 64 * 9 * 24 + 24);
        assert_eq!(layer("layer4.cat").activation_bytes, 64 * 16 * 16 * 4);
        assert_eq!(layer("layer4.cat").outputs, 0);
        assert_eq!(layer("layer5").weights, 25 * 9 * 24 + 24);
        assert_eq!(layer("layer1.1").kind, "BatchNorm2d");
        assert_eq!(layer("layer1.1").weights, 64);
    }

    #[test]
    fn memory_grows_by_the_same_amount_for_each_picture_and_each_slot() {
        let unet = config(Architecture::Unet);
        let memory = |batch, slots| unet.training_memory(batch, slots).unwrap();
        assert_eq!(memory(0, 0), 2 * 56_856 * 4);
        assert_eq!(memory(0, 2) - memory(0, 0), 2 * 56_856 * 4);
        assert_eq!(memory(2, 2) - memory(1, 2), memory(1, 2) - memory(0, 2));
        // At least each activation once forth and once back.
        let activations = unet.accounting().unwrap().activation_bytes;
        assert!(memory(100, 2) > 200 * activations);
    }

    #[test]
    fn counts_beyond_64_bits_are_an_error_not_a_small_number() {
        let huge = NetworkConfig { num_filters: 1 << 33, ..config(Architecture::ConvTranspose) };
        assert_eq!(huge.accounting(), Err(NetworkError::Overflow));
        assert_eq!(config(Architecture::Unet).training_memory(u64::MAX, 2), Err(NetworkError::Overflow));
        let tall = NetworkConfig { height: u64::MAX - 3, ..config(Architecture::PoolUpsample) };
        assert_eq!(tall.accounting(), Err(NetworkError::Overflow));
    }
}
