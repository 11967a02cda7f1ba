//! What theory says of a regression before it runs.
//!
//! The spectrum of a synthetic problem is known from its definition; that of any other takes a singular value decomposition, as do the coordinates of the
//! exact path. What one request may spend on them is bounded, and requests take turns; a problem that is too large is left to the worker, which says more of it
//! once it runs.

use trainyard_theory::regression::{
    Problem, Spectrum, SpectrumSummary, SyntheticProblem, limits, normal_start, problem_of_table, spectrum_cost,
};
use trainyard_wire::Spec;
use trainyard_wire::spec::RegressionSpec;
use trainyard_wire::spec::optimizer::{OptimizerName, OptimizerSpec, Schedule};
use trainyard_wire::spec::regression::{InitialWeights, MOST_STEPS, ProblemSource, ProblemSpec};
use trainyard_wire::theory::RegressionTheory;

use super::facts::Facts;

/// Operations that one request may take: some tenths of a second.
pub(super) const MOST_OPERATIONS: u64 = 300_000_000;
/// Problems whose spectra are kept for further runs of the request.
const MOST_KNOWN: usize = 16;
/// Operations that finding the steps to a tolerance takes for each eigenvalue.
const BISECTION: u64 = 1000;

/// Knows the problems of one request.
pub(super) struct Theorist<'a> {
    facts: &'a Facts,
    /// Operations that may still be spent.
    left: u64,
    /// A sweep mostly repeats a few problems.
    known: Vec<(ProblemSpec, Result<Spectrum, String>)>,
}

impl<'a> Theorist<'a> {
    pub(super) fn new(facts: &'a Facts) -> Self {
        Self { facts, left: MOST_OPERATIONS, known: Vec::new() }
    }

    /// The largest eigenvalue of H, where it is known or cheap.
    pub(super) fn lambda_max(&mut self, problem: &ProblemSpec) -> Option<f64> {
        match synthetic(problem) {
            Some(synthetic) => Some(SpectrumSummary::of_synthetic(&synthetic, 0.0).lambda_max),
            None => self.spectrum(problem).ok().map(Spectrum::lambda_max),
        }
    }

    /// All that is known or cheap; none of a run that is no regression.
    pub(super) fn theory(&mut self, spec: &Spec) -> Option<RegressionTheory> {
        let (problem, optimizer, l2) = match spec {
            Spec::Regression(spec) => (&spec.problem, Some(&spec.optimizer), spec.l2),
            Spec::RegularizationPair(spec) => (&spec.problem, Some(&spec.optimizer), spec.l2),
            Spec::Hypergradient(spec) => (&spec.problem, None, spec.l2),
            Spec::Colourization(_) | Spec::External(_) | Spec::Picture(_) => return None,
        };
        let summary = match synthetic(problem) {
            Some(synthetic) => Ok(SpectrumSummary::of_synthetic(&synthetic, l2)),
            None => self.spectrum(problem).map(|spectrum| spectrum.summary(l2)),
        };
        let summary = match summary {
            Ok(summary) => summary,
            Err(reason) => return Some(RegressionTheory { left_out: Some(reason), ..RegressionTheory::default() }),
        };
        let predicted = match spec {
            Spec::Regression(spec) => self.predicted_steps(spec),
            _ => Ok(None),
        };
        let (predicted_steps, left_out) = match predicted {
            Ok(steps) => (steps, None),
            Err(reason) => (None, Some(format!("predicted_steps: {reason}"))),
        };
        Some(RegressionTheory {
            rank: Some(summary.rank as u64),
            lambda_max: Some(summary.lambda_max),
            lambda_min_positive: summary.lambda_min_positive,
            condition: summary.condition,
            largest_stable_rate: summary.largest_stable_rate,
            best_fixed_rate: summary.best_fixed_rate,
            predicted_steps,
            rmsprop_limit: optimizer.and_then(|optimizer| rmsprop_limit(optimizer, summary.lambda_max + 2.0 * l2)),
            left_out,
        })
    }

    /// The step at which gradient descent at a fixed rate converges; none for other optimizers, without a tolerance, or where it never does.
    fn predicted_steps(&mut self, spec: &RegressionSpec) -> Result<Option<u64>, String> {
        let (optimizer, l2) = (&spec.optimizer, spec.l2);
        let plain = optimizer.name == OptimizerName::Gd && optimizer.schedule == Schedule::Constant;
        let decays = optimizer.weight_decay.is_some_and(|decay| decay != 0.0);
        let Some(tolerance) = spec.gradient_tolerance.filter(|_| plain && !decays) else { return Ok(None) };
        let (rank, features) = {
            let spectrum = self.spectrum(&spec.problem)?;
            (spectrum.rank() as u64, spectrum.features())
        };
        self.spend(rank.saturating_mul(features as u64).saturating_add(rank.saturating_mul(BISECTION)))?;
        let start = match &spec.initial_weights {
            InitialWeights::Zeros => vec![0.0; features],
            InitialWeights::Normal => normal_start(spec.seed, features),
            InitialWeights::Given(weights) => weights.clone(),
        };
        let path = self.spectrum(&spec.problem)?.descent_path(&start, l2);
        Ok(path.steps_to_gradient(optimizer.learning_rate, tolerance, MOST_STEPS))
    }

    fn spectrum(&mut self, problem: &ProblemSpec) -> Result<&Spectrum, String> {
        let place = match self.known.iter().position(|(known, _)| known == problem) {
            Some(place) => place,
            None => {
                let found = self.decompose(problem);
                if self.known.len() == MOST_KNOWN {
                    drop(self.known.remove(0));
                }
                self.known.push((problem.clone(), found));
                self.known.len() - 1
            }
        };
        self.known[place].1.as_ref().map_err(Clone::clone)
    }

    fn decompose(&mut self, problem: &ProblemSpec) -> Result<Spectrum, String> {
        let (n, d) = self.facts.shape(problem).ok_or("the problem's size is not known")?;
        let side = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
        let made =
            if problem.source == ProblemSource::Synthetic { n.min(d).saturating_mul(n).saturating_mul(d).saturating_mul(2) } else { 0 };
        self.spend(spectrum_cost(side(n), side(d)).saturating_add(made))?;
        Spectrum::of(&self.load(problem)?).map_err(|error| error.to_string())
    }

    fn spend(&mut self, operations: u64) -> Result<(), String> {
        self.left = self.left.checked_sub(operations).ok_or("it takes too long here: the worker computes it when it runs")?;
        Ok(())
    }

    fn load(&self, problem: &ProblemSpec) -> Result<Problem, String> {
        if let Some(synthetic) = synthetic(problem) {
            return synthetic.generate().map(|(problem, _)| problem).map_err(|error| error.to_string());
        }
        if problem.source == ProblemSource::Dataset {
            let (table, target) = self.facts.table(problem).ok_or("the table is too large to be read here: the worker reads it")?;
            let cells = table.cells().map_err(|error| error.to_string())?;
            let made = problem_of_table(&cells, table.columns, target, problem.standardize, problem.intercept);
            return made.map_err(|error| error.to_string());
        }
        let stored = self.facts.numbers(problem);
        let (x, t) = match (&problem.x, &problem.t, stored) {
            (Some(x), Some(t), _) => (x, t),
            (_, _, Some(stored)) => (&stored.x, &stored.t),
            _ => return Err("the problem's numbers are not known".to_owned()),
        };
        Problem::new(x.concat(), t.clone(), x.first().map_or(0, Vec::len)).map_err(|error| error.to_string())
    }
}

/// The problem as theory defines it, of which more is known than of others.
fn synthetic(problem: &ProblemSpec) -> Option<SyntheticProblem> {
    let size = |value: Option<u64>| usize::try_from(value?).ok();
    let definition = SyntheticProblem {
        examples: size(problem.n)?,
        features: size(problem.d)?,
        condition: problem.condition?,
        noise: problem.noise.unwrap_or(0.0),
        seed: problem.seed.unwrap_or(0),
    };
    (problem.source == ProblemSource::Synthetic).then_some(definition)
}

fn rmsprop_limit(optimizer: &OptimizerSpec, curvature: f64) -> Option<f64> {
    let fixed = optimizer.name == OptimizerName::RmsProp && optimizer.schedule == Schedule::Constant;
    let limit = limits::rmsprop(curvature, optimizer.epsilon?);
    (fixed && limit.is_finite()).then_some(limit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trainyard_wire::Spec;

    use super::*;

    fn theory_of(spec: Value) -> RegressionTheory {
        let mut spec = spec;
        spec["kind"] = json!("regression");
        Theorist::new(&Facts::default()).theory(&Spec::from_value(spec, "/spec").unwrap()).unwrap()
    }

    fn gd(problem: Value) -> Value {
        json!({"problem": problem, "optimizer": {"name": "gd", "learning_rate": 0.1}, "gradient_tolerance": 1e-6, "steps": 10})
    }

    #[test]
    fn one_equation_in_two_unknowns_has_its_known_figures() {
        let found = theory_of(gd(json!({"source": "inline", "x": [[2, 1]], "t": [2]})));
        assert_eq!((found.rank, found.left_out, found.rmsprop_limit), (Some(1), None, None));
        assert!((found.lambda_max.unwrap() - 10.0).abs() < 1e-13);
        assert!((found.largest_stable_rate.unwrap() - 0.2).abs() < 1e-15);
        // η = 1/λ: one step is enough.
        assert_eq!(found.predicted_steps, Some(1));
    }

    #[test]
    fn a_synthetic_problem_is_known_at_any_size_and_its_path_at_a_small_one() {
        let synthetic = |n: u64| gd(json!({"source": "synthetic", "n": n, "d": 20, "condition": 8, "noise": 0.1}));
        let small = theory_of(synthetic(50));
        assert_eq!((small.rank, small.lambda_max, small.condition), (Some(20), Some(2.0), Some(8.0)));
        // The slowest mode, λ = ¼, shrinks by 0.975 a step: (λc)·0.975^k = 10⁻⁶ at some 500 steps.
        assert!((300..700).contains(&small.predicted_steps.unwrap()), "{small:?}");
        assert_eq!(small.left_out, None);
        let large = theory_of(synthetic(1_000_000));
        assert_eq!((large.rank, large.lambda_max, large.predicted_steps), (Some(20), Some(2.0), None));
        assert!(large.left_out.unwrap().contains("the worker computes it"));
    }

    #[test]
    fn the_limit_of_rmsprop_is_told_at_a_fixed_rate_only() {
        let rmsprop = |schedule: &str| {
            theory_of(json!({"problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "steps": 10,
                "optimizer": {"name": "rmsprop", "learning_rate": 0.1, "schedule": schedule}}))
        };
        assert!((rmsprop("constant").rmsprop_limit.unwrap() - 2e-5).abs() < 1e-18);
        assert_eq!(rmsprop("cosine").rmsprop_limit, None);
    }

    #[test]
    fn what_one_request_may_spend_is_shared_by_its_runs() {
        let spec = |seed: u64| {
            let problem = json!({"source": "synthetic", "n": 150, "d": 150, "condition": 8, "seed": seed});
            let spec = json!({"kind": "regression", "problem": problem, "optimizer": {"name": "gd", "learning_rate": 0.1},
                "gradient_tolerance": 1e-3, "steps": 10});
            Spec::from_value(spec, "/spec").unwrap()
        };
        let facts = Facts::default();
        let mut theorist = Theorist::new(&facts);
        let mut known = |seed| theorist.theory(&spec(seed)).unwrap().predicted_steps.is_some();
        let known: Vec<bool> = (0..5).map(&mut known).collect();
        // 28·150³ operations each.
        assert_eq!(known, [true, true, true, false, false]);
    }
}
