//! The two runs of a pair, step by step.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trainyard_theory::regression::{Problem, diverged, vector};
use trainyard_theory::regularization::matched_weight_decay;
use trainyard_wire::spec::RegularizationPairSpec;

use super::super::checkpoint::{CheckpointError, CheckpointReader, CheckpointWriter};
use super::super::regression::position::{Numbers, Position};
use super::measured::Measured;

/// What the tensors of the two are named after in a checkpoint.
const PENALIZED: &str = "l2.";
const DECAYED: &str = "decay.";

/// One of the two: its position, and the gradient that its next update uses.
struct Twin {
    position: Position,
    gradient: Vec<f64>,
}

/// Both runs after the same number of updates.
pub(super) struct Twins {
    penalized: Twin,
    decayed: Twin,
    pub(super) measured: Measured,
}

/// The part of a checkpoint that is not a vector.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Positions {
    l2: Numbers,
    decay: Numbers,
    measured: Measured,
}

impl Twins {
    /// At step 0, both at `weights`.
    pub(super) fn start(spec: &RegularizationPairSpec, weights: Vec<f64>) -> Self {
        let twin = |weights: Vec<f64>| {
            let gradient = vec![0.0; weights.len()];
            Twin { position: Position::start(&spec.optimizer, weights), gradient }
        };
        Self { penalized: twin(weights.clone()), decayed: twin(weights), measured: Measured::default() }
    }

    /// Updates made.
    pub(super) fn step(&self) -> u64 {
        self.penalized.position.step
    }

    /// The weights under the penalty, and those under the decay.
    pub(super) fn weights(&self) -> (&[f64], &[f64]) {
        (&self.penalized.position.weights, &self.decayed.position.weights)
    }

    /// The distance of the weights, which the certificates will want to know of every step.
    pub(super) fn measure(&mut self) -> f64 {
        let (penalized, decayed) = (&self.penalized.position.weights, &self.decayed.position.weights);
        let distance = vector::distance(penalized, decayed);
        self.measured.add(self.penalized.position.step, distance, vector::norm(penalized), vector::norm(decayed));
        distance
    }

    /// The loss at step 0, where both are at the same weights; `loss` is it if this is that step.
    pub(super) fn first_loss(&mut self, loss: f64) -> f64 {
        let first_loss = *self.penalized.position.first_loss.get_or_insert(loss);
        self.decayed.position.first_loss = Some(first_loss);
        first_loss
    }

    /// Whether a batch's loss says that the losses have to be looked at.
    pub(super) fn are_suspicious(&self) -> bool {
        self.penalized.position.suspicious || self.decayed.position.suspicious
    }

    /// L̃ at both, and the gradients for full-batch updates: ∇L̃ for the penalty's, ∇L for the decay's.
    pub(super) fn losses_and_gradients(&mut self, problem: &Problem, l2: f64) -> [f64; 2] {
        let Self { penalized, decayed, .. } = self;
        let loss_l2 = problem.loss_and_gradient(&penalized.position.weights, l2, &mut penalized.gradient);
        let mse = problem.loss_and_gradient(&decayed.position.weights, 0.0, &mut decayed.gradient);
        [loss_l2, mse + l2 * vector::square_norm(&decayed.position.weights)]
    }

    /// The gradients over a batch.
    pub(super) fn batch_gradients(&mut self, problem: &Problem, batch: &[usize], l2: f64) {
        for (twin, l2) in [(&mut self.penalized, l2), (&mut self.decayed, 0.0)] {
            let loss = problem.batch_loss_and_gradient(batch, &twin.position.weights, l2, &mut twin.gradient);
            twin.position.suspicious = twin.position.first_loss.is_some_and(|first_loss| diverged(loss, first_loss));
        }
    }

    /// One update of both with this rate. `(1 − λ)w − step`, which the regression's optimizers make with a fixed λ, is the same in two parts.
    pub(super) fn update(&mut self, rate: f64, l2: f64) {
        let Self { penalized, decayed, measured } = self;
        measured.rate(penalized.position.step, rate);
        penalized.position.update(&penalized.gradient, rate);
        let keep = 1.0 - matched_weight_decay(rate, l2);
        decayed.position.weights.iter_mut().for_each(|weight| *weight *= keep);
        decayed.position.update(&decayed.gradient, rate);
    }

    /// The file to go on from.
    pub(super) fn checkpoint(&self) -> Result<Bytes, CheckpointError> {
        let (writer, l2) = self.penalized.position.write(CheckpointWriter::default(), PENALIZED);
        let (writer, decay) = self.decayed.position.write(writer, DECAYED);
        writer.finish(&Positions { l2, decay, measured: self.measured })
    }

    /// Goes to where a checkpoint was made.
    pub(super) fn restore(&mut self, checkpoint: &[u8]) -> Result<(), CheckpointError> {
        let reader = CheckpointReader::new(checkpoint)?;
        let Positions { l2, decay, measured } = reader.position()?;
        self.penalized.position.read(&reader, PENALIZED, l2)?;
        self.decayed.position.read(&reader, DECAYED, decay)?;
        self.measured = measured;
        Ok(())
    }
}
