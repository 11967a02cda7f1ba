//! Full-batch gradient descent at a fixed rate.

use super::{Certificate, Statement};
use crate::regression::Spectrum;
use crate::regression::vector::norm;

const STABLE: Statement = Statement {
    claim: "gradient descent with a rate under 2/λ_max is stable: the loss does not rise",
    formula: "η < 2/λ_max(H̃), H̃ = (2/n)·XᵀX + 2λ̃I",
    source: "Nesterov, Introductory Lectures on Convex Optimization (2004), 2.1.5; docs/theory.md#stability",
};

const DIVERGES: Statement = Statement {
    claim: "gradient descent with a rate over 2/λ_max diverges: the loss grows",
    formula: STABLE.formula,
    source: STABLE.source,
};

const EXACT_PATH: Statement = Statement {
    claim: "gradient descent follows its exact path in the eigenbasis of H̃",
    formula: "L̃(w_k) − min L̃ = ½·Σ_i μ_i(1 − ημ_i)^{2k}c_i², c = Vᵀ(w_0 − w*)",
    source: "Polyak, Introduction to Optimization (1987), 1.4; docs/theory.md#exact-path",
};

const CONTRACTS: Statement = Statement {
    claim: "gradient descent contracts the steepest mode by its factor each step",
    formula: "|v_1ᵀ(w_{k+1} − w*)| = |1 − ηλ_max(H̃)|·|v_1ᵀ(w_k − w*)|",
    source: "Polyak, Introduction to Optimization (1987), 1.4; docs/theory.md#steepest-mode",
};

const GROWS: Statement = Statement {
    claim: "gradient descent with a rate over 2/λ_max lets the steepest mode grow by its factor each step",
    formula: CONTRACTS.formula,
    source: CONTRACTS.source,
};

const STEPS: Statement = Statement {
    claim: "gradient descent reaches the gradient tolerance at the step that the exact path predicts",
    formula: "least k with √(Σ_i (μ_i(1 − ημ_i)^k c_i)²) ≤ gradient_tolerance",
    source: "Polyak, Introduction to Optimization (1987), 1.4; docs/theory.md#steps-to-a-tolerance",
};

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
    if rate < bound {
        Some(STABLE.judged(bound, rate, tolerance, !rose))
    } else {
        rose.then(|| DIVERGES.judged(bound, rate, tolerance, true))
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
    let amplified = unit(spectrum) * amplification(spectrum, l2, rate, steps);
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
    Some(EXACT_PATH.equal(0.0, measured, tolerance))
}

/// Each step multiplies the error along the steepest eigenvector of H̃ by `1 − ηλ_max(H̃)`.
/// Predicted is its size, measured the mean factor a step, `(|c_K|/|c_0|)^{1/K}`, over the steps up
/// to the recorded K at which rounding tells least: `coordinates` are pairs of a step and
/// [`Spectrum::steepest_coordinate`] there, `start` those of step 0.
///
/// Rounding moves a coordinate by `ε·‖w‖`, as long as the factor keeps it, `1/|1 − factor|` steps
/// or all that were made, and grows with the mode where that grows.
///
/// None where the start is not in that direction, or where rounding hides the factor's first six
/// digits.
pub fn steepest_mode(
    spectrum: &Spectrum,
    start: &[f64],
    l2: f64,
    rate: f64,
    coordinates: impl IntoIterator<Item = (u64, f64)>,
) -> Option<Certificate> {
    let first = spectrum.steepest_coordinate(start, l2)?.abs();
    let factor = (1.0 - rate * (spectrum.lambda_max() + 2.0 * l2)).abs();
    let scale = norm(start).max(norm(spectrum.minimum_norm_solution()));
    let seen = coordinates.into_iter().filter(|(step, coordinate)| *step > 0 && coordinate.is_finite());
    let judged = seen.map(|(step, coordinate)| {
        let steps = step as f64;
        let lasting = steps.min(1.0 / (1.0 - factor).abs());
        let grown = factor.powf(steps).max(1.0);
        let moved = unit(spectrum) * scale * (1.0 + lasting) * grown / first;
        // The derivative of the K-th root at the predicted ratio.
        let tolerance = moved / steps * factor.powf(1.0 - steps) + 64.0 * f64::EPSILON * (1.0 + factor);
        ((coordinate.abs() / first).powf(1.0 / steps), tolerance)
    });
    let (measured, tolerance) = judged.min_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let statement = if factor > 1.0 { GROWS } else { CONTRACTS };
    (tolerance <= 1e-6 * factor.max(1e-3)).then(|| statement.equal(factor, measured, tolerance))
}

/// The exact path tells at which step `‖∇L̃‖` first is at most `gradient_tolerance`. Predicted is
/// that step, measured the one at which the run converged; tolerance are the steps in which the
/// path's gradient falls by what rounding may add to the run's.
///
/// None where the path does not get there, or not before rounding does as much as the tolerance.
pub fn steps_to_tolerance(
    spectrum: &Spectrum,
    start: &[f64],
    l2: f64,
    rate: f64,
    gradient_tolerance: f64,
    converged_at: u64,
) -> Option<Certificate> {
    let path = spectrum.descent_path(start, l2);
    let most = converged_at.saturating_mul(2).saturating_add(1000);
    let steps = |tolerance: f64| path.steps_to_gradient(rate, tolerance, most);
    let scale = norm(start).max(norm(spectrum.minimum_norm_solution()));
    let curvature = spectrum.lambda_max() + 2.0 * l2;
    let rounding = unit(spectrum) * curvature * scale + 1e-10 * gradient_tolerance;
    let predicted = steps(gradient_tolerance)?;
    let (early, late) = (steps(gradient_tolerance + rounding)?, steps(gradient_tolerance - rounding)?);
    Some(STEPS.equal(predicted as f64, converged_at as f64, (late - early) as f64))
}

/// The rounding of a sum of max(n, d) terms, relative to their size.
fn unit(spectrum: &Spectrum) -> f64 {
    16.0 * f64::EPSILON * (spectrum.features().max(spectrum.examples()) as f64).sqrt()
}

/// How far rounding errors of the solution and of each step grow within `steps` of them.
fn amplification(spectrum: &Spectrum, l2: f64, rate: f64, steps: f64) -> f64 {
    let Some(smallest) = spectrum.lambda_min_positive() else { return 1.0 };
    let condition = (spectrum.lambda_max() + 2.0 * l2) / (smallest + 2.0 * l2);
    // A penalty shrinks what rounding leaves in the null space too, at its own pace.
    let slowest = if l2 > 0.0 && spectrum.rank() < spectrum.features() { 2.0 * l2 } else { smallest + 2.0 * l2 };
    condition.max((1.0 / (rate * slowest)).min(steps))
}
