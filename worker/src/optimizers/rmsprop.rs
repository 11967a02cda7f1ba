//! RMSProp with ε inside the root and no bias correction.

use super::state::restore;
use super::{Float, Optimizer, OptimizerState, StateError};

/// `v ← βv + (1 − β)g²`, `w ← (1 − λ)w − ηg/√(v + ε)`, with `v = 0` at the start.
///
/// Near a solution `v → 0`, so the effective rate is `η/√ε`.
#[derive(Debug, Clone)]
pub struct RmsProp<F> {
    beta: f64,
    epsilon: f64,
    weight_decay: f64,
    mean_square: Vec<F>,
    steps: u64,
}

impl<F: Float> RmsProp<F> {
    /// For `len` weights, with multiplicative weight decay λ.
    #[must_use]
    pub fn new(len: usize, beta: f64, epsilon: f64, weight_decay: f64) -> Self {
        Self { beta, epsilon, weight_decay, mean_square: vec![F::ZERO; len], steps: 0 }
    }
}

impl<F: Float> Optimizer<F> for RmsProp<F> {
    fn step(&mut self, weights: &mut [F], gradient: &[F], learning_rate: F) {
        assert_eq!(weights.len(), gradient.len(), "weights and gradient differ in length");
        assert_eq!(weights.len(), self.mean_square.len(), "weights and mean square differ in length");
        let (beta, rest) = (F::from_f64(self.beta), F::from_f64(1.0 - self.beta));
        let (epsilon, keep) = (F::from_f64(self.epsilon), F::from_f64(1.0 - self.weight_decay));
        for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(&mut self.mean_square) {
            *v = beta * *v + rest * g * g;
            *w = keep * *w - learning_rate * g / (*v + epsilon).sqrt();
        }
        self.steps += 1;
    }

    fn state(&self) -> OptimizerState<F> {
        OptimizerState { steps: self.steps, slots: vec![("mean_square".to_owned(), self.mean_square.clone())] }
    }

    fn load_state(&mut self, state: &OptimizerState<F>) -> Result<(), StateError> {
        restore(state, &mut [("mean_square", &mut self.mean_square)])?;
        self.steps = state.steps;
        Ok(())
    }
}
