//! From a spec's optimizer to the worker's.

use trainyard_theory::schedule::Schedule;
use trainyard_wire::spec::optimizer::{self as wire, OptimizerName, OptimizerSpec};

use crate::optimizers::OptimizerConfig;

/// The rule and its constants. A spec that was normalized has each of them; the defaults here are those it would have got.
pub(super) fn optimizer_config(spec: &OptimizerSpec) -> OptimizerConfig {
    let beta = spec.beta.unwrap_or(0.9);
    let (beta1, beta2) = (spec.beta1.unwrap_or(0.9), spec.beta2.unwrap_or(0.999));
    let epsilon = spec.epsilon.unwrap_or(1e-8);
    let decay = |default| spec.weight_decay.unwrap_or(default);
    match spec.name {
        OptimizerName::Gd | OptimizerName::Sgd => OptimizerConfig::GradientDescent { weight_decay: decay(0.0) },
        OptimizerName::Momentum => OptimizerConfig::Momentum { beta, weight_decay: decay(0.0) },
        OptimizerName::RmsProp => OptimizerConfig::RmsProp { beta, epsilon, weight_decay: decay(0.0) },
        OptimizerName::Adam => OptimizerConfig::Adam { beta1, beta2, epsilon },
        OptimizerName::AdamW => OptimizerConfig::AdamW { beta1, beta2, epsilon, weight_decay: decay(0.01) },
    }
}

/// The learning rate of update `step` (from 0) of `total_steps`.
pub(super) fn learning_rate(spec: &OptimizerSpec, step: u64, total_steps: u64) -> f64 {
    let schedule = match spec.schedule {
        wire::Schedule::Constant => Schedule::Constant,
        wire::Schedule::Linear => Schedule::Linear,
        wire::Schedule::Cosine => Schedule::Cosine,
    };
    schedule.rate(spec.learning_rate, step, total_steps)
}
