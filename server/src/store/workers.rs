//! The worker protocol: register, claim, heartbeat, report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::json;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::worker::{ClaimedRun, Directive, Heartbeat, HeartbeatAnswer, Register, Registered, Report, ReportAnswer, Worker};
use trainyard_wire::{Attempt, RunId, RunState, Spec, StopReason, Timestamp, WorkerId};

use super::lifecycle::{Next, after_finish, describe};
use super::runs::fill_in;
use super::writer::{Effect, Transaction};
use super::{Store, StoreError};
use crate::db;
use crate::db::runs::{End, RunCore};

/// Why a worker's call was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// 409: the run is not running, or another attempt holds it. Nothing was changed; drop the run.
    #[error("the run is no longer held by this attempt")]
    Stale,
    /// 404: register again.
    #[error("there is no such worker")]
    UnknownWorker,
    /// 404.
    #[error("there is no such run")]
    UnknownRun,
    /// 422.
    #[error("an artifact's name is segments of letters, digits, `.`, `_` and `-`, joined by `/`, at most 200 characters")]
    ArtifactName,
    /// 422: what is wrong with the report, with its JSON pointer.
    #[error("{pointer}: {detail}")]
    Report { pointer: String, detail: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Makes a worker known.
    pub async fn register(&self, register: Register) -> Result<Registered, StoreError> {
        let leases = Arc::clone(&self.inner.leases);
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move {
                let worker = db::workers::insert(&mut transaction.conn, &register, transaction.now).await?;
                // Before the commit, so that whatever is written next finds it heard of. An id that is rolled back is given to the next.
                leases.hear(worker, Instant::now());
                Ok(worker)
            }
            .boxed()
        });
        let worker_id = write.await?;
        let lease_seconds = self.lease().as_secs_f64();
        Ok(Registered { worker_id, lease_seconds, heartbeat_seconds: lease_seconds / 4.0 })
    }

    /// The workers that were heard of within a lease's time, by id.
    pub async fn workers(&self) -> Result<Vec<Worker>, StoreError> {
        let alive = self.inner.leases.alive(Instant::now());
        let ids: Vec<WorkerId> = alive.iter().map(|alive| alive.worker).collect();
        let mut workers = db::workers::by_id(&mut *self.reader().await?, &ids).await?;
        let mut alive: BTreeMap<_, _> = alive.into_iter().map(|alive| (alive.worker, alive)).collect();
        for worker in &mut workers {
            if let Some(alive) = alive.remove(&worker.id) {
                worker.idle_seconds = alive.idle.as_secs_f64();
                worker.run_id = alive.runs.first().copied();
                worker.run_ids = alive.runs;
            }
        }
        Ok(workers)
    }

    /// Takes up to `max` queued runs for a worker: the first by priority, then age; further ones only while all are small. Waits up
    /// to `wait` while nothing is queued. Empty when the wait ran out or the server drains.
    pub async fn claim(&self, worker: WorkerId, max: u32, wait: Duration) -> Result<Vec<ClaimedRun>, WorkerError> {
        self.know(worker).await?;
        let deadline = tokio::time::Instant::now() + wait;
        // Subscribed before the first look at the queue, so that nothing queued in between is missed.
        let (mut queued, mut draining) = (self.inner.followers.queued.subscribe(), self.inner.draining.subscribe());
        let _waiting = self.inner.leases.wait(worker);
        loop {
            queued.mark_unchanged();
            if *draining.borrow_and_update() {
                return Ok(Vec::new());
            }
            let write =
                self.inner.writer.write::<_, StoreError, _>(move |transaction| async move { transaction.claim(worker, max).await }.boxed());
            let claimed = write.await?;
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            tokio::select! {
                changed = queued.changed() => changed.map_err(|_| StoreError::Closed)?,
                changed = draining.changed() => changed.map_err(|_| StoreError::Closed)?,
                () = self.inner.closing.cancelled() => return Ok(claimed),
                () = tokio::time::sleep_until(deadline) => return Ok(claimed),
            }
        }
    }

    /// Renews the leases of a worker and tells what to do with each run.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, WorkerError> {
        self.know(heartbeat.worker_id).await?;
        let runs = self.inner.leases.heartbeat(heartbeat.worker_id, &heartbeat.runs, Instant::now());
        Ok(HeartbeatAnswer { runs, drain: self.is_draining() })
    }

    /// Stores all that a report tells, or nothing. A repeated report changes nothing.
    pub async fn report(&self, id: RunId, report: Report) -> Result<ReportAnswer, WorkerError> {
        let report = merge(report)?;
        self.inner.writer.write(move |transaction| async move { transaction.report(id, report).await }.boxed()).await
    }

    /// Fails unless the worker is registered.
    async fn know(&self, worker: WorkerId) -> Result<(), WorkerError> {
        if self.inner.leases.knows(worker) || db::workers::exists(&mut *self.reader().await?, worker).await? {
            Ok(())
        } else {
            Err(WorkerError::UnknownWorker)
        }
    }
}

/// Fails unless the run is running and this attempt is its last.
pub(super) fn hold(run: &RunCore, attempt: Attempt) -> Result<(), WorkerError> {
    if run.state == RunState::Running && run.attempt == attempt { Ok(()) } else { Err(WorkerError::Stale) }
}

/// Checks the metrics of a report and joins batches of the same name.
fn merge(mut report: Report) -> Result<Report, WorkerError> {
    let wrong = |index: usize, field: &str, detail: &str| {
        Err(WorkerError::Report { pointer: format!("/metrics/{index}{field}"), detail: detail.to_owned() })
    };
    let mut merged: BTreeMap<String, SeriesBatch> = BTreeMap::new();
    for (index, batch) in report.metrics.into_iter().enumerate() {
        if batch.name.is_empty() || batch.name.len() > 200 {
            return wrong(index, "/name", "must have 1 to 200 bytes");
        }
        if batch.steps.len() != batch.values.len() || batch.steps.len() != batch.times.len() {
            return wrong(index, "", "steps, values and times must be equally many");
        }
        if batch.steps.iter().any(|step| i64::try_from(*step).is_err()) {
            return wrong(index, "/steps", "must be below 2^63");
        }
        if let Some(place) = batch.times.iter().position(|time| !(Timestamp::MIN.0..=Timestamp::MAX.0).contains(time)) {
            return wrong(index, &format!("/times/{place}"), "must be in the years 0 to 9999");
        }
        match merged.get_mut(&batch.name) {
            None => drop(merged.insert(batch.name.clone(), batch)),
            Some(first) => {
                first.steps.extend(batch.steps);
                first.values.extend(batch.values);
                first.times.extend(batch.times);
            }
        }
    }
    report.metrics = merged.into_values().collect();
    Ok(report)
}

impl Transaction {
    async fn claim(&mut self, worker: WorkerId, max: u32) -> Result<Vec<ClaimedRun>, StoreError> {
        loop {
            let (runs, failed) = self.claim_once(worker, max).await?;
            if failed == 0 || !runs.is_empty() {
                return Ok(runs);
            }
        }
    }

    /// Takes runs from the queue; fails those among them that cannot be read, which would else be in the way of all others. Answers
    /// how many those were.
    async fn claim_once(&mut self, worker: WorkerId, max: u32) -> Result<(Vec<ClaimedRun>, usize), StoreError> {
        let first_revision = self.upcoming_revision();
        let claimed = db::claims::claim(&mut self.conn, worker, max, first_revision, self.now).await?;
        let (mut runs, mut unreadable) = (Vec::with_capacity(claimed.len()), Vec::new());
        for claimed in claimed {
            let detail = json!({ "attempt": claimed.attempt, "worker_id": worker });
            let revision = self.event(claimed.id, "claimed", detail).await?;
            db::jobs::set_revision(&mut self.conn, claimed.job_id, revision).await?;
            self.after_commit(Effect::LeaseGranted { run: claimed.id, worker, attempt: claimed.attempt });
            let spec = match self.read_spec(&claimed.spec).await {
                Ok(spec) => spec,
                Err(error @ StoreError::Unreadable { .. }) => {
                    unreadable.push((claimed.id, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            runs.push(ClaimedRun {
                run_id: claimed.id,
                job_id: claimed.job_id,
                attempt: claimed.attempt,
                spec,
                checkpoint: claimed.checkpoint_sha256,
            });
        }
        // Only now: the claims of all of them have consecutive revisions.
        let failed = unreadable.len();
        for (id, error) in unreadable {
            tracing::error!(run = id.0, %error, "a run cannot be read and fails");
            let run = db::runs::core(&mut self.conn, id).await?.ok_or(sqlx::Error::RowNotFound)?;
            let (state, stop_reason) = (RunState::Failed, StopReason::Error);
            let next =
                Next::Finish(End { state, stop_reason, error: Some(format!("the stored run cannot be read: {error}")), result: None });
            let (kind, detail) = describe(&next);
            self.leave(&run, &next, kind, detail).await?;
        }
        Ok((runs, failed))
    }

    /// A stored spec, with the numbers of an inline problem.
    async fn read_spec(&mut self, text: &str) -> Result<Spec, StoreError> {
        let mut spec = db::from_json("spec", text)?;
        fill_in(&mut self.conn, &mut spec).await?;
        Ok(spec)
    }

    async fn report(&mut self, id: RunId, report: Report) -> Result<ReportAnswer, WorkerError> {
        let run = db::runs::core(&mut self.conn, id).await?.ok_or(WorkerError::UnknownRun)?;
        if let Err(stale) = hold(&run, report.attempt) {
            // A repeat of the report that ended the attempt, whose answer was lost, is no error.
            let ended = report.finish.map(|finish| (report.attempt, finish.outcome));
            let repeated = ended.is_some() && ended == run.ended;
            return if repeated { Ok(ReportAnswer { directive: Directive::Continue }) } else { Err(stale) };
        }
        self.after_commit(Effect::LeaseRenewed { run: run.id, attempt: run.attempt });

        let revision = self.upcoming_revision();
        let mut news = false;
        if let Some(progress) = &report.progress {
            news |= db::runs::set_progress(&mut self.conn, &run, progress).await?;
        }
        for batch in &report.metrics {
            news |= db::metrics::insert(&mut self.conn, id, batch, revision).await? > 0;
        }
        if !report.logs.is_empty() {
            news |= db::logs::insert(&mut self.conn, id, &report.logs).await? > 0;
        }
        for certificate in &report.certificates {
            news |= db::certificates::put(&mut self.conn, id, certificate).await?;
        }
        match report.finish {
            Some(finish) => {
                db::runs::set_ended(&mut self.conn, &run, finish.outcome).await?;
                let next = after_finish(run.requested, finish);
                let (kind, detail) = describe(&next);
                // The event takes the revision that the metrics above have.
                self.leave(&run, &next, kind, detail).await?;
                Ok(ReportAnswer { directive: Directive::Continue })
            }
            None => {
                if news {
                    self.advance_revision(1);
                    db::runs::set_revision(&mut self.conn, &run, revision).await?;
                }
                Ok(ReportAnswer { directive: Directive::from(run.requested) })
            }
        }
    }
}
