//! The optimizers of a step, and what of them changes from step to step.

use crate::arguments::FinishArguments;

/// A rule and its constants; formulas as in the worker's `optimizers`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Optimizer {
    /// `w ← keep·w − η·g`
    Descent,
    /// `v ← βv + g`, `w ← keep·w − η·v`
    Momentum {
        /// β
        beta: f64,
    },
    /// `v ← βv + (1 − β)g²`, `w ← keep·w − η·g/√(v + ε)`
    RmsProp {
        /// β
        beta: f64,
        /// ε
        epsilon: f64,
    },
    /// Adam and AdamW.
    Adam {
        /// β₁
        beta1: f64,
        /// β₂
        beta2: f64,
        /// ε
        epsilon: f64,
    },
}

/// What a step's update depends on beside the state, computed in f64 and rounded once.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[repr(C)]
pub struct Rates {
    /// η
    pub rate: f32,
    /// What decay leaves of a weight.
    pub keep: f32,
    /// Adam: η over the correction of the first moment.
    pub step_size: f32,
    /// Adam: the root of the correction of the second moment.
    pub root_correction: f32,
}

impl Optimizer {
    /// Vectors of state.
    #[must_use]
    pub fn slots(self) -> usize {
        match self {
            Self::Descent => 0,
            Self::Momentum { .. } | Self::RmsProp { .. } => 1,
            Self::Adam { .. } => 2,
        }
    }

    /// Of the step number `step`, from 1, at a learning rate, where decay leaves `keep` of each weight.
    #[must_use]
    pub fn rates(self, step: u64, rate: f64, keep: f64) -> Rates {
        let (mut step_size, mut root_correction) = (rate, 1.0);
        if let Self::Adam { beta1, beta2, .. } = self {
            let t = step as f64;
            step_size = rate / (1.0 - beta1.powf(t));
            root_correction = (1.0 - beta2.powf(t)).sqrt();
        }
        Rates { rate: rate as f32, keep: keep as f32, step_size: step_size as f32, root_correction: root_correction as f32 }
    }

    pub(crate) fn fill(self, arguments: &mut FinishArguments) {
        let a = arguments;
        match self {
            Self::Descent => a.optimizer = 1,
            Self::Momentum { beta } => (a.optimizer, a.beta) = (2, beta as f32),
            Self::RmsProp { beta, epsilon } => {
                (a.optimizer, a.beta, a.rest, a.epsilon) = (3, beta as f32, (1.0 - beta) as f32, epsilon as f32);
            }
            Self::Adam { beta1, beta2, epsilon } => {
                (a.optimizer, a.rest, a.beta2, a.rest2) = (4, (1.0 - beta1) as f32, beta2 as f32, (1.0 - beta2) as f32);
                a.epsilon = epsilon as f32;
            }
        }
    }
}

impl Rates {
    pub(crate) fn numbers(self) -> [f32; 4] {
        [self.rate, self.keep, self.step_size, self.root_correction]
    }
}
