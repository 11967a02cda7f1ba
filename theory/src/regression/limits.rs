//! The fixed rates below which optimizers are stable on a quadratic loss. `curvature` is
//! `λ_max(H̃) = λ_max + 2·l2` throughout; where it is 0 nothing bounds the rate, and the limit is ∞.

/// Gradient descent with the weight decay `λ`, `w ← (1 − λ)w − η∇L̃`: `|1 − λ − η·λ_max| < 1` iff
/// `η < (2 − λ)/λ_max`. It bounds mini-batch descent too, whose batches mostly have a larger
/// curvature than the whole.
pub fn descent(curvature: f64, weight_decay: f64) -> f64 {
    (2.0 - weight_decay) / curvature
}

/// Heavy ball with momentum β: `η < 2(1 + β)/λ_max` (Polyak, "Some methods of speeding up the
/// convergence of iteration methods", 1964).
pub fn heavy_ball(curvature: f64, beta: f64) -> f64 {
    2.0 * (1.0 + beta) / curvature
}

/// RMSProp at a fixed rate settles only if `η < 2√ε/λ_max`: near a solution its effective rate is
/// `η/√ε`.
pub fn rmsprop(curvature: f64, epsilon: f64) -> f64 {
    2.0 * epsilon.sqrt() / curvature
}
