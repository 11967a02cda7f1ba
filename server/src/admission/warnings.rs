//! What theory finds doubtful about a submit that is accepted all the same.

use trainyard_theory::regression::limits;
use trainyard_wire::Spec;
use trainyard_wire::job::{PlannedRun, SweepPoint};
use trainyard_wire::number::brief;
use trainyard_wire::spec::HypergradientSpec;
use trainyard_wire::spec::hypergradient::OuterOptimizer;
use trainyard_wire::spec::optimizer::{OptimizerName, OptimizerSpec, Schedule};

use super::theory::Theorist;

/// Most warnings of a submit.
const MOST: usize = 20;
/// A limit that was computed may be this far off, relatively.
const ROUNDING: f64 = 1e-12;

/// A warning, and what it is about.
#[derive(Debug)]
pub(super) struct Doubt<'a> {
    pub(super) warning: String,
    /// Into the spec.
    pub(super) pointer: &'static str,
    /// What the sweep set for the run.
    pub(super) sets: &'a SweepPoint,
}

/// The warnings of a job's runs, each once.
pub(super) fn of<'a>(runs: &'a [PlannedRun], theorist: &mut Theorist<'_>) -> Vec<Doubt<'a>> {
    let mut doubts: Vec<Doubt<'a>> = Vec::new();
    for run in runs {
        let Some(lambda_max) = run.spec.problem().and_then(|problem| theorist.lambda_max(problem)) else { continue };
        let (warning, pointer) = match &run.spec {
            Spec::Regression(spec) => (doubt(&spec.optimizer, spec.l2, lambda_max), "/spec/optimizer/learning_rate"),
            // The runs of a pair are stable alike: (2 − λ)/λ_max(H) with λ = 2ηλ̃ says of η what 2/λ_max(H̃) does.
            Spec::RegularizationPair(spec) => (doubt(&spec.optimizer, spec.l2, lambda_max), "/spec/optimizer/learning_rate"),
            Spec::Hypergradient(spec) => (doubt_start(spec, lambda_max), "/spec/learning_rate"),
            Spec::Colourization(_) | Spec::External(_) | Spec::Picture(_) => continue,
        };
        if let Some(warning) = warning
            && !doubts.iter().any(|doubt| doubt.warning == warning)
        {
            doubts.push(Doubt { warning, pointer, sets: &run.sweep_point });
        }
        if doubts.len() == MOST {
            break;
        }
    }
    doubts
}

fn doubt(optimizer: &OptimizerSpec, l2: f64, lambda_max: f64) -> Option<String> {
    let rate = optimizer.learning_rate;
    let curvature = lambda_max + 2.0 * l2;
    if curvature <= 0.0 {
        return None;
    }
    let decay = optimizer.weight_decay.unwrap_or(0.0);
    let (bound, limit, consequence) = match optimizer.name {
        OptimizerName::Gd | OptimizerName::Sgd => ("the stability limit 2/λ_max", limits::descent(curvature, decay), "the run may diverge"),
        OptimizerName::Momentum if decay == 0.0 => {
            let limit = limits::heavy_ball(curvature, optimizer.beta.unwrap_or(0.0));
            ("the heavy ball's stability limit 2(1 + β)/λ_max", limit, "the run may diverge")
        }
        OptimizerName::RmsProp if optimizer.schedule == Schedule::Constant => {
            let limit = limits::rmsprop(curvature, optimizer.epsilon.unwrap_or(0.0));
            ("2√ε/λ_max", limit, "RMSProp at a fixed rate may end in a small cycle; a schedule that goes to 0 settles")
        }
        _ => return None,
    };
    // Six digits are enough to choose a rate by.
    (rate >= limit * (1.0 - ROUNDING)).then(|| format!("learning_rate {rate} is not below {bound} ≈ {}: {consequence}", brief(limit)))
}

/// A search for the root comes back from any start; a descent that starts among losses that have grown may be thrown away from there.
fn doubt_start(spec: &HypergradientSpec, lambda_max: f64) -> Option<String> {
    let (rate, limit) = (spec.learning_rate, 2.0 / (lambda_max + 2.0 * spec.l2));
    let doubtful = spec.outer_optimizer == OuterOptimizer::GradientDescent && rate >= limit;
    let consequence = "the unrolled steps may grow, and gradient descent on the rate with them; outer_optimizer secant finds back";
    doubtful.then(|| format!("learning_rate {rate} is not below the stability limit 2/λ_max ≈ {}: {consequence}", brief(limit)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Spec;
    use trainyard_wire::job::{Estimate, PlannedRun};

    use super::super::facts::Facts;
    use super::{Theorist, of};

    fn warnings(optimizer: Value) -> Vec<String> {
        warnings_of(json!({"kind": "regression", "optimizer": optimizer, "steps": 10}))
    }

    fn warnings_of(mut spec: Value) -> Vec<String> {
        // H = (2/n)·XᵀX = 2·[[4, 2], [2, 1]] has λ_max = 10.
        spec["problem"] = json!({"source": "inline", "x": [[2, 1]], "t": [2]});
        let spec = Spec::from_value(spec, "/spec").unwrap();
        let estimate = Estimate { steps: 0, parameters: 0, memory_bytes: 0, multiply_adds: 0, disk_bytes: 0 };
        let run = PlannedRun { sweep_point: Default::default(), spec, estimate, theory: None };
        of(&[run.clone(), run], &mut Theorist::new(&Facts::default())).into_iter().map(|doubt| doubt.warning).collect()
    }

    #[test]
    fn a_rate_at_or_over_the_stability_limit_is_warned_of_once() {
        assert!(warnings(json!({"name": "gd", "learning_rate": 0.19})).is_empty());
        for rate in [0.2, 0.21] {
            let found = warnings(json!({"name": "gd", "learning_rate": rate}));
            assert_eq!(found.len(), 1);
            assert!(found[0].contains("2/λ_max ≈ 0.2"), "{found:?}");
        }
    }

    #[test]
    fn rmsprop_at_a_fixed_rate_is_warned_of_and_with_a_schedule_not() {
        assert_eq!(warnings(json!({"name": "rmsprop", "learning_rate": 0.01})).len(), 1);
        assert!(warnings(json!({"name": "rmsprop", "learning_rate": 0.01, "schedule": "cosine"})).is_empty());
        assert!(warnings(json!({"name": "rmsprop", "learning_rate": 1e-6})).is_empty());
    }

    #[test]
    fn a_descent_on_the_rate_is_warned_of_a_start_over_the_limit_and_a_search_is_not() {
        let warnings = |rate: f64, outer: &str| {
            warnings_of(json!({"kind": "hypergradient", "inner_steps": 10, "learning_rate": rate, "outer_optimizer": outer}))
        };
        assert!(warnings(0.19, "gradient_descent").is_empty());
        assert!(warnings(0.21, "gradient_descent")[0].contains("2/λ_max ≈ 0.2"));
        assert!(warnings(0.21, "secant").is_empty());
    }
}
