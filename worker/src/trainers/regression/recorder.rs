//! What a regression reports at its recorded steps, and what theory says of it in the end.

use trainyard_theory::log_schedule::LogSchedule;
use trainyard_theory::regression::{DescentPath, Problem, Spectrum, spectrum_cost, vector};
use trainyard_wire::run::{Certificate, LogLevel};
use trainyard_wire::spec::RegressionSpec;
use trainyard_wire::spec::regression::Record;

use super::super::session::Session;
use super::claims::{Claims, Evidence, Run, predicted_divergence};
use super::position::Position;
use crate::data::SharedProblem;

/// The most operations that a run spends on a singular value decomposition: some ten seconds of one core, 2000 × 2000 numbers.
const MOST_SPECTRUM_COST: u64 = 250_000_000_000;

/// Reports the recorded steps of one run.
pub(super) struct Recorder<'a> {
    spec: &'a RegressionSpec,
    problem: &'a Problem,
    start: &'a [f64],
    session: &'a dyn Session,
    grid: LogSchedule,
    claims: Claims,
    /// None where it costs too much.
    spectrum: Option<&'a Spectrum>,
    /// Of gradient descent.
    path: Option<DescentPath>,
    /// Where there is a penalty.
    ridge: Option<Vec<f64>>,
    evidence: Evidence,
}

impl<'a> Recorder<'a> {
    /// Has the problem decomposed, unless that costs too much; then it says what is left out. `start` is w₀.
    pub(super) fn new(spec: &'a RegressionSpec, shared: &'a SharedProblem, start: &'a [f64], session: &'a dyn Session) -> Self {
        let (problem, claims) = (shared.problem(), Claims::about(spec));
        let spectrum = decompose(shared)
            .inspect_err(|reason| {
                session.log(LogLevel::Warn, format!("no distances to closed-form solutions, and no certificates: {reason}"));
                session.left_out(claims.left_out(reason));
            })
            .ok();
        let path = spectrum.filter(|_| claims.descent).map(|spectrum| spectrum.descent_path(start, spec.l2));
        let ridge = spectrum.filter(|_| claims.ridge).map(|spectrum| spectrum.ridge_solution(spec.l2));
        let (grid, evidence) = (LogSchedule::new(spec.steps), Evidence { last_gradient_norm: f64::NAN, ..Evidence::default() });
        Self { spec, problem, start, session, grid, claims, spectrum, path, ridge, evidence }
    }

    /// Whether the metrics of `step` are recorded.
    pub(super) fn records(&self, step: u64) -> bool {
        self.spec.record == Record::Every || self.grid.records(step)
    }

    /// Reports all metrics at `weights`, the weights after `step` updates; `loss` and `gradient` are L̃ and ∇L̃ there.
    pub(super) fn record(&mut self, step: u64, weights: &[f64], loss: f64, gradient: &[f64]) {
        let (residual_norm, gradient_norm) = (self.problem.residual_norm(weights), vector::norm(gradient));
        let metric = |name, value| self.session.metric(name, step, value);
        metric("loss", loss);
        if self.spec.l2 != 0.0 {
            metric("mse", residual_norm * residual_norm / self.problem.examples() as f64);
        }
        if let Some(path) = &self.path {
            metric("exact_loss", path.loss(self.spec.optimizer.learning_rate, step));
        }
        metric("gradient_norm", gradient_norm);
        metric("residual_norm", residual_norm);
        metric("weight_norm", vector::norm(weights));
        if let Some(spectrum) = self.spectrum {
            metric("distance_to_minimum_norm", spectrum.distance_to_minimum_norm(weights));
            metric("null_space_norm", spectrum.null_space_norm(weights));
        }
        if let Some(solution) = &self.ridge {
            metric("distance_to_ridge_solution", vector::distance(weights, solution));
        }
        let evidence = &mut self.evidence;
        (evidence.last_loss, evidence.last_gradient_norm) = (Some(loss), gradient_norm);
        if self.grid.records(step) {
            evidence.losses.push((step, loss));
            evidence.gradient_norms.push((step, gradient_norm));
            if self.claims.descent
                && let Some(spectrum) = self.spectrum
            {
                evidence.steepest.extend(spectrum.steepest_coordinate(weights, self.spec.l2).map(|coordinate| (step, coordinate)));
            }
        }
    }

    /// The claims of theory that apply to the run, checked on what it did. The last recorded step is the end's.
    pub(super) fn certificates(&self, end: &Position, converged: bool) -> Vec<Certificate> {
        let Self { spec, problem, start, evidence, .. } = self;
        let run = Run { spec, problem, start, end, evidence, converged };
        self.spectrum.map(|spectrum| self.claims.check(&run, spectrum, self.ridge.as_deref())).unwrap_or_default()
    }

    /// What a diverged run says, with what theory had to say of its rate.
    pub(super) fn explain_divergence(&self, error: String) -> String {
        match self.spectrum.and_then(|spectrum| predicted_divergence(self.spec, spectrum)) {
            Some(prediction) => format!("{error}; {prediction}"),
            None => error,
        }
    }
}

/// The problem's spectrum, or why there is none.
/// A problem's spectrum, or why there is none.
pub(in super::super) fn decompose(shared: &SharedProblem) -> Result<&Spectrum, String> {
    let (n, d) = (shared.problem().examples(), shared.problem().features());
    let cost = spectrum_cost(n, d);
    if cost > MOST_SPECTRUM_COST {
        return Err(format!(
            "the singular value decomposition of {n} × {d} numbers takes about {:.1e} operations, over the {:.1e} that are allowed",
            cost as f64, MOST_SPECTRUM_COST as f64
        ));
    }
    shared.spectrum().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::Spec;

    use super::super::super::memory::MemorySession;
    use super::*;

    #[test]
    fn a_problem_too_large_to_decompose_says_what_is_left_out_and_why() {
        let problem = SharedProblem::new(Problem::new(vec![0.0; 2200 * 2200], vec![0.0; 2200], 2200).unwrap());
        let spec = json!({"kind": "regression", "problem": {"source": "synthetic", "n": 2200, "d": 2200, "condition": 1},
            "optimizer": {"name": "gd", "learning_rate": 0.5}, "l2": 0.1, "gradient_tolerance": 1e-6, "steps": 1});
        let Spec::Regression(spec) = Spec::from_value(spec, "").unwrap() else { unreachable!() };
        let (session, start) = (MemorySession::default(), vec![0.0; 2200]);
        let mut recorder = Recorder::new(&spec, &problem, &start, &session);
        recorder.record(0, &start, 0.0, &start);
        assert!(session.series("distance_to_minimum_norm").is_empty() && session.series("exact_loss").is_empty());
        assert_eq!(session.series("residual_norm").len(), 1);
        let left_out = session.left_out.borrow();
        assert_eq!(left_out.len(), 7, "{left_out:?}");
        assert!(left_out.iter().all(|left_out| left_out.reason.contains("2200 × 2200 numbers takes about 2.8e11")), "{left_out:?}");
        assert!(session.logs.borrow()[0].contains("singular value decomposition"));
    }

    #[test]
    fn the_largest_problem_that_is_decomposed_has_two_thousand_rows_and_columns() {
        assert!(spectrum_cost(2000, 2000) <= MOST_SPECTRUM_COST);
    }
}
