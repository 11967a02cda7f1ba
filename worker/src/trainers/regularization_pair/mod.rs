//! An L2 penalty and weight decay side by side: two regressions from one start, over the same batches, with matched coefficients.
//!
//! Both twins are positions of the regression trainer with the same optimizer. The one's gradient is that of L̃; the other's is that of
//! L, and before each of its updates the weights shrink by `1 − λ_t`, with `λ_t = 2η_tλ̃` of that update's rate. The distance of their
//! weights is measured at every step, whichever are recorded.

mod measured;
#[cfg(test)]
mod tests;
mod twins;

use serde_json::json;
use trainyard_theory::log_schedule::LogSchedule;
use trainyard_theory::regression::{Problem, diverged};
use trainyard_wire::StopReason;
use trainyard_wire::run::LogLevel;
use trainyard_wire::spec::RegularizationPairSpec;
use trainyard_wire::spec::regression::Record;

use super::checkpoint::CheckpointWriter;
use super::optimizer::learning_rate;
use super::pace::{Pace, Timer};
use super::regression::batches::Batches;
use super::regression::{MOST_WEIGHTS_IN_RESULT, PROGRESS_EVERY, WEIGHTS_ARTIFACT, clock_every, divergence, initial_weights};
use super::session::{Artifact, Session};
use super::{Assignment, Ended, TrainError, Workshop};
use twins::Twins;

/// Trains one attempt. See [`super::train`].
pub(super) fn train(
    spec: &RegularizationPairSpec,
    assignment: &Assignment,
    workshop: &Workshop,
    session: &dyn Session,
) -> Result<Ended, TrainError> {
    let shared = workshop.problems.get(&spec.problem, assignment.dataset.as_ref())?;
    let problem = shared.problem();
    let start = initial_weights(&spec.initial_weights, spec.seed, problem)?;
    let mut twins = Twins::start(spec, start);
    if let Some(checkpoint) = &assignment.checkpoint {
        twins.restore(checkpoint)?;
        session.log(LogLevel::Info, format!("goes on from step {}", twins.step()));
    }
    let ended = run_steps(spec, problem, &mut twins, workshop, session)?;
    if matches!(ended, Ended::Succeeded { .. }) {
        // What diverges amplifies its own rounding: no claim is made of it.
        session.certificates(twins.measured.certificates(spec, problem, twins.step()));
        if problem.features() > MOST_WEIGHTS_IN_RESULT {
            let (weights_l2, weights_decay) = twins.weights();
            let writer = CheckpointWriter::default().vector("weights_l2", weights_l2).vector("weights_decay", weights_decay);
            let bytes = writer.finish(&json!({ "step": twins.step() }))?;
            session.save_artifact(Artifact { name: WEIGHTS_ARTIFACT.to_owned(), bytes, dispensable: false });
        }
    }
    Ok(ended)
}

fn run_steps(
    spec: &RegularizationPairSpec,
    problem: &Problem,
    twins: &mut Twins,
    workshop: &Workshop,
    session: &dyn Session,
) -> Result<Ended, TrainError> {
    let mut batches = spec.optimizer.batch_size.map(|size| Batches::new(problem.examples(), size, spec.seed));
    let grid = LogSchedule::new(spec.steps);
    let pace = Pace::new(twins.step(), spec.steps);
    let mut progress_timer = Timer::new(PROGRESS_EVERY);
    let mut checkpoint_timer = Timer::new(workshop.regression_checkpoint);
    let clock_every = clock_every(problem);

    session.progress(pace.progress(twins.step(), None));
    let (losses, distance) = loop {
        let step = twins.step();
        let distance = twins.measure();
        let recorded = spec.record() == Record::Every || grid.records(step);
        if batches.is_none() || recorded || twins.are_suspicious() {
            let losses = twins.losses_and_gradients(problem, spec.l2);
            let first_loss = twins.first_loss(losses[0]);
            let away = losses.into_iter().find(|loss| diverged(*loss, first_loss));
            if recorded || away.is_some() {
                session.metric("weight_distance", step, distance);
                session.metric("loss_l2", step, losses[0]);
                session.metric("loss_decay", step, losses[1]);
            }
            if let Some(loss) = away {
                session.progress(pace.progress(step, None));
                return Ok(Ended::Diverged { error: divergence(loss, first_loss, step) });
            }
            if step >= spec.steps {
                break (losses, distance);
            }
        }
        if let Some(stop) = session.stop() {
            if stop.keeps_position() {
                session.save_checkpoint(step, twins.checkpoint()?);
            }
            session.progress(pace.progress(step, None));
            return Ok(Ended::Stopped(stop));
        }
        if let Some(batches) = &mut batches {
            twins.batch_gradients(problem, batches.of_step(step), spec.l2);
        }
        twins.update(learning_rate(&spec.optimizer, step, spec.steps), spec.l2);

        if twins.step().is_multiple_of(clock_every) {
            if progress_timer.is_due() {
                session.progress(pace.progress(twins.step(), None));
            }
            if checkpoint_timer.is_due() {
                session.save_checkpoint(twins.step(), twins.checkpoint()?);
            }
        }
    };
    session.progress(pace.progress(twins.step(), None));
    Ok(Ended::Succeeded { stop_reason: StopReason::Completed, result: result(twins, losses, distance) })
}

fn result(twins: &Twins, [loss_l2, loss_decay]: [f64; 2], distance: f64) -> serde_json::Value {
    let (weights_l2, weights_decay) = twins.weights();
    let mut result = json!({
        "weight_distance": distance,
        "largest_weight_distance": twins.measured.largest_distance(),
        "loss_l2": loss_l2,
        "loss_decay": loss_decay,
        "steps": twins.step(),
    });
    if weights_l2.len() <= MOST_WEIGHTS_IN_RESULT {
        result["weights_l2"] = json!(weights_l2);
        result["weights_decay"] = json!(weights_decay);
    } else {
        result["weights_artifact"] = json!(WEIGHTS_ARTIFACT);
    }
    result
}
