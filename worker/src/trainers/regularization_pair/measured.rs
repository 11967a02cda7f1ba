//! What a pair remembers of its steps, and what theory says of it in the end.

use serde::{Deserialize, Serialize};
use trainyard_theory::regression::{Problem, vector};
use trainyard_theory::regularization::{Detour, Pair, apart, first_separation, identical};
use trainyard_wire::Number;
use trainyard_wire::run::Certificate;
use trainyard_wire::spec::RegularizationPairSpec;
use trainyard_wire::spec::optimizer::OptimizerName;

use super::super::regression::claims::certificate;

/// The extremes over all steps so far, and the first steps that momentum's theory is about. Part of the checkpoint.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    largest_distance: Number,
    largest_norm: Number,
    first: Option<First>,
}

/// The first weights that are not 0, at step k.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    step: u64,
    norm: f64,
    /// η_{k+1}, once that update was made.
    next_rate: Option<f64>,
    /// The distance at step k + 2, once it is reached.
    distance: Option<f64>,
}

impl Default for Measured {
    fn default() -> Self {
        Self { largest_distance: Number(0.0), largest_norm: Number(0.0), first: None }
    }
}

impl Measured {
    /// The distance of the weights at `step`, and their norms. The same step may come again after a checkpoint.
    pub(super) fn add(&mut self, step: u64, distance: f64, norm_l2: f64, norm_decay: f64) {
        self.largest_distance.0 = self.largest_distance.0.max(distance);
        self.largest_norm.0 = self.largest_norm.0.max(norm_l2).max(norm_decay);
        match &mut self.first {
            None if norm_l2 > 0.0 => self.first = Some(First { step, norm: norm_l2, next_rate: None, distance: None }),
            Some(first) if first.step + 2 == step => first.distance = Some(distance),
            _ => {}
        }
    }

    /// The rate of the update that follows `step`.
    pub(super) fn rate(&mut self, step: u64, rate: f64) {
        if let Some(first) = &mut self.first
            && first.step + 1 == step
        {
            first.next_rate = Some(rate);
        }
    }

    pub(super) fn largest_distance(&self) -> f64 {
        self.largest_distance.0
    }

    /// The claims of theory that apply to the pair, checked on what it did in `steps` steps.
    pub(super) fn certificates(&self, spec: &RegularizationPairSpec, problem: &Problem, steps: u64) -> Vec<Certificate> {
        let examples = problem.examples() as f64;
        let rows = vector::norm(problem.x());
        let pair = Pair {
            rate: spec.optimizer.learning_rate,
            l2: spec.l2,
            steps,
            width: problem.examples().max(problem.features()),
            mean_square_row: rows * rows / examples,
            mean_square_target: rows * vector::norm(problem.t()) / examples,
            largest_norm: self.largest_norm.0,
            largest_distance: self.largest_distance.0,
        };
        let beta = spec.optimizer.beta.unwrap_or(0.0);
        let claims = match spec.optimizer.name {
            OptimizerName::Gd | OptimizerName::Sgd => vec![identical(&pair)],
            OptimizerName::Momentum if beta == 0.0 => vec![identical(&pair)],
            OptimizerName::Momentum => {
                let separation = self.first.and_then(|first| {
                    let (rate, distance) = (first.next_rate?, first.distance?);
                    Some(first_separation(&pair, beta, first.norm, rate, distance))
                });
                apart(&pair, Detour::Velocity(beta)).into_iter().chain(separation).collect()
            }
            OptimizerName::RmsProp | OptimizerName::Adam | OptimizerName::AdamW => {
                apart(&pair, Detour::AdaptiveScale).into_iter().collect()
            }
        };
        claims.into_iter().map(certificate).collect()
    }
}
