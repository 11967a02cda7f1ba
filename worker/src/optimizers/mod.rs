//! Optimizers over flat slices, for both trainers: f64 for regression, f32 for networks.
//!
//! An [`Optimizer`] updates weights in place from a gradient and a learning rate that the caller gives at each step, so
//! schedules stay with the trainer. Its whole state can be taken out and put back bit for bit, which is what lets a
//! resumed run continue as if nothing had happened. [`candle`] puts a network's one flat variable behind candle's own
//! optimizer trait.
//!
//! Formulas: PyTorch's for momentum (heavy ball), Adam and AdamW (bias correction, ε outside the root); RMSProp has ε
//! inside the root and no bias correction. Weight decay of gd, sgd, momentum and rmsprop is multiplicative,
//! `w ← (1 − λ)w − step`, and independent of the learning rate; AdamW's is PyTorch's, `w ← (1 − ηλ)w` before the step.

mod adam;
pub mod candle;
mod descent;
mod rmsprop;
mod state;

pub use adam::Adam;
pub use descent::{GradientDescent, Momentum};
pub use rmsprop::RmsProp;
pub use state::{OptimizerState, StateError};

/// A float the optimizers compute in: f32 or f64.
pub trait Float:
    Copy
    + Send
    + Sync
    + std::fmt::Debug
    + PartialEq
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::Neg<Output = Self>
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value to an f64.
    fn from_f64(value: f64) -> Self;
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
    /// Square root.
    fn sqrt(self) -> Self;
}

impl Float for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn from_f64(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
}

impl Float for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn from_f64(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
}

/// A rule that turns gradients into steps.
pub trait Optimizer<F: Float>: Send {
    /// One step, in place. The gradient has the weights' length, and so had all gradients before it.
    ///
    /// # Panics
    /// Where the lengths differ from each other or from those of the state.
    fn step(&mut self, weights: &mut [F], gradient: &[F], learning_rate: F);

    /// All that later steps depend on, bit for bit.
    fn state(&self) -> OptimizerState<F>;

    /// Puts a state back that [`Optimizer::state`] returned.
    ///
    /// # Errors
    /// [`StateError`] where a slot is missing, unknown or of another length; nothing is changed then.
    fn load_state(&mut self, state: &OptimizerState<F>) -> Result<(), StateError>;
}

/// An optimizer and its constants; the learning rate comes with each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptimizerConfig {
    /// Plain step, for full batches (gd) and mini-batches (sgd) alike: `w ← (1 − λ)w − ηg`.
    GradientDescent {
        /// λ, multiplicative.
        weight_decay: f64,
    },
    /// Heavy ball: `v ← βv + g`, `w ← (1 − λ)w − ηv`.
    Momentum {
        /// β.
        beta: f64,
        /// λ, multiplicative.
        weight_decay: f64,
    },
    /// `v ← βv + (1 − β)g²`, `w ← (1 − λ)w − ηg/√(v + ε)`.
    RmsProp {
        /// β.
        beta: f64,
        /// ε, inside the root.
        epsilon: f64,
        /// λ, multiplicative.
        weight_decay: f64,
    },
    /// Adam; takes no weight decay.
    Adam {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε, outside the root.
        epsilon: f64,
    },
    /// AdamW: `w ← (1 − ηλ)w`, then Adam's step.
    AdamW {
        /// β₁.
        beta1: f64,
        /// β₂.
        beta2: f64,
        /// ε, outside the root.
        epsilon: f64,
        /// λ, scaled by the learning rate.
        weight_decay: f64,
    },
}

impl OptimizerConfig {
    /// The optimizer for a vector of `len` weights, in its first state.
    #[must_use]
    pub fn build<F: Float>(&self, len: usize) -> Box<dyn Optimizer<F>> {
        match *self {
            Self::GradientDescent { weight_decay } => Box::new(GradientDescent::new(weight_decay)),
            Self::Momentum { beta, weight_decay } => Box::new(Momentum::new(len, beta, weight_decay)),
            Self::RmsProp { beta, epsilon, weight_decay } => Box::new(RmsProp::new(len, beta, epsilon, weight_decay)),
            Self::Adam { beta1, beta2, epsilon } => Box::new(Adam::new(len, beta1, beta2, epsilon, 0.0)),
            Self::AdamW { beta1, beta2, epsilon, weight_decay } => Box::new(Adam::new(len, beta1, beta2, epsilon, weight_decay)),
        }
    }
}

#[cfg(test)]
mod tests;
