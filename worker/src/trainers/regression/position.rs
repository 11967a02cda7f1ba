//! Where a regression is: all that its later steps depend on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trainyard_wire::spec::optimizer::OptimizerSpec;

use super::super::checkpoint::{CheckpointError, CheckpointReader, CheckpointWriter};
use super::super::optimizer::optimizer_config;
use crate::optimizers::Optimizer;

/// The weights after `step` updates, and the optimizer's state.
pub(in super::super) struct Position {
    pub(in super::super) step: u64,
    pub(in super::super) weights: Vec<f64>,
    /// The loss at step 0, which divergence is measured by.
    pub(in super::super) first_loss: Option<f64>,
    /// The last batch's loss jumped. A batch's loss is not the run's, but one that jumps says that the run's has to be looked at.
    pub(in super::super) suspicious: bool,
    optimizer: Box<dyn Optimizer<f64>>,
}

/// The part of a checkpoint that is not a vector.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Numbers {
    step: u64,
    first_loss: Option<f64>,
    #[serde(default)]
    suspicious: bool,
    optimizer_steps: u64,
}

impl Position {
    /// At step 0.
    pub(in super::super) fn start(optimizer: &OptimizerSpec, weights: Vec<f64>) -> Self {
        let optimizer = optimizer_config(optimizer).build(weights.len());
        Self { step: 0, weights, first_loss: None, suspicious: false, optimizer }
    }

    /// One update.
    pub(in super::super) fn update(&mut self, gradient: &[f64], learning_rate: f64) {
        self.optimizer.step(&mut self.weights, gradient, learning_rate);
        self.step += 1;
    }

    /// The file to go on from.
    pub(super) fn checkpoint(&self) -> Result<Bytes, CheckpointError> {
        let (writer, numbers) = self.write(CheckpointWriter::default(), "");
        writer.finish(&numbers)
    }

    /// Adds the vectors to a checkpoint, their names after `prefix`, and returns the rest.
    pub(in super::super) fn write(&self, writer: CheckpointWriter, prefix: &str) -> (CheckpointWriter, Numbers) {
        let state = self.optimizer.state();
        let Self { step, first_loss, suspicious, .. } = *self;
        let numbers = Numbers { step, first_loss, suspicious, optimizer_steps: state.steps };
        (writer.vector(&format!("{prefix}weights"), &self.weights).optimizer(prefix, &state), numbers)
    }

    /// Goes to where a checkpoint was made. On an error the position is as it was.
    pub(super) fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        let reader = CheckpointReader::new(checkpoint)?;
        self.read(&reader, "", reader.position()?)
    }

    /// Goes to where [`Position::write`] was called. On an error the position is as it was.
    pub(in super::super) fn read(&mut self, reader: &CheckpointReader<'_>, prefix: &str, numbers: Numbers) -> Result<(), CheckpointError> {
        let weights = reader.vector(&format!("{prefix}weights"), self.weights.len())?;
        self.optimizer.load_state(&reader.optimizer(prefix, &self.optimizer.state(), numbers.optimizer_steps)?)?;
        let Numbers { step, first_loss, suspicious, .. } = numbers;
        (self.step, self.weights, self.first_loss, self.suspicious) = (step, weights, first_loss, suspicious);
        Ok(())
    }
}
