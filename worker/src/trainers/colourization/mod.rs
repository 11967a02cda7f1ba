//! Colourization: a network learns to name the palette colour of each pixel of a grey picture.
//!
//! One attempt is an [`Attempt`]: it goes through the epochs, one or some training batches at a time, as its [`Learner`] makes them on
//! the CPU or a GPU, and evaluates after each. All that later steps
//! depend on is in its [`Position`], which a checkpoint holds; a run can stop and go on before any batch.

mod batches;
#[cfg(test)]
mod card_tests;
mod colours;
mod early_stopping;
mod learner;
mod model;
mod position;
mod samples;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;
use trainyard_gpu::GpuError;
use trainyard_theory::regression::diverged;
use trainyard_wire::StopReason;
use trainyard_wire::colours::{BASELINES, CONFUSION};
use trainyard_wire::run::LogLevel;
use trainyard_wire::spec::ColourizationSpec;

use super::optimizer::learning_rate;
use super::pace::{Pace, Timer};
use super::session::{Artifact, Session, Stop};
use super::{Assignment, Ended, TrainError, Workshop};
use crate::data::Prepared;
use crate::networks::state_dict;
use batches::Batches;
use learner::Learner;
pub(super) use model::network_kind;
use position::Position;
pub(super) use samples::predict;

/// Per-step metrics are reported on every tenth step, and on a slow machine this often.
const METRICS_EVERY: Duration = Duration::from_millis(250);
const METRICS_STEPS: u64 = 10;

/// Trains one attempt. See [`super::train`].
pub(super) fn train(
    spec: &ColourizationSpec,
    assignment: &Assignment,
    workshop: &Workshop,
    session: &dyn Session,
) -> Result<Ended, TrainError> {
    let prepared = workshop.prepared.get(spec, assignment.dataset.as_ref())?;
    let mut attempt = Attempt::new(spec, prepared, workshop, session)?;
    if let Some(checkpoint) = &assignment.checkpoint {
        let device = attempt.learner.device();
        let before = attempt.learner.restore(|network, optimizer| attempt.position.restore(checkpoint, network, optimizer))?;
        let Position { step, epoch, .. } = attempt.position;
        session.log(LogLevel::Info, format!("goes on from step {step}, in epoch {}", epoch + 1));
        if before != device {
            session.log(
                LogLevel::Warn,
                format!("moves from the {before} to the {device} at step {step}: from here on its bits are the {device}'s"),
            );
        }
    }
    attempt.save_json(BASELINES, &colours::baselines(&attempt.prepared, attempt.samples()))?;
    match attempt.run() {
        // The card does nothing more for this process; the run's last checkpoint is stored.
        Err(TrainError::Gpu(error @ GpuError::Device(_))) => match &workshop.card {
            Some(card) => {
                card.lose(&error);
                session.log(LogLevel::Error, format!("{error}; the run is queued again and goes on from its last checkpoint"));
                Ok(Ended::Stopped(Stop::Release))
            }
            None => Err(error.into()),
        },
        ended => ended,
    }
}

/// What an epoch or a part of it came to, if the run does not simply go on.
type Interrupted = Option<Ended>;

struct Attempt<'a> {
    spec: &'a ColourizationSpec,
    prepared: Arc<Prepared>,
    session: &'a dyn Session,
    learner: Learner,
    batches: Batches,
    position: Position,
    total_steps: u64,
    metrics_timer: Timer,
    checkpoint_timer: Timer,
}

impl<'a> Attempt<'a> {
    fn new(
        spec: &'a ColourizationSpec,
        prepared: Arc<Prepared>,
        workshop: &'a Workshop,
        session: &'a dyn Session,
    ) -> Result<Self, TrainError> {
        let batches = Batches::new(spec, prepared.train_count());
        let learner = Learner::new(spec, &prepared, workshop, session, batches.size())?;
        let total_steps = spec.epochs.saturating_mul(batches.per_epoch());
        let checkpoint_timer = Timer::new(workshop.colourization_checkpoint);
        let metrics_timer = Timer::new(METRICS_EVERY);
        let position = Position::default();
        Ok(Self { spec, prepared, session, learner, batches, position, total_steps, metrics_timer, checkpoint_timer })
    }

    fn run(mut self) -> Result<Ended, TrainError> {
        let pace = Pace::new(self.position.step, self.total_steps);
        loop {
            let done = if self.position.epoch >= self.spec.epochs { Some(StopReason::Completed) } else { self.patience_ran_out() };
            self.report_progress(&pace);
            if let Some(stop_reason) = done {
                return self.finish(stop_reason);
            }
            let begun = Instant::now();
            let seconds_before = self.position.epoch_seconds;
            let since = || seconds_before + begun.elapsed().as_secs_f64();
            while self.position.batch < self.batches.per_epoch() {
                if let Some(stop) = self.session.stop() {
                    self.position.epoch_seconds = since();
                    return self.stop(stop, &pace);
                }
                if self.checkpoint_timer.is_due() {
                    self.position.epoch_seconds = since();
                    self.save_checkpoint()?;
                }
                if let Some(ended) = self.train_batches(&pace)? {
                    return Ok(ended);
                }
            }
            if let Some(ended) = self.end_epoch(since)? {
                return Ok(ended);
            }
        }
    }

    fn patience_ran_out(&self) -> Option<StopReason> {
        let early_stopping = self.spec.early_stopping.as_ref()?;
        (self.position.patience.waited() >= early_stopping.patience).then_some(StopReason::EarlyStopped)
    }

    /// The optimizer steps that the learner makes at a time, within the epoch.
    fn train_batches(&mut self, pace: &Pace) -> Result<Interrupted, TrainError> {
        let begun = Instant::now();
        let left = self.batches.per_epoch() - self.position.batch;
        let count = left.min(self.learner.at_a_time());
        let (first_batch, first_step) = (self.position.batch, self.position.step);
        let images: Vec<Vec<usize>> = (first_batch..first_batch + count).map(|batch| self.batches.of(self.position.epoch, batch)).collect();
        let rates: Vec<f64> =
            (first_step..first_step + count).map(|step| learning_rate(&self.spec.optimizer, step, self.total_steps)).collect();
        let losses = self.learner.train(&images, &rates)?;
        let seconds = begun.elapsed().as_secs_f64() / count as f64;
        for (batch_loss, images) in losses.into_iter().zip(images) {
            if let Some(ended) = self.batch_done(batch_loss, images.len(), seconds, pace) {
                return Ok(Some(ended));
            }
        }
        Ok(None)
    }

    /// Takes the loss of a batch into account, after whose step `seconds` have passed.
    fn batch_done(&mut self, batch_loss: f64, count: usize, seconds: f64, pace: &Pace) -> Interrupted {
        let first_loss = *self.position.first_loss.get_or_insert(batch_loss);
        if diverged(batch_loss, first_loss) {
            self.session.metric("train_batch_loss", self.position.step + 1, batch_loss);
            self.report_progress(pace);
            let error = format!("the batch's loss at step {} is {batch_loss}; the first was {first_loss}", self.position.step + 1);
            return Some(Ended::Diverged { error });
        }
        self.position.batch_done(batch_loss, count);
        let step = self.position.step;
        let due = self.metrics_timer.is_due();
        if due || step == 1 || step.is_multiple_of(METRICS_STEPS) {
            self.session.metric("train_batch_loss", step, batch_loss);
            self.session.metric("step_ms", step, 1e3 * seconds);
            self.session.metric("images_per_second", step, count as f64 / seconds);
            if due {
                self.learner.reading().values().for_each(|(name, value)| self.session.metric(name, step, value));
            }
        }
        if due {
            self.report_progress(pace);
        }
        None
    }

    /// Evaluates, reports and keeps what the epoch came to. `seconds` are those since the epoch began.
    fn end_epoch(&mut self, seconds: impl Fn() -> f64) -> Result<Interrupted, TrainError> {
        let validation = self.learner.evaluate()?;
        let train_loss = self.position.train_loss();
        let improved = self.position.epoch_done(validation, self.spec.early_stopping.as_ref());
        let epoch = self.position.epoch;
        self.session.metric("train_loss", epoch, train_loss);
        self.session.metric("val_loss", epoch, validation.loss);
        self.session.metric("val_accuracy", epoch, validation.accuracy);
        self.session.metric("epoch_seconds", epoch, seconds());
        if !validation.loss.is_finite() {
            let error = format!("the validation loss after epoch {epoch} is {}", validation.loss);
            return Ok(Some(Ended::Diverged { error }));
        }
        if improved {
            let model = state_dict::to_safetensors(self.learner.state()?.0)?;
            self.save("model-best.safetensors".to_owned(), model, false);
        }
        let predicted = self.learner.predict(self.samples())?;
        let look = colours::look(&self.prepared, &predicted);
        self.session.metric("colour_error", epoch, look.colour_error);
        self.session.metric("checkerboard", epoch, look.checkerboard);
        let last = epoch >= self.spec.epochs || self.patience_ran_out().is_some();
        if self.spec.sample_every > 0 && (last || epoch.is_multiple_of(self.spec.sample_every)) {
            let picture = samples::picture(&self.prepared, &predicted)?;
            self.save(format!("samples/epoch-{epoch:03}.png"), picture, true);
        }
        self.save_checkpoint()?;
        Ok(None)
    }

    fn stop(&mut self, stop: Stop, pace: &Pace) -> Result<Ended, TrainError> {
        if stop.keeps_position() {
            self.save_checkpoint()?;
        }
        self.report_progress(pace);
        Ok(Ended::Stopped(stop))
    }

    fn finish(&mut self, stop_reason: StopReason) -> Result<Ended, TrainError> {
        let model = state_dict::to_safetensors(self.learner.state()?.0)?;
        let predicted = self.learner.predict(self.prepared.val_count())?;
        let look = colours::look(&self.prepared, &predicted[..self.samples() * self.prepared.pixels()]);
        self.save_json(CONFUSION, &colours::confusion(&self.prepared, &predicted, self.position.epoch))?;
        let description = model::description(self.spec, &self.prepared, &self.position);
        self.save("model.safetensors".to_owned(), model, false);
        self.save("model.json".to_owned(), format!("{description:#}\n").into_bytes(), false);
        let (last, best) = (self.position.last, self.position.best);
        let result = json!({
            "val_loss": last.map(|last| last.loss),
            "val_accuracy": last.map(|last| last.accuracy),
            "best_val_loss": best.map(|best| best.validation.loss),
            "best_val_accuracy": best.map(|best| best.validation.accuracy),
            "best_epoch": best.map(|best| best.epoch),
            "colour_error": look.colour_error,
            "checkerboard": look.checkerboard,
            "epochs": self.position.epoch,
        });
        Ok(Ended::Succeeded { stop_reason, result })
    }

    fn save_checkpoint(&mut self) -> Result<(), TrainError> {
        let device = self.learner.device();
        let (network, optimizer) = self.learner.state()?;
        let checkpoint = self.position.checkpoint(network, optimizer, device)?;
        self.session.save_checkpoint(self.position.step, checkpoint);
        Ok(())
    }

    /// Images of a sample picture.
    fn samples(&self) -> usize {
        learner::samples(self.spec, &self.prepared)
    }

    fn save_json(&self, name: &str, content: &impl Serialize) -> Result<(), TrainError> {
        self.save(name.to_owned(), serde_json::to_vec(content)?, false);
        Ok(())
    }

    fn save(&self, name: String, bytes: Vec<u8>, dispensable: bool) {
        self.session.save_artifact(Artifact { name, bytes: bytes.into(), dispensable });
    }

    fn report_progress(&self, pace: &Pace) {
        self.session.progress(pace.progress(self.position.step, Some(self.position.epoch)));
    }
}
