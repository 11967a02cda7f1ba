//! What theory says of a hypergradient run, checked on what it did.

use super::Unrolled;
pub use crate::certificate::Certificate;
use crate::certificate::{Statement, exact_descent_path};
use crate::regression::{DescentPath, Spectrum};

const SOURCE: &str =
    "Franceschi et al., Forward and Reverse Gradient-Based Hyperparameter Optimization (2017), 3; docs/theory.md#hypergradients";

fn says<'a>(claim: &'a str, formula: &'a str) -> Statement<'a> {
    Statement { claim, formula, source: SOURCE }
}

/// A hypergradient and the way it was computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found<'a> {
    pub method: &'a str,
    pub hypergradient: f64,
}

/// Where hypergradients are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place<'a> {
    /// Which rate of the run it is, such as `first`.
    pub name: &'a str,
    /// η.
    pub rate: f64,
    /// `L̃(w_0)`, which with η gives rounding its unit, `L_0/η`.
    pub first_loss: f64,
}

impl Place<'_> {
    /// How far a hypergradient of two methods may be apart: `1e-10·|g| + 1e-15·L_0/η`.
    pub fn rounding(&self, hypergradient: f64) -> f64 {
        1e-10 * hypergradient.abs() + 1e-15 * self.first_loss / self.rate
    }

    /// How far it may be from a central difference: `1e-6·|g| + 1e-10·L_0/η`.
    pub fn rounding_of_differences(&self, hypergradient: f64) -> f64 {
        1e-6 * hypergradient.abs() + 1e-10 * self.first_loss / self.rate
    }
}

/// Two methods compute the same derivative. None where one of them overflowed.
pub fn methods_agree(found: Found<'_>, other: Found<'_>, place: Place<'_>) -> Option<Certificate> {
    let claim = format!("at the {} rate {} and {} give the same hypergradient", place.name, found.method, other.method);
    let tolerance = place.rounding(other.hypergradient);
    agree(&claim, "|g − g′| ≤ 10⁻¹⁰·|g| + 10⁻¹⁵·L_0/η", other.hypergradient, found.hypergradient, tolerance)
}

/// A method computes what the losses around the rate say. None where something overflowed.
pub fn difference_agrees(found: Found<'_>, central_difference: f64, place: Place<'_>) -> Option<Certificate> {
    let claim = format!("at the {} rate the hypergradient by {} is the central difference of L̃_k", place.name, found.method);
    let tolerance = place.rounding_of_differences(found.hypergradient);
    agree(&claim, "|g − ΔL̃_k/Δη| ≤ 10⁻⁶·|g| + 10⁻¹⁰·L_0/η", central_difference, found.hypergradient, tolerance)
}

fn agree(claim: &str, formula: &str, predicted: f64, measured: f64, tolerance: f64) -> Option<Certificate> {
    let finite = predicted.is_finite() && measured.is_finite();
    finite.then(|| says(claim, formula).equal(predicted, measured, tolerance))
}

/// The outer loop of one step without a penalty ends at the closed form of the best rate.
///
/// None with more steps or a penalty, where no rate changes the loss, or where rounding hides the root.
pub fn one_step_closed_form(unrolled: &Unrolled<'_>, closed_form: Option<f64>, found_rate: f64) -> Option<Certificate> {
    let best = closed_form.filter(|_| unrolled.steps() == 1 && unrolled.l2() == 0.0)?;
    // L̃_1 is a parabola, so its second derivative is −g(0)/η*.
    let curvature = -unrolled.hypergradient_at_zero() / best;
    optimum(
        "with one step and no penalty the outer loop ends at the closed form of the best rate",
        "η* = (n/2)·‖Xᵀa‖²/‖XXᵀa‖², a = Xw_0 − t",
        best,
        curvature,
        unrolled.first_loss(),
        found_rate,
    )
}

/// The outer loop ends where the exact `L̃_k(η)` in the eigenbasis is least.
///
/// None where no rate changes the loss, or where rounding hides the root: with so many steps that the loss is at its minimum to
/// rounding over a whole range of rates.
pub fn exact_optimum(path: &DescentPath, steps: usize, found_rate: f64) -> Option<Certificate> {
    let best = path.best_rate(steps as u64)?;
    optimum(
        "the outer loop ends at the rate that makes the exact L̃_k(η) least",
        "argmin over (0, 2/λ_min⁺) of L̃_k(η) = min L̃ + ½·Σ_i μ_i(1 − ημ_i)^{2k}c_i²",
        best,
        path.rate_curvature(best, steps as u64),
        path.loss(0.0, 0),
        found_rate,
    )
}

/// A hypergradient carries a rounding of `10⁻¹⁵·L_0/η`, which moves its root by that over the second derivative.
fn optimum(claim: &str, formula: &str, best: f64, curvature: f64, first_loss: f64, found_rate: f64) -> Option<Certificate> {
    let tolerance = 1e-6 * best;
    let hidden = 1e-15 * first_loss / best / curvature;
    (hidden <= 0.1 * tolerance).then(|| says(claim, formula).equal(best, found_rate, tolerance))
}

/// `L̃_k(η)` is convex: in the middle between two rates of an even grid the loss is at most the mean of theirs. Measured is the
/// greatest excess relative to that mean, and predicted that there is none. Next to a minimum of 0 losses are nothing but squares of
/// rounding errors: a mean under a billionth of the loss at `w_0`, or of that at 0, counts as that billionth.
///
/// None where no three losses in a row are finite.
pub fn curve_is_convex(unrolled: &Unrolled<'_>, curve: &[(f64, f64)]) -> Option<Certificate> {
    let at_zero = unrolled.problem().loss(&vec![0.0; unrolled.start().len()], 0.0);
    let least = 1e-9 * unrolled.first_loss().max(at_zero).max(f64::MIN_POSITIVE);
    let excesses = curve.windows(3).filter_map(|points| {
        let mean = 0.5 * (points[0].1 + points[2].1);
        mean.is_finite().then(|| (points[1].1 - mean) / mean.max(least))
    });
    let measured = excesses.reduce(f64::max)?;
    let formula = "L̃_k(η) ≤ ½·(L̃_k(η − h) + L̃_k(η + h))";
    let tolerance = 1e-12 + 64.0 * f64::EPSILON * unrolled.steps() as f64;
    Some(says("L̃_k(η) is convex for every k", formula).at_most(0.0, measured, tolerance))
}

/// The losses of the unrolled steps at many rates are those of the exact curve. Measured is the greatest relative difference, by the
/// rounding that [`exact_descent_path`] allows at each rate.
///
/// None where no loss is finite.
pub fn curve_is_exact(spectrum: &Spectrum, unrolled: &Unrolled<'_>, curve: &[(f64, f64)]) -> Option<Certificate> {
    let (start, l2, steps) = (unrolled.start(), unrolled.l2(), unrolled.steps() as u64);
    let compared = curve.iter().filter_map(|(rate, loss)| exact_descent_path(spectrum, start, l2, *rate, [(steps, *loss)]));
    let excess = |certificate: &Certificate| certificate.measured / certificate.tolerance.max(f64::MIN_POSITIVE);
    let worst = compared.max_by(|one, other| excess(one).total_cmp(&excess(other)))?;
    let claim = "the loss after k unrolled steps is the exact L̃_k(η) in the eigenbasis of H̃".to_owned();
    Some(Certificate { claim, source: SOURCE.to_owned(), ..worst })
}

/// The forward method holds the same bytes whatever k. `held` are (k, bytes) by growing k; predicted are the bytes at the first k,
/// measured those at the last, and all between must be the same.
///
/// None of fewer than two k.
pub fn held_bytes_are_flat(method: &str, held: &[(u64, u64)]) -> Option<Certificate> {
    let ((_, first), (_, last)) = (held.first().filter(|_| held.len() > 1)?, held.last()?);
    let claim = format!("the bytes that {method} holds do not grow with k");
    let holds = held.iter().all(|(_, bytes)| bytes == first);
    Some(says(&claim, "bytes(k) = bytes(1)").judged(*first as f64, *last as f64, 0.0, holds))
}

/// The other methods hold bytes that grow by the same number with every step. Predicted are the bytes at the last k on the line through
/// the first two, measured those that were held; all k must lie on the line, and it must rise.
///
/// None of fewer than three k.
pub fn held_bytes_are_linear(method: &str, held: &[(u64, u64)]) -> Option<Certificate> {
    let [(k1, b1), (k2, b2), .., (last, measured)] = *held else { return None };
    let slope = (b2 as f64 - b1 as f64) / (k2 as f64 - k1 as f64);
    let line = |k: u64| b1 as f64 + slope * (k as f64 - k1 as f64);
    let holds = slope > 0.0 && held.iter().all(|(k, bytes)| line(*k) == *bytes as f64);
    let claim = format!("the bytes that {method} holds grow linearly with k");
    Some(says(&claim, "bytes(k) = bytes(1) + (k − 1)·(bytes(2) − bytes(1))").judged(line(last), measured as f64, 0.0, holds))
}
