//! Linear regression by gradient descent and its relatives, in f64.
//!
//! `w₀` → `w₁` → … → `w_T`: at each `w_s` the loss is looked at (and, on the recorded steps, everything else that is reported), then one
//! update is made. [`batches`] says which examples an update sees, [`recorder`] what is reported, [`claims`] what theory says of it.

pub(super) mod batches;
pub(super) mod claims;
mod full_batch;
pub(super) mod position;
pub(super) mod recorder;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod theory_tests;

use serde_json::json;
use trainyard_theory::regression::{Problem, diverged, normal_start, vector};
use trainyard_wire::StopReason;
use trainyard_wire::number::brief;
use trainyard_wire::run::LogLevel;
use trainyard_wire::spec::RegressionSpec;
use trainyard_wire::spec::regression::InitialWeights;

use super::checkpoint::CheckpointWriter;
use super::optimizer::learning_rate;
use super::pace::{Pace, Timer};
use super::session::{Artifact, Session};
use super::{Assignment, Ended, TrainError, Workshop};
use batches::Batches;
use full_batch::FullBatch;
use position::Position;
use recorder::Recorder;

/// The most weights that a result holds; more are put into [`WEIGHTS_ARTIFACT`] alone.
pub(super) const MOST_WEIGHTS_IN_RESULT: usize = 10_000;
pub(super) const WEIGHTS_ARTIFACT: &str = "weights.safetensors";
/// Time between two reports of progress.
pub(super) const PROGRESS_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

/// Trains one attempt. See [`super::train`].
pub(super) fn train(
    spec: &RegressionSpec,
    assignment: &Assignment,
    workshop: &Workshop,
    session: &dyn Session,
) -> Result<Ended, TrainError> {
    let shared = workshop.problems.get(&spec.problem, assignment.dataset.as_ref())?;
    let problem = shared.problem();
    let start = initial_weights(&spec.initial_weights, spec.seed, problem)?;
    let mut recorder = Recorder::new(spec, &shared, &start, session);
    let mut position = Position::start(&spec.optimizer, start.clone());
    if let Some(checkpoint) = &assignment.checkpoint {
        position.restore(checkpoint)?;
        session.log(LogLevel::Info, format!("goes on from step {}", position.step));
    }
    let ended = match run_steps(spec, problem, &mut position, &mut recorder, workshop, session)? {
        Ended::Diverged { error } => Ended::Diverged { error: recorder.explain_divergence(error) },
        ended => ended,
    };
    if !matches!(ended, Ended::Stopped(_)) {
        let converged = matches!(ended, Ended::Succeeded { stop_reason: StopReason::Converged, .. });
        session.certificates(recorder.certificates(&position, converged));
    }
    if matches!(ended, Ended::Succeeded { .. }) && position.weights.len() > MOST_WEIGHTS_IN_RESULT {
        let bytes = CheckpointWriter::default().vector("weights", &position.weights).finish(&json!({ "step": position.step }))?;
        session.save_artifact(Artifact { name: WEIGHTS_ARTIFACT.to_owned(), bytes, dispensable: false });
    }
    Ok(ended)
}

/// `w₀`.
pub(super) fn initial_weights(initial: &InitialWeights, seed: u64, problem: &Problem) -> Result<Vec<f64>, TrainError> {
    let d = problem.features();
    match initial {
        InitialWeights::Zeros => Ok(vec![0.0; d]),
        InitialWeights::Normal => Ok(normal_start(seed, d)),
        InitialWeights::Given(weights) if weights.len() == d => Ok(weights.clone()),
        InitialWeights::Given(weights) => {
            Err(TrainError::Spec(format!("the problem has {d} weights, but initial_weights has {}", weights.len())))
        }
    }
}

fn run_steps(
    spec: &RegressionSpec,
    problem: &Problem,
    position: &mut Position,
    recorder: &mut Recorder<'_>,
    workshop: &Workshop,
    session: &dyn Session,
) -> Result<Ended, TrainError> {
    let mut batches = spec.optimizer.batch_size.map(|size| Batches::new(problem.examples(), size, spec.seed));
    let mut gradient = vec![0.0; problem.features()];
    let pace = Pace::new(position.step, spec.steps);
    let mut progress_timer = Timer::new(PROGRESS_EVERY);
    let mut checkpoint_timer = Timer::new(workshop.regression_checkpoint);
    let clock_every = clock_every(problem);
    let mut full_batch = FullBatch::new(problem, batches.is_none(), workshop, session)?;

    session.progress(pace.progress(position.step, None));
    let (stop_reason, loss) = loop {
        let step = position.step;
        let recorded = recorder.records(step);
        if batches.is_none() || recorded || position.suspicious {
            let loss = full_batch.loss_and_gradient(&position.weights, spec.l2, &mut gradient)?;
            let first_loss = *position.first_loss.get_or_insert(loss);
            let has_diverged = diverged(loss, first_loss);
            let has_converged = spec.gradient_tolerance.is_some_and(|tolerance| vector::norm(&gradient) <= tolerance);
            if recorded || has_diverged || has_converged {
                recorder.record(step, &position.weights, loss, &gradient);
            }
            if has_diverged {
                session.progress(pace.progress(step, None));
                return Ok(Ended::Diverged { error: divergence(loss, first_loss, step) });
            }
            if has_converged {
                break (StopReason::Converged, loss);
            }
            if step >= spec.steps {
                break (StopReason::Completed, loss);
            }
        }
        if let Some(stop) = session.stop() {
            if stop.keeps_position() {
                session.save_checkpoint(step, position.checkpoint()?);
            }
            session.progress(pace.progress(step, None));
            return Ok(Ended::Stopped(stop));
        }
        if let Some(batches) = &mut batches {
            let loss = problem.batch_loss_and_gradient(batches.of_step(step), &position.weights, spec.l2, &mut gradient);
            position.suspicious = position.first_loss.is_some_and(|first_loss| diverged(loss, first_loss));
        }
        position.update(&gradient, learning_rate(&spec.optimizer, step, spec.steps));

        if position.step.is_multiple_of(clock_every) {
            if progress_timer.is_due() {
                session.progress(pace.progress(position.step, None));
            }
            if checkpoint_timer.is_due() {
                session.save_checkpoint(position.step, position.checkpoint()?);
            }
        }
    };
    session.progress(pace.progress(position.step, None));
    Ok(Ended::Succeeded { stop_reason, result: result(position, loss) })
}

/// Steps between two looks at the clock: about the time of 4096 multiplications, so that it costs small problems nothing.
pub(super) fn clock_every(problem: &Problem) -> u64 {
    4096_u64.div_ceil(problem.x().len() as u64)
}

fn result(position: &Position, loss: f64) -> serde_json::Value {
    let mut result = json!({ "loss": loss, "steps": position.step });
    if position.weights.len() <= MOST_WEIGHTS_IN_RESULT {
        result["weights"] = json!(position.weights);
    } else {
        result["weights_artifact"] = json!(WEIGHTS_ARTIFACT);
    }
    result
}

/// Why a run that diverged did, in a sentence.
pub(super) fn divergence(loss: f64, first_loss: f64, step: u64) -> String {
    if loss.is_finite() {
        format!("the loss at step {step} is {}, over 10⁸ times the first ({})", brief(loss), brief(first_loss))
    } else {
        format!("the loss at step {step} is {loss}; the first was {}", brief(first_loss))
    }
}
