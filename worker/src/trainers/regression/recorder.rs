//! What a regression reports at its recorded steps, and what theory says of it in the end.

use trainyard_theory::certificate as claims;
use trainyard_theory::log_schedule::LogSchedule;
use trainyard_theory::regression::{Problem, Spectrum, spectrum_cost, vector};
use trainyard_wire::Number;
use trainyard_wire::run::{Certificate, LogLevel};
use trainyard_wire::spec::RegressionSpec;
use trainyard_wire::spec::optimizer::{OptimizerName, OptimizerSpec, Schedule};
use trainyard_wire::spec::regression::Record;

use super::super::session::Session;
use super::position::Position;
use crate::data::SharedProblem;

/// The most operations that a run spends on a singular value decomposition: some ten seconds of one core.
pub(in super::super) const MOST_SPECTRUM_COST: u64 = 40_000_000_000;

/// Reports the recorded steps of one run.
pub(super) struct Recorder<'a> {
    spec: &'a RegressionSpec,
    problem: &'a Problem,
    session: &'a dyn Session,
    grid: LogSchedule,
    /// None where it costs too much.
    spectrum: Option<&'a Spectrum>,
    /// The losses and the gradient's norms on the logarithmic grid, which stay few however many steps are recorded.
    losses: Vec<(u64, f64)>,
    gradient_norms: Vec<(u64, f64)>,
    last_loss: Option<f64>,
    last_gradient_norm: f64,
}

impl<'a> Recorder<'a> {
    /// Has the problem decomposed, unless that costs too much.
    pub(super) fn new(spec: &'a RegressionSpec, shared: &'a SharedProblem, session: &'a dyn Session) -> Self {
        let problem = shared.problem();
        let cost = spectrum_cost(problem.examples(), problem.features());
        let spectrum = if cost <= MOST_SPECTRUM_COST {
            shared
                .spectrum()
                .inspect_err(|error| session.log(LogLevel::Warn, format!("no distances to the minimum-norm solution: {error}")))
                .ok()
        } else {
            let (n, d) = (problem.examples(), problem.features());
            let message = format!(
                "no distance_to_minimum_norm and null_space_norm: the singular value decomposition of {n} × {d} numbers takes about {cost:.1e} operations, over the {:.1e} that are allowed",
                MOST_SPECTRUM_COST as f64,
                cost = cost as f64
            );
            session.log(LogLevel::Warn, message);
            None
        };
        let grid = LogSchedule::new(spec.steps);
        Self {
            spec,
            problem,
            session,
            grid,
            spectrum,
            losses: Vec::new(),
            gradient_norms: Vec::new(),
            last_loss: None,
            last_gradient_norm: f64::NAN,
        }
    }

    /// Whether the metrics of `step` are recorded.
    pub(super) fn records(&self, step: u64) -> bool {
        self.spec.record == Record::Every || self.grid.records(step)
    }

    /// Reports all metrics at `weights`, the weights after `step` updates; `loss` and `gradient` are L̃ and ∇L̃ there.
    pub(super) fn record(&mut self, step: u64, weights: &[f64], loss: f64, gradient: &[f64]) {
        let residual_norm = self.problem.residual_norm(weights);
        (self.last_loss, self.last_gradient_norm) = (Some(loss), vector::norm(gradient));
        self.session.metric("loss", step, loss);
        if self.spec.l2 != 0.0 {
            self.session.metric("mse", step, residual_norm * residual_norm / self.problem.examples() as f64);
        }
        self.session.metric("gradient_norm", step, self.last_gradient_norm);
        self.session.metric("residual_norm", step, residual_norm);
        self.session.metric("weight_norm", step, vector::norm(weights));
        if let Some(spectrum) = self.spectrum {
            self.session.metric("distance_to_minimum_norm", step, spectrum.distance_to_minimum_norm(weights));
            self.session.metric("null_space_norm", step, spectrum.null_space_norm(weights));
        }
        if self.grid.records(step) {
            self.losses.push((step, loss));
            self.gradient_norms.push((step, self.last_gradient_norm));
        }
    }

    /// The claims of theory that apply to the run, checked on what it did. The last recorded step is the end's.
    pub(super) fn certificates(&self, start: &[f64], end: &Position) -> Vec<Certificate> {
        let (Some(spectrum), Some(last_loss), Some(first_loss)) = (self.spectrum, self.last_loss, end.first_loss) else {
            return Vec::new();
        };
        let OptimizerSpec { name, learning_rate: rate, schedule, batch_size, .. } = self.spec.optimizer;
        let l2 = self.spec.l2;
        let decays = self.spec.optimizer.weight_decay.is_some_and(|decay| decay != 0.0);
        // What theory says about a rate is said of a fixed one and the full gradient.
        let plain = schedule == Schedule::Constant && batch_size.is_none() && !decays;
        let mut certificates = Vec::new();
        if plain && name == OptimizerName::Gd {
            certificates.extend(claims::gradient_descent_stability(spectrum, rate, l2, first_loss, last_loss));
            certificates.extend(claims::exact_descent_path(spectrum, start, l2, rate, self.losses.iter().copied()));
        }
        if plain && name == OptimizerName::RmsProp {
            let epsilon = self.spec.optimizer.epsilon.unwrap_or(1e-8);
            let mut norms = self.gradient_norms.clone();
            norms.push((end.step, self.last_gradient_norm));
            certificates.extend(claims::rmsprop_settles(spectrum, rate, epsilon, l2, &norms));
        }
        let finite = end.weights.iter().all(|weight| weight.is_finite());
        if finite && matches!(name, OptimizerName::Gd | OptimizerName::Sgd | OptimizerName::Momentum) {
            let beta = self.spec.optimizer.beta.unwrap_or(0.0);
            // Both claims are made of a start in the row space of X only.
            if let Some(null_space) = claims::null_space(spectrum, start, &end.weights, end.step, beta) {
                certificates.push(null_space);
                certificates.extend(claims::minimum_norm(spectrum, &end.weights, self.problem.residual_norm(&end.weights)));
            }
        }
        certificates.into_iter().map(certificate).collect()
    }
}

pub(in super::super) fn certificate(checked: claims::Certificate) -> Certificate {
    Certificate {
        claim: checked.claim,
        formula: checked.formula,
        predicted: Number(checked.predicted),
        measured: Number(checked.measured),
        tolerance: Number(checked.tolerance),
        holds: checked.holds,
    }
}
