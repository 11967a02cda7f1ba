//! The reporter of one run: carries what is in its [`Outbox`] to the server, and the server's word back to its [`Control`].
//!
//! Every call is repeated until it is answered: a report that was stored but whose answer got lost changes nothing the second time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trainyard_wire::worker::{Finish, HeldRun, Report};

use super::courier::Courier;
use super::held::Control;
use super::outbox::{Batch, Outbox};
use super::retry::Backoff;
use super::server::{CallError, Server};
use super::timing::Timing;
use super::usage::Meter;
use crate::trainers::Stop;

/// Why nothing more can be told of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The lease is lost, or the worker ends and the server is away: drop the run.
    Lost,
    /// The server will not take what the run has to say: the run has failed.
    Refused(String),
}

/// One run's connection to the server.
pub(super) struct Reporter<'a, S> {
    pub(super) server: &'a S,
    pub(super) courier: &'a Courier,
    pub(super) run: HeldRun,
    pub(super) outbox: &'a Outbox,
    pub(super) control: &'a Control,
    /// The worker ends and waits for an absent server no longer.
    pub(super) given_up: &'a CancellationToken,
    pub(super) timing: &'a Timing,
}

impl<S: Server> Reporter<'_, S> {
    /// Reports until the trainer is done.
    ///
    /// # Errors
    /// Where the run can no longer be reported on; the trainer is then told to stop.
    pub(super) async fn follow(&self, trainer: &CancellationToken) -> Result<(), Broken> {
        let mut meter = Meter::new(self.timing.usage);
        loop {
            tokio::select! {
                () = trainer.cancelled() => return Ok(()),
                () = tokio::time::sleep(self.timing.report) => {}
                () = self.outbox.worth_a_report() => {}
            }
            self.outbox.note_usage(&meter.due());
            self.flush().await?;
        }
    }

    /// Tells all that is left, and in the last report, in one with what is left of the metrics, how the attempt ended.
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    pub(super) async fn finish(&self, finish: Finish) -> Result<(), Broken> {
        let mut last = loop {
            let batch = self.outbox.take();
            if !batch.more && batch.uploads.is_empty() {
                break self.report_of(batch);
            }
            self.send(batch).await?;
        };
        last.finish = Some(finish);
        self.report(&last).await
    }

    /// Says nothing but how the attempt ended, for as long as the run is held: for a run whose other words the server refuses.
    ///
    /// # Errors
    /// As [`follow`](Self::follow).
    pub(super) async fn finish_bare(&self, finish: Finish) -> Result<(), Broken> {
        let report = Report { finish: Some(finish), ..self.report_of(Batch::default()) };
        self.report(&report).await
    }

    async fn flush(&self) -> Result<(), Broken> {
        loop {
            let batch = self.outbox.take();
            let more = batch.more;
            self.send(batch).await?;
            if !more {
                return Ok(());
            }
        }
    }

    async fn send(&self, mut batch: Batch) -> Result<(), Broken> {
        let uploads = std::mem::take(&mut batch.uploads);
        if batch.tells() {
            self.report(&self.report_of(batch)).await?;
        }
        for upload in &uploads {
            self.call(|| self.server.upload(self.run, upload)).await?;
        }
        Ok(())
    }

    fn report_of(&self, batch: Batch) -> Report {
        let Batch { metrics, progress, logs, certificates, left_out, .. } = batch;
        Report { attempt: self.run.attempt, metrics, progress, logs, certificates, left_out, finish: None }
    }

    async fn report(&self, report: &Report) -> Result<(), Broken> {
        let answer = self.call(|| self.courier.report(self.server, self.run.run_id, report)).await?;
        self.control.obey(answer.directive);
        Ok(())
    }

    /// Calls until there is an answer.
    pub(super) async fn call<T, F: Future<Output = Result<T, CallError>>>(&self, call: impl Fn() -> F) -> Result<T, Broken> {
        let mut backoff = Backoff::new(self.timing.first_retry, self.timing.last_retry);
        loop {
            let error = match call().await {
                Ok(answer) => {
                    self.outbox.set_connected(true);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let run = self.run.run_id;
            match error {
                CallError::Transient(reason) if !self.control.is_dropped() => {
                    self.outbox.set_connected(false);
                    let wait = backoff.delay();
                    tracing::warn!(%run, reason, seconds = wait.as_secs_f64(), "the server is away; the run goes on and its report waits");
                    if !self.wait(wait).await {
                        tracing::warn!(%run, "the server stays away; the run is left to its lease");
                        return Err(self.broken(Broken::Lost));
                    }
                }
                CallError::Refused(reason) => {
                    tracing::error!(%run, reason, "the server refuses what the run has to say");
                    return Err(self.broken(Broken::Refused(reason)));
                }
                lost => {
                    tracing::warn!(%run, reason = %lost, "the run is lost and dropped");
                    return Err(self.broken(Broken::Lost));
                }
            }
        }
    }

    /// Waits, and says whether to try again.
    async fn wait(&self, wait: Duration) -> bool {
        tokio::select! {
            () = self.given_up.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Stops the trainer. A run whose words are refused is still held, and its failure is still to be told.
    fn broken(&self, broken: Broken) -> Broken {
        self.control.want(match broken {
            Broken::Lost => Stop::Drop,
            Broken::Refused(_) => Stop::Cancel,
        });
        broken
    }
}
