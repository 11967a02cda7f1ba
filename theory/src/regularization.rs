//! An L2 penalty and weight decay with matched coefficients, side by side.
//!
//! ```text
//! L2:            w ← w − η_t·(∇L(w) + 2λ̃w)
//! weight decay:  w ← (1 − λ_t)w − η_t·∇L(w)
//! ```
//!
//! The two are identical for gradient descent, full-batch or stochastic, iff `λ_t = 2η_tλ̃`, at every step: under a schedule λ follows
//! the rate. With momentum, RMSProp and Adam no λ makes them so, as the penalty's gradient passes through the velocity or the
//! adaptive scale, and the decay does not. [`identical`] and [`apart`] check that on the weights of two such runs.

use crate::certificate::{Certificate, Statement};

const SOURCE: &str = "Loshchilov and Hutter, Decoupled Weight Decay Regularization (2019), 2; docs/theory.md#penalty-and-weight-decay";

const IDENTICAL: Statement = Statement {
    claim: "an L2 penalty and weight decay with λ = 2ηλ̃ are one method under gradient descent: the two runs stay together to rounding",
    formula: "w − η(∇L + 2λ̃w) = (1 − 2ηλ̃)w − η∇L, so ‖w_L2 − w_wd‖ = 0",
    source: SOURCE,
};

const VELOCITY: Statement = Statement {
    claim: "with momentum an L2 penalty and weight decay with λ = 2ηλ̃ are two methods: the penalty passes through the velocity, and the runs part",
    formula: "max_k ‖w_L2 − w_wd‖ > 0",
    source: SOURCE,
};

const ADAPTIVE_SCALE: Statement = Statement {
    claim: "with an adaptive scale an L2 penalty and weight decay with λ = 2ηλ̃ are two methods: the scale divides the penalty, and the runs part",
    formula: VELOCITY.formula,
    source: SOURCE,
};

const FIRST_SEPARATION: Statement = Statement {
    claim: "with momentum the runs agree for a step from the first weights that are not 0, and part at the next by what the velocity kept of the penalty",
    formula: "‖w_L2 − w_wd‖ = 2η_{k+1}λ̃β‖w_k‖ at step k + 2",
    source: SOURCE,
};

/// `λ_t = 2η_tλ̃`, the weight decay of one step that equals the penalty `λ̃‖w‖²` there. (PyTorch's AdamW, `w ← (1 − ηλ)w`, has it with λ = 2λ̃.)
pub fn matched_weight_decay(rate: f64, l2: f64) -> f64 {
    2.0 * rate * l2
}

/// What two runs from one start, one with the penalty and one with the matched decay, have shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The rate of the first step.
    pub rate: f64,
    /// λ̃.
    pub l2: f64,
    /// Steps made.
    pub steps: u64,
    /// The larger of n and d.
    pub width: usize,
    /// `‖X‖_F²/n`, half the trace of H.
    pub mean_square_row: f64,
    /// `‖X‖_F·‖t‖/n`.
    pub mean_square_target: f64,
    /// The largest `‖w‖` of either run over all steps.
    pub largest_norm: f64,
    /// The largest `‖w_L2 − w_wd‖` over all steps.
    pub largest_distance: f64,
}

impl Pair {
    /// How far rounding may take the two runs apart under gradient descent.
    ///
    /// A step rounds `w` and `η∇L(w) = (2η/n)·Xᵀ(Xw − t)`, whose sums have up to `width` terms of random rounding; the trace of H stands
    /// for its largest eigenvalue. What a step rounds lasts, as both runs shrink it by at least `1 − λ` a step where the rate is stable.
    pub fn rounding(&self) -> f64 {
        let decay = matched_weight_decay(self.rate, self.l2);
        let slope = 2.0 * self.rate * self.mean_square_row;
        let stable = slope + decay <= 2.0;
        let lasting = if stable { (self.steps as f64).min(1.0 / decay) } else { self.steps as f64 };
        let scale = (1.0 + slope) * self.largest_norm + 2.0 * self.rate * self.mean_square_target;
        4.0 * f64::EPSILON * (self.width as f64).sqrt() * lasting.max(1.0) * scale
    }
}

/// Under gradient descent, full-batch or stochastic, the two runs stay together to rounding. Predicted is 0, measured the largest
/// distance of their weights over all steps.
pub fn identical(pair: &Pair) -> Certificate {
    IDENTICAL.equal(0.0, pair.largest_distance, pair.rounding())
}

/// What keeps the penalty's gradient from being a plain shrinking of the weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Detour {
    /// The velocity of momentum β, which keeps each penalty for `1/(1 − β)` steps.
    Velocity(f64),
    /// The adaptive scale of RMSProp or Adam, which divides the penalty with the gradient.
    AdaptiveScale,
}

/// With momentum, RMSProp and Adam the two runs part by more than rounding. Predicted is 0, measured the largest distance of their
/// weights over all steps; it holds iff that is over the tolerance, which is what rounding may make of 0.
///
/// None where the numbers cannot decide: with fewer than three steps (from weights 0 the runs part at the third), and where the decay of a
/// step itself, `λ‖w‖` (times β with momentum), is not a hundred times over rounding.
pub fn apart(pair: &Pair, detour: Detour) -> Option<Certificate> {
    let (share, statement) = match detour {
        Detour::Velocity(beta) => (beta, VELOCITY),
        Detour::AdaptiveScale => (1.0, ADAPTIVE_SCALE),
    };
    let tolerance = pair.rounding();
    let decayed = share * matched_weight_decay(pair.rate, pair.l2) * pair.largest_norm;
    // Comparisons with a NaN are false: a run that overflowed decides nothing.
    let decidable = pair.steps >= 3 && decayed > 100.0 * tolerance;
    decidable.then(|| statement.over(0.0, pair.largest_distance, tolerance))
}

/// The first step that parts the two runs with momentum β. Both agree up to `w_{k+1}`, with `w_k` the first weights that are not 0; then
/// the velocity still holds β times the penalty's gradient of `w_k`, so that they are `2η_{k+1}λ̃β‖w_k‖` apart at `w_{k+2}`.
///
/// `norm` is `‖w_k‖`, `next_rate` is `η_{k+1}`, `distance` the one measured at step k + 2.
pub fn first_separation(pair: &Pair, beta: f64, norm: f64, next_rate: f64, distance: f64) -> Certificate {
    let tolerance = Pair { steps: pair.steps.min(3), ..*pair }.rounding();
    FIRST_SEPARATION.equal(beta * matched_weight_decay(next_rate, pair.l2) * norm, distance, tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two runs of 60 steps on `L = ½Σ h_i(w_i − 1)²` from `start`, with the rates that `rate` gives; the penalty's run and the
    /// decay's, whose λ is `factor` times the matched one. Returns the pair and the distances.
    fn run(beta: f64, start: [f64; 2], factor: f64, rate: impl Fn(u32) -> f64) -> (Pair, Vec<f64>) {
        let (h, l2) = ([2.0, 0.1], 0.05);
        let gradient = |w: [f64; 2]| [h[0] * (w[0] - 1.0), h[1] * (w[1] - 1.0)];
        let (mut penalized, mut decayed) = (start, start);
        let mut velocities = [[0.0; 2]; 2];
        let (mut distances, mut largest_norm) = (vec![0.0], start[0].hypot(start[1]));
        for step in 0..60 {
            let rate = rate(step);
            let (for_penalty, for_decay) = (gradient(penalized), gradient(decayed));
            for i in 0..2 {
                velocities[0][i] = beta * velocities[0][i] + for_penalty[i] + 2.0 * l2 * penalized[i];
                velocities[1][i] = beta * velocities[1][i] + for_decay[i];
                penalized[i] -= rate * velocities[0][i];
                decayed[i] = (1.0 - factor * matched_weight_decay(rate, l2)) * decayed[i] - rate * velocities[1][i];
            }
            distances.push((penalized[0] - decayed[0]).hypot(penalized[1] - decayed[1]));
            largest_norm = largest_norm.max(penalized[0].hypot(penalized[1])).max(decayed[0].hypot(decayed[1]));
        }
        let largest_distance = distances.iter().copied().fold(0.0, f64::max);
        // H = (2/n)·XᵀX, so that its trace 2.1 is twice ‖X‖_F²/n; t = X·1.
        let pair = Pair {
            rate: rate(0),
            l2,
            steps: 60,
            width: 2,
            mean_square_row: 1.05,
            mean_square_target: 1.05,
            largest_norm,
            largest_distance,
        };
        (pair, distances)
    }

    #[test]
    fn gradient_descent_keeps_the_two_together_iff_the_decay_is_twice_rate_times_penalty() {
        let fixed = |_| 0.3;
        let linear = |step| 0.3 * f64::from(60 - step) / 60.0;
        for start in [[0.0, 0.0], [3.0, -2.0]] {
            for pair in [run(0.0, start, 1.0, fixed).0, run(0.0, start, 1.0, linear).0] {
                let certificate = identical(&pair);
                assert!(certificate.holds && certificate.tolerance < 1e-12, "{certificate:?}");
            }
            // The slips seen in print: λη/2, and the wrong sign.
            for factor in [0.25, -1.0, 1.000_001] {
                assert!(!identical(&run(0.0, start, factor, fixed).0).holds, "{factor}");
            }
        }
    }

    #[test]
    fn momentum_parts_them_two_steps_after_the_first_weights_that_are_not_zero() {
        let linear = |step| 0.3 * f64::from(60 - step) / 60.0;
        let (pair, distances) = run(0.9, [3.0, -2.0], 1.0, linear);
        assert!(apart(&pair, Detour::Velocity(0.9)).unwrap().holds);
        let certificate = first_separation(&pair, 0.9, 13f64.sqrt(), linear(1), distances[2]);
        assert!(certificate.holds && certificate.predicted > 0.05, "{certificate:?}");
        assert!(distances[1] < 1e-15);
        // From 0 the first step goes to −η∇L(0) = η·h.
        let (pair, distances) = run(0.9, [0.0, 0.0], 1.0, linear);
        let certificate = first_separation(&pair, 0.9, 0.6f64.hypot(0.03), linear(2), distances[3]);
        assert!(certificate.holds && certificate.predicted > 0.005, "{certificate:?}");
        assert!(!first_separation(&pair, 0.9, 0.6f64.hypot(0.03), linear(1), distances[3]).holds);
    }

    #[test]
    fn runs_that_should_part_and_do_not_refute_the_claim_and_too_little_decides_nothing() {
        let (pair, _) = run(0.9, [3.0, -2.0], 1.0, |_| 0.3);
        assert!(!apart(&Pair { largest_distance: 0.0, ..pair }, Detour::AdaptiveScale).unwrap().holds);
        assert_eq!(apart(&Pair { steps: 2, ..pair }, Detour::AdaptiveScale), None);
        assert_eq!(apart(&Pair { l2: 1e-18, ..pair }, Detour::AdaptiveScale), None);
        assert_eq!(apart(&pair, Detour::Velocity(0.0)), None);
        assert_eq!(apart(&Pair { largest_norm: f64::NAN, ..pair }, Detour::AdaptiveScale), None);
    }
}
