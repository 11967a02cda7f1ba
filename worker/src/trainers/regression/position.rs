//! Where a regression is: all that its later steps depend on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trainyard_wire::spec::RegressionSpec;

use super::super::checkpoint::{CheckpointError, CheckpointReader, CheckpointWriter};
use super::super::optimizer::optimizer_config;
use crate::optimizers::Optimizer;

/// The weights after `step` updates, and the optimizer's state.
pub(super) struct Position {
    pub(super) step: u64,
    pub(super) weights: Vec<f64>,
    /// The loss at step 0, which divergence is measured by.
    pub(super) first_loss: Option<f64>,
    /// The last batch's loss jumped. A batch's loss is not the run's, but one that jumps says that the run's has to be looked at.
    pub(super) suspicious: bool,
    optimizer: Box<dyn Optimizer<f64>>,
}

/// The part of a checkpoint that is not a vector.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    step: u64,
    first_loss: Option<f64>,
    #[serde(default)]
    suspicious: bool,
    optimizer_steps: u64,
}

impl Position {
    /// At step 0.
    pub(super) fn start(spec: &RegressionSpec, weights: Vec<f64>) -> Self {
        let optimizer = optimizer_config(&spec.optimizer).build(weights.len());
        Self { step: 0, weights, first_loss: None, suspicious: false, optimizer }
    }

    /// One update.
    pub(super) fn update(&mut self, gradient: &[f64], learning_rate: f64) {
        self.optimizer.step(&mut self.weights, gradient, learning_rate);
        self.step += 1;
    }

    /// The file to go on from.
    pub(super) fn checkpoint(&self) -> Result<Bytes, CheckpointError> {
        let state = self.optimizer.state();
        let Self { step, first_loss, suspicious, .. } = *self;
        let numbers = Numbers { step, first_loss, suspicious, optimizer_steps: state.steps };
        CheckpointWriter::default().vector("weights", &self.weights).optimizer(&state).finish(&numbers)
    }

    /// Goes to where a checkpoint was made. On an error the position is as it was.
    pub(super) fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        let reader = CheckpointReader::new(checkpoint)?;
        let numbers: Numbers = reader.position()?;
        let weights = reader.vector("weights", self.weights.len())?;
        self.optimizer.load_state(&reader.optimizer(&self.optimizer.state(), numbers.optimizer_steps)?)?;
        let Numbers { step, first_loss, suspicious, .. } = numbers;
        (self.step, self.weights, self.first_loss, self.suspicious) = (step, weights, first_loss, suspicious);
        Ok(())
    }
}
