//! Runs that are submitted and reported on through a bad network: every effect is there once.

mod network;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use futures::future::try_join_all;
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::run::Progress;
use trainyard_wire::worker::Report as RunReport;
use trainyard_wire::{Number, RunId, RunState};

pub use network::{Done, Faults, Network};

use crate::Target;
use crate::report::{Bound, Report};
use crate::seeds::Draws;
use crate::trainer::{Held, Trainer, batch, content, job, report, success};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    /// At least; each run has ten.
    pub operations: u64,
    pub workers: u64,
    pub faults: Faults,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, operations: 20_000, workers: 16, faults: Faults::default() }
    }
}

/// Reports of a run, points of each, and checkpoints.
const REPORTS: u64 = 6;
const POINTS: u64 = 20;
const CHECKPOINTS: u64 = 2;
/// Operations of a run: its submit, its reports, its checkpoints, its finish.
const OPERATIONS: u64 = 2 + REPORTS + CHECKPOINTS;
/// How long one operation is tried.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a run has told, and its worker saw acknowledged.
struct Told {
    run: RunId,
    values: Vec<Number>,
    model: String,
}

/// Submits runs and reports on them through the network until all has been acknowledged; then looks, past the network, whether each job,
/// point, file and event is there once.
///
/// # Errors
/// Where it is not.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, operations, workers, faults } = settings;
    let network = Network::start(&target.url, faults, seed).await?;
    let through = target.behind(format!("http://{}", network.address));
    let runs = operations.div_ceil(OPERATIONS);
    let (next, retries) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let work = async |index: u64| {
        let worker = Worker {
            admin: through.admin()?,
            // Claims go past the network: one whose answer is lost waits for its lease to run out.
            claims: Trainer::register(target).await?,
            client: through.worker()?,
            retries: &retries,
        };
        let mut draws = Draws::new(seed, index);
        let mut told = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= runs {
                return anyhow::Ok(told);
            }
            told.push(worker.one_run(number, &mut draws).await.with_context(|| format!("run number {number}"))?);
        }
    };
    let told: Vec<Told> = try_join_all((0..workers).map(work)).await?.into_iter().flatten().collect();
    network.settle().await;
    let seconds = begun.elapsed().as_secs_f64();
    check(target, runs, &told).await?;

    let count = |of: fn(&Done) -> &AtomicU64| of(network.done()).load(Ordering::Relaxed) as f64;
    let mut report = Report::new("proxy", seed);
    report.promise("operations, each effect once", (runs * OPERATIONS) as f64, "", Bound::AtLeast(operations as f64));
    report.tell("requests", count(|done| &done.requests), "");
    report.tell("lost before the server", count(|done| &done.lost), "");
    report.tell("answers lost", count(|done| &done.answers_lost), "");
    report.tell("repeated at once", count(|done| &done.repeated), "");
    report.tell("repeated later", count(|done| &done.repeated_late), "");
    report.tell("delayed", count(|done| &done.delayed), "");
    report.tell("retries of the client", retries.load(Ordering::Relaxed) as f64, "");
    report.tell("time", seconds, "s");
    Ok(report)
}

struct Worker<'a> {
    admin: Client,
    claims: Trainer,
    client: Client,
    retries: &'a AtomicU64,
}

impl Worker<'_> {
    /// Calls until there is an answer, as the agent of a worker does.
    async fn insist<T>(&self, call: impl AsyncFn() -> Result<T, ClientError>) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            match call().await {
                Ok(answer) => return Ok(answer),
                Err(error) if error.is_transient() && begun.elapsed() < PATIENCE => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => bail!("{error}"),
            }
        }
    }

    async fn one_run(&self, number: u64, draws: &mut Draws) -> anyhow::Result<Told> {
        let (body, key) = (serde_json::to_vec(&job(&format!("proxy {number}")))?, format!("{number}-{:x}", draws.draw()));
        self.insist(async || self.admin.submit(body.clone(), Some(&key)).await).await?;
        // Some run; the queue gives each to one worker.
        let held = self.claims.claim(PATIENCE.min(Duration::from_secs(40))).await?.context("the queue is empty")?;
        let mut values = Vec::new();
        let mut model = String::new();
        for index in 0..REPORTS {
            let series = batch("loss", index * POINTS + 1, POINTS, draws);
            values.extend(series.values.clone());
            let step = (index + 1) * POINTS;
            let progress = Some(Progress { step, total_steps: REPORTS * POINTS, epoch: None, eta_seconds: None });
            let told = RunReport { metrics: vec![series], progress, ..report(held.attempt) };
            self.insist(async || self.client.report(held.run, &told).await).await?;
            if (index + 1) % (REPORTS / CHECKPOINTS) == 0 {
                model = self.checkpoint(held, step, draws).await?;
            }
        }
        let last = success(held.attempt);
        self.insist(async || self.client.report(held.run, &last).await).await?;
        Ok(Told { run: held.run, values, model })
    }

    async fn checkpoint(&self, Held { run, attempt }: Held, step: u64, draws: &mut Draws) -> anyhow::Result<String> {
        let (bytes, hash) = content(3000, draws);
        let name = "checkpoint.safetensors";
        self.insist(async || self.client.put_artifact(run, attempt, name, &hash, Some(step), bytes.clone()).await).await?;
        Ok(hash)
    }
}

/// Looks whether all that was told is there, once, and nothing else.
async fn check(target: &Target, runs: u64, told: &[Told]) -> anyhow::Result<()> {
    let client = target.admin()?;
    ensure!(told.len() as u64 == runs, "{} runs were trained of {runs}", told.len());
    for state in RunState::ALL {
        let count = target.figure(&format!("trainyard_runs{{state=\"{state}\"}}")).await?.unwrap_or(0.0);
        let expected = if *state == RunState::Succeeded { runs } else { 0 };
        ensure!(count as u64 == expected, "{count} runs are {state}, and {expected} should be");
    }
    for Told { run: id, values, model } in told {
        check_run(&client, *id, values, model).await.with_context(|| format!("run {id}"))?;
    }
    Ok(())
}

async fn check_run(client: &Client, id: RunId, values: &[Number], model: &str) -> anyhow::Result<()> {
    let run = client.run(id).await?;
    ensure!(run.attempt.0 == 1, "it was claimed {} times", run.attempt);
    ensure!(run.progress.step == REPORTS * POINTS, "its progress is at step {}", run.progress.step);
    let history = client.metrics(id, None).await?;
    let points: Vec<(u64, Number)> =
        history.series.iter().flat_map(|series| &series.points).map(|point| (point.step, point.value)).collect();
    let expected: Vec<(u64, Number)> = (1..).zip(values.iter().copied()).collect();
    ensure!(points == expected, "its points are others than it told");
    let artifacts = client.artifacts(id).await?.artifacts;
    let hashes: Vec<&str> = artifacts.iter().map(|artifact| artifact.sha256.as_str()).collect();
    ensure!(hashes == [model], "its files are {hashes:?} and not {model}");
    let kinds: Vec<String> = client.events(id).await?.items.into_iter().map(|event| event.kind).collect();
    let mut expected = vec!["queued", "claimed"];
    expected.extend([["checkpoint"; CHECKPOINTS as usize].as_slice(), &["succeeded"]].concat());
    ensure!(kinds == expected, "its events are {kinds:?}");
    Ok(())
}
