//! The store and the model side by side.

mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use tokio::sync::Mutex;
use trainyard_faults::{Place, clear, set};
use trainyard_server::store::{
    ActionError, Idempotency, MetricQuery, NewJob, NewRun, RunFilter, Store, StoreError, StoreOptions, SubmitError,
};
use trainyard_wire::state::Kind;
use trainyard_wire::worker::{Directive, Heartbeat, HeldRun, Register};
use trainyard_wire::{JobId, RunId, RunState, Spec, TokenId, WorkerId};

use super::model::{Model, Run};
use super::{Command, Commands, Trouble};

/// Speaks for all workers of a history.
const TOKEN: TokenId = TokenId(1);
const LEASE: Duration = Duration::from_secs(3600);

/// What some histories came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) histories: usize,
    pub(super) commands: usize,
    pub(super) kills: usize,
    pub(super) failed: usize,
    pub(super) runs: usize,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.histories += other.histories;
        self.commands += other.commands;
        self.kills += other.kills;
        self.failed += other.failed;
        self.runs += other.runs;
    }
}

pub(super) struct World {
    folder: PathBuf,
    /// The folders of the store so far: a kill moves it.
    lives: usize,
    store: Store,
    workers: Vec<WorkerId>,
    /// What each worker was ever given.
    given: Vec<Vec<HeldRun>>,
    model: Model,
    last: Option<Command>,
    tally: Tally,
}

/// What a command did to the model, where the store said or should have said so.
enum Effect {
    None,
    Happened(Box<Model>),
}

/// The places that fail are the process's, so one history is lived at a time.
fn turn() -> &'static Mutex<()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    TURN.get_or_init(Mutex::default)
}

impl World {
    /// Lives a history in a folder of its own.
    pub(super) async fn live(folder: &Path, commands: &Commands) -> anyhow::Result<Tally> {
        let _turn = turn().lock().await;
        clear();
        let folder = tempfile::tempdir_in(folder)?;
        let mut world = Self::new(folder.path()).await?;
        for (number, (command, trouble)) in commands.iter().enumerate() {
            let done = world.step(command.clone(), *trouble).await;
            clear();
            done.with_context(|| format!("at command {number}, {command:?} with {trouble:?}"))?;
        }
        world.compare_all().await.context("at the end")?;
        world.kill().await?;
        world.compare_all().await.context("after the last kill")?;
        world.store.close().await?;
        let data = world.data();
        let report = trainyard_server::check::check(&data).await?;
        ensure!(report.ok, "the folder is damaged: {:?}", report.findings);
        world.tally.histories = 1;
        world.tally.runs = world.model.runs.len();
        Ok(world.tally)
    }

    async fn new(folder: &Path) -> anyhow::Result<Self> {
        let store = open(&folder.join("life-0")).await?;
        let mut workers = Vec::new();
        for pid in 0..3 {
            let register = Register { pid, ..Register::cpu("here") };
            workers.push(store.register(TOKEN, register).await?.worker_id);
        }
        let given = vec![Vec::new(); workers.len()];
        let (model, tally) = (Model::default(), Tally::default());
        Ok(Self { folder: folder.to_owned(), lives: 0, store, workers, given, model, last: None, tally })
    }

    fn data(&self) -> PathBuf {
        self.folder.join(format!("life-{}", self.lives))
    }

    async fn step(&mut self, command: Command, trouble: Trouble) -> anyhow::Result<()> {
        self.tally.commands += 1;
        let command = match (command, self.last.clone()) {
            (Command::Repeat, None) => return Ok(()),
            (Command::Repeat, Some(last)) => last,
            (command, _) => command,
        };
        let (before, revision) = (self.model.clone(), self.store.revision());
        if let Trouble::Commit { after, .. } = trouble {
            let place = if after { Place::CommitAfter } else { Place::CommitBefore };
            set(place.name(), "1*return(error)");
        }
        let (effect, failed) = self.ask(&command).await?;
        clear();
        let committed = matches!(trouble, Trouble::Commit { after: true, .. });
        if let Effect::Happened(model) = effect
            && (!failed || committed)
        {
            self.model = *model;
        }
        if failed {
            self.tally.failed += 1;
        }
        let revised = self.store.revision();
        ensure!(revised >= revision, "the revision went from {revision} back to {revised}");
        if visible(&before) != visible(&self.model) {
            ensure!(revised > revision, "something visible changed and the revision did not");
        }
        if matches!(trouble, Trouble::Commit { kill: true, .. }) {
            self.kill().await?;
            return self.compare_all().await;
        }
        self.compare().await?;
        if matches!(command, Command::Kill | Command::Restart) { self.compare_all().await } else { Ok(()) }
    }

    /// Asks the store and compares its answer with the model's. Answers what the command does, and whether the commit failed.
    async fn ask(&mut self, command: &Command) -> anyhow::Result<(Effect, bool)> {
        let mut model = self.model.clone();
        match command {
            Command::Submit { runs, priority, small } => {
                let number = model.jobs.len();
                model.submit(*runs, *priority, *small);
                let answer = self.store.submit(job(number, *runs, *priority, *small, 0)).await;
                return match answer {
                    Ok(submitted) => {
                        ensure!(!submitted.replayed, "a new key was taken for an old one");
                        self.expect_job(&model, number, submitted.accepted.id, &submitted.accepted.run_ids)?;
                        happened(model)
                    }
                    Err(SubmitError::Store(error)) => failed(model, error),
                    Err(error) => bail!("{error}"),
                };
            }
            Command::SubmitAgain { job: number } if !model.jobs.is_empty() => {
                let number = number % model.jobs.len();
                let (first, runs) = model.jobs[number];
                let run = &model.runs[first];
                match self.store.submit(job(number, runs, run.priority, run.small, 0)).await {
                    Ok(submitted) => {
                        ensure!(submitted.replayed, "a repeated submit made a second job");
                        self.expect_job(&model, number, submitted.accepted.id, &submitted.accepted.run_ids)?;
                    }
                    Err(SubmitError::Store(error)) => return failed(model, error),
                    Err(error) => bail!("{error}"),
                }
            }
            Command::SubmitOther { job: number } if !model.jobs.is_empty() => {
                let number = number % model.jobs.len();
                match self.store.submit(job(number, 1, 0, false, 1)).await {
                    Err(SubmitError::KeyReused) => {}
                    Err(SubmitError::Store(error)) => return failed(model, error),
                    other => bail!("another body under a used key: {other:?}"),
                }
            }
            Command::Claim { worker, max, small } => return self.claim(model, *worker, *max, *small).await,
            Command::Report { run, behind, first, points, finish } if !model.runs.is_empty() => {
                self.last = Some(command.clone());
                let place = run % model.runs.len();
                return self.report(model, place, *behind, *first..first + points, *finish).await;
            }
            Command::Checkpoint { run, behind, step } if !model.runs.is_empty() => {
                self.last = Some(command.clone());
                let place = run % model.runs.len();
                return self.checkpoint(model, place, *behind, *step).await;
            }
            Command::Heartbeat { worker } => {
                let heartbeat = Heartbeat { worker_id: self.workers[*worker], runs: self.given[*worker].clone() };
                let answer = self.store.heartbeat(TOKEN, &heartbeat).await?;
                for (held, directive) in heartbeat.runs.iter().zip(answer.runs) {
                    let run = &model.runs[place_of(held.run_id)];
                    let holds = run.holds(held.attempt.0) && run.leased && run.worker == Some(*worker);
                    let expected = if holds { Directive::from(run.requested) } else { Directive::Lost };
                    ensure!(directive == expected, "the heartbeat of run {} was told {directive}, not {expected}", held.run_id);
                }
            }
            Command::Expire => {
                let leased = model.runs.iter().filter(|run| run.leased).count() as u64;
                clear();
                let expired = self.store.expire_leases(Instant::now() + 2 * LEASE).await?;
                ensure!(expired == leased, "{expired} leases ran out, not {leased}");
                model.runs.iter_mut().for_each(Run::expire);
                return happened(model);
            }
            Command::Act { run, action } if !model.runs.is_empty() => {
                let place = run % model.runs.len();
                let before = model.runs[place].clone();
                let legal = model.runs[place].act(*action);
                return match self.store.run_action(RunId(place as i64 + 1), *action).await {
                    Ok(_) if legal => happened(model),
                    Err(ActionError::Illegal { state, .. }) if !legal && state == before.state => Ok((Effect::None, false)),
                    Err(ActionError::Store(error)) => failed(model, error),
                    other => bail!("{action} of a run that was {before:?}: {other:?}"),
                };
            }
            Command::ActOnJob { job, action } if !model.jobs.is_empty() => {
                let number = job % model.jobs.len();
                let (first, runs) = model.jobs[number];
                let mut legal = false;
                for run in &mut model.runs[first..first + runs] {
                    legal |= run.act(*action);
                }
                return match self.store.job_action(JobId(number as i64 + 1), *action).await {
                    Ok(_) if legal => happened(model),
                    Err(ActionError::Illegal { .. }) if !legal => Ok((Effect::None, false)),
                    Err(ActionError::Store(error)) => failed(model, error),
                    other => bail!("{action} of job {}: {other:?}", number + 1),
                };
            }
            Command::Sweep => {
                if let Err(error) = self.store.sweep_blobs().await {
                    return failed(model, error);
                }
            }
            Command::Restart => {
                clear();
                self.store.close().await?;
                self.store = open(&self.data()).await?;
                self.model.runs.iter_mut().for_each(|run| run.leased = run.state == RunState::Running);
            }
            Command::Kill => self.kill().await?,
            // There is nothing yet that it could be about.
            Command::SubmitAgain { .. }
            | Command::SubmitOther { .. }
            | Command::Report { .. }
            | Command::Checkpoint { .. }
            | Command::Act { .. }
            | Command::ActOnJob { .. }
            | Command::Repeat => {}
        }
        Ok((Effect::None, false))
    }

    fn expect_job(&self, model: &Model, number: usize, id: JobId, runs: &[RunId]) -> anyhow::Result<()> {
        let (first, count) = model.jobs[number];
        let expected: Vec<RunId> = (first..first + count).map(|run| RunId(run as i64 + 1)).collect();
        ensure!(id == JobId(number as i64 + 1) && runs == expected, "job {id} with {runs:?} instead of {expected:?}");
        Ok(())
    }

    /// Goes on with the files as they are on the disk now, and lets the old process be.
    async fn kill(&mut self) -> anyhow::Result<()> {
        clear();
        self.tally.kills += 1;
        let from = self.data();
        self.lives += 1;
        copy(&from, &self.data())?;
        let store = open(&self.data()).await?;
        std::mem::replace(&mut self.store, store).close().await?;
        std::fs::remove_dir_all(from)?;
        self.model.runs.iter_mut().for_each(|run| run.leased = run.state == RunState::Running);
        Ok(())
    }

    /// Compares the states of all runs.
    async fn compare(&self) -> anyhow::Result<()> {
        let filter = RunFilter { limit: 1000, ..RunFilter::default() };
        let mut stored = self.store.runs(filter).await?.items;
        stored.reverse();
        ensure!(stored.len() == self.model.runs.len(), "{} runs are stored, not {}", stored.len(), self.model.runs.len());
        for (stored, run) in stored.iter().zip(&self.model.runs) {
            let worker = run.worker.map(|worker| self.workers[worker]);
            let found = (stored.state, stored.stop_reason, stored.attempt.0, stored.requested, stored.worker_id, stored.priority);
            let expected = (run.state, run.reason, run.attempt, run.requested, worker, run.priority);
            ensure!(found == expected, "run {} is {found:?}, not {expected:?}", stored.id);
        }
        Ok(())
    }

    /// Compares everything.
    async fn compare_all(&self) -> anyhow::Result<()> {
        self.compare().await?;
        for (place, run) in self.model.runs.iter().enumerate() {
            let id = RunId(place as i64 + 1);
            let query = MetricQuery { limit: 1000, ..MetricQuery::default() };
            let history = self.store.metrics(id, query).await?.context("a run")?.history;
            let points: Vec<(u64, u64)> =
                history.series.iter().flat_map(|series| &series.points).map(|point| (point.step, point.value.0.to_bits())).collect();
            let expected: Vec<(u64, u64)> = run.points.clone().into_iter().collect();
            ensure!(points == expected, "run {id} has the points {points:?}, not {expected:?}");
            let checkpoint = self.store.artifact(id, "checkpoint.safetensors").await?;
            ensure!(checkpoint.is_some() == run.file.is_some(), "run {id} has a checkpoint, or not: {checkpoint:?}");
            if let (Some(mut checkpoint), Some((step, _))) = (checkpoint, run.file) {
                let mut text = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut checkpoint.file, &mut text).await?;
                ensure!(text == format!("run {id} at step {step}"), "the checkpoint of run {id} is {text}, and should be of step {step}");
            }
        }
        Ok(())
    }
}

fn happened(model: Model) -> anyhow::Result<(Effect, bool)> {
    Ok((Effect::Happened(Box::new(model)), false))
}

/// The commit failed, as it was told to; anything else that fails ends the history.
fn failed(model: Model, error: StoreError) -> anyhow::Result<(Effect, bool)> {
    match error {
        StoreError::Io(error) if error.to_string().contains("a test has commit.") => Ok((Effect::Happened(Box::new(model)), true)),
        error => Err(error.into()),
    }
}

/// What takes a revision when it changes.
fn visible(model: &Model) -> Vec<(RunState, i64, bool, BTreeMap<u64, u64>)> {
    model.runs.iter().map(|run| (run.state, run.attempt, run.requested.is_some(), run.points.clone())).collect()
}

fn place_of(run: RunId) -> usize {
    usize::try_from(run.0 - 1).unwrap_or(usize::MAX)
}

async fn open(data_dir: &Path) -> anyhow::Result<Store> {
    Ok(Store::open(data_dir, StoreOptions { lease: LEASE, upkeep: false, ..StoreOptions::default() }).await?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (name, place) = (entry.file_name(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            // Most of the folders of contents are empty, and a start makes them again.
            if std::fs::read_dir(entry.path())?.next().is_some() {
                copy(&entry.path(), &place)?;
            }
        } else if !name.to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), place)?;
        }
    }
    Ok(())
}

fn job(number: usize, runs: usize, priority: i32, small: bool, body: u8) -> NewJob {
    let spec = json!({
        "kind": "regression", "problem": {"source": "synthetic", "n": 5, "d": 2, "condition": 3.0},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10,
    });
    let spec = Spec::from_value(spec, "/spec").unwrap_or_else(|errors| panic!("the spec of the histories is not valid: {errors:?}"));
    let run = NewRun { spec, sweep_point: Default::default(), total_steps: 10, small, memory_bytes: 0 };
    let idempotency = Idempotency { token: TokenId(0), key: format!("key-{number}"), body_sha256: format!("{body:064}") };
    NewJob {
        name: None,
        tags: BTreeMap::new(),
        project: None,
        priority,
        kind: Kind::Regression,
        sweep: Default::default(),
        runs: vec![run; runs],
        warnings: Vec::new(),
        theory: Vec::new(),
        idempotency: Some(idempotency),
    }
}
