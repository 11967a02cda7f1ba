//! RMSProp's own limit on a fixed rate.

use super::{Certificate, Statement};
use crate::regression::Spectrum;

const SETTLES: Statement = Statement {
    claim: "RMSProp settles with a fixed rate under 2√ε/λ_max",
    formula: "η < 2√ε/λ_max(H̃)",
    source: "linearization at the solution, where the effective rate is η/√ε; docs/theory.md#rmsprop",
};

const CYCLES: Statement = Statement {
    claim: "RMSProp with a fixed rate over 2√ε/λ_max does not settle: it ends in a small cycle",
    formula: SETTLES.formula,
    source: SETTLES.source,
};

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
    Some(if over { CYCLES } else { SETTLES }.judged(bound, rate, tolerance, true))
}
