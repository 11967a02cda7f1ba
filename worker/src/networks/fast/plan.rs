//! What a fast network computes: its maps and stages, from the configuration, an image size and the instruction set alone.
//!
//! A stage is a convolution with what follows it up to the next one. Concatenation needs no work: the parts are channels
//! of one map. Batch norm and the rectifier commute with nearest upsampling (mean and biased variance are the same), so
//! an upsampled map never exists either: the next convolution reads the small map through taps that know of it.

use std::ops::Range;

use super::path::{Path, WeightPath};
use crate::kernels::blocked::convolve::Convolution;
use crate::kernels::blocked::taps::Taps;
use crate::kernels::blocked::weights::WeightShape;
use crate::kernels::blocked::{Geometry, Isa, View};
use crate::networks::{NetworkConfig, NetworkKind, NetworkLayout};

/// Who needs a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MapUse {
    /// Later stages.
    Pass,
    /// The backward pass.
    Training,
    /// The task that writes it, and nobody after that: there is one block of it for each such task, which stays in the caches, and
    /// none of the batch.
    Block,
}

/// Some channels of one of the plan's maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapView {
    /// Index of the map.
    pub(super) map: usize,
    /// Shape and channels.
    pub(super) view: View,
}

/// Batch norm and rectifier of a stage.
#[derive(Debug, Clone)]
pub(super) struct Normalization {
    /// Where weight and bias lie in the parameters.
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
    /// Where mean and variance lie in the running statistics.
    pub(super) running_mean: Range<usize>,
    pub(super) running_var: Range<usize>,
    /// How often the network that is computed has each value: 4 where an upsampling stands before the batch norm.
    pub(super) copies: usize,
    /// The rectifier's output.
    pub(super) activation: MapView,
    /// The gradient of `activation`, which becomes that of batch norm's input in place.
    pub(super) gradient: MapView,
}

/// Where the input gradient of a stage goes.
pub(super) struct InputGradient {
    pub(super) path: Path,
    pub(super) to: MapView,
    /// Whether another stage has put its part there before.
    pub(super) accumulate: bool,
    /// The stage whose activation has its whole gradient then.
    pub(super) completes: usize,
}

/// A convolution and what follows it.
pub(super) struct Stage {
    pub(super) path: Path,
    pub(super) weight_gradient: WeightPath,
    pub(super) shape: WeightShape,
    /// Where the convolution's weight and bias lie in the parameters.
    pub(super) weight: Range<usize>,
    pub(super) bias: Range<usize>,
    pub(super) input: MapView,
    /// The convolution's output, at the end of the forward pass its gradient in the last stage.
    pub(super) output: MapView,
    /// The pooled output.
    pub(super) pooled: Option<MapView>,
    pub(super) normalization: Option<Normalization>,
    pub(super) input_gradient: Option<InputGradient>,
}

impl Stage {
    /// Batch norm's input.
    pub(super) fn normalized(&self) -> MapView {
        self.pooled.unwrap_or(self.output)
    }
}

/// Maps and stages of a network for one image size.
pub(super) struct Plan {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) maps: Vec<Geometry>,
    /// Who needs them.
    pub(super) uses: Vec<MapUse>,
    pub(super) grey: MapView,
    /// The channels of the last stage's input that are the grey image.
    pub(super) grey_beside: Option<MapView>,
    pub(super) stages: Vec<Stage>,
}

/// The kinds of layer that differ between the networks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Stride 1, then pooling.
    Pooled,
    /// Stride 1.
    Same,
    /// Stride 1 on the upsampled output of the stage before.
    SameUpsampled,
    /// Stride 2.
    Down,
    /// Transposed, stride 2.
    Up,
}

impl Plan {
    /// Of a network with a layout, for images of one size and an instruction set.
    pub(super) fn new(isa: Isa, config: &NetworkConfig, layout: &NetworkLayout, height: usize, width: usize) -> Self {
        Builder { isa, config, layout, plan: Self::empty(height, width) }.build()
    }

    fn empty(height: usize, width: usize) -> Self {
        let view = View::whole(Geometry { height, width, channels: 0, halo: 0 });
        let grey = MapView { map: 0, view };
        Self { height, width, maps: Vec::new(), uses: Vec::new(), grey, grey_beside: None, stages: Vec::new() }
    }

    /// View of the logits, or their gradient.
    pub(super) fn logits(&self) -> View {
        self.stages[self.stages.len() - 1].output.view
    }
}

struct Builder<'a> {
    isa: Isa,
    config: &'a NetworkConfig,
    layout: &'a NetworkLayout,
    plan: Plan,
}

impl Builder<'_> {
    /// A map `1/shrink` as high and wide as the images.
    fn map(&mut self, shrink: usize, channels: usize, map_use: MapUse) -> MapView {
        let (height, width) = (self.plan.height / shrink, self.plan.width / shrink);
        let geometry = Geometry { height, width, channels, halo: self.config.kernel / 2 };
        self.plan.maps.push(geometry);
        self.plan.uses.push(map_use);
        MapView { map: self.plan.maps.len() - 1, view: View::whole(geometry) }
    }

    fn build(mut self) -> Plan {
        let NetworkConfig { num_filters: nf, num_colours: nc, in_channels: ni, .. } = *self.config;
        self.plan.grey = self.map(1, ni, MapUse::Pass);
        match self.config.kind {
            NetworkKind::PoolUpsample => {
                let mut input = self.plan.grey;
                let layers = [(Kind::Pooled, nf, 2), (Kind::Pooled, 2 * nf, 4), (Kind::Same, nf, 4), (Kind::SameUpsampled, nc, 2)];
                for (i, (kind, channels, shrink)) in layers.into_iter().enumerate() {
                    let (activation, gradient) = self.activation(shrink, channels, i == 3);
                    self.block(i, kind, input, (activation, gradient));
                    input = activation;
                }
                self.last("layerFinal", Kind::SameUpsampled, input);
            }
            NetworkKind::ConvTranspose => {
                let mut input = self.plan.grey;
                let layers = [(Kind::Down, nf, 2), (Kind::Down, 2 * nf, 4), (Kind::Up, nf, 2), (Kind::Up, nc, 1)];
                for (i, (kind, channels, shrink)) in layers.into_iter().enumerate() {
                    let (activation, gradient) = self.activation(shrink, channels, i == 3);
                    self.block(i, kind, input, (activation, gradient));
                    input = activation;
                }
                self.last("layerFinal", Kind::Same, input);
            }
            NetworkKind::UNet => {
                let (last, last_gradient) = (self.map(1, nc + ni, MapUse::Block), self.map(1, nc, MapUse::Training));
                let (skip, skip_gradient) = self.activation(2, 2 * nf, false);
                let (second, second_gradient) = self.activation(4, 2 * nf, false);
                self.plan.grey_beside = Some(part(last, nc, ni));
                let grey = self.plan.grey;
                let first = part(skip, nf, nf);
                self.block(0, Kind::Down, grey, (first, part(skip_gradient, nf, nf)));
                self.block(1, Kind::Down, first, (second, second_gradient));
                self.block(2, Kind::Up, second, (part(skip, 0, nf), part(skip_gradient, 0, nf)));
                self.block(3, Kind::Up, skip, (part(last, 0, nc), last_gradient));
                self.last("layer5", Kind::Same, last);
            }
        }
        self.input_gradients();
        self.plan
    }

    /// Maps of an activation, which only the last stage may read where it is the last one, and of its gradient.
    fn activation(&mut self, shrink: usize, channels: usize, last: bool) -> (MapView, MapView) {
        let map_use = if last { MapUse::Block } else { MapUse::Pass };
        (self.map(shrink, channels, map_use), self.map(shrink, channels, MapUse::Training))
    }

    fn range(&self, name: &str) -> Range<usize> {
        let entry = self.layout.parameters.get(name).or_else(|| self.layout.buffers.get(name));
        entry.map(crate::networks::Entry::range).unwrap_or_default()
    }

    fn stage(&mut self, name: &str, kind: Kind, input: MapView, channels: usize, output: MapView) -> Stage {
        let k = self.config.kernel;
        let taps = match kind {
            Kind::Pooled | Kind::Same => Taps::same(k),
            Kind::SameUpsampled => Taps::same_upsampled(k),
            Kind::Down => Taps::down(k),
            Kind::Up => Taps::up(k),
        };
        let convolution = Convolution::square(&taps, input.view.channels, channels);
        let (height, width) = (output.view.geometry.height, output.view.geometry.width);
        Stage {
            weight_gradient: WeightPath::new(self.isa, &convolution, height, width),
            shape: WeightShape { input_channels: input.view.channels, output_channels: channels, kernel: k, transposed: kind == Kind::Up },
            path: Path::new(convolution, height, width),
            weight: self.range(&format!("{name}.weight")),
            bias: self.range(&format!("{name}.bias")),
            input,
            output,
            pooled: None,
            normalization: None,
            input_gradient: None,
        }
    }

    /// `layer{index + 1}`: a convolution, maybe pooling or upsampling, batch norm, rectifier.
    fn block(&mut self, index: usize, kind: Kind, input: MapView, (activation, gradient): (MapView, MapView)) {
        let name = format!("layer{}", index + 1);
        let channels = activation.view.channels;
        let shrink = self.plan.height / activation.view.geometry.height;
        let normalized = self.map(shrink, channels, MapUse::Pass);
        let pooled = (kind == Kind::Pooled).then_some(normalized);
        let output = if pooled.is_some() { self.map(shrink / 2, channels, MapUse::Pass) } else { normalized };
        let mut stage = self.stage(&format!("{name}.0"), kind, input, channels, output);
        // In pool_upsample every block has a pooling or an upsampling between convolution and batch norm.
        let resampled = self.config.kind == NetworkKind::PoolUpsample;
        let norm = format!("{name}.{}", if resampled { 2 } else { 1 });
        stage.pooled = pooled;
        stage.normalization = Some(Normalization {
            weight: self.range(&format!("{norm}.weight")),
            bias: self.range(&format!("{norm}.bias")),
            running_mean: self.range(&format!("{norm}.running_mean")),
            running_var: self.range(&format!("{norm}.running_var")),
            copies: if resampled && pooled.is_none() { 4 } else { 1 },
            activation,
            gradient,
        });
        self.plan.stages.push(stage);
    }

    fn last(&mut self, name: &str, kind: Kind, input: MapView) {
        let colours = self.config.num_colours;
        let logits = self.map(1, colours, MapUse::Block);
        let stage = self.stage(name, kind, input, colours, logits);
        self.plan.stages.push(stage);
    }

    /// Every stage but the first hands a gradient to the activations it reads. Stages are visited from the last to the
    /// first, so the last to reach an activation is the one right after it.
    fn input_gradients(&mut self) {
        for index in 1..self.plan.stages.len() {
            let Some(norm) = self.plan.stages[index - 1].normalization.clone() else { continue };
            let input = self.plan.stages[index].input;
            // What is read beside the activations of stages is the grey input, behind them, and gets no gradient.
            let skips = self.config.kind == NetworkKind::UNet && index == 3;
            let to = if skips { part(norm.gradient, 0, 2 * self.config.num_filters) } else { norm.gradient };
            let convolution = self.plan.stages[index].path.convolution.input_gradient(to.view.channels);
            debug_assert_eq!(input.map, norm.activation.map);
            self.plan.stages[index].input_gradient = Some(InputGradient {
                path: Path::new(convolution, to.view.geometry.height, to.view.geometry.width),
                to,
                accumulate: self.config.kind == NetworkKind::UNet && index == 1,
                completes: index - 1,
            });
        }
    }
}

/// Some channels of a map.
fn part(map: MapView, channel: usize, channels: usize) -> MapView {
    MapView { view: View { channel, channels, ..map.view }, ..map }
}
