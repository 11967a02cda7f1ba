//! One attempt of one run, from the claim to its last report.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use trainyard_wire::run::LogLevel;
use trainyard_wire::spec::PictureSpec;
use trainyard_wire::spec::picture::{DESCRIPTION, MODEL};
use trainyard_wire::worker::{ClaimedRun, Finish, HeldRun, Outcome};
use trainyard_wire::{Spec, StopReason};

use super::backlog::Place;
use super::datasets::{self, FetchError};
use super::held::Control;
use super::numbers::Numbers;
use super::outbox::{Bounds, Outbox};
use super::reporter::{Broken, Reporter};
use super::server::{CallError, Server};
use super::{Agent, Train};
use crate::data::files::sha256;
use crate::trainers::{Assignment, Ended, PictureInputs, Session as _, Stop, TrainError, Workshop};

/// Candle's backward recurses once an operation, far deeper than a thread's usual stack allows.
const STACK_BYTES: usize = 64 << 20;

impl<S: Server> Agent<S> {
    /// Trains a claimed run, once it is its turn, and reports on it to its end. `numbers` are those of its claim.
    pub(super) async fn execute(&self, claimed: ClaimedRun, numbers: Numbers, control: &Arc<Control>, mut place: Place) {
        let run = HeldRun { run_id: claimed.run_id, attempt: claimed.attempt };
        let (id, attempt) = (run.run_id, run.attempt);
        let outbox = Arc::new(Outbox::new(Arc::clone(control), Bounds::default()));
        let Self { server, courier, given_up, timing, .. } = self;
        let reporter = Reporter { server, courier, run, outbox: &outbox, control, given_up, timing };

        let told = match self.attempt(claimed, &numbers, &reporter, &outbox, &mut place).await {
            Ok(Some(finish)) => {
                let outcome = finish.outcome;
                tracing::info!(run = %id, %attempt, %outcome, error = finish.error, "the attempt ends");
                reporter.finish(finish).await
            }
            Ok(None) => {
                tracing::warn!(run = %id, %attempt, "the run is lost and dropped");
                Ok(())
            }
            Err(broken) => Err(broken),
        };
        if let Err(Broken::Refused(reason)) = told {
            let bare = reporter.finish_bare(failed(StopReason::Error, format!("the server refused the run's report: {reason}")));
            if let Err(broken) = bare.await {
                tracing::error!(run = %id, ?broken, "the failure cannot be reported either; the run is left to its lease");
            }
        }
    }

    /// What to tell in the end; nothing of a run that is dropped.
    async fn attempt(
        &self,
        mut claimed: ClaimedRun,
        numbers: &Numbers,
        reporter: &Reporter<'_, S>,
        outbox: &Arc<Outbox>,
        place: &mut Place,
    ) -> Result<Option<Finish>, Broken> {
        let (run, attempt) = (claimed.run_id, claimed.attempt);
        let control = reporter.control;
        if let Some(reason) = self.memory.refusal(claimed.memory_bytes) {
            return Ok(Some(failed(StopReason::OutOfMemory, reason)));
        }
        let begin = async {
            let turn = place.turn().await;
            tracing::info!(%run, %attempt, kind = %claimed.spec.kind(), resumes = claimed.checkpoint.is_some(), "the run begins");
            numbers.put_back(&mut claimed.spec);
            self.gather(claimed, reporter).await.map(|gathered| (turn, gathered))
        };
        let (_turn, gathered) = tokio::select! {
            biased;
            // Nothing was done yet, so nothing needs to be kept: an earlier checkpoint is still there.
            stop = control.stopped() => return Ok(finish(Ok(Ended::Stopped(stop)), control)),
            begun = begin => begun?,
        };
        let assignment = match gathered {
            Ok(assignment) => assignment,
            Err(reason) => return Ok(Some(failed(StopReason::Error, reason))),
        };
        let done = CancellationToken::new();
        control.set_training(true);
        let trainer = spawn(self.train, assignment, self.workshop.clone(), Arc::clone(outbox), done.clone());
        let ended = async {
            let followed = reporter.follow(&done).await;
            // Even a run that is dropped has its trainer waited for: the cores are its until it has stopped.
            let ended = trainer.await.unwrap_or_else(|_| Err("the trainer's thread could not be started".to_owned()));
            followed.map(|()| ended)
        };
        let ended = tokio::select! {
            ended = ended => ended,
            () = control.abandoned() => Ok(Ok(Ended::Stopped(Stop::Memory))),
        };
        control.set_training(false);
        ended.map(|ended| finish(ended, control))
    }

    /// Brings what the run needs here. The inner error is the run's own fault.
    async fn gather(&self, claimed: ClaimedRun, reporter: &Reporter<'_, S>) -> Result<Result<Assignment, String>, Broken> {
        let fetch = || async {
            // One download at a time: the runs of a sweep want the same files.
            let _turn = self.download.lock().await;
            match datasets::fetch(&self.server, &self.files, &claimed.spec).await {
                Err(FetchError::Call(error @ (CallError::Transient(_) | CallError::Unauthorized(_)))) => Err(error),
                fetched => Ok(fetched.map_err(|error| error.to_string())),
            }
        };
        let dataset = match reporter.call(fetch).await? {
            Ok(dataset) => dataset,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut checkpoint = None;
        if let Some(expected) = &claimed.checkpoint {
            let fetch = || async {
                match self.server.checkpoint(reporter.run).await {
                    Err(CallError::NotFound(reason)) => Ok(Err(format!("the checkpoint is missing: {reason}"))),
                    fetched => fetched.map(Ok),
                }
            };
            match reporter.call(fetch).await? {
                Ok(bytes) if sha256(&bytes) == *expected => checkpoint = Some(bytes),
                Ok(_) => start_over(reporter.outbox, &format!("the checkpoint is damaged: its sha256 is not {expected}")),
                Err(reason) => start_over(reporter.outbox, &reason),
            }
        }
        let picture = match &claimed.spec {
            Spec::Picture(spec) => match self.gather_picture(spec, reporter).await? {
                Ok(inputs) => Some(inputs),
                Err(reason) => return Ok(Err(reason)),
            },
            _ => None,
        };
        Ok(Ok(Assignment { spec: claimed.spec, dataset, checkpoint, picture }))
    }

    /// Brings a picture here, and the model that is to colour it. The inner error is the run's own fault.
    async fn gather_picture(&self, spec: &PictureSpec, reporter: &Reporter<'_, S>) -> Result<Result<PictureInputs, String>, Broken> {
        let picture = (spec.picture.format.original_name(), &spec.picture.sha256);
        let mut gathered = Vec::new();
        for (name, expected) in [(MODEL, &spec.model_sha256), (DESCRIPTION, &spec.description_sha256), picture] {
            let fetch = || async {
                match self.server.input(reporter.run, name).await {
                    Err(CallError::NotFound(reason)) => Ok(Err(format!("the run's {name} is missing: {reason}"))),
                    fetched => fetched.map(Ok),
                }
            };
            match reporter.call(fetch).await? {
                Ok(bytes) if sha256(&bytes) == *expected => gathered.push(bytes),
                Ok(_) => return Ok(Err(format!("the run's {name} is damaged: its sha256 is not {expected}"))),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let [model, description, picture] = <[_; 3]>::try_from(gathered).unwrap_or_default();
        Ok(Ok(PictureInputs { model, description, picture }))
    }
}

/// Trains, from the beginning where the checkpoint cannot be read.
fn train_from_checkpoint(train: Train, mut assignment: Assignment, workshop: &Workshop, outbox: &Outbox) -> Result<Ended, TrainError> {
    match train(&assignment, workshop, outbox) {
        // A checkpoint is read before the first step.
        Err(TrainError::Checkpoint(error)) if assignment.checkpoint.take().is_some() => {
            start_over(outbox, &error.to_string());
            train(&assignment, workshop, outbox)
        }
        ended => ended,
    }
}

/// Notes that the run begins anew. It comes to the same end that way, for every draw is a function of the seed; without its checkpoint
/// for good, it would not come to an end at all.
fn start_over(outbox: &Outbox, reason: &str) {
    tracing::warn!(reason, "a run cannot go on from its checkpoint");
    outbox.log(LogLevel::Warn, format!("the run starts over from the beginning: {reason}"));
}

/// Trains on a thread of its own. `done` is cancelled in the end, whatever happens.
fn spawn(
    train: Train,
    assignment: Assignment,
    workshop: Workshop,
    outbox: Arc<Outbox>,
    done: CancellationToken,
) -> oneshot::Receiver<Result<Ended, String>> {
    let (sender, receiver) = oneshot::channel();
    let guard = done.drop_guard();
    let trainer = move || {
        let _guard = guard;
        // What a panic may leave half done are the trainer's own values, which go with it, and locks that are read through poison.
        let ended = catch_unwind(AssertUnwindSafe(|| train_from_checkpoint(train, assignment, &workshop, &outbox)));
        let ended = match ended {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("the trainer panicked: {}", panic_message(panic.as_ref()))),
        };
        // Nobody listens only where the agent itself is gone.
        let _ = sender.send(ended);
    };
    if let Err(error) = std::thread::Builder::new().name("trainer".to_owned()).stack_size(STACK_BYTES).spawn(trainer) {
        tracing::error!(%error, "the trainer's thread cannot be started");
    }
    receiver
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

fn failed(stop_reason: StopReason, error: String) -> Finish {
    Finish { outcome: Outcome::Failed, stop_reason: Some(stop_reason), error: Some(error), result: None }
}

/// What the server is told of an end.
fn finish(ended: Result<Ended, String>, control: &Control) -> Option<Finish> {
    let stopped = |outcome, stop_reason| Finish { outcome, stop_reason, error: None, result: None };
    match ended {
        Ok(Ended::Succeeded { stop_reason, result }) => {
            Some(Finish { outcome: Outcome::Succeeded, stop_reason: Some(stop_reason), error: None, result: Some(result) })
        }
        Ok(Ended::Diverged { error }) => Some(failed(StopReason::Diverged, error)),
        Ok(Ended::Stopped(Stop::Release)) => Some(stopped(Outcome::Released, None)),
        Ok(Ended::Stopped(Stop::Pause)) => Some(stopped(Outcome::Paused, None)),
        Ok(Ended::Stopped(Stop::Cancel)) => Some(stopped(Outcome::Cancelled, Some(StopReason::Cancelled))),
        Ok(Ended::Stopped(Stop::Memory)) => Some(failed(StopReason::OutOfMemory, control.reason().unwrap_or("too much memory").to_owned())),
        Ok(Ended::Stopped(Stop::Drop)) => None,
        Err(error) => Some(failed(StopReason::Error, error)),
    }
}
