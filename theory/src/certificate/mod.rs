//! Claims of theory checked on a run: pure functions from a problem's [`Spectrum`](crate::regression::Spectrum) and the numbers
//! that the run measured to a [`Certificate`]. A claim that the numbers cannot decide gives none.
//!
//! `descent` has those of full-batch gradient descent (stability, exact path, steepest mode, steps to
//! a tolerance), `solution` says which solution a run is at and whether it kept to the row space,
//! `rmsprop` has RMSProp's own limit on a fixed rate. `docs/theory.md` explains them to users.
//!
//! Every function takes the rate as fixed; under a schedule that lowers it the claims about rates
//! do not apply.

mod descent;
mod rmsprop;
mod solution;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use descent::{exact_descent_path, gradient_descent_stability, steepest_mode, steps_to_tolerance};
pub use rmsprop::rmsprop_settles;
pub use solution::{minimum_norm, null_space, outside_row_space, ridge_solution, solution_reached};

/// A claim and what a run showed of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// What theory says, in one sentence.
    pub claim: String,
    /// The formula that predicts.
    pub formula: String,
    /// Where the formula comes from.
    pub source: String,
    /// The formula's value.
    pub predicted: f64,
    /// The run's value. Not finite where the run diverged.
    pub measured: f64,
    /// How far apart the two may be by rounding.
    pub tolerance: f64,
    /// Whether the run agrees with the claim.
    pub holds: bool,
}

/// What theory says, before a run is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// One sentence.
    pub claim: &'a str,
    pub formula: &'a str,
    /// The literature, and the place of `docs/theory.md` that tells how the claim is checked.
    pub source: &'a str,
}

impl Statement<'_> {
    /// The claim that `measured` is `predicted`: holds iff they are within `tolerance`, never with
    /// a NaN.
    pub fn equal(&self, predicted: f64, measured: f64, tolerance: f64) -> Certificate {
        self.judged(predicted, measured, tolerance, (measured - predicted).abs() <= tolerance)
    }

    /// The claim that `measured` is at most `predicted`: holds iff it exceeds it by no more than
    /// `tolerance`, never with a NaN.
    pub fn at_most(&self, predicted: f64, measured: f64, tolerance: f64) -> Certificate {
        self.judged(predicted, measured, tolerance, measured <= predicted + tolerance)
    }

    /// The claim that `measured` is over `predicted`: holds iff it exceeds it by more than
    /// `tolerance`, never with a NaN.
    pub fn over(&self, predicted: f64, measured: f64, tolerance: f64) -> Certificate {
        self.judged(predicted, measured, tolerance, measured > predicted + tolerance)
    }

    /// A claim that is more than a comparison of the two numbers, judged by the caller.
    pub fn judged(&self, predicted: f64, measured: f64, tolerance: f64, holds: bool) -> Certificate {
        let Self { claim, formula, source } = self;
        let (claim, formula, source) = ((*claim).to_owned(), (*formula).to_owned(), (*source).to_owned());
        Certificate { claim, formula, source, predicted, measured, tolerance, holds }
    }
}
