//! A problem's data, its loss and its gradient.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::vector::{add_scaled, dot, square_norm};

/// A least-squares problem: `X` (n×d, row-major) and `t` (n), all finite, n and d at least 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ProblemData", into = "ProblemData")]
pub struct Problem {
    x: Vec<f64>,
    t: Vec<f64>,
    features: usize,
}

/// Why data do not make a [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProblemError {
    #[error("a problem needs at least one example and one feature")]
    Empty,
    #[error("X has {values} values, which is not {examples} rows of {features}")]
    Shape { values: usize, examples: usize, features: usize },
    #[error("X[{row}][{column}] is not a finite number")]
    InfiniteX { row: usize, column: usize },
    #[error("t[{row}] is not a finite number")]
    InfiniteT { row: usize },
}

impl Problem {
    /// `x` holds the rows of X one after another, `features` values each; `t` one target a row.
    pub fn new(x: Vec<f64>, t: Vec<f64>, features: usize) -> Result<Self, ProblemError> {
        if t.is_empty() || features == 0 {
            return Err(ProblemError::Empty);
        }
        if t.len().checked_mul(features) != Some(x.len()) {
            return Err(ProblemError::Shape { values: x.len(), examples: t.len(), features });
        }
        if let Some(index) = x.iter().position(|value| !value.is_finite()) {
            return Err(ProblemError::InfiniteX { row: index / features, column: index % features });
        }
        if let Some(row) = t.iter().position(|value| !value.is_finite()) {
            return Err(ProblemError::InfiniteT { row });
        }
        Ok(Self { x, t, features })
    }

    /// The number of examples, n.
    pub fn examples(&self) -> usize {
        self.t.len()
    }

    /// The number of features (and weights), d.
    pub fn features(&self) -> usize {
        self.features
    }

    /// X, row-major, n·d values.
    pub fn x(&self) -> &[f64] {
        &self.x
    }

    /// t, n values.
    pub fn t(&self) -> &[f64] {
        &self.t
    }

    /// Row `example` of X, d values.
    ///
    /// # Panics
    /// If there is no such example.
    pub fn row(&self, example: usize) -> &[f64] {
        &self.x[example * self.features..][..self.features]
    }

    /// `X[j]·w − t[j]` for one example.
    fn residual_of(&self, example: usize, weights: &[f64]) -> f64 {
        dot(self.row(example), weights) - self.t[example]
    }

    /// `residual ← Xw − t`.
    ///
    /// # Panics
    /// If `weights` has not d or `residual` not n elements.
    pub fn residual(&self, weights: &[f64], residual: &mut [f64]) {
        assert_eq!(residual.len(), self.examples(), "one residual an example");
        for (example, value) in residual.iter_mut().enumerate() {
            *value = self.residual_of(example, weights);
        }
    }

    /// `‖Xw − t‖`.
    pub fn residual_norm(&self, weights: &[f64]) -> f64 {
        self.square_residual(weights).sqrt()
    }

    /// `L̃(w) = (1/n)·‖Xw − t‖² + l2·‖w‖²`.
    pub fn loss(&self, weights: &[f64], l2: f64) -> f64 {
        self.square_residual(weights) / self.examples() as f64 + penalty(weights, l2)
    }

    /// Overwrites `gradient` with `∇L̃(w) = (2/n)·Xᵀ(Xw − t) + 2·l2·w` and returns `L̃(w)`. One
    /// pass over X, no allocation.
    ///
    /// # Panics
    /// If `weights` or `gradient` has not d elements.
    pub fn loss_and_gradient(&self, weights: &[f64], l2: f64, gradient: &mut [f64]) -> f64 {
        self.sum_over(0..self.examples(), weights, l2, gradient)
    }

    /// [`loss_and_gradient`](Self::loss_and_gradient) over the examples of a batch alone: with `b`
    /// of them, `(2/b)·Σ_{j∈B} x_j(x_jᵀw − t_j) + 2·l2·w` and `(1/b)·Σ_{j∈B} (x_jᵀw − t_j)² +
    /// l2·‖w‖²`. Sums run in the batch's order.
    ///
    /// # Panics
    /// If the batch is empty or names an example that is not there, or if a length is not d.
    pub fn batch_loss_and_gradient(&self, batch: &[usize], weights: &[f64], l2: f64, gradient: &mut [f64]) -> f64 {
        assert!(!batch.is_empty(), "a batch has at least one example");
        self.sum_over(batch.iter().copied(), weights, l2, gradient)
    }

    /// Overwrites `product` with `H̃v = (2/n)·XᵀXv + 2·l2·v`. One pass over X, no allocation.
    ///
    /// # Panics
    /// If `vector` or `product` has not d elements.
    pub fn hessian_product(&self, vector: &[f64], l2: f64, product: &mut [f64]) {
        assert_eq!(product.len(), self.features, "one element a weight");
        product.fill(0.0);
        for row in self.x.chunks_exact(self.features) {
            add_scaled(product, dot(row, vector), row);
        }
        let scale = 2.0 / self.examples() as f64;
        for (element, component) in product.iter_mut().zip(vector) {
            *element = scale * *element + 2.0 * l2 * component;
        }
    }

    fn sum_over(&self, examples: impl ExactSizeIterator<Item = usize>, weights: &[f64], l2: f64, gradient: &mut [f64]) -> f64 {
        assert_eq!(gradient.len(), self.features, "one derivative a weight");
        let count = examples.len() as f64;
        gradient.fill(0.0);
        let mut square = 0.0;
        for example in examples {
            let residual = self.residual_of(example, weights);
            square += residual * residual;
            // A row is added while it is still in the cache from its product with the weights.
            add_scaled(gradient, residual, self.row(example));
        }
        let scale = 2.0 / count;
        for (derivative, weight) in gradient.iter_mut().zip(weights) {
            *derivative = scale * *derivative + 2.0 * l2 * weight;
        }
        square / count + penalty(weights, l2)
    }

    fn square_residual(&self, weights: &[f64]) -> f64 {
        (0..self.examples()).map(|example| self.residual_of(example, weights)).fold(0.0, |sum, residual| sum + residual * residual)
    }
}

/// `l2·‖w‖²`, and 0 without a penalty, whatever the weights: an infinite weight must not make 0·∞
/// of it.
fn penalty(weights: &[f64], l2: f64) -> f64 {
    if l2 == 0.0 { 0.0 } else { l2 * square_norm(weights) }
}

/// The fields as they are stored; reading them back goes through [`Problem::new`].
#[derive(Serialize, Deserialize)]
struct ProblemData {
    x: Vec<f64>,
    t: Vec<f64>,
    features: usize,
}

impl TryFrom<ProblemData> for Problem {
    type Error = ProblemError;

    fn try_from(data: ProblemData) -> Result<Self, ProblemError> {
        Self::new(data.x, data.t, data.features)
    }
}

impl From<Problem> for ProblemData {
    fn from(problem: Problem) -> Self {
        Self { x: problem.x, t: problem.t, features: problem.features }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SyntheticProblem;
    use super::*;

    fn small() -> Problem {
        Problem::new(vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![1.0, 0.0, -1.0], 2).unwrap()
    }

    #[test]
    fn the_hessian_takes_a_step_to_the_change_of_the_gradient() {
        let problem = small();
        let (mut here, mut there, mut product) = ([0.0; 2], [0.0; 2], [0.0; 2]);
        problem.loss_and_gradient(&[1.0, -1.0], 0.25, &mut here);
        problem.loss_and_gradient(&[3.0, 4.0], 0.25, &mut there);
        problem.hessian_product(&[2.0, 5.0], 0.25, &mut product);
        for index in 0..2 {
            assert!((there[index] - here[index] - product[index]).abs() < 1e-13);
        }
    }

    #[test]
    fn loss_and_gradient_are_those_of_the_mean_square() {
        let problem = small();
        // Xw − t = (−2, −1, 0) at w = (1, −1).
        let mut gradient = [0.0; 2];
        let loss = problem.loss_and_gradient(&[1.0, -1.0], 0.0, &mut gradient);
        assert_eq!(loss, 5.0 / 3.0);
        assert!((gradient[0] - 2.0 / 3.0 * -5.0).abs() < 1e-15);
        assert!((gradient[1] - 2.0 / 3.0 * -8.0).abs() < 1e-15);
        assert_eq!(problem.loss(&[1.0, -1.0], 0.0), loss);
        assert_eq!(problem.residual_norm(&[1.0, -1.0]), 5.0_f64.sqrt());
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let made = SyntheticProblem { examples: 13, features: 9, condition: 10.0, noise: 0.3, seed: 4 };
        let problem = made.generate().unwrap().0;
        let weights: Vec<f64> = (0..9).map(|i| f64::from(i) / 4.0 - 1.0).collect();
        let mut gradient = [0.0; 9];
        for l2 in [0.0, 0.7] {
            problem.loss_and_gradient(&weights, l2, &mut gradient);
            for index in 0..9 {
                let at = |shift: f64| {
                    let mut moved = weights.clone();
                    moved[index] += shift;
                    problem.loss(&moved, l2)
                };
                let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
                assert!((slope - gradient[index]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_batch_of_every_example_is_the_whole_problem_and_a_part_averages_over_itself() {
        let problem = small();
        let mut whole = [0.0; 2];
        let mut batch = [0.0; 2];
        let loss = problem.loss_and_gradient(&[0.5, 0.25], 0.1, &mut whole);
        let same = problem.batch_loss_and_gradient(&[0, 1, 2], &[0.5, 0.25], 0.1, &mut batch);
        assert_eq!((loss, whole), (same, batch));
        let one = problem.batch_loss_and_gradient(&[2], &[1.0, 0.0], 0.0, &mut batch);
        assert_eq!((one, batch), (36.0, [60.0, 72.0]));
    }

    #[test]
    fn data_of_the_wrong_shape_or_not_finite_are_refused() {
        assert_eq!(Problem::new(vec![], vec![], 1), Err(ProblemError::Empty));
        assert_eq!(Problem::new(vec![], vec![1.0], 0), Err(ProblemError::Empty));
        assert!(matches!(Problem::new(vec![1.0; 5], vec![1.0; 2], 2), Err(ProblemError::Shape { .. })));
        assert!(matches!(Problem::new(vec![1.0; 4], vec![1.0; 2], usize::MAX), Err(ProblemError::Shape { .. })));
        assert_eq!(Problem::new(vec![1.0, 2.0, f64::NAN, 1.0], vec![1.0; 2], 2), Err(ProblemError::InfiniteX { row: 1, column: 0 }));
        assert_eq!(Problem::new(vec![1.0; 2], vec![0.0, f64::INFINITY], 1), Err(ProblemError::InfiniteT { row: 1 }));
    }
}
