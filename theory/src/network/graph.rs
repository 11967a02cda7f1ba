//! The layers of a network in the order of the forward pass.

use serde::{Deserialize, Serialize};

use super::{Architecture, NetworkConfig, NetworkError};

/// Channels, height and width of one picture's activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub channels: u64,
    pub height: u64,
    pub width: u64,
}

impl Shape {
    /// `channels·height·width`.
    pub fn size(&self) -> Result<u64, NetworkError> {
        product(&[self.channels, self.height, self.width])
    }
}

/// What a layer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The network's input.
    Input,
    /// The output of the layer with this index.
    Layer(usize),
}

/// A window that moves over its input: output `o` reads the inputs `o·stride − padding_before +
/// i·dilation` for `i` in `0..kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: u64,
    pub dilation: u64,
    pub stride: u64,
    pub padding_before: u64,
    pub padding_after: u64,
}

/// The window of a transposed convolution: input `i` adds to the outputs `i·stride − padding +
/// j·dilation` for `j` in `0..kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransposedWindow {
    pub kernel: u64,
    pub dilation: u64,
    pub stride: u64,
    pub padding: u64,
    pub output_padding: u64,
}

/// What a layer does. Windows are square; convolutions have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Conv2d(Window),
    ConvTranspose2d(TransposedWindow),
    /// Maximum over 2×2 windows, stride 2.
    MaxPool2d,
    /// Each value repeated 2×2 times (nearest neighbour).
    Upsample,
    BatchNorm2d,
    Relu,
    /// The channels of all sources after one another.
    Concatenate,
}

/// One layer of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// PyTorch's module name (`layer1.0`). A concatenation is no module: it is named after the
    /// layer that reads it (`layer4.cat`).
    pub name: String,
    pub operation: Operation,
    /// One source, or several for a concatenation.
    pub sources: Vec<Source>,
    /// The channels that it reads, of all sources together.
    pub in_channels: u64,
    pub output: Shape,
}

/// A network's layers; each reads only layers before it, the last gives the logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    pub input: Shape,
    pub layers: Vec<Layer>,
}

impl Graph {
    /// The shape of what a source gives.
    pub fn shape_of(&self, source: Source) -> Shape {
        match source {
            Source::Input => self.input,
            Source::Layer(index) => self.layers[index].output,
        }
    }
}

impl NetworkConfig {
    /// The network's layers.
    ///
    /// Padding: an odd K pads `⌊K/2⌋` everywhere, with output padding 1 where a transposed
    /// convolution doubles the size. An even K keeps the size by padding `(K−1)/2` (rounded down)
    /// before and `K/2` after; where it halves or doubles, it pads `K/2 − 1`, without output
    /// padding. With a dilation the kernel's extent `(K − 1)·dilation + 1` takes the place of K in
    /// these rules, so that every layer keeps its shape.
    pub fn graph(&self) -> Result<Graph, NetworkError> {
        self.validate()?;
        let mut builder = Builder {
            kernel: self.kernel,
            dilation: self.dilation,
            graph: Graph { input: Shape { channels: self.in_channels, height: self.height, width: self.width }, layers: Vec::new() },
        };
        let filters = self.num_filters;
        let double = product(&[2, filters])?;
        let colours = self.num_colours;
        let input = Source::Input;
        match self.architecture {
            Architecture::PoolUpsample => {
                let first = builder.pooled("layer1", input, filters);
                let second = builder.pooled("layer2", first, double);
                let third = builder.upsampled("layer3", second, filters);
                let fourth = builder.upsampled("layer4", third, colours);
                builder.same("layerFinal", fourth, colours);
            }
            Architecture::ConvTranspose => {
                let first = builder.halved("layer1", input, filters);
                let second = builder.halved("layer2", first, double);
                let third = builder.doubled("layer3", second, filters);
                let fourth = builder.doubled("layer4", third, colours);
                builder.same("layerFinal", fourth, colours);
            }
            Architecture::Unet => {
                let first = builder.halved("layer1", input, filters);
                let second = builder.halved("layer2", first, double);
                let third = builder.doubled("layer3", second, filters);
                let skip = builder.concatenated("layer4.cat", third, first)?;
                let fourth = builder.doubled("layer4", skip, colours);
                let skip = builder.concatenated("layer5.cat", fourth, input)?;
                builder.same("layer5", skip, colours);
            }
        }
        Ok(builder.graph)
    }
}

/// Appends layers and whole blocks (convolution, resampling, batch norm, ReLU); each call gives the
/// source of what it appended.
struct Builder {
    kernel: u64,
    dilation: u64,
    graph: Graph,
}

impl Builder {
    fn push(&mut self, name: String, operation: Operation, source: Source, output: Shape) -> Source {
        let in_channels = self.graph.shape_of(source).channels;
        self.append(Layer { name, operation, sources: vec![source], in_channels, output })
    }

    fn append(&mut self, layer: Layer) -> Source {
        self.graph.layers.push(layer);
        Source::Layer(self.graph.layers.len() - 1)
    }

    /// A stride-1 convolution that keeps the size.
    fn same(&mut self, name: &str, source: Source, channels: u64) -> Source {
        let (kernel, dilation) = (self.kernel, self.dilation);
        let window = Window { kernel, dilation, stride: 1, padding_before: (self.extent() - 1) / 2, padding_after: self.extent() / 2 };
        let output = Shape { channels, ..self.graph.shape_of(source) };
        self.push(name.to_owned(), Operation::Conv2d(window), source, output)
    }

    /// The inputs from the first to the last that the kernel touches.
    fn extent(&self) -> u64 {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The padding with which stride 2 exactly halves, and its transpose with output padding
    /// `extent mod 2` exactly doubles.
    fn halving_padding(&self) -> u64 {
        (self.extent() - 1) / 2
    }

    fn pooled(&mut self, block: &str, source: Source, channels: u64) -> Source {
        let convolved = self.same(&format!("{block}.0"), source, channels);
        let output = halved(self.graph.shape_of(convolved));
        let name = format!("{block}.1");
        let pooled = self.push(name, Operation::MaxPool2d, convolved, output);
        self.normalized(block, 2, pooled)
    }

    fn upsampled(&mut self, block: &str, source: Source, channels: u64) -> Source {
        let convolved = self.same(&format!("{block}.0"), source, channels);
        let output = doubled(self.graph.shape_of(convolved));
        let name = format!("{block}.1");
        let upsampled = self.push(name, Operation::Upsample, convolved, output);
        self.normalized(block, 2, upsampled)
    }

    fn halved(&mut self, block: &str, source: Source, channels: u64) -> Source {
        let (kernel, dilation, padding) = (self.kernel, self.dilation, self.halving_padding());
        let operation = Operation::Conv2d(Window { kernel, dilation, stride: 2, padding_before: padding, padding_after: padding });
        let output = Shape { channels, ..halved(self.graph.shape_of(source)) };
        let convolved = self.push(format!("{block}.0"), operation, source, output);
        self.normalized(block, 1, convolved)
    }

    fn doubled(&mut self, block: &str, source: Source, channels: u64) -> Source {
        let operation = Operation::ConvTranspose2d(TransposedWindow {
            kernel: self.kernel,
            dilation: self.dilation,
            stride: 2,
            padding: self.halving_padding(),
            output_padding: self.extent() % 2,
        });
        let output = Shape { channels, ..doubled(self.graph.shape_of(source)) };
        let convolved = self.push(format!("{block}.0"), operation, source, output);
        self.normalized(block, 1, convolved)
    }

    /// Batch norm and ReLU, the modules `index` and `index + 1` of a block.
    fn normalized(&mut self, block: &str, index: usize, source: Source) -> Source {
        let output = self.graph.shape_of(source);
        let name = format!("{block}.{index}");
        let normalized = self.push(name, Operation::BatchNorm2d, source, output);
        let name = format!("{block}.{}", index + 1);
        self.push(name, Operation::Relu, normalized, output)
    }

    fn concatenated(&mut self, name: &str, first: Source, second: Source) -> Result<Source, NetworkError> {
        let shape = self.graph.shape_of(first);
        let channels = shape.channels.checked_add(self.graph.shape_of(second).channels).ok_or(NetworkError::Overflow)?;
        Ok(self.append(Layer {
            name: name.to_owned(),
            operation: Operation::Concatenate,
            sources: vec![first, second],
            in_channels: channels,
            output: Shape { channels, ..shape },
        }))
    }
}

/// Sizes are multiples of 4 and halved at most twice.
fn halved(shape: Shape) -> Shape {
    Shape { height: shape.height / 2, width: shape.width / 2, ..shape }
}

/// Only a size that was halved before is doubled, so this cannot overflow.
fn doubled(shape: Shape) -> Shape {
    Shape { height: shape.height * 2, width: shape.width * 2, ..shape }
}

/// The product of all factors, or [`NetworkError::Overflow`].
pub(super) fn product(factors: &[u64]) -> Result<u64, NetworkError> {
    factors.iter().try_fold(1_u64, |product, factor| product.checked_mul(*factor)).ok_or(NetworkError::Overflow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(architecture: Architecture, kernel: u64) -> NetworkConfig {
        NetworkConfig { architecture, kernel, dilation: 1, num_filters: 32, in_channels: 1, num_colours: 24, height: 32, width: 48 }
    }

    #[test]
    fn layers_carry_the_names_of_the_modules() {
        let names = |architecture| {
            let graph = config(architecture, 3).graph().unwrap();
            let names: Vec<String> = graph.layers.into_iter().map(|layer| layer.name).collect();
            names.join(" ")
        };
        assert_eq!(
            names(Architecture::PoolUpsample),
            "layer1.0 layer1.1 layer1.2 layer1.3 layer2.0 layer2.1 layer2.2 layer2.3 \
             layer3.0 layer3.1 layer3.2 layer3.3 layer4.0 layer4.1 layer4.2 layer4.3 layerFinal"
        );
        assert_eq!(
            names(Architecture::ConvTranspose),
            "layer1.0 layer1.1 layer1.2 layer2.0 layer2.1 layer2.2 \
             layer3.0 layer3.1 layer3.2 layer4.0 layer4.1 layer4.2 layerFinal"
        );
        assert_eq!(
            names(Architecture::Unet),
            "layer1.0 layer1.1 layer1.2 layer2.0 layer2.1 layer2.2 layer3.0 layer3.1 layer3.2 \
             layer4.cat layer4.0 layer4.1 layer4.2 layer5.cat layer5"
        );
    }

    #[test]
    fn every_padding_gives_the_declared_size_for_every_kernel_and_dilation() {
        for architecture in [Architecture::PoolUpsample, Architecture::ConvTranspose, Architecture::Unet] {
            for (kernel, dilation) in NetworkConfig::KERNELS.flat_map(|kernel| (1..=5).map(move |dilation| (kernel, dilation))) {
                let graph = NetworkConfig { dilation, ..config(architecture, kernel) }.graph().unwrap();
                // As PyTorch computes the sizes.
                for layer in &graph.layers {
                    let read = graph.shape_of(layer.sources[0]).height;
                    let made = match layer.operation {
                        Operation::Conv2d(w) => {
                            (read + w.padding_before + w.padding_after - w.dilation * (w.kernel - 1) - 1) / w.stride + 1
                        }
                        Operation::ConvTranspose2d(w) => {
                            (read - 1) * w.stride + w.dilation * (w.kernel - 1) + w.output_padding + 1 - 2 * w.padding
                        }
                        Operation::MaxPool2d => read / 2,
                        Operation::Upsample => read * 2,
                        _ => read,
                    };
                    assert_eq!(made, layer.output.height, "{} K={kernel} dilation {dilation}", layer.name);
                }
                let last = graph.layers.last().unwrap().output;
                assert_eq!((last.channels, last.height, last.width), (24, 32, 48));
            }
        }
    }

    #[test]
    fn paddings_of_kernels_four_and_five_are_those_of_pytorch() {
        let transposed = |kernel| {
            let graph = config(Architecture::ConvTranspose, kernel).graph().unwrap();
            match graph.layers[6].operation {
                Operation::ConvTranspose2d(window) => (window.padding, window.output_padding),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(transposed(4), (1, 0));
        assert_eq!(transposed(5), (2, 1));
        let graph = config(Architecture::PoolUpsample, 4).graph().unwrap();
        assert!(matches!(graph.layers[0].operation, Operation::Conv2d(Window { padding_before: 1, padding_after: 2, .. })));
    }

    #[test]
    fn fields_out_of_range_are_named() {
        let base = config(Architecture::Unet, 3);
        let refusal = |config: NetworkConfig| config.graph().unwrap_err();
        assert_eq!(refusal(NetworkConfig { kernel: 0, ..base }), NetworkError::Kernel(0));
        assert_eq!(refusal(NetworkConfig { kernel: 8, ..base }), NetworkError::Kernel(8));
        assert_eq!(refusal(NetworkConfig { dilation: 0, ..base }), NetworkError::Dilation(0));
        assert_eq!(refusal(NetworkConfig { dilation: 33, ..base }), NetworkError::Dilation(33));
        assert_eq!(refusal(NetworkConfig { num_filters: 0, ..base }), NetworkError::Zero { field: "num_filters" });
        assert_eq!(refusal(NetworkConfig { width: 30, ..base }), NetworkError::NotMultipleOfFour { field: "width", value: 30 });
        assert_eq!(refusal(NetworkConfig { num_filters: u64::MAX, ..base }), NetworkError::Overflow);
    }
}
