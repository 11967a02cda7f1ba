//! Gradient descent, unrolled, with the derivative of its end in the learning rate.

use thiserror::Error;

use super::ledger::Ledger;
use crate::regression::Problem;
use crate::regression::vector::dot;

/// The inner loop whose rate is learned: `steps` steps of gradient descent on `L̃` from `start`.
#[derive(Clone, Copy, Debug)]
pub struct Unrolled<'a> {
    problem: &'a Problem,
    l2: f64,
    start: &'a [f64],
    steps: usize,
}

/// What the inner loop ends at with some rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// `L̃_k(η)`.
    pub loss: f64,
    /// `dL̃_k/dη`.
    pub hypergradient: f64,
}

/// The caller asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Asked once a step: an error breaks the computation off.
type Check<'c> = &'c dyn Fn() -> Result<(), Interrupted>;

impl<'a> Unrolled<'a> {
    /// `steps` is k, `l2` is λ̃, `start` is w_0.
    ///
    /// # Panics
    /// If `start` has not d elements.
    pub fn new(problem: &'a Problem, l2: f64, start: &'a [f64], steps: usize) -> Self {
        assert_eq!(start.len(), problem.features(), "one weight a feature");
        Self { problem, l2, start, steps }
    }

    /// X and t.
    pub fn problem(&self) -> &'a Problem {
        self.problem
    }

    /// k.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// λ̃.
    pub fn l2(&self) -> f64 {
        self.l2
    }

    /// w_0.
    pub fn start(&self) -> &'a [f64] {
        self.start
    }

    /// The same with another number of steps.
    pub fn with_steps(self, steps: usize) -> Self {
        Self { steps, ..self }
    }

    /// `L̃(w_0) = L̃_k(0)`.
    pub fn first_loss(&self) -> f64 {
        self.problem.loss(self.start, self.l2)
    }

    /// `dL̃_k/dη` at η = 0, which is `−k·‖∇L̃(w_0)‖²`.
    pub fn hypergradient_at_zero(&self) -> f64 {
        let mut gradient = vec![0.0; self.start.len()];
        self.problem.loss_and_gradient(self.start, self.l2, &mut gradient);
        -(self.steps as f64) * dot(&gradient, &gradient)
    }

    /// `L̃_k(η)`.
    ///
    /// # Errors
    /// Where `check` breaks it off.
    pub fn loss(&self, rate: f64, check: Check<'_>) -> Result<f64, Interrupted> {
        let mut weights = self.start.to_vec();
        let mut gradient = vec![0.0; weights.len()];
        for _ in 0..self.steps {
            check()?;
            self.problem.loss_and_gradient(&weights, self.l2, &mut gradient);
            descend(&mut weights, rate, &gradient);
        }
        Ok(self.problem.loss(&weights, self.l2))
    }

    /// Forward: `u_j = dw_j/dη` goes along with the weights,
    ///
    /// ```text
    /// u_0 = 0,  u_{j+1} = (I − ηH̃)u_j − ∇L̃(w_j),  dL̃_k/dη = ∇L̃(w_k)ᵀu_k
    /// ```
    ///
    /// Holds four vectors of d numbers, whatever k; takes about 4·k·n·d multiply-adds.
    ///
    /// # Errors
    /// Where `check` breaks it off.
    pub fn forward(&self, rate: f64, ledger: &Ledger, check: Check<'_>) -> Result<Evaluation, Interrupted> {
        let features = self.start.len();
        let mut weights = ledger.copy_of(self.start);
        let mut tangent = ledger.zeros(features);
        let mut gradient = ledger.zeros(features);
        let mut product = ledger.zeros(features);
        for _ in 0..self.steps {
            check()?;
            self.problem.loss_and_gradient(&weights, self.l2, &mut gradient);
            self.problem.hessian_product(&tangent, self.l2, &mut product);
            for ((tangent, product), derivative) in tangent.iter_mut().zip(product.iter()).zip(gradient.iter()) {
                *tangent -= rate * product + derivative;
            }
            descend(&mut weights, rate, &gradient);
        }
        let loss = self.problem.loss_and_gradient(&weights, self.l2, &mut gradient);
        Ok(Evaluation { loss, hypergradient: dot(&gradient, &tangent) })
    }

    /// Reverse: the weights of all steps are kept, and the adjoint `v` goes back through them,
    ///
    /// ```text
    /// v_k = ∇L̃(w_k);  for j = k−1 … 0:  dL̃_k/dη += −∇L̃(w_j)ᵀv_{j+1},  v_j = (I − ηH̃)v_{j+1}
    /// ```
    ///
    /// Holds k + 4 vectors of d numbers; takes about 6·k·n·d multiply-adds.
    ///
    /// # Errors
    /// Where `check` breaks it off.
    pub fn reverse(&self, rate: f64, ledger: &Ledger, check: Check<'_>) -> Result<Evaluation, Interrupted> {
        let features = self.start.len();
        let mut path = vec![ledger.copy_of(self.start)];
        let mut gradient = ledger.zeros(features);
        for step in 0..self.steps {
            check()?;
            self.problem.loss_and_gradient(&path[step], self.l2, &mut gradient);
            let mut next = ledger.copy_of(&path[step]);
            descend(&mut next, rate, &gradient);
            path.push(next);
        }
        let mut adjoint = ledger.zeros(features);
        let mut product = ledger.zeros(features);
        let loss = self.problem.loss_and_gradient(&path[self.steps], self.l2, &mut adjoint);
        let mut hypergradient = 0.0;
        for weights in path[..self.steps].iter().rev() {
            check()?;
            self.problem.loss_and_gradient(weights, self.l2, &mut gradient);
            hypergradient -= dot(&gradient, &adjoint);
            self.problem.hessian_product(&adjoint, self.l2, &mut product);
            descend(&mut adjoint, rate, &product);
        }
        Ok(Evaluation { loss, hypergradient })
    }

    /// The central difference over seven points, whose error falls with the sixth power of their distance: `L̃_k` is a polynomial of
    /// degree 2k in η, steep for large k, and three points would have to lie so near to each other that rounding spoils them.
    ///
    /// # Errors
    /// Where `check` breaks it off.
    pub fn central_difference(&self, rate: f64, check: Check<'_>) -> Result<f64, Interrupted> {
        let distance = rate * 1e-2 / self.steps.max(10) as f64;
        let mut sum = 0.0;
        for (weight, points) in [(45.0, 1.0), (-9.0, 2.0), (1.0, 3.0)] {
            let away = points * distance;
            sum += weight * (self.loss(rate + away, check)? - self.loss(rate - away, check)?);
        }
        Ok(sum / (60.0 * distance))
    }
}

/// `w ← w − rate·gradient`.
fn descend(weights: &mut [f64], rate: f64, gradient: &[f64]) {
    for (weight, derivative) in weights.iter_mut().zip(gradient) {
        *weight -= rate * derivative;
    }
}
