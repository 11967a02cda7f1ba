//! The points that the outer loop has looked at, which are all that it depends on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::checkpoint::{CheckpointError, CheckpointReader, CheckpointWriter};

/// A learning rate, the loss after the unrolled steps with it, and the derivative there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) rate: f64,
    pub(super) loss: f64,
    pub(super) hypergradient: f64,
}

/// Points in the order in which they were looked at; the first is the rate of the spec, and each further one is an update of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Trajectory {
    points: Vec<Point>,
}

/// The part of a checkpoint that is not a vector.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    points: usize,
}

impl Trajectory {
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    pub(super) fn push(&mut self, point: Point) {
        self.points.push(point);
    }

    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// Updates of the learning rate so far.
    pub(super) fn updates(&self) -> u64 {
        self.points.len().saturating_sub(1) as u64
    }

    /// The file to go on from.
    pub(super) fn checkpoint(&self) -> Result<Bytes, CheckpointError> {
        let column = |of: fn(&Point) -> f64| self.points.iter().map(of).collect::<Vec<f64>>();
        CheckpointWriter::default()
            .vector("learning_rate", &column(|point| point.rate))
            .vector("loss", &column(|point| point.loss))
            .vector("hypergradient", &column(|point| point.hypergradient))
            .finish(&Numbers { points: self.points.len() })
    }

    /// The trajectory of a checkpoint.
    pub(super) fn restore(checkpoint: &[u8]) -> Result<Self, CheckpointError> {
        let reader = CheckpointReader::new(checkpoint)?;
        let Numbers { points } = reader.position()?;
        let rates: Vec<f64> = reader.vector("learning_rate", points)?;
        let losses: Vec<f64> = reader.vector("loss", points)?;
        let hypergradients: Vec<f64> = reader.vector("hypergradient", points)?;
        let together = rates.into_iter().zip(losses).zip(hypergradients);
        let points = together.map(|((rate, loss), hypergradient)| Point { rate, loss, hypergradient });
        Ok(Self { points: points.collect() })
    }
}
