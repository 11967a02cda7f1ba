//! Gradient descent, plain and with momentum.

use super::state::restore;
use super::{Float, Optimizer, OptimizerState, StateError};

/// `w ← (1 − λ)w − ηg`.
#[derive(Debug, Clone)]
pub struct GradientDescent {
    weight_decay: f64,
    steps: u64,
}

impl GradientDescent {
    /// With multiplicative weight decay λ.
    #[must_use]
    pub fn new(weight_decay: f64) -> Self {
        Self { weight_decay, steps: 0 }
    }
}

impl<F: Float> Optimizer<F> for GradientDescent {
    fn step(&mut self, weights: &mut [F], gradient: &[F], learning_rate: F) {
        assert_eq!(weights.len(), gradient.len(), "weights and gradient differ in length");
        let keep = F::from_f64(1.0 - self.weight_decay);
        for (w, &g) in weights.iter_mut().zip(gradient) {
            *w = keep * *w - learning_rate * g;
        }
        self.steps += 1;
    }

    fn state(&self) -> OptimizerState<F> {
        OptimizerState { steps: self.steps, slots: Vec::new() }
    }

    fn load_state(&mut self, state: &OptimizerState<F>) -> Result<(), StateError> {
        restore(state, &mut [])?;
        self.steps = state.steps;
        Ok(())
    }
}

/// Heavy ball: `v ← βv + g`, `w ← (1 − λ)w − ηv`, with `v = 0` at the start.
#[derive(Debug, Clone)]
pub struct Momentum<F> {
    beta: f64,
    weight_decay: f64,
    velocity: Vec<F>,
    steps: u64,
}

impl<F: Float> Momentum<F> {
    /// For `len` weights, with multiplicative weight decay λ.
    #[must_use]
    pub fn new(len: usize, beta: f64, weight_decay: f64) -> Self {
        Self { beta, weight_decay, velocity: vec![F::ZERO; len], steps: 0 }
    }
}

impl<F: Float> Optimizer<F> for Momentum<F> {
    fn step(&mut self, weights: &mut [F], gradient: &[F], learning_rate: F) {
        assert_eq!(weights.len(), gradient.len(), "weights and gradient differ in length");
        assert_eq!(weights.len(), self.velocity.len(), "weights and velocity differ in length");
        let (beta, keep) = (F::from_f64(self.beta), F::from_f64(1.0 - self.weight_decay));
        for ((w, &g), v) in weights.iter_mut().zip(gradient).zip(&mut self.velocity) {
            *v = beta * *v + g;
            *w = keep * *w - learning_rate * *v;
        }
        self.steps += 1;
    }

    fn state(&self) -> OptimizerState<F> {
        OptimizerState { steps: self.steps, slots: vec![("velocity".to_owned(), self.velocity.clone())] }
    }

    fn load_state(&mut self, state: &OptimizerState<F>) -> Result<(), StateError> {
        restore(state, &mut [("velocity", &mut self.velocity)])?;
        self.steps = state.steps;
        Ok(())
    }
}
