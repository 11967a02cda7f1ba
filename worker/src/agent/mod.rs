//! The agent: everything about a worker that knows the server.
//!
//! [`Agent::work`] is the loop: claim, train, claim again; the [`backlog`] says when, and how much. Beside it the heartbeat keeps the
//! leases, whatever the trainers do. Each claimed run is an [`attempt`]: its trainer has a thread of its own and a [`Session`] that is
//! really an [`outbox`], which the run's [`reporter`] empties; the [`courier`] takes the reports of all runs to the server. What the
//! server wants of a run, and what the worker itself wants, meet in its [`Control`](held::Control), which the trainer asks before each
//! step.
//!
//! The server may be away at any time: the runs go on, their words wait. A lease that is lost (409) ends its attempt at once and without a
//! trace. When the worker is asked to stop, every trainer finishes its step and saves a checkpoint, and the runs are given back.

mod attempt;
mod backlog;
mod courier;
mod datasets;
mod error;
mod heartbeat;
mod held;
mod memory;
mod numbers;
mod outbox;
mod reporter;
mod retry;
mod server;
mod start;
#[cfg(test)]
mod tests;
mod timing;
mod usage;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trainyard_wire::WorkerId;
use trainyard_wire::worker::{ClaimRequest, ClaimedRun, HeldRun, Register, Registered};

use crate::data::FileStore;
use crate::networks::NetworkError;
use crate::trainers::{Assignment, Ended, Session, Stop, TrainError, Workshop};
use backlog::{Backlog, NextClaim};
use courier::Courier;
pub use error::WorkerError;
use held::{Control, HeldRuns};
use memory::Memory;
pub use memory::{OWN_BYTES, machine_bytes};
use numbers::Numbers;
use retry::Backoff;
use server::{CallError, Server};
pub use start::run;
use timing::Timing;

/// The function that trains.
type Train = fn(&Assignment, &Workshop, &dyn Session) -> Result<Ended, TrainError>;

/// A worker process, as far as the server is concerned.
struct Agent<S> {
    server: S,
    register: Register,
    /// Changes when the server has forgotten this worker.
    worker_id: AtomicI64,
    /// Held while the worker registers.
    registering: Mutex<()>,
    held: HeldRuns,
    backlog: Arc<Backlog>,
    courier: Courier,
    files: FileStore,
    download: Mutex<()>,
    workshop: Workshop,
    train: Train,
    /// Most runs of one claim.
    claim_at_once: u32,
    timing: Timing,
    memory: Memory,
    /// The server shuts its queue down.
    draining: watch::Sender<bool>,
    /// The worker is to end.
    stop: CancellationToken,
    /// The worker ends, and an absent server is no longer waited for.
    given_up: CancellationToken,
}

impl<S: Server> Agent<S> {
    /// Works until the stop.
    async fn work(self: Arc<Self>) -> Result<(), WorkerError> {
        let Some(registered) = self.first_registration().await? else { return Ok(()) };
        let every = Duration::try_from_secs_f64(registered.heartbeat_seconds).unwrap_or(Duration::from_secs(5));
        let (heart, leave) = (Arc::clone(&self), Arc::clone(&self));
        let heartbeat = tokio::spawn(async move { heart.beat(every).await });
        let leaving = tokio::spawn(async move { leave.leave().await });
        let overdue = async {
            self.stop.cancelled().await;
            tokio::time::sleep(self.timing.leave).await;
        };
        let worked = tokio::select! {
            worked = Arc::clone(&self).claim_and_train() => worked,
            error = self.watch_memory() => Err(error),
            () = overdue => {
                tracing::warn!("runs that do not stop are left to their leases");
                Ok(())
            }
        };
        heartbeat.abort();
        leaving.abort();
        worked
    }

    /// Gives the runs back once the worker is to end, and in a while gives an absent server up.
    async fn leave(&self) {
        self.stop.cancelled().await;
        tracing::info!("the worker is to end: the runs are given back");
        self.held.release();
        tokio::time::sleep(self.timing.give_up).await;
        self.given_up.cancel();
    }

    async fn claim_and_train(self: Arc<Self>) -> Result<(), WorkerError> {
        let mut attempts = JoinSet::new();
        let ended = self.claim_all(&mut attempts).await;
        while attempts.join_next().await.is_some() {}
        ended
    }

    /// Claims until the stop, and has each claimed run begin.
    async fn claim_all(self: &Arc<Self>, attempts: &mut JoinSet<()>) -> Result<(), WorkerError> {
        let mut backoff = self.backoff();
        let mut draining = self.draining.subscribe();
        let mut next = NextClaim::new(self.claim_at_once);
        while !self.stop.is_cancelled() {
            if self.workshop.card.as_ref().is_some_and(|card| card.is_required() && card.is_lost()) {
                // A new process may get it back; this one would fail run after run.
                return Err(WorkerError::Device(NetworkError::Device("the GPU was lost".to_owned())));
            }
            let due = async {
                self.backlog.wants(&next).await;
                // The sender is this agent's own, so it is never gone.
                let _ = draining.wait_for(|draining| !draining).await;
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = due => {}
            }
            // An answer that is on its way is waited for: the runs that it brings would else wait for their leases to run out.
            let overdue = async {
                self.stop.cancelled().await;
                tokio::time::sleep(self.timing.last_claim).await;
            };
            let claimed = tokio::select! {
                claimed = self.claim(&next) => claimed,
                () = overdue => break,
            };
            match claimed {
                Ok(runs) => {
                    backoff = self.backoff();
                    next.answered(runs.len(), Instant::now());
                    self.begin_all(runs, attempts);
                }
                Err(CallError::Transient(reason)) => self.pause(&mut backoff, &reason).await,
                Err(CallError::NotFound(reason) | CallError::Stale(reason)) => {
                    self.pause(&mut backoff, &reason).await;
                    self.register_again(self.worker_id()).await;
                }
                Err(CallError::Unauthorized(reason)) => return Err(WorkerError::Unauthorized(reason)),
                Err(CallError::Refused(reason)) => return Err(WorkerError::Refused(reason)),
            }
            // Those that have ended make room.
            while attempts.try_join_next().is_some() {}
        }
        Ok(())
    }

    async fn claim(&self, next: &NextClaim) -> Result<Vec<ClaimedRun>, CallError> {
        // While others train, no claim waits for what may come: by then it might be for any run.
        let wait_seconds = if next.ahead { 0.0 } else { self.timing.claim.as_secs_f64() };
        let claim = ClaimRequest { worker_id: self.worker_id(), max: next.size, small: next.ahead, wait_seconds };
        Ok(self.server.claim(&claim).await?.runs)
    }

    /// Has runs that were claimed together trained, each when it is its turn. All of them are held from now on.
    fn begin_all(self: &Arc<Self>, mut runs: Vec<ClaimedRun>, attempts: &mut JoinSet<()>) {
        let numbers = Numbers::take(&mut runs);
        for claimed in runs {
            let run = HeldRun { run_id: claimed.run_id, attempt: claimed.attempt };
            let (numbers, control, place) = (numbers.clone(), self.held.insert(run, claimed.memory_bytes), self.backlog.enter());
            let held = Held { agent: Arc::clone(self), run, control: Arc::clone(&control) };
            attempts.spawn(async move { held.agent.execute(claimed, numbers, &control, place).await });
        }
    }

    /// Waits before the next claim.
    async fn pause(&self, backoff: &mut Backoff, reason: &str) {
        let wait = backoff.delay();
        tracing::warn!(reason, seconds = wait.as_secs_f64(), "no work can be claimed");
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(self.timing.first_retry, self.timing.last_retry)
    }

    /// Registers, however long the server takes to be there. None where the stop comes first.
    async fn first_registration(&self) -> Result<Option<Registered>, WorkerError> {
        let mut backoff = self.backoff();
        loop {
            let registered = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                registered = self.server.register(&self.register) => registered,
            };
            match registered {
                Ok(registered) => {
                    self.worker_id.store(registered.worker_id.0, Ordering::Relaxed);
                    let Registered { worker_id, lease_seconds, heartbeat_seconds } = &registered;
                    tracing::info!(%worker_id, lease_seconds, heartbeat_seconds, "registered");
                    return Ok(Some(registered));
                }
                Err(CallError::Transient(reason)) => {
                    let wait = backoff.delay();
                    tracing::warn!(reason, seconds = wait.as_secs_f64(), "the server is not there yet");
                    tokio::select! {
                        () = self.stop.cancelled() => return Ok(None),
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Err(CallError::Unauthorized(reason)) => return Err(WorkerError::Unauthorized(reason)),
                Err(error) => return Err(WorkerError::Refused(error.to_string())),
            }
        }
    }

    /// Registers once more, unless that was done since `forgotten` was this worker's id. The next call shows whether it helped.
    async fn register_again(&self, forgotten: WorkerId) {
        let _turn = self.registering.lock().await;
        if self.worker_id() != forgotten {
            return;
        }
        match self.server.register(&self.register).await {
            Ok(registered) => {
                self.worker_id.store(registered.worker_id.0, Ordering::Relaxed);
                tracing::info!(worker_id = %registered.worker_id, "registered again");
            }
            Err(error) => tracing::warn!(%error, "cannot register again"),
        }
    }

    fn worker_id(&self) -> WorkerId {
        WorkerId(self.worker_id.load(Ordering::Relaxed))
    }
}

/// A run that is held, until this is dropped, whatever happens: one that stayed among those that heartbeats name would never be offered
/// again, and a trainer that nobody listens to would train to its end.
struct Held<S> {
    agent: Arc<Agent<S>>,
    run: HeldRun,
    control: Arc<Control>,
}

impl<S> Drop for Held<S> {
    fn drop(&mut self) {
        self.agent.held.remove(self.run);
        self.control.want(Stop::Drop);
    }
}
