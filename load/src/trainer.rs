//! A worker that trains nothing and reports much: it claims, reports and finishes over the worker protocol, with the typed client.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::worker::{ClaimRequest, ClaimedRun, Finish, HeldRun, Outcome, Register, Report};
use trainyard_wire::{Attempt, Number, RunId, Timestamp, WorkerId};

use crate::Target;
use crate::seeds::Draws;

/// A small regression, as a submit.
pub fn job(name: &str) -> Value {
    json!({"name": name, "spec": {
        "kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "initial_weights": "zeros",
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 100
    }})
}

/// So many small regressions as one job.
pub fn sweep(name: &str, runs: u64) -> Value {
    let mut job = job(name);
    job["sweep"] = json!({"seed": (0..runs).collect::<Vec<_>>()});
    job
}

/// Runs of one job: a body as long as a list of all their seeds may not be swept further.
const RUNS_A_JOB: u64 = 2000;

/// Queues so many runs; answers their ids.
///
/// # Errors
/// What the server answers.
pub async fn queue(client: &Client, name: &str, runs: u64) -> anyhow::Result<Vec<RunId>> {
    let mut ids = Vec::new();
    while (ids.len() as u64) < runs {
        let body = sweep(name, (runs - ids.len() as u64).min(RUNS_A_JOB));
        ids.extend(client.submit(serde_json::to_vec(&body)?, None).await?.run_ids);
    }
    Ok(ids)
}

/// A worker.
#[derive(Clone, Debug)]
pub struct Trainer {
    pub client: Client,
    pub id: WorkerId,
}

/// A run that a [`Trainer`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub run: RunId,
    pub attempt: Attempt,
}

impl From<&ClaimedRun> for Held {
    fn from(claimed: &ClaimedRun) -> Self {
        Self { run: claimed.run_id, attempt: claimed.attempt }
    }
}

impl Trainer {
    /// Makes a worker known.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn register(target: &Target) -> anyhow::Result<Self> {
        let client = target.worker()?;
        let register = Register { device: "none".to_owned(), ..Register::cpu("load") };
        let id = client.register(&register).await?.worker_id;
        Ok(Self { client, id })
    }

    /// Takes the first run of the queue, or waits for one.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn claim(&self, wait: Duration) -> Result<Option<Held>, ClientError> {
        let claim = ClaimRequest { worker_id: self.id, max: 1, small: false, wait_seconds: wait.as_secs_f64() };
        Ok(self.client.claim(&claim).await?.runs.first().map(Held::from))
    }

    /// Takes so many runs, which must be there.
    ///
    /// # Errors
    /// What the server answers, and where the queue is empty.
    pub async fn claim_all(&self, count: usize) -> anyhow::Result<Vec<Held>> {
        let mut held = Vec::with_capacity(count);
        while held.len() < count {
            held.push(self.claim(Duration::ZERO).await?.context("the queue is empty")?);
        }
        Ok(held)
    }

    /// Keeps the lease of a run for as long as the answer is polled.
    pub async fn keep(&self, held: Held) {
        let runs = vec![HeldRun { run_id: held.run, attempt: held.attempt }];
        let heartbeat = trainyard_wire::worker::Heartbeat { worker_id: self.id, runs };
        loop {
            // A heartbeat that is lost is made up for by the next one.
            let _ = self.client.heartbeat(&heartbeat).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }
}

/// A report with nothing in it.
pub fn report(attempt: Attempt) -> Report {
    Report { attempt, metrics: Vec::new(), progress: None, logs: Vec::new(), certificates: Vec::new(), left_out: Vec::new(), finish: None }
}

/// The report that ends a run well.
pub fn success(attempt: Attempt) -> Report {
    let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result: Some(json!({"loss": 0.5})) };
    Report { finish: Some(finish), ..report(attempt) }
}

/// Points of one metric from `first` on.
pub fn batch(name: &str, first: u64, count: u64, draws: &mut Draws) -> SeriesBatch {
    let now = Timestamp::now().0;
    SeriesBatch {
        name: name.to_owned(),
        steps: (first..first + count).collect(),
        values: (0..count).map(|_| Number(draws.fraction())).collect(),
        times: (0..count).map(|index| now + index as i64).collect(),
    }
}

/// A content and its hash.
pub fn content(bytes: usize, draws: &mut Draws) -> (Bytes, String) {
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        content.extend(draws.draw().to_le_bytes());
    }
    content.truncate(bytes);
    let hash = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    (content.into(), hash)
}

/// How long `call` took, with its answer.
pub async fn timed<T>(call: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let answer = call.await;
    (answer, begun.elapsed())
}
