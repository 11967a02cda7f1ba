//! What theory finds doubtful about a submit that is accepted all the same.

use trainyard_theory::regression::{Problem, Spectrum, spectrum_cost};
use trainyard_wire::Spec;
use trainyard_wire::number::brief;
use trainyard_wire::spec::HypergradientSpec;
use trainyard_wire::spec::hypergradient::OuterOptimizer;
use trainyard_wire::spec::optimizer::{OptimizerName, OptimizerSpec, Schedule};
use trainyard_wire::spec::regression::{ProblemSource, ProblemSpec};

/// Operations that one spectrum may take here; larger problems are certified by the worker.
const MOST_OPERATIONS: u64 = 20_000_000;
/// Most warnings of a submit.
const MOST: usize = 20;

/// The warnings of a job's runs, each once.
pub(super) fn of<'a>(specs: impl Iterator<Item = &'a Spec>) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    // A sweep mostly repeats one problem.
    let mut last: Option<(&ProblemSpec, Option<f64>)> = None;
    for spec in specs {
        let Some(problem) = spec.problem() else { continue };
        let known = last.filter(|(last, _)| *last == problem);
        let (_, lambda_max) = *last.insert(known.unwrap_or_else(|| (problem, lambda_max(problem))));
        let doubt = |lambda_max| match spec {
            Spec::Regression(spec) => doubt(&spec.optimizer, spec.l2, lambda_max),
            // The runs of a pair are stable alike: (2 − λ)/λ_max(H) with λ = 2ηλ̃ says of η what 2/λ_max(H̃) does.
            Spec::RegularizationPair(spec) => doubt(&spec.optimizer, spec.l2, lambda_max),
            Spec::Hypergradient(spec) => doubt_start(spec, lambda_max),
            Spec::Colourization(_) => None,
        };
        if let Some(warning) = lambda_max.and_then(doubt)
            && !warnings.contains(&warning)
        {
            warnings.push(warning);
        }
        if warnings.len() == MOST {
            break;
        }
    }
    warnings
}

/// The largest eigenvalue of H, where it is known or cheap.
fn lambda_max(problem: &ProblemSpec) -> Option<f64> {
    match problem.source {
        // By definition of the synthetic problems.
        ProblemSource::Synthetic => Some(2.0),
        ProblemSource::Inline => {
            let (x, t) = (problem.x.as_ref()?, problem.t.as_ref()?);
            let columns = x.first()?.len();
            if spectrum_cost(x.len(), columns) > MOST_OPERATIONS {
                return None;
            }
            let problem = Problem::new(x.concat(), t.clone(), columns).ok()?;
            Spectrum::of(&problem).ok().map(|spectrum| spectrum.lambda_max())
        }
        ProblemSource::Dataset => None,
    }
}

fn doubt(optimizer: &OptimizerSpec, l2: f64, lambda_max: f64) -> Option<String> {
    let rate = optimizer.learning_rate;
    let curvature = lambda_max + 2.0 * l2;
    if curvature <= 0.0 {
        return None;
    }
    let decay = optimizer.weight_decay.unwrap_or(0.0);
    let (bound, limit, consequence) = match optimizer.name {
        // |1 − λ − η·λ_max(H̃)| < 1
        OptimizerName::Gd | OptimizerName::Sgd => ("the stability limit 2/λ_max", (2.0 - decay) / curvature, "the run may diverge"),
        OptimizerName::Momentum if decay == 0.0 => {
            let limit = 2.0 * (1.0 + optimizer.beta.unwrap_or(0.0)) / curvature;
            ("the heavy ball's stability limit 2(1 + β)/λ_max", limit, "the run may diverge")
        }
        OptimizerName::RmsProp if optimizer.schedule == Schedule::Constant => {
            let limit = 2.0 * optimizer.epsilon.unwrap_or(0.0).sqrt() / curvature;
            ("2√ε/λ_max", limit, "RMSProp at a fixed rate may end in a small cycle; a schedule that goes to 0 settles")
        }
        _ => return None,
    };
    // Six digits are enough to choose a rate by.
    (rate >= limit).then(|| format!("learning_rate {rate} is not below {bound} ≈ {}: {consequence}", brief(limit)))
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

    use super::of;

    fn warnings(optimizer: Value) -> Vec<String> {
        // H = (2/n)·XᵀX = 2·[[4, 2], [2, 1]] has λ_max = 10.
        let spec =
            json!({"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "optimizer": optimizer, "steps": 10});
        let spec = Spec::from_value(spec, "/spec").unwrap();
        of([&spec, &spec].into_iter())
    }

    #[test]
    fn a_rate_over_the_stability_limit_is_warned_of_once() {
        assert!(warnings(json!({"name": "gd", "learning_rate": 0.19})).is_empty());
        let found = warnings(json!({"name": "gd", "learning_rate": 0.21}));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("2/λ_max ≈ 0.2"), "{found:?}");
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
            let spec = json!({"kind": "hypergradient", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "inner_steps": 10,
                "learning_rate": rate, "outer_optimizer": outer});
            of([&Spec::from_value(spec, "/spec").unwrap()].into_iter())
        };
        assert!(warnings(0.19, "gradient_descent").is_empty());
        assert!(warnings(0.21, "gradient_descent")[0].contains("2/λ_max ≈ 0.2"));
        assert!(warnings(0.21, "secant").is_empty());
    }
}
