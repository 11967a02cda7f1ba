//! Adam and AdamW, with PyTorch's order of operations.

use super::state::restore;
use super::{Float, Optimizer, OptimizerState, StateError};

/// At step `t = 1, 2, …`, with `m = v = 0` at the start:
///
/// ```text
/// w ← (1 − ηλ)w                                  (AdamW; λ = 0 is Adam)
/// m ← m + (1 − β₁)(g − m)
/// v ← β₂v + (1 − β₂)g²
/// w ← w − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
/// ```
#[derive(Debug, Clone)]
pub struct Adam<F> {
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    first_moment: Vec<F>,
    second_moment: Vec<F>,
    steps: u64,
}

impl<F: Float> Adam<F> {
    /// For `len` weights; `weight_decay` is AdamW's λ, 0 for Adam.
    #[must_use]
    pub fn new(len: usize, beta1: f64, beta2: f64, epsilon: f64, weight_decay: f64) -> Self {
        let zeros = vec![F::ZERO; len];
        Self { beta1, beta2, epsilon, weight_decay, first_moment: zeros.clone(), second_moment: zeros, steps: 0 }
    }
}

impl<F: Float> Optimizer<F> for Adam<F> {
    fn step(&mut self, weights: &mut [F], gradient: &[F], learning_rate: F) {
        assert_eq!(weights.len(), gradient.len(), "weights and gradient differ in length");
        assert_eq!(weights.len(), self.first_moment.len(), "weights and moments differ in length");
        self.steps += 1;
        let t = self.steps as f64;
        let rate = learning_rate.to_f64();
        let step_size = F::from_f64(rate / (1.0 - self.beta1.powf(t)));
        let root_correction = F::from_f64((1.0 - self.beta2.powf(t)).sqrt());
        let keep = F::from_f64(1.0 - rate * self.weight_decay);
        let rest1 = F::from_f64(1.0 - self.beta1);
        let (beta2, rest2) = (F::from_f64(self.beta2), F::from_f64(1.0 - self.beta2));
        let epsilon = F::from_f64(self.epsilon);
        let moments = self.first_moment.iter_mut().zip(&mut self.second_moment);
        for ((w, &g), (m, v)) in weights.iter_mut().zip(gradient).zip(moments) {
            *m = *m + rest1 * (g - *m);
            *v = beta2 * *v + rest2 * g * g;
            *w = keep * *w - step_size * *m / (v.sqrt() / root_correction + epsilon);
        }
    }

    fn state(&self) -> OptimizerState<F> {
        OptimizerState {
            steps: self.steps,
            slots: vec![("first_moment".to_owned(), self.first_moment.clone()), ("second_moment".to_owned(), self.second_moment.clone())],
        }
    }

    fn load_state(&mut self, state: &OptimizerState<F>) -> Result<(), StateError> {
        restore(state, &mut [("first_moment", &mut self.first_moment), ("second_moment", &mut self.second_moment)])?;
        self.steps = state.steps;
        Ok(())
    }
}
