//! Declaring the tensors of a network, in layer order, with their first values.

use trainyard_theory::random::{Generator, Purpose};

use super::layout::{Entry, NetworkLayout};

/// Collects what layers declare: names, shapes, initial values.
///
/// Weights and biases of convolutions are uniform in ±1/√fan_in, PyTorch's default, drawn in the order of declaration
/// from the stream of initial weights that belongs to the seed.
pub struct Builder {
    layout: NetworkLayout,
    parameters: Vec<f32>,
    buffers: Vec<f32>,
    generator: Generator,
}

impl Builder {
    /// With nothing declared.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            layout: NetworkLayout::default(),
            parameters: Vec::new(),
            buffers: Vec::new(),
            generator: Generator::new(seed, Purpose::InitialWeights, 0),
        }
    }

    /// A parameter uniform in ±1/√`fan_in`.
    pub fn uniform(&mut self, name: String, shape: &[usize], fan_in: usize) -> Entry {
        let bound = 1.0 / (fan_in as f64).sqrt();
        let entry = self.layout.parameters.push(name, shape);
        let draws = (0..entry.len()).map(|_| self.generator.uniform_between(-bound, bound) as f32);
        self.parameters.extend(draws);
        entry
    }

    /// A parameter that starts with one value everywhere.
    pub fn constant(&mut self, name: String, shape: &[usize], value: f32) -> Entry {
        let entry = self.layout.parameters.push(name, shape);
        self.parameters.resize(self.layout.parameters.len(), value);
        entry
    }

    /// A running statistic that starts with one value everywhere.
    pub fn buffer(&mut self, name: String, shape: &[usize], value: f32) -> Entry {
        let entry = self.layout.buffers.push(name, shape);
        self.buffers.resize(self.layout.buffers.len(), value);
        entry
    }

    /// A counter of training batches.
    pub fn counter(&mut self, name: String) {
        self.layout.counters.push(name);
    }

    /// The layout, the initial parameters and the initial running statistics.
    #[must_use]
    pub fn finish(self) -> (NetworkLayout, Vec<f32>, Vec<f32>) {
        (self.layout, self.parameters, self.buffers)
    }
}
