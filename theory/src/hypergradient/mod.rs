//! The derivative of what `k` steps of gradient descent end at, in their learning rate.
//!
//! ```text
//! w_{j+1} = w_j − η·∇L̃(w_j), j = 0 … k−1        L̃_k(η) = L̃(w_k)        g = dL̃_k/dη
//! ```
//!
//! [`Unrolled`] computes `g` by the two recursions, forward and reverse, and by differences; [`Ledger`] counts the bytes that each of
//! them holds. The outer loop is a [`SecantSearch`] or a [`LogDescent`]: both are functions of the points they were shown, so that a
//! run is resumed by showing them again. [`claims`] has what theory says of a run, from the exact `L̃_k(η)` in the eigenbasis
//! ([`DescentPath`](crate::regression::DescentPath)); [`Graph`] is the picture of the steps.

pub mod claims;
mod graph;
mod ledger;
mod outer;
mod unrolled;

pub use graph::{Graph, Node, Role};
pub use ledger::{Ledger, Vector};
pub use outer::{LogDescent, Next, SecantSearch};
pub use unrolled::{Evaluation, Interrupted, Unrolled};

use crate::regression::Problem;
use crate::regression::vector::{add_scaled, dot, square_norm};

/// The rate that makes the loss after one step without a penalty least: `η* = (n/2)·‖Xᵀa‖²/‖XXᵀa‖²` with `a = Xw_0 − t`.
///
/// None where the gradient is 0, so that no rate changes the loss.
pub fn one_step_optimum(problem: &Problem, start: &[f64]) -> Option<f64> {
    let mut residual = vec![0.0; problem.examples()];
    problem.residual(start, &mut residual);
    let mut back = vec![0.0; problem.features()];
    for (example, value) in residual.iter().enumerate() {
        add_scaled(&mut back, *value, problem.row(example));
    }
    let numerator = square_norm(&back);
    let denominator: f64 = (0..problem.examples()).map(|example| dot(problem.row(example), &back)).map(|value| value * value).sum();
    (denominator > 0.0).then(|| 0.5 * problem.examples() as f64 * numerator / denominator)
}

#[cfg(test)]
mod tests;
