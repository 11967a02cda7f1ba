//! Where a colourization is: all that its later steps depend on, apart from the network and the optimizer themselves.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trainyard_wire::spec::colourization::EarlyStopping;

use super::super::TrainError;
use super::super::checkpoint::{CheckpointReader, CheckpointWriter};
use super::early_stopping::{Patience, is_better};
use crate::networks::{Buffers, ColourizationNetwork};
use crate::optimizers::candle::VarOptimizer;

/// An epoch's measures on the validation images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Validation {
    pub(super) loss: f64,
    pub(super) accuracy: f64,
}

/// The epoch with the best validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) epoch: u64,
    pub(super) validation: Validation,
}

/// The position before a batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Optimizer steps done.
    pub(super) step: u64,
    /// Epochs finished.
    pub(super) epoch: u64,
    /// Batches of the present epoch done.
    pub(super) batch: u64,
    /// Of the present epoch: the batches' losses, each times its images, and the number of these images.
    loss_sum: f64,
    images: u64,
    /// Seconds spent on the present epoch before this attempt.
    pub(super) epoch_seconds: f64,
    /// The first batch's loss, which divergence is measured by.
    pub(super) first_loss: Option<f64>,
    pub(super) last: Option<Validation>,
    pub(super) best: Option<Best>,
    pub(super) patience: Patience,
}

/// A position with what else is not a vector.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    position: Position,
    num_batches_tracked: u64,
    optimizer_steps: u64,
    /// What trained it up to here; checkpoints of older workers, which were all on the CPU, do not say.
    #[serde(default)]
    device: Trainee,
}

/// What a run is trained on. The position can go from one to the other; its bits are those of the device that trains it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trainee {
    #[default]
    Cpu,
    Gpu,
    GpuTf32,
}

impl std::fmt::Display for Trainee {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Gpu => "GPU",
            Self::GpuTf32 => "GPU in TF32",
        })
    }
}

impl Position {
    /// One optimizer step was made on `images` images.
    pub(super) fn batch_done(&mut self, loss: f64, images: usize) {
        self.step += 1;
        self.batch += 1;
        self.loss_sum += loss * images as f64;
        self.images += images as u64;
    }

    /// The mean loss of the present epoch's batches so far, over their images.
    pub(super) fn train_loss(&self) -> f64 {
        self.loss_sum / self.images as f64
    }

    /// All batches of the epoch are done. Returns whether its validation is the best so far.
    pub(super) fn epoch_done(&mut self, validation: Validation, rule: Option<&EarlyStopping>) -> bool {
        self.epoch += 1;
        (self.batch, self.loss_sum, self.images, self.epoch_seconds) = (0, 0.0, 0, 0.0);
        self.last = Some(validation);
        if let Some(rule) = rule {
            self.patience.observe(rule, validation);
        }
        let improved = self.best.is_none_or(|best| is_better(rule, validation, best.validation));
        if improved {
            self.best = Some(Best { epoch: self.epoch, validation });
        }
        improved
    }

    /// The file to go on from.
    pub(super) fn checkpoint(
        &self,
        network: &dyn ColourizationNetwork,
        optimizer: &VarOptimizer,
        device: Trainee,
    ) -> Result<Bytes, TrainError> {
        let Buffers { running, num_batches_tracked } = network.buffers();
        let state = optimizer.state();
        let writer = CheckpointWriter::default()
            .vector("parameters", &network.parameters().to_vec1::<f32>()?)
            .vector("running_statistics", &running)
            .optimizer("", &state);
        let numbers = Numbers { position: self.clone(), num_batches_tracked, optimizer_steps: state.steps, device };
        Ok(writer.finish(&numbers)?)
    }

    /// Goes to where a checkpoint was made, with the network and the optimizer. Returns what had trained it.
    pub(super) fn restore(
        &mut self,
        checkpoint: &[u8],
        network: &mut dyn ColourizationNetwork,
        optimizer: &mut VarOptimizer,
    ) -> Result<Trainee, TrainError> {
        let reader = CheckpointReader::new(checkpoint)?;
        let numbers: Numbers = reader.position()?;
        let layout = network.layout();
        let parameters = reader.vector("parameters", layout.parameters.len())?;
        let running = reader.vector("running_statistics", layout.buffers.len())?;
        optimizer.load_state(&reader.optimizer("", &optimizer.state(), numbers.optimizer_steps)?)?;
        network.load_parameters(&parameters)?;
        network.load_buffers(&Buffers { running, num_batches_tracked: numbers.num_batches_tracked })?;
        *self = numbers.position;
        Ok(numbers.device)
    }
}
