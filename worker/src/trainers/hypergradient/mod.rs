//! Learning the learning rate: the outer loop follows `dL̃(w_k)/dη` through `k` unrolled steps of gradient descent, in f64.
//!
//! The rate η_s after `s` updates is looked at by the run's method ([`methods`]), which gives the loss and its derivative there; the
//! outer optimizer answers with the next rate. That is all of the run's position: the optimizer is a function of the points it has seen,
//! so a checkpoint holds those ([`trajectory`]) and a resumed run shows them to it again. When the loop is done, [`analysis`] compares
//! the methods, measures what they hold, and checks the end against theory. A run can stop before any inner step of all of it.

mod analysis;
mod autograd;
mod methods;
#[cfg(test)]
mod tests;
mod trajectory;

use std::cell::Cell;

use serde_json::json;
use trainyard_theory::hypergradient::{Interrupted, LogDescent, Next, SecantSearch, Unrolled};
use trainyard_theory::regression::diverged;
use trainyard_wire::StopReason;
use trainyard_wire::number::brief;
use trainyard_wire::run::LogLevel;
use trainyard_wire::spec::HypergradientSpec;
use trainyard_wire::spec::hypergradient::{DEFAULT_OUTER_LEARNING_RATE, OuterOptimizer};

use super::pace::{Pace, Timer};
use super::regression::{PROGRESS_EVERY, initial_weights};
use super::session::{Session, Stop};
use super::{Assignment, Ended, TrainError, Workshop};
use methods::{Methods, Unfinished};
use trajectory::{Point, Trajectory};

/// Trains one attempt. See [`super::train`].
pub(super) fn train(
    spec: &HypergradientSpec,
    assignment: &Assignment,
    workshop: &Workshop,
    session: &dyn Session,
) -> Result<Ended, TrainError> {
    let shared = workshop.problems.get(&spec.problem, assignment.dataset.as_ref())?;
    let problem = shared.problem();
    let start = initial_weights(&spec.initial_weights, spec.seed, problem)?;
    let steps = usize::try_from(spec.inner_steps).map_err(|_| TrainError::Spec("inner_steps is too large".to_owned()))?;
    let unrolled = Unrolled::new(problem, spec.l2, &start, steps);
    let stop = Cell::new(None);
    let check = || {
        stop.set(session.stop());
        if stop.get().is_none() { Ok(()) } else { Err(Interrupted) }
    };
    let mut trajectory = Trajectory::default();
    if let Some(checkpoint) = &assignment.checkpoint {
        trajectory = Trajectory::restore(checkpoint)?;
        session.log(LogLevel::Info, format!("goes on from learning rate number {}", trajectory.len()));
    }
    let pace = Pace::new(trajectory.updates(), spec.outer_steps);
    let methods = Methods::new(unrolled, &check)?;
    let mut outer_loop = OuterLoop { spec, unrolled, methods: &methods, trajectory, pace, workshop, session };

    let mut ended = outer_loop.run();
    if let Ok(Ended::Succeeded { .. }) = &ended
        && let Some(end) = outer_loop.end()
    {
        let certificates = analysis::report(spec, &shared, unrolled, &methods, &outer_loop.trajectory, end, session);
        match certificates {
            Ok(certificates) => session.certificates(certificates),
            Err(unfinished) => ended = Err(unfinished),
        }
    }
    outer_loop.report_progress();
    match ended {
        Ok(ended) => Ok(ended),
        Err(Unfinished::Interrupted(_)) => {
            // The check noted why before it broke the computation off.
            let stop = stop.get().unwrap_or(Stop::Release);
            if stop.keeps_position() {
                session.save_checkpoint(outer_loop.trajectory.updates(), outer_loop.trajectory.checkpoint()?);
            }
            Ok(Ended::Stopped(stop))
        }
        Err(Unfinished::Tensor(error)) => Err(error.into()),
        Err(Unfinished::Checkpoint(error)) => Err(error.into()),
    }
}

/// The rule that the learning rate follows.
enum Outer {
    Secant(SecantSearch),
    Descent(LogDescent),
}

impl Outer {
    fn next(&mut self, point: &Point) -> Next {
        match self {
            Self::Secant(search) => search.next(point.rate, point.hypergradient),
            Self::Descent(descent) => descent.next(point.rate, point.hypergradient),
        }
    }
}

struct OuterLoop<'a> {
    spec: &'a HypergradientSpec,
    unrolled: Unrolled<'a>,
    methods: &'a Methods<'a>,
    trajectory: Trajectory,
    pace: Pace,
    workshop: &'a Workshop,
    session: &'a dyn Session,
}

impl OuterLoop<'_> {
    fn run(&mut self) -> Result<Ended, Unfinished> {
        let mut outer = match self.spec.outer_optimizer {
            OuterOptimizer::Secant => Outer::Secant(SecantSearch::new(self.unrolled.hypergradient_at_zero())),
            OuterOptimizer::GradientDescent => {
                let rate = self.spec.outer_learning_rate.unwrap_or(DEFAULT_OUTER_LEARNING_RATE);
                Outer::Descent(LogDescent::new(rate, self.unrolled.first_loss()))
            }
        };
        let mut next = Next::At(self.spec.learning_rate);
        for point in self.trajectory.points() {
            next = outer.next(point);
        }
        let first_loss = self.unrolled.first_loss();
        let (mut progress_timer, mut checkpoint_timer) = (Timer::new(PROGRESS_EVERY), Timer::new(self.workshop.regression_checkpoint));
        self.report_progress();
        loop {
            if let (Some(diverged), Outer::Descent(_)) = (self.divergence(first_loss, next), &outer) {
                return Ok(Ended::Diverged { error: diverged });
            }
            let rate = match next {
                Next::Settled => return Ok(self.succeeded(StopReason::Converged)),
                Next::At(_) if self.trajectory.len() as u64 > self.spec.outer_steps => {
                    let message = format!("the learning rate has not settled within {} updates", self.spec.outer_steps);
                    self.session.log(LogLevel::Warn, message);
                    return Ok(self.succeeded(StopReason::Completed));
                }
                Next::At(rate) => rate,
            };
            let evaluation = self.methods.evaluate(self.spec.method, rate, self.unrolled.steps())?.evaluation;
            let point = Point { rate, loss: evaluation.loss, hypergradient: evaluation.hypergradient };
            let step = self.trajectory.len() as u64;
            self.session.metric("learning_rate", step, point.rate);
            self.session.metric("loss", step, point.loss);
            self.session.metric("hypergradient", step, point.hypergradient);
            next = outer.next(&point);
            self.trajectory.push(point);
            if progress_timer.is_due() {
                self.report_progress();
            }
            if checkpoint_timer.is_due() {
                self.session.save_checkpoint(step, self.trajectory.checkpoint()?);
            }
        }
    }

    /// The point that the run ends with. A search for the root that has not settled may have looked at a worse point last.
    fn end(&self) -> Option<Point> {
        let finite = |point: &&Point| point.loss.is_finite() && point.hypergradient.is_finite();
        let mut points = self.trajectory.points().iter().filter(finite);
        let end = match self.spec.outer_optimizer {
            OuterOptimizer::Secant => points.min_by(|one, other| one.hypergradient.abs().total_cmp(&other.hypergradient.abs())),
            OuterOptimizer::GradientDescent => points.next_back(),
        };
        end.copied()
    }

    fn succeeded(&self, stop_reason: StopReason) -> Ended {
        match self.end() {
            Some(Point { rate, loss, hypergradient }) => {
                let result = json!({ "learning_rate": rate, "loss": loss, "hypergradient": hypergradient });
                Ended::Succeeded { stop_reason, result }
            }
            None => Ended::Diverged { error: "the loss overflowed at every learning rate that was looked at".to_owned() },
        }
    }

    /// Why the descent cannot go on from its last point, if it cannot.
    fn divergence(&self, first_loss: f64, next: Next) -> Option<String> {
        let last = self.trajectory.points().last()?;
        let update = self.trajectory.updates();
        if diverged(last.loss, first_loss) {
            let (rate, loss, first_loss) = (brief(last.rate), brief(last.loss), brief(first_loss));
            return Some(format!(
                "after update {update} the loss at the learning rate {rate} is {loss}; before the first step it is {first_loss}"
            ));
        }
        match next {
            Next::At(rate) if !(rate > 0.0 && rate.is_finite()) => {
                Some(format!("update {} takes the learning rate from {} to {rate}", update + 1, brief(last.rate)))
            }
            Next::At(_) | Next::Settled => None,
        }
    }

    fn report_progress(&self) {
        self.session.progress(self.pace.progress(self.trajectory.updates(), None));
    }
}
