//! `kill -9` of real workers while they train.
//!
//! A run is killed again and again, each time once it has a new checkpoint, and in the end must have come to the same model and the same
//! curves as a twin that was left alone. Measured is the time from the kill until another worker holds the run.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use trainyard_wire::client::Client;
use trainyard_wire::run::Run;
use trainyard_wire::{RunId, RunState};

use crate::checker::{Breach, Violation};
use crate::dice::Dice;
use crate::figures::Summary;
use crate::history::Point;
use crate::process::{Process, Site, eventually};
use crate::reader;

/// What is done.
#[derive(Clone, Debug)]
pub struct Plan {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub seed: u64,
    pub kills: usize,
    /// Runs that the kills are spread over.
    pub runs: usize,
    pub epochs: u64,
    /// Runs at one time; there is a worker more.
    pub workers: usize,
    pub lease_seconds: u64,
}

/// The metrics that tell nothing of time.
pub(crate) const LASTING: [&str; 3] = ["train_loss", "val_loss", "val_accuracy"];

struct Yard {
    site: Site,
    client: Client,
    workers: Mutex<Vec<Process>>,
    /// Of workers that were started.
    started: std::sync::atomic::AtomicUsize,
}

/// Does it.
///
/// # Errors
/// Where the battery itself cannot go on; what the yard does wrong is in the summary.
pub async fn run(plan: &Plan) -> anyhow::Result<Summary> {
    let mut summary = Summary::new("worker-kills", plan.seed);
    let site = Site::new(&plan.program, &plan.folder, plan.lease_seconds)?;
    let (_server, _) = site.start_ready().await?;
    let client = site.client()?;
    let yard = Yard { site, client, workers: Mutex::default(), started: Default::default() };
    // One more than the runs of one time: what is measured is how long a run waits, and not how long a process takes to start.
    for _ in 0..=plan.workers {
        yard.hire().await?;
    }
    let mut reclaimed = Vec::new();
    let (mut same, mut ended) = (0, 0);
    let share = |number: usize| plan.kills * (number + 1) / plan.runs - plan.kills * number / plan.runs;
    // As many runs at one time as there are workers.
    for numbers in (0..plan.runs).collect::<Vec<_>>().chunks(plan.workers) {
        let disturbed = numbers.iter().map(|number| yard.disturb(plan, *number as u64, share(*number)));
        let disturbed = futures::future::try_join_all(disturbed).await?;
        let twins = futures::future::try_join_all(numbers.iter().map(|number| yard.leave_alone(plan, *number as u64))).await?;
        for ((id, times, violations), twin) in disturbed.into_iter().zip(twins) {
            reclaimed.extend(times);
            summary.violations.extend(violations);
            let run = yard.client.run(id).await?;
            ended += usize::from(run.state == RunState::Succeeded);
            match yard.differ(&run, twin).await? {
                None => same += 1,
                Some(difference) => {
                    summary
                        .violations
                        .push(Violation { breach: Breach::Changed, detail: format!("run {id} and its twin {twin}: {difference}") });
                }
            }
        }
    }
    let bound = Duration::from_secs(plan.lease_seconds + 5);
    for time in reclaimed.iter().filter(|time| **time > bound) {
        summary.violations.push(Violation { breach: Breach::Lost, detail: format!("a run waited {time:?} for another worker") });
    }
    summary.count("kills", reclaimed.len());
    summary.count("runs", plan.runs);
    summary.count("runs that succeeded", ended);
    summary.count("runs with the weights and curves of an undisturbed twin", same);
    summary.time("held by another worker", &reclaimed);
    Ok(summary)
}

impl Yard {
    async fn hire(&self) -> anyhow::Result<()> {
        let number = self.started.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let worker = self.site.worker(&format!("worker-{}", number % 8), &[])?;
        self.workers.lock().await.push(worker);
        Ok(())
    }

    async fn submit(&self, plan: &Plan, seed: u64) -> anyhow::Result<RunId> {
        let job = colourization(plan.epochs, seed).to_string().into_bytes();
        self.client.submit(job, None).await?.run_ids.first().copied().context("a job of one run")
    }

    async fn checkpoints(&self, id: RunId) -> anyhow::Result<usize> {
        Ok(self.client.events(id).await?.items.iter().filter(|event| event.kind == "checkpoint").count())
    }

    /// Kills whoever trains the run, so many times; answers how long it waited each time for the next worker.
    async fn disturb(&self, plan: &Plan, seed: u64, kills: usize) -> anyhow::Result<(RunId, Vec<Duration>, Vec<Violation>)> {
        let mut dice = Dice::new(plan.seed, 1000 + seed);
        let id = self.submit(plan, seed).await?;
        let (mut times, mut violations) = (Vec::new(), Vec::new());
        for _ in 0..kills {
            let before = self.checkpoints(id).await?;
            eventually(format!("a new checkpoint of run {id}"), async || {
                let ended = self.client.run(id).await.ok()?.state.is_finished();
                (ended || self.checkpoints(id).await.ok()? > before).then_some(())
            })
            .await?;
            tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
            let Some((attempt, killed)) = self.kill_holder(id).await? else {
                violations.push(Violation { breach: Breach::Lost, detail: format!("run {id} ended before it was killed {kills} times") });
                break;
            };
            self.hire().await?;
            let held = eventually(format!("another worker to hold run {id}"), async || {
                let run = self.client.run(id).await.ok()?;
                (run.state.is_finished() || (run.state == RunState::Running && run.attempt.0 > attempt)).then_some(run)
            })
            .await?;
            times.push(killed.elapsed());
            if held.state.is_finished() {
                violations
                    .push(Violation { breach: Breach::Lost, detail: format!("run {id} is {} after a kill: {:?}", held.state, held.error) });
                break;
            }
        }
        self.until_ended(id).await?;
        Ok((id, times, violations))
    }

    /// Kills the worker that holds the run; answers the run's attempt, and when. `None` where the run ends before.
    async fn kill_holder(&self, id: RunId) -> anyhow::Result<Option<(i64, Instant)>> {
        let holder = eventually(format!("a worker that holds run {id}"), async || {
            let run = self.client.run(id).await.ok()?;
            if run.state.is_finished() {
                return Some(None);
            }
            let workers = self.client.workers().await.ok()?.items;
            let holder = workers.into_iter().find(|worker| worker.run_ids.contains(&id))?;
            (run.state == RunState::Running && run.worker_id == Some(holder.id)).then_some(Some((run.attempt.0, holder.pid)))
        });
        let Some((attempt, pid)) = holder.await? else { return Ok(None) };
        let mut workers = self.workers.lock().await;
        let place = workers.iter().position(|worker| worker.pid() == pid).context("the holder is one of ours")?;
        let mut worker = workers.swap_remove(place);
        worker.signal(Signal::SIGKILL)?;
        let killed = Instant::now();
        worker.kill()?;
        Ok(Some((attempt, killed)))
    }

    async fn leave_alone(&self, plan: &Plan, seed: u64) -> anyhow::Result<RunId> {
        let id = self.submit(plan, seed).await?;
        let run = self.until_ended(id).await?;
        ensure!(run.attempt.0 == 1, "a twin was disturbed");
        Ok(id)
    }

    async fn until_ended(&self, id: RunId) -> anyhow::Result<Run> {
        let ended = eventually(format!("run {id} to end"), async || self.client.run(id).await.ok().filter(|run| run.state.is_finished()));
        let run = ended.await?;
        if run.state != RunState::Succeeded {
            bail!("run {id} is {}: {:?}", run.state, run.error);
        }
        Ok(run)
    }

    /// In what the run differs from its twin.
    async fn differ(&self, run: &Run, twin: RunId) -> anyhow::Result<Option<String>> {
        let mut ends = Vec::new();
        for id in [run.id, twin] {
            let stored = reader::run(&self.client, id).await?.context("it was there before")?;
            let model = stored.artifacts.into_iter().find(|(name, _)| name == "model.safetensors").context("a model")?.1;
            let points: Vec<Point> = stored.points.into_iter().filter(|point| LASTING.contains(&point.name.as_str())).collect();
            ends.push((model, points));
        }
        Ok(match (ends[0].0 == ends[1].0, ends[0].1 == ends[1].1) {
            (true, true) => None,
            (false, _) => Some("other weights".to_owned()),
            (true, false) => Some("other curves".to_owned()),
        })
    }
}

/// A small network that has a checkpoint after each of its epochs.
fn colourization(epochs: u64, seed: u64) -> Value {
    json!({"spec": {
        "kind": "colourization",
        "dataset": {"name": "synthetic", "train_images": 128, "val_images": 8, "size": 32},
        "network": {"name": "unet", "kernel": 3, "num_filters": 8},
        "num_colours": 8,
        "optimizer": {"name": "adam", "learning_rate": 0.001},
        "batch_size": 16,
        "epochs": epochs,
        "shuffle": true,
        "sample_every": 0,
        "sample_images": 4,
        "seed": seed,
    }})
}
