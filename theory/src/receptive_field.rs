//! Which inputs an output depends on.
//!
//! For convolutions and pooling alone the size of the receptive field follows `r ← r + (k −
//! 1)·dilation·j`, `j ← j·stride` ([`of_chain`]). Upsampling and transposed convolution break that
//! rule: there the size depends on the output's phase, its index modulo the total upsampling. So
//! the inputs are found exactly: starting from one output index, the indices that it depends on are
//! taken back through the layers ([`inputs`]). They fill an interval; with a dilation it may have
//! holes, and its ends count ([`interval`]).
//!
//! All layers are square and treat rows and columns alike, so one direction is enough; a field of
//! size r covers r×r pixels. (Where an even dilation leaves gaps beside a skip connection, outputs
//! whose row and column are of different phase may see less: the sizes are those of the diagonal.) Indices run over an endless picture: an output near the border has the
//! same field, partly in the padding.

use serde::{Deserialize, Serialize};

use crate::network::{Graph, NetworkConfig, NetworkError, Operation, Source};

/// Indices from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    pub first: i64,
    pub last: i64,
}

impl Interval {
    /// The number of indices, at least 1.
    pub fn size(&self) -> u64 {
        self.first.abs_diff(self.last) + 1
    }
}

/// One layer of a plain chain of convolutions and pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainLayer {
    pub kernel: u64,
    pub stride: u64,
    pub dilation: u64,
}

/// The receptive field after each layer of a chain of convolutions and pooling, as (size, jump):
/// the size `r ← r + (k − 1)·dilation·j` in inputs, and the distance `j ← j·stride` in inputs
/// between the fields of neighbouring outputs. `None` where a kernel, stride or dilation is 0 or a
/// number exceeds 64 bits.
pub fn of_chain(layers: &[ChainLayer]) -> Option<Vec<(u64, u64)>> {
    let (mut size, mut jump) = (1_u64, 1_u64);
    layers
        .iter()
        .map(|layer| {
            if layer.stride == 0 || layer.dilation == 0 {
                return None;
            }
            let reach = layer.kernel.checked_sub(1)?.checked_mul(layer.dilation)?;
            size = size.checked_add(reach.checked_mul(jump)?)?;
            jump = jump.checked_mul(layer.stride)?;
            Some((size, jump))
        })
        .collect()
}

/// The receptive field of a layer's outputs on the network's input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceptiveField {
    /// The layer's name, as in [`Layer::name`](crate::network::Layer::name).
    pub layer: String,
    /// The least size over the outputs' phases; 0 where some outputs depend on no input at all (a
    /// transposed convolution of kernel 1 or of an even dilation leaves gaps).
    pub least: u64,
    /// The greatest size over the outputs' phases.
    pub greatest: u64,
}

/// The fields of all layers of a network, in the order of the forward pass.
pub fn receptive_fields(config: &NetworkConfig) -> Result<Vec<ReceptiveField>, NetworkError> {
    let graph = config.graph()?;
    let fields = graph.layers.iter().enumerate().map(|(index, layer)| {
        // No layer is upsampled more than twice by 2, so four neighbouring outputs show every
        // phase.
        let sizes = (0..4).map(|output| interval(&graph, Source::Layer(index), output).map_or(0, |field| field.size()));
        ReceptiveField { layer: layer.name.clone(), least: sizes.clone().min().unwrap_or(0), greatest: sizes.max().unwrap_or(0) }
    });
    Ok(fields.collect())
}

/// The network inputs that output `output` of `source` depends on, from the first to the last; `None`
/// if it depends on none.
///
/// # Panics
/// If `source` is no layer of the graph.
pub fn interval(graph: &Graph, source: Source, output: i64) -> Option<Interval> {
    let inputs = inputs(graph, source, vec![output]);
    Some(Interval { first: *inputs.first()?, last: *inputs.last()? })
}

/// The network inputs that the outputs `outputs` of `source` depend on, each once, rising.
///
/// # Panics
/// If `source` is no layer of the graph.
pub fn inputs(graph: &Graph, source: Source, outputs: Vec<i64>) -> Vec<i64> {
    let Source::Layer(index) = source else {
        return outputs;
    };
    let layer = &graph.layers[index];
    let read = sorted(outputs.iter().flat_map(|output| read_by(layer.operation, *output)).collect());
    match layer.sources.as_slice() {
        [source] => inputs(graph, *source, read),
        sources => sorted(sources.iter().flat_map(|source| inputs(graph, *source, read.clone())).collect()),
    }
}

fn sorted(mut indices: Vec<i64>) -> Vec<i64> {
    indices.sort_unstable();
    indices.dedup();
    indices
}

/// The indices of a layer's own input that one of its outputs reads.
fn read_by(operation: Operation, output: i64) -> Vec<i64> {
    match operation {
        Operation::Conv2d(window) => {
            let first = output * window.stride as i64 - window.padding_before as i64;
            (0..window.kernel as i64).map(|tap| first + tap * window.dilation as i64).collect()
        }
        Operation::ConvTranspose2d(window) => {
            // Input i reaches outputs i·stride − padding + tap·dilation.
            let stride = window.stride as i64;
            let reached = (0..window.kernel as i64).map(|tap| output + window.padding as i64 - tap * window.dilation as i64);
            reached.filter(|reached| reached.rem_euclid(stride) == 0).map(|reached| reached.div_euclid(stride)).collect()
        }
        Operation::MaxPool2d => vec![output * 2, output * 2 + 1],
        Operation::Upsample => vec![output.div_euclid(2)],
        Operation::BatchNorm2d | Operation::Relu | Operation::Concatenate => vec![output],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::network::Architecture;

    const ARCHITECTURES: [Architecture; 3] = [Architecture::PoolUpsample, Architecture::ConvTranspose, Architecture::Unet];

    fn config(architecture: Architecture, kernel: u64) -> NetworkConfig {
        NetworkConfig { architecture, kernel, dilation: 1, num_filters: 2, in_channels: 1, num_colours: 2, height: 64, width: 64 }
    }

    /// (least, greatest) at the end of a block.
    fn field(architecture: Architecture, kernel: u64, layer: &str) -> (u64, u64) {
        dilated_field(architecture, kernel, 1, layer)
    }

    fn dilated_field(architecture: Architecture, kernel: u64, dilation: u64, layer: &str) -> (u64, u64) {
        let fields = receptive_fields(&NetworkConfig { dilation, ..config(architecture, kernel) }).unwrap();
        let found = fields.iter().find(|field| field.layer == layer).unwrap();
        (found.least, found.greatest)
    }

    #[test]
    fn known_fields_come_out() {
        assert_eq!(field(Architecture::PoolUpsample, 3, "layerFinal"), (22, 26));
        assert_eq!(field(Architecture::ConvTranspose, 3, "layer4.2"), (7, 11));
        assert_eq!(field(Architecture::ConvTranspose, 4, "layer3.2"), (14, 14));
    }

    #[test]
    fn on_the_way_down_the_chain_rule_holds() {
        for (kernel, dilation) in NetworkConfig::KERNELS.flat_map(|kernel| (1..=4).map(move |dilation| (kernel, dilation))) {
            let convolution = |stride| ChainLayer { kernel, stride, dilation };
            let pool = ChainLayer { kernel: 2, stride: 2, dilation: 1 };
            let pooled = of_chain(&[convolution(1), pool, convolution(1), pool]).unwrap();
            let strided = of_chain(&[convolution(2), convolution(2)]).unwrap();
            let both = |size| (size, size);
            let at = |architecture, layer| dilated_field(architecture, kernel, dilation, layer);
            assert_eq!(at(Architecture::PoolUpsample, "layer1.1"), both(pooled[1].0));
            assert_eq!(at(Architecture::PoolUpsample, "layer2.3"), both(pooled[3].0));
            assert_eq!(at(Architecture::ConvTranspose, "layer1.2"), both(strided[0].0));
            assert_eq!(at(Architecture::Unet, "layer2.2"), both(strided[1].0));
        }
    }

    #[test]
    fn dilation_stretches_and_stride_multiplies_what_comes_after() {
        let layer = |kernel, stride, dilation| ChainLayer { kernel, stride, dilation };
        assert_eq!(of_chain(&[layer(3, 1, 1), layer(3, 2, 2), layer(3, 1, 1)]), Some(vec![(3, 1), (7, 2), (11, 2)]));
        assert_eq!(of_chain(&[]), Some(vec![]));
        assert_eq!(of_chain(&[layer(0, 1, 1)]), None);
        assert_eq!(of_chain(&[layer(3, 1, u64::MAX)]), None);
    }

    /// Index by index through the definition of each layer, forwards: which inputs change each
    /// output.
    fn depends_on(graph: &Graph) -> Vec<Vec<BTreeSet<i64>>> {
        let input: Vec<BTreeSet<i64>> = (0..graph.input.height as i64).map(|i| [i].into()).collect();
        let mut outputs: Vec<Vec<BTreeSet<i64>>> = Vec::new();
        for layer in &graph.layers {
            let mut made = vec![BTreeSet::new(); layer.output.height as usize];
            let height = made.len() as i64;
            for source in &layer.sources {
                let read = match source {
                    Source::Input => &input,
                    Source::Layer(index) => &outputs[*index],
                };
                let mut join = |from: i64, to: i64| {
                    if (0..read.len() as i64).contains(&from) && (0..height).contains(&to) {
                        made[to as usize].extend(&read[from as usize]);
                    }
                };
                match layer.operation {
                    Operation::Conv2d(w) => {
                        for (to, tap) in (0..height).flat_map(|o| (0..w.kernel as i64).map(move |k| (o, k))) {
                            join(to * w.stride as i64 - w.padding_before as i64 + tap * w.dilation as i64, to);
                        }
                    }
                    Operation::ConvTranspose2d(w) => {
                        let reads = read.len() as i64;
                        for (from, tap) in (0..reads).flat_map(|i| (0..w.kernel as i64).map(move |k| (i, k))) {
                            join(from, from * w.stride as i64 - w.padding as i64 + tap * w.dilation as i64);
                        }
                    }
                    Operation::MaxPool2d => (0..2 * height).for_each(|from| join(from, from / 2)),
                    Operation::Upsample => (0..height).for_each(|to| join(to / 2, to)),
                    _ => (0..height).for_each(|to| join(to, to)),
                }
            }
            outputs.push(made);
        }
        outputs
    }

    #[test]
    fn the_inputs_are_exactly_those_that_reach_an_output() {
        for architecture in ARCHITECTURES {
            for (kernel, dilation) in NetworkConfig::KERNELS.flat_map(|kernel| (1..=3).map(move |dilation| (kernel, dilation))) {
                let network = NetworkConfig { dilation, height: 512, ..config(architecture, kernel) };
                let graph = network.graph().unwrap();
                for (index, outputs) in depends_on(&graph).iter().enumerate() {
                    let middle = outputs.len() / 2;
                    for (output, reached) in outputs.iter().enumerate().skip(middle - 4).take(8) {
                        let found = inputs(&graph, Source::Layer(index), vec![output as i64]);
                        let layer = &graph.layers[index].name;
                        assert!(found.iter().eq(reached), "{architecture:?} K={kernel} dilation {dilation} {layer} {output}");
                        let field = interval(&graph, Source::Layer(index), output as i64).map_or(0, |field| field.size());
                        // Without a dilation there are no gaps inside.
                        assert!(if dilation == 1 { field == reached.len() as u64 } else { field >= reached.len() as u64 });
                    }
                }
            }
        }
    }

    #[test]
    fn a_dilation_stretches_the_fields() {
        let last = |dilation| dilated_field(Architecture::PoolUpsample, 3, dilation, "layerFinal");
        assert_eq!(last(1), (22, 26));
        assert!(last(2).0 > 22 && last(2).1 > 26 && last(3).0 > last(2).0);
        // Of the outputs of a transposed convolution with an even dilation every other one is left out.
        assert_eq!(dilated_field(Architecture::ConvTranspose, 3, 2, "layer3.0").0, 0);
    }

    #[test]
    fn a_transposed_convolution_of_kernel_one_leaves_outputs_that_see_nothing() {
        assert_eq!(field(Architecture::ConvTranspose, 1, "layer4.0"), (0, 1));
        assert_eq!(field(Architecture::Unet, 1, "layer5"), (1, 1));
    }
}
