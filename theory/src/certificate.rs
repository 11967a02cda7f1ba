//! Claims of theory checked on a run: pure functions from a problem's [`Spectrum`] and the numbers
//! that the run measured to a [`Certificate`]. A claim that the numbers cannot decide gives none.
//!
//! Every function takes the rate as fixed; under a schedule that lowers it the claims about rates
//! do not apply.

use serde::{Deserialize, Serialize};

use crate::regression::Spectrum;
use crate::regression::vector::norm;

/// A claim of theory and what a run showed of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// What theory says, in one sentence.
    pub claim: String,
    /// The formula that predicts.
    pub formula: String,
    /// The formula's value.
    pub predicted: f64,
    /// The run's value. Not finite where the run diverged.
    pub measured: f64,
    /// How far apart the two may be by rounding.
    pub tolerance: f64,
    /// Whether the run agrees with the claim.
    pub holds: bool,
}

impl Certificate {
    /// The claim that `measured` is `predicted`: holds iff they are within `tolerance`, never with
    /// a NaN.
    pub fn equal(claim: &str, formula: &str, predicted: f64, measured: f64, tolerance: f64) -> Self {
        let holds = (measured - predicted).abs() <= tolerance;
        Self::judged(claim, formula, predicted, measured, tolerance, holds)
    }

    /// The claim that `measured` is at most `predicted`: holds iff it exceeds it by no more than
    /// `tolerance`, never with a NaN.
    pub fn at_most(claim: &str, formula: &str, predicted: f64, measured: f64, tolerance: f64) -> Self {
        let holds = measured <= predicted + tolerance;
        Self::judged(claim, formula, predicted, measured, tolerance, holds)
    }

    /// A claim that is more than a comparison of the two numbers, judged by the caller.
    pub fn judged(claim: &str, formula: &str, predicted: f64, measured: f64, tolerance: f64, holds: bool) -> Self {
        Self { claim: claim.to_owned(), formula: formula.to_owned(), predicted, measured, tolerance, holds }
    }
}

/// Full-batch gradient descent is stable iff `η < 2/λ_max(H̃)`. Predicted is the bound, measured
/// the run's rate; it holds iff the losses `L̃` of the first and the last step are on the rate's
/// side: under the bound the loss never rises, over it the loss grows in the end.
///
/// None where the rate is the bound to rounding, or over it without the loss having risen (too few
/// steps, or a start that the growing direction is not in).
pub fn gradient_descent_stability(spectrum: &Spectrum, rate: f64, l2: f64, first_loss: f64, last_loss: f64) -> Option<Certificate> {
    let bound = spectrum.largest_stable_rate(l2);
    let tolerance = 1e-12 * bound;
    if (rate - bound).abs() <= tolerance {
        return None;
    }
    // A start next to the solution has a loss of rounding errors, which may rise among themselves.
    let rounding = 1e-24 * spectrum.descent_path(&vec![0.0; spectrum.features()], l2).loss(0.0, 0);
    let rose = !last_loss.is_finite() || last_loss > first_loss * (1.0 + 1e-9) + rounding;
    let formula = "η < 2/λ_max(H̃), H̃ = (2/n)·XᵀX + 2λ̃I";
    let judged = |claim, holds| Certificate::judged(claim, formula, bound, rate, tolerance, holds);
    if rate < bound {
        let claim = "gradient descent with a rate under 2/λ_max is stable: the loss does not rise";
        Some(judged(claim, !rose))
    } else {
        let claim = "gradient descent with a rate over 2/λ_max diverges: the loss grows";
        rose.then(|| judged(claim, true))
    }
}

/// Gradient descent follows its exact path. Measured is the greatest difference between a recorded
/// loss `(step, L̃)` and the path's, relative to the larger of the path's loss there and at the
/// start, measured where it comes nearest to what rounding allows or exceeds it most; predicted
/// is 0. Losses that are not finite end the comparison: a run that overflowed has no digits to
/// compare.
///
/// Rounding moves the weights by about `κε‖w*‖`, whatever the start: with S the loss of the start
/// at 0 that is `κε√(S·scale)` of a loss of the size `scale`, and `κ²ε²S` of one at the minimum,
/// where ε is that of a sum of max(n, d) terms, `16·√max(n, d)` units in the last place. κ
/// is the condition of H̃, or the steps that a rounding error lasts, `1/(ημ_min)`, if those are
/// more and were made.
///
/// None without a single finite loss.
pub fn exact_descent_path(
    spectrum: &Spectrum,
    start: &[f64],
    l2: f64,
    rate: f64,
    recorded: impl IntoIterator<Item = (u64, f64)>,
) -> Option<Certificate> {
    let path = spectrum.descent_path(start, l2);
    let pairs = recorded.into_iter().map(|(step, loss)| (step, loss, path.loss(rate, step)));
    let pairs: Vec<_> = pairs.take_while(|(_, loss, exact)| loss.is_finite() && exact.is_finite()).collect();
    let steps = pairs.last()?.0 as f64;
    // Step k multiplies the rounding of each eigenvalue, a few dozen units in the last place, by
    // 2k.
    let relative = 1e-12 + 64.0 * f64::EPSILON * steps;
    let width = (spectrum.features().max(spectrum.examples()) as f64).sqrt();
    let amplified = 16.0 * f64::EPSILON * width * amplification(spectrum, l2, rate, steps);
    let zero_start = spectrum.descent_path(&vec![0.0; spectrum.features()], l2).loss(0.0, 0);
    let floor = amplified * amplified * zero_start;
    let compared = pairs.into_iter().map(|(_, loss, exact)| {
        let scale = path.loss(rate, 0).max(exact).max(floor);
        let allowed = relative * scale + amplified * (zero_start * scale).sqrt() + floor;
        // Where everything is 0, so must the loss be.
        let unit = if scale > 0.0 { scale } else { 1.0 };
        ((loss - exact).abs() / unit, allowed / unit)
    });
    let excess = |(difference, allowed): &(f64, f64)| difference / allowed.max(f64::MIN_POSITIVE);
    let (measured, tolerance) = compared.max_by(|one, other| excess(one).total_cmp(&excess(other)))?;
    Some(Certificate::equal(
        "gradient descent follows its exact path in the eigenbasis of H̃",
        "L̃(w_k) − min L̃ = ½·Σ_i μ_i(1 − ημ_i)^{2k}c_i², c = Vᵀ(w_0 − w*)",
        0.0,
        measured,
        tolerance,
    ))
}

/// How far rounding errors of the solution and of each step grow within `steps` of them.
fn amplification(spectrum: &Spectrum, l2: f64, rate: f64, steps: f64) -> f64 {
    let Some(smallest) = spectrum.lambda_min_positive() else { return 1.0 };
    let condition = (spectrum.lambda_max() + 2.0 * l2) / (smallest + 2.0 * l2);
    // A penalty shrinks what rounding leaves in the null space too, at its own pace.
    let slowest = if l2 > 0.0 && spectrum.rank() < spectrum.features() { 2.0 * l2 } else { smallest + 2.0 * l2 };
    condition.max((1.0 / (rate * slowest)).min(steps))
}

/// Weights in the row space of X are as near to the minimum-norm solution as their residual is to
/// the least one: `‖w − X⁺t‖ ≤ ‖X(w − X⁺t)‖/s_min⁺` with `‖X(w − X⁺t)‖² = ‖Xw − t‖² − n·min L`. So
/// gradient descent, SGD and momentum, which never leave the row space they start in, reach the
/// minimum-norm solution if they reach `Xw = t`. For RMSProp and Adam, which leave it, the claim is
/// not made.
///
/// None where X = 0.
pub fn minimum_norm(spectrum: &Spectrum, weights: &[f64], residual_norm: f64) -> Option<Certificate> {
    let smallest = *spectrum.singular_values()[..spectrum.rank()].last()?;
    let least = spectrum.minimum_loss() * spectrum.examples() as f64;
    let square = residual_norm * residual_norm;
    let bound = (square - least).max(0.0).sqrt() / smallest;
    // The difference of the squares keeps half its digits; the solution itself carries the
    // condition of X.
    let solution = norm(spectrum.minimum_norm_solution());
    let root_condition = spectrum.condition()?.sqrt();
    let rounding = 16.0 * f64::EPSILON * spectrum.features().max(spectrum.examples()) as f64;
    let tolerance = (rounding * least).sqrt() / smallest + rounding * root_condition * solution.max(norm(weights));
    Some(Certificate::at_most(
        "weights in the row space of X are no farther from the minimum-norm solution than their residual allows",
        "‖w − X⁺t‖ ≤ √(‖Xw − t‖² − n·min L)/s_min⁺",
        bound,
        spectrum.distance_to_minimum_norm(weights),
        tolerance,
    ))
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
    if spectrum.rank() < spectrum.examples().min(spectrum.features()) {
        return None;
    }
    let scale = norm(start).max(norm(weights)).max(norm(spectrum.minimum_norm_solution()));
    let growth = (steps as f64 + 1.0).sqrt() + spectrum.condition().unwrap_or(1.0).sqrt();
    let width = (spectrum.features() as f64).sqrt();
    let rounding = 16.0 * f64::EPSILON * width * growth * scale;
    let tolerance = rounding / (1.0 - beta);
    if spectrum.null_space_norm(start) > rounding {
        return None;
    }
    Some(Certificate::at_most(
        "the null-space part of the weights stays at rounding level",
        "‖(I − X⁺X)w‖ = 0",
        0.0,
        spectrum.null_space_norm(weights),
        tolerance,
    ))
}

/// RMSProp at a fixed rate settles only if `η < 2√ε/λ_max(H̃)`: near a solution its effective rate
/// is `η/√ε`. It has settled when the gradient's norm is far below √ε, a thousandth of it here, as
/// then nothing else is under the root; it cycles when the gradient at the end is no smaller than
/// it was before in the first half of the steps. `gradient_norms` are those recorded, `(step, ‖∇L̃‖)`
/// in the order of the steps, the last that of the end. Predicted is the bound, measured the run's
/// rate.
///
/// None where nothing can be said: at the bound to rounding, under the bound while it has not
/// settled yet, over it while the gradient still falls or where rounding hit the solution by luck,
/// as it did with a gradient of exactly 0.
pub fn rmsprop_settles(spectrum: &Spectrum, rate: f64, epsilon: f64, l2: f64, gradient_norms: &[(u64, f64)]) -> Option<Certificate> {
    let (end, gradient_norm) = *gradient_norms.last()?;
    let bound = spectrum.rmsprop_settle_limit(epsilon, l2);
    let tolerance = 1e-12 * bound;
    let settled = gradient_norm < 1e-3 * epsilon.sqrt();
    let over = rate > bound;
    let earlier = gradient_norms.iter().filter(|(step, _)| *step <= end / 2);
    let smallest_earlier = earlier.map(|(_, norm)| *norm).fold(f64::INFINITY, f64::min);
    // A cycle of two steps repeats its gradients to rounding.
    let cycles = !settled && gradient_norm >= smallest_earlier * (1.0 - 1e-6);
    let decided = if over { cycles } else { settled };
    if (rate - bound).abs() <= tolerance || gradient_norm == 0.0 || !decided {
        return None;
    }
    let claim = if over {
        "RMSProp with a fixed rate over 2√ε/λ_max does not settle: it ends in a small cycle"
    } else {
        "RMSProp settles with a fixed rate under 2√ε/λ_max"
    };
    let formula = "η < 2√ε/λ_max(H̃)";
    Some(Certificate::judged(claim, formula, bound, rate, tolerance, true))
}

#[cfg(test)]
#[path = "certificate_tests.rs"]
mod tests;
