//! The worker protocol: register, claim, heartbeat. What runs report is in `reports`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use serde_json::json;
use trainyard_wire::spec::regression::ProblemSource;
use trainyard_wire::worker::{ClaimedRun, Heartbeat, HeartbeatAnswer, Register, Registered, Worker};
use trainyard_wire::{JobId, Revision, RunState, Spec, StopReason, TokenId, WorkerId};

use super::lifecycle::{Next, describe};
use super::runs::fill_in;
use super::writer::{Effect, Transaction, write_error};
use super::{Store, StoreError};
use crate::db;
use crate::db::runs::End;
use crate::figures;

/// Why a worker's call was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// 409: the run is not running, or another attempt or another token holds it. Nothing was changed; drop the run.
    #[error("the run is no longer held by this attempt")]
    Stale,
    /// 404: register again.
    #[error("there is no such worker")]
    UnknownWorker,
    /// 404.
    #[error("there is no such run")]
    UnknownRun,
    /// 422.
    #[error(
        "an artifact's name is segments of letters, digits, `.`, `_` and `-`, joined by `/`, at most 200 characters; no segment is a device"
    )]
    ArtifactName,
    /// 422: what is wrong with the report, with its JSON pointer.
    #[error("{pointer}: {detail}")]
    Report { pointer: String, detail: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(WorkerError, Store);

impl Store {
    /// Makes a worker known, for which only this token speaks from now on.
    pub async fn register(&self, by: TokenId, register: Register) -> Result<Registered, StoreError> {
        let leases = Arc::clone(&self.inner.leases);
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move {
                let worker = db::workers::insert(&mut transaction.conn, by, &register, transaction.now).await?;
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
    ///
    /// The numbers of an inline problem that several of the runs have are in the first of them.
    pub async fn claim(&self, by: TokenId, worker: WorkerId, max: u32, wait: Duration) -> Result<Vec<ClaimedRun>, WorkerError> {
        let memory = self.know(by, worker).await?;
        let deadline = tokio::time::Instant::now() + wait;
        // Subscribed before the first look at the queue, so that nothing queued in between is missed.
        let (mut queued, mut draining) = (self.inner.followers.queued.subscribe(), self.inner.draining.subscribe());
        let _waiting = self.inner.leases.wait(worker);
        loop {
            queued.mark_unchanged();
            if *draining.borrow_and_update() {
                return Ok(Vec::new());
            }
            let claimed = self.claim_now(worker, max, false, memory).await?;
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

    /// As [`claim`](Self::claim), but only small runs, and without waiting: for a worker that still trains others.
    pub async fn claim_small(&self, by: TokenId, worker: WorkerId, max: u32) -> Result<Vec<ClaimedRun>, WorkerError> {
        let memory = self.know(by, worker).await?;
        if self.is_draining() { Ok(Vec::new()) } else { Ok(self.claim_now(worker, max, true, memory).await?) }
    }

    async fn claim_now(&self, worker: WorkerId, max: u32, small: bool, memory: u64) -> Result<Vec<ClaimedRun>, StoreError> {
        let begun = Instant::now();
        let claimed: Vec<ClaimedRun> =
            self.inner.writer.write(move |transaction| async move { transaction.claim(worker, max, small, memory).await }.boxed()).await?;
        if !claimed.is_empty() {
            figures::claimed(begun.elapsed());
        }
        Ok(claimed)
    }

    /// Renews the leases of a worker and tells what to do with each run.
    pub async fn heartbeat(&self, by: TokenId, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, WorkerError> {
        self.know(by, heartbeat.worker_id).await?;
        let runs = self.inner.leases.heartbeat(heartbeat.worker_id, &heartbeat.runs, Instant::now());
        Ok(HeartbeatAnswer { runs, drain: self.is_draining() })
    }

    /// The bytes that the worker has for a run. Fails unless the worker is registered, and by this token: another's is not told apart
    /// from one that there is not.
    async fn know(&self, by: TokenId, worker: WorkerId) -> Result<u64, WorkerError> {
        let registration = db::workers::registration(&mut *self.reader().await?, worker).await?;
        let registration = registration.filter(|registration| registration.token == Some(by)).ok_or(WorkerError::UnknownWorker)?;
        Ok(registration.memory_bytes.unwrap_or(u64::MAX))
    }
}

impl Transaction {
    async fn claim(&mut self, worker: WorkerId, max: u32, small: bool, memory: u64) -> Result<Vec<ClaimedRun>, StoreError> {
        loop {
            let (runs, failed) = self.claim_once(worker, max, small, memory).await?;
            if failed == 0 || !runs.is_empty() {
                return Ok(runs);
            }
        }
    }

    /// Takes runs from the queue; fails those among them that cannot be read, which would else be in the way of all others. Answers
    /// how many those were.
    async fn claim_once(&mut self, worker: WorkerId, max: u32, small: bool, memory: u64) -> Result<(Vec<ClaimedRun>, usize), StoreError> {
        let first_revision = self.upcoming_revision();
        let claimed = db::claims::claim(&mut self.conn, worker, max, small, memory, first_revision, self.now).await?;
        let (mut runs, mut unreadable) = (Vec::with_capacity(claimed.len()), Vec::new());
        let platform = match claimed.is_empty() {
            true => None,
            false => db::verifications::platform(&mut self.conn, worker).await?,
        };
        let (mut jobs, mut problems) = (BTreeMap::<JobId, Revision>::new(), BTreeSet::new());
        for claimed in claimed {
            let mut detail = json!({ "attempt": claimed.attempt, "worker_id": worker });
            if let Some(platform) = &platform {
                detail["platform"] = json!(platform);
            }
            let revision = self.event(claimed.id, "claimed", detail).await?;
            jobs.insert(claimed.job_id, revision);
            self.after_commit(Effect::LeaseGranted { run: claimed.id, worker, attempt: claimed.attempt });
            let spec = match self.read_spec(&claimed.spec, &mut problems).await {
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
                memory_bytes: claimed.memory_bytes,
            });
        }
        for (job, revision) in jobs {
            db::jobs::set_revision(&mut self.conn, job, revision).await?;
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

    /// A stored spec, with the numbers of an inline problem unless it is one of `problems`, to which it is added.
    async fn read_spec(&mut self, text: &str, problems: &mut BTreeSet<String>) -> Result<Spec, StoreError> {
        let mut spec: Spec = db::from_json("spec", text)?;
        let inline = spec.problem().filter(|problem| problem.source == ProblemSource::Inline);
        let sha256 = inline.and_then(|problem| problem.sha256.clone());
        if sha256.as_ref().is_none_or(|sha256| !problems.contains(sha256)) {
            fill_in(&mut self.conn, &mut spec).await?;
            problems.extend(sha256);
        }
        Ok(spec)
    }
}
