//! What theory claims of a run, checked on what the run did.

use trainyard_theory::certificate as claims;
use trainyard_theory::regression::{Problem, Spectrum, limits, vector};
use trainyard_wire::Number;
use trainyard_wire::number::brief;
use trainyard_wire::run::{Certificate, LeftOut};
use trainyard_wire::spec::RegressionSpec;
use trainyard_wire::spec::optimizer::{OptimizerName, Schedule};

use super::position::Position;

/// Which claims there are about a run with some spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claims {
    /// Of gradient descent at a fixed rate: stability, exact path, steepest mode, steps to a tolerance.
    pub(super) descent: bool,
    /// RMSProp's limit on a fixed rate.
    rmsprop: bool,
    /// The optimizer keeps to the row space that it starts in.
    row_space: bool,
    /// The run goes to a solution of least residual, if it goes to one.
    least_residual: bool,
    /// There is a penalty, and one ridge solution.
    pub(super) ridge: bool,
    tolerance: bool,
}

/// What a run showed, at the recorded steps.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// The losses, gradient norms and coordinates of the steepest mode on the logarithmic grid, which stay few however many steps
    /// are recorded.
    pub(super) losses: Vec<(u64, f64)>,
    pub(super) gradient_norms: Vec<(u64, f64)>,
    pub(super) steepest: Vec<(u64, f64)>,
    /// At the last recorded step, which is the end's.
    pub(super) last_loss: Option<f64>,
    pub(super) last_gradient_norm: f64,
}

impl Claims {
    pub(super) fn about(spec: &RegressionSpec) -> Self {
        let optimizer = &spec.optimizer;
        let decays = optimizer.weight_decay.is_some_and(|decay| decay != 0.0);
        // What theory says about a rate is said of a fixed one and the full gradient.
        let plain = optimizer.schedule == Schedule::Constant && optimizer.batch_size.is_none() && !decays;
        Self {
            descent: plain && optimizer.name == OptimizerName::Gd,
            rmsprop: plain && optimizer.name == OptimizerName::RmsProp,
            row_space: matches!(optimizer.name, OptimizerName::Gd | OptimizerName::Sgd | OptimizerName::Momentum),
            least_residual: spec.l2 == 0.0 && !decays,
            ridge: spec.l2 > 0.0,
            tolerance: spec.gradient_tolerance.is_some(),
        }
    }

    /// The certificates that are missing where the problem has no spectrum.
    pub(super) fn left_out(self, reason: &str) -> Vec<LeftOut> {
        let all = [
            (self.descent, "the stability of gradient descent at this rate"),
            (self.descent, "the exact path of gradient descent"),
            (self.descent, "the factor of gradient descent's steepest mode"),
            (self.descent && self.tolerance, "the steps of gradient descent to the gradient tolerance"),
            (self.rmsprop, "RMSProp's limit on a fixed rate"),
            (true, "the distance to the minimum-norm solution"),
            (true, "the null-space part of the weights"),
            (self.ridge, "the distance to the ridge solution"),
        ];
        let missing = all.into_iter().filter(|(applies, _)| *applies);
        missing.map(|(_, claim)| LeftOut { claim: claim.to_owned(), reason: reason.to_owned() }).collect()
    }

    /// Those that the run's numbers decide. `ridge` is the ridge solution, where there is a penalty.
    pub(super) fn check(self, run: &Run<'_>, spectrum: &Spectrum, ridge: Option<&[f64]>) -> Vec<Certificate> {
        let Run { spec, problem, start, end, evidence, converged } = run;
        let (Some(last_loss), Some(first_loss)) = (evidence.last_loss, end.first_loss) else { return Vec::new() };
        let (rate, l2) = (spec.optimizer.learning_rate, spec.l2);
        let mut found = Vec::new();
        if self.descent {
            found.extend(claims::gradient_descent_stability(spectrum, rate, l2, first_loss, last_loss));
            found.extend(claims::exact_descent_path(spectrum, start, l2, rate, evidence.losses.iter().copied()));
            found.extend(claims::steepest_mode(spectrum, start, l2, rate, evidence.steepest.iter().copied()));
            if let Some(tolerance) = spec.gradient_tolerance.filter(|_| *converged) {
                found.extend(claims::steps_to_tolerance(spectrum, start, l2, rate, tolerance, end.step));
            }
        }
        if self.rmsprop {
            let epsilon = spec.optimizer.epsilon.unwrap_or(1e-8);
            let mut norms = evidence.gradient_norms.clone();
            norms.push((end.step, evidence.last_gradient_norm));
            found.extend(claims::rmsprop_settles(spectrum, rate, epsilon, l2, &norms));
        }
        if end.weights.iter().all(|weight| weight.is_finite()) {
            let residual = problem.residual_norm(&end.weights);
            if self.row_space {
                let beta = spec.optimizer.beta.unwrap_or(0.0);
                // Both claims are made of a start in the row space of X only.
                if let Some(null_space) = claims::null_space(spectrum, start, &end.weights, end.step, beta) {
                    found.push(null_space);
                    found.extend(claims::minimum_norm(spectrum, &end.weights, residual));
                }
            } else if spectrum.rank() == spectrum.features() {
                // There is no null space to leave, and one solution only.
                found.extend(claims::minimum_norm(spectrum, &end.weights, residual));
            } else {
                found.extend(claims::outside_row_space(spectrum, start, &end.weights, end.step));
                if self.least_residual {
                    found.extend(claims::solution_reached(spectrum, &end.weights, residual, vector::norm(problem.t())));
                }
            }
            if let Some(solution) = ridge {
                found.push(claims::ridge_solution(spectrum, solution, l2, &end.weights, evidence.last_gradient_norm));
            }
        }
        found.into_iter().map(certificate).collect()
    }
}

/// A run that has ended.
pub(super) struct Run<'a> {
    pub(super) spec: &'a RegressionSpec,
    pub(super) problem: &'a Problem,
    pub(super) start: &'a [f64],
    pub(super) end: &'a Position,
    pub(super) evidence: &'a Evidence,
    /// It ended because its gradient was small enough.
    pub(super) converged: bool,
}

/// Why the run was to diverge, if its rate says so.
pub(super) fn predicted_divergence(spec: &RegressionSpec, spectrum: &Spectrum) -> Option<String> {
    let optimizer = &spec.optimizer;
    let curvature = spectrum.lambda_max() + 2.0 * spec.l2;
    let decay = optimizer.weight_decay.unwrap_or(0.0);
    let (bound, limit) = match optimizer.name {
        OptimizerName::Gd | OptimizerName::Sgd => ("2/λ_max", limits::descent(curvature, decay)),
        OptimizerName::Momentum if decay == 0.0 => {
            ("the heavy ball's 2(1 + β)/λ_max", limits::heavy_ball(curvature, optimizer.beta.unwrap_or(0.0)))
        }
        _ => return None,
    };
    let rate = optimizer.learning_rate;
    let over = optimizer.schedule == Schedule::Constant && rate > limit;
    over.then(|| format!("as predicted: the learning rate {rate} is over the stability limit {bound} ≈ {}", brief(limit)))
}

/// As it is reported.
pub(in super::super) fn certificate(checked: claims::Certificate) -> Certificate {
    Certificate {
        claim: checked.claim,
        formula: checked.formula,
        predicted: Number(checked.predicted),
        measured: Number(checked.measured),
        tolerance: Number(checked.tolerance),
        holds: checked.holds,
        source: checked.source,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Spec;

    use super::*;

    #[test]
    fn a_divergence_is_predicted_over_the_optimizers_own_limit_only() {
        // H = 2·[[4, 2], [2, 1]] has λ_max = 10, so that the limits are 0.2, with l2 = 5 it is 0.1, and with β = ½ 0.3.
        let spectrum = Spectrum::of(&Problem::new(vec![2.0, 1.0], vec![2.0], 2).unwrap()).unwrap();
        let prediction = |optimizer: Value, l2: f64| {
            let spec = json!({"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "optimizer": optimizer,
                "l2": l2, "steps": 10});
            let Spec::Regression(spec) = Spec::from_value(spec, "").unwrap() else { unreachable!() };
            predicted_divergence(&spec, &spectrum)
        };
        let over = |optimizer: Value, l2: f64| prediction(optimizer, l2).is_some();
        assert!(over(json!({"name": "gd", "learning_rate": 0.21}), 0.0) && !over(json!({"name": "gd", "learning_rate": 0.19}), 0.0));
        assert!(over(json!({"name": "gd", "learning_rate": 0.19}), 5.0));
        assert!(over(json!({"name": "sgd", "learning_rate": 0.21, "batch_size": 1}), 0.0));
        let heavy = |rate: f64| json!({"name": "momentum", "learning_rate": rate, "beta": 0.5});
        assert!(over(heavy(0.31), 0.0) && !over(heavy(0.29), 0.0));
        assert!(!over(json!({"name": "gd", "learning_rate": 1.0, "schedule": "cosine"}), 0.0));
        assert!(!over(json!({"name": "adam", "learning_rate": 1.0}), 0.0));
    }
}
