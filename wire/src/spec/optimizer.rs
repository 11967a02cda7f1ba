//! Optimizers and their settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Checker;
use crate::state::words;

words!(
    /// The optimizers.
    OptimizerName {
        /// Full-batch gradient descent.
        Gd = "gd",
        /// Mini-batch gradient descent; batches without replacement.
        Sgd = "sgd",
        /// Heavy ball.
        Momentum = "momentum",
        /// ε inside the root, no bias correction.
        RmsProp = "rmsprop",
        /// With bias correction, ε outside the root, as in PyTorch.
        Adam = "adam",
        /// Adam with decoupled weight decay, as in PyTorch.
        AdamW = "adamw",
    }
);

words!(
    /// How the learning rate goes over the steps.
    Schedule {
        Constant = "constant",
        /// From the rate to 0 along a line.
        Linear = "linear",
        /// From the rate to 0 along half a cosine.
        Cosine = "cosine",
    }
);

/// An optimizer with its settings. After normalizing, each setting that the optimizer has is present and no other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    pub name: OptimizerName,
    pub learning_rate: f64,
    #[serde(default = "constant")]
    pub schedule: Schedule,
    /// Rows in a mini-batch (regression; colourization has it beside the optimizer). `sgd` needs it; the others but `gd` may have
    /// it, and use the full batch without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// `momentum`: share of the velocity kept (0.9). `rmsprop`: share of the mean square kept (0.9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// `adam`, `adamw` (0.9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// `adam`, `adamw` (0.999).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// `rmsprop`, `adam`, `adamw` (1e-8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// λ of `w ← (1 − λ)w − …` (0); of `adamw`, PyTorch's `w ← (1 − ηλ)w` (0.01). `adam` takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

fn constant() -> Schedule {
    Schedule::Constant
}

impl OptimizerSpec {
    /// Checks the settings and writes the defaults out. `at` is the optimizer's pointer below the spec.
    pub(crate) fn normalize(&mut self, checker: &mut Checker, at: &str) {
        use OptimizerName::{Adam, AdamW, Gd, Momentum, RmsProp, Sgd};
        let choice = format!("optimizer {}", self.name);
        checker.positive(&format!("{at}/learning_rate"), self.learning_rate, 1e6);

        let mut setting = |field: &str, value: &mut Option<f64>, has_it: bool, default: f64| {
            let pointer = format!("{at}/{field}");
            if has_it {
                value.get_or_insert(default);
            } else {
                checker.absent(&pointer, value, &choice);
            }
            (pointer, has_it.then_some(*value).flatten())
        };
        let beta = setting("beta", &mut self.beta, matches!(self.name, Momentum | RmsProp), 0.9);
        let beta1 = setting("beta1", &mut self.beta1, matches!(self.name, Adam | AdamW), 0.9);
        let beta2 = setting("beta2", &mut self.beta2, matches!(self.name, Adam | AdamW), 0.999);
        let epsilon = setting("epsilon", &mut self.epsilon, matches!(self.name, RmsProp | Adam | AdamW), 1e-8);
        if self.name == Adam && self.weight_decay == Some(0.0) {
            self.weight_decay = None;
        }
        let default_decay = if self.name == AdamW { 0.01 } else { 0.0 };
        let decay = setting("weight_decay", &mut self.weight_decay, self.name != Adam, default_decay);

        for (pointer, value) in [beta, beta1, beta2] {
            if let Some(value) = value {
                checker.half_open(&pointer, value, 0.0, 1.0);
            }
        }
        if let (pointer, Some(value)) = epsilon {
            checker.positive(&pointer, value, 1.0);
        }
        if let (pointer, Some(value)) = decay {
            checker.half_open(&pointer, value, 0.0, 1.0);
        }
        match self.name {
            Gd => checker.absent(&format!("{at}/batch_size"), &self.batch_size, &choice),
            Sgd | Momentum | RmsProp | Adam | AdamW => {
                if let Some(size) = self.batch_size {
                    checker.range(&format!("{at}/batch_size"), size, 1, super::regression::MOST_ROWS);
                }
            }
        }
    }
}
