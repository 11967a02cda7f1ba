//! Which of the solutions a run is at, and whether it kept to the row space of X.

use super::{Certificate, Statement};
use crate::regression::Spectrum;
use crate::regression::vector::{distance, norm};

const MINIMUM_NORM: Statement = Statement {
    claim: "weights in the row space of X are no farther from the minimum-norm solution than their residual allows",
    formula: "‖w − X⁺t‖ ≤ √(‖Xw − t‖² − n·min L)/s_min⁺",
    source: "Penrose, On best approximate solutions of linear matrix equations (1956); docs/theory.md#minimum-norm",
};

const ANOTHER_SOLUTION: Statement = Statement {
    claim: "the adaptive optimizer reached a solution of least residual that is not the minimum-norm one",
    formula: "‖w − X⁺t‖ > √(‖Xw − t‖² − n·min L)/s_min⁺",
    source: "Wilson et al., The Marginal Value of Adaptive Gradient Methods (2017), 3; docs/theory.md#adaptive-optimizers",
};

const NULL_SPACE: Statement = Statement {
    claim: "the null-space part of the weights stays at rounding level",
    formula: "‖(I − X⁺X)w‖ = 0",
    source: "Gunasekar et al., Characterizing Implicit Bias in Terms of Optimization Geometry (2018), 2.1; docs/theory.md#null-space",
};

const OUTSIDE: Statement = Statement {
    claim: "the adaptive optimizer left the row space of X: its weights have a null-space part",
    formula: "‖(I − X⁺X)w‖ > 0",
    source: ANOTHER_SOLUTION.source,
};

const RIDGE: Statement = Statement {
    claim: "the weights are no farther from the ridge solution than their gradient allows",
    formula: "‖w − (XᵀX + nλ̃I)⁻¹Xᵀt‖ ≤ ‖∇L̃(w)‖/μ_min, μ_min the smallest eigenvalue of H̃",
    source: "Hoerl and Kennard, Ridge Regression (1970), and strong convexity; docs/theory.md#ridge",
};

/// A run is taken to have reached the least residual when what is over it is at most this share of
/// the targets' norm.
const REACHED: f64 = 1e-5;

/// Weights in the row space of X are as near to the minimum-norm solution as their residual is to
/// the least one: `‖w − X⁺t‖ ≤ ‖X(w − X⁺t)‖/s_min⁺` with `‖X(w − X⁺t)‖² = ‖Xw − t‖² − n·min L`. So
/// gradient descent, SGD and momentum, which never leave the row space they start in, reach the
/// minimum-norm solution if they reach `Xw = t`. For RMSProp and Adam, which leave it, see
/// [`solution_reached`].
///
/// None where X = 0.
pub fn minimum_norm(spectrum: &Spectrum, weights: &[f64], residual_norm: f64) -> Option<Certificate> {
    let (bound, tolerance) = minimum_norm_bound(spectrum, weights, residual_norm)?;
    Some(MINIMUM_NORM.at_most(bound, spectrum.distance_to_minimum_norm(weights), tolerance))
}

/// An adaptive optimizer that reached the least residual is at the minimum-norm solution or at
/// another one: the certificate says which. Predicted is the greatest distance of weights in the
/// row space, measured the run's.
///
/// None where X = 0, or while the residual is over the least one by more than 10⁻⁵ of the targets.
pub fn solution_reached(spectrum: &Spectrum, weights: &[f64], residual_norm: f64, target_norm: f64) -> Option<Certificate> {
    let (bound, tolerance) = minimum_norm_bound(spectrum, weights, residual_norm)?;
    let over = excess_residual(spectrum, residual_norm);
    if over > REACHED * target_norm {
        return None;
    }
    let measured = spectrum.distance_to_minimum_norm(weights);
    let elsewhere = measured > bound + tolerance;
    Some(if elsewhere { ANOTHER_SOLUTION.over(bound, measured, tolerance) } else { MINIMUM_NORM.at_most(bound, measured, tolerance) })
}

/// `√(‖Xw − t‖² − n·min L) = ‖X(w − X⁺t)‖`.
fn excess_residual(spectrum: &Spectrum, residual_norm: f64) -> f64 {
    let least = spectrum.minimum_loss() * spectrum.examples() as f64;
    (residual_norm * residual_norm - least).max(0.0).sqrt()
}

/// How far weights in the row space can be from the minimum-norm solution, and the rounding of
/// that; none where X = 0.
fn minimum_norm_bound(spectrum: &Spectrum, weights: &[f64], residual_norm: f64) -> Option<(f64, f64)> {
    let smallest = *spectrum.singular_values()[..spectrum.rank()].last()?;
    let least = spectrum.minimum_loss() * spectrum.examples() as f64;
    // The difference of the squares keeps half its digits; the solution itself carries the
    // condition of X.
    let solution = norm(spectrum.minimum_norm_solution());
    let root_condition = spectrum.condition()?.sqrt();
    let rounding = 16.0 * f64::EPSILON * spectrum.features().max(spectrum.examples()) as f64;
    let tolerance = (rounding * least).sqrt() / smallest + rounding * root_condition * solution.max(norm(weights));
    Some((excess_residual(spectrum, residual_norm) / smallest, tolerance))
}

/// Gradient descent, SGD and momentum from a start in the row space of X stay in it, with or
/// without a penalty or weight decay: the null-space part stays at rounding level. Each of the
/// `steps` updates rounds every weight once, and as often in either direction, so the level grows
/// with `√steps`; the row space itself is known to `ε·√condition`. Momentum `beta` (0 for none)
/// keeps each rounding of the gradient for `1/(1 − β)` steps.
///
/// None where `start` is not in the row space, or where that is not known to rounding: with a rank
/// under min(n, d), singular values too small to be told from 0 have directions that the gradient
/// still follows.
pub fn null_space(spectrum: &Spectrum, start: &[f64], weights: &[f64], steps: u64, beta: f64) -> Option<Certificate> {
    let tolerance = null_space_level(spectrum, start, weights, steps)? / (1.0 - beta);
    Some(NULL_SPACE.at_most(0.0, spectrum.null_space_norm(weights), tolerance))
}

/// An adaptive optimizer scales every coordinate by itself, which takes the weights out of the row
/// space of X, unless the problem happens to be so even that it does not: the certificate says
/// which, by the level at which [`null_space`] would still call it rounding.
///
/// None as there, and where there is no null space.
pub fn outside_row_space(spectrum: &Spectrum, start: &[f64], weights: &[f64], steps: u64) -> Option<Certificate> {
    if spectrum.rank() == spectrum.features() {
        return None;
    }
    let level = null_space_level(spectrum, start, weights, steps)?;
    let measured = spectrum.null_space_norm(weights);
    Some(if measured > level { OUTSIDE.over(0.0, measured, level) } else { NULL_SPACE.at_most(0.0, measured, level) })
}

/// What rounding may have put into the null space; none where a start in the row space is not given
/// or not known.
fn null_space_level(spectrum: &Spectrum, start: &[f64], weights: &[f64], steps: u64) -> Option<f64> {
    if spectrum.rank() < spectrum.examples().min(spectrum.features()) {
        return None;
    }
    let scale = norm(start).max(norm(weights)).max(norm(spectrum.minimum_norm_solution()));
    let growth = (steps as f64 + 1.0).sqrt() + spectrum.condition().unwrap_or(1.0).sqrt();
    let width = (spectrum.features() as f64).sqrt();
    let rounding = 16.0 * f64::EPSILON * width * growth * scale;
    (spectrum.null_space_norm(start) <= rounding).then_some(rounding)
}

/// `L̃` with a penalty is strongly convex: weights are within `‖∇L̃(w)‖/μ_min` of its minimizer,
/// whatever optimizer led there, with `μ_min = 2λ̃` plus `λ_min` where X has full column rank.
/// `solution` is [`Spectrum::ridge_solution`] for `l2`, which has to be over 0.
pub fn ridge_solution(spectrum: &Spectrum, solution: &[f64], l2: f64, weights: &[f64], gradient_norm: f64) -> Certificate {
    let full = spectrum.rank() == spectrum.features();
    let smallest = 2.0 * l2 + spectrum.lambda_min_positive().filter(|_| full).unwrap_or(0.0);
    let condition = (spectrum.lambda_max() + 2.0 * l2) / smallest;
    // The gradient is rounded in relation to the largest of its terms.
    let rounding = 16.0 * f64::EPSILON * (spectrum.features().max(spectrum.examples()) as f64).sqrt();
    let tolerance = rounding * condition * norm(solution).max(norm(weights));
    RIDGE.at_most(gradient_norm / smallest, distance(weights, solution), tolerance)
}
