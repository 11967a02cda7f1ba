//! Everything at once for a long time: submits, workers, readers, subscribers. Memory stays flat and the log small.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use futures::future::try_join_all;
use trainyard_wire::client::RunQuery;
use trainyard_wire::run::Progress;
use trainyard_wire::worker::Report as RunReport;
use trainyard_wire::{RunId, RunState};

use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::target::ServerProcess;
use crate::trainer::{Trainer, batch, content, job, report, success, timed};
use crate::{Target, chart};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub time: Duration,
    pub submitters: u64,
    pub workers: u64,
    pub readers: u64,
    pub subscribers: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, time: Duration::from_secs(30 * 60), submitters: 4, workers: 10, readers: 4, subscribers: 20 }
    }
}

/// Between two submits of a submitter, two reports of a worker, two questions of a reader, two looks at the process.
const SUBMIT_EVERY: Duration = Duration::from_millis(500);
const REPORT_EVERY: Duration = Duration::from_millis(50);
const READ_EVERY: Duration = Duration::from_millis(200);
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Reports of a run, and points of each.
const REPORTS: u64 = 20;
const POINTS: u64 = 100;

/// How a server was at one moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    resident: u64,
    log: u64,
}

#[derive(Debug, Default)]
struct Counts {
    submits: AtomicU64,
    reports: AtomicU64,
    finished: AtomicU64,
    reads: AtomicU64,
    news: AtomicU64,
    /// Calls that had no answer, or an error.
    failed: AtomicU64,
}

impl Counts {
    /// The answer of a call; one that failed is counted and told, and the load goes on.
    fn note<T, E: std::fmt::Display>(&self, what: &str, answer: Result<T, E>) -> Option<T> {
        answer
            .map_err(|error| {
                count(&self.failed);
                eprintln!("{what}: {error}");
            })
            .ok()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Mixed load on a server process.
///
/// # Errors
/// What the server answers, where it ends, or where it logs that its database is locked.
pub async fn run(server: &mut ServerProcess, settings: Settings) -> anyhow::Result<Report> {
    let target = server.target().clone();
    let counts = Counts::default();
    let until = Instant::now() + settings.time;
    let (reports, reads) = load(&target, settings, until, &counts).await?;
    ensure!(server.is_running(), "the server has ended");
    let log = server.log()?;
    let locked = log.lines().filter(|line| line.contains("database is locked")).count();
    let (mut reports, mut reads, looks) = (reports.times, reads, reports.looks);

    let mut report = Report::new("mixed", settings.seed);
    report.tell("time", settings.time.as_secs_f64() / 60.0, "min");
    let figure = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
    report.tell("submits", figure(&counts.submits), "");
    report.tell("reports", figure(&counts.reports), "");
    report.tell("points", figure(&counts.reports) * POINTS as f64, "");
    report.tell("runs finished", figure(&counts.finished), "");
    report.tell("reads", figure(&counts.reads), "");
    report.tell("messages to subscribers", figure(&counts.news), "");
    report.times("report", &mut reports, None);
    report.times("read", &mut reads, None);
    // The first third warms caches and pools up.
    let third = looks.len() / 3;
    let mean = |looks: &[Look]| looks.iter().map(|look| look.resident as f64).sum::<f64>() / looks.len().max(1) as f64 / 1e6;
    let (middle, last) = (mean(&looks[third..2 * third]), mean(&looks[2 * third..]));
    report.tell("RSS, middle third", middle, "MB");
    report.tell("RSS, last third", last, "MB");
    report.promise("growth from one to the other", 100.0 * (last / middle.max(1e-9) - 1.0), "%", Bound::AtMost(5.0));
    let most = |of: fn(&Look) -> u64| looks.iter().map(of).max().unwrap_or(0) as f64;
    report.promise("largest RSS", most(|look| look.resident) / 1e6, "MB", Bound::AtMost(150.0));
    report.promise("largest write-ahead log", most(|look| look.log) / 1048576.0, "MiB", Bound::AtMost(64.0));
    report.promise("calls that failed", figure(&counts.failed), "", Bound::AtMost(0.0));
    report.promise("lines with 'database is locked'", locked as f64, "", Bound::AtMost(0.0));
    Ok(report)
}

struct Trained {
    times: Times,
    looks: Vec<Look>,
}

async fn load(target: &Target, settings: Settings, until: Instant, counts: &Counts) -> anyhow::Result<(Trained, Times)> {
    let Settings { seed, submitters, workers, readers, subscribers, .. } = settings;
    let submitting = try_join_all((0..submitters).map(|index| submit(target, Draws::new(seed, index), until, counts)));
    let working = try_join_all((0..workers).map(|index| work(target, Draws::new(seed, 1000 + index), until, counts)));
    let reading = try_join_all((0..readers).map(|index| read(target, Draws::new(seed, 2000 + index), until, counts)));
    let following = try_join_all((0..subscribers).map(|_| follow(target, until, counts)));
    let (_, reports, reads, _, looks) = futures::future::try_join5(submitting, working, reading, following, look(target, until)).await?;
    let sum = |all: Vec<Times>| {
        let mut sum = Times::default();
        all.into_iter().for_each(|times| sum.extend(times));
        sum
    };
    Ok((Trained { times: sum(reports), looks }, sum(reads)))
}

async fn submit(target: &Target, mut draws: Draws, until: Instant, counts: &Counts) -> anyhow::Result<()> {
    let client = target.admin()?;
    while Instant::now() < until {
        let mut body = job("mixed");
        // One in twenty is a small sweep.
        if draws.below(20) == 0 {
            body["sweep"] = serde_json::json!({"seed": [1, 2, 3]});
        }
        let key = format!("{:x}", draws.draw());
        if counts.note("a submit", client.submit(serde_json::to_vec(&body)?, Some(&key)).await).is_some() {
            count(&counts.submits);
        }
        tokio::time::sleep(SUBMIT_EVERY.mul_f64(0.5 + draws.fraction())).await;
    }
    Ok(())
}

async fn work(target: &Target, mut draws: Draws, until: Instant, counts: &Counts) -> anyhow::Result<Times> {
    let trainer = Trainer::register(target).await?;
    let mut times = Times::default();
    while Instant::now() < until {
        let Some(held) = counts.note("a claim", trainer.claim(Duration::from_secs(2)).await).flatten() else { continue };
        for index in 0..REPORTS {
            let step = (index + 1) * POINTS;
            let half = POINTS / 2;
            let metrics = ["loss", "gradient_norm"].map(|name| batch(name, index * half + 1, half, &mut draws));
            let progress = Some(Progress { step, total_steps: REPORTS * POINTS, epoch: None, eta_seconds: Some(1.0) });
            let body = RunReport { metrics: metrics.into(), progress, ..report(held.attempt) };
            let (answer, time) = timed(trainer.client.report(held.run, &body)).await;
            times.add(time);
            if counts.note("a report", answer).is_some() {
                count(&counts.reports);
            }
            if index % 10 == 9 {
                let (bytes, hash) = content(20_000, &mut draws);
                let put = trainer.client.put_artifact(held.run, held.attempt, "checkpoint.safetensors", &hash, Some(step), bytes);
                counts.note("a checkpoint", put.await);
            }
            tokio::time::sleep(REPORT_EVERY.mul_f64(0.5 + draws.fraction())).await;
        }
        if counts.note("a finish", trainer.client.report(held.run, &success(held.attempt)).await).is_some() {
            count(&counts.finished);
        }
    }
    Ok(times)
}

async fn read(target: &Target, mut draws: Draws, until: Instant, counts: &Counts) -> anyhow::Result<Times> {
    let client = target.admin()?;
    let mut times = Times::default();
    while Instant::now() < until {
        let (page, time) = timed(client.runs(&RunQuery { limit: Some(50), ..RunQuery::default() })).await;
        times.add(time);
        count(&counts.reads);
        let ids: Vec<RunId> = counts.note("a list", page).map_or(Vec::new(), |page| page.items.iter().map(|run| run.id).collect());
        if !ids.is_empty() {
            let id = ids[draws.below(ids.len() as u64) as usize];
            let asked = async {
                match draws.below(4) {
                    0 => chart::ask(target, id, "", 200).await.map(drop),
                    1 => Ok(client.run(id).await.map(drop)?),
                    2 => Ok(client.compare(&ids[..ids.len().min(10)]).await.map(drop)?),
                    _ => Ok(client
                        .runs(&RunQuery { state: Some(RunState::Succeeded), limit: Some(50), ..RunQuery::default() })
                        .await
                        .map(drop)?),
                }
            };
            let (answer, time) = timed(asked).await;
            counts.note("a question", answer);
            times.add(time);
            count(&counts.reads);
        }
        tokio::time::sleep(READ_EVERY.mul_f64(0.5 + draws.fraction())).await;
    }
    Ok(times)
}

async fn follow(target: &Target, until: Instant, counts: &Counts) -> anyhow::Result<()> {
    let mut stream = target.admin()?.follow(&[], None).await?;
    let until = tokio::time::Instant::from_std(until);
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return Ok(()),
            piece = stream.next() => {
                let piece = piece.context("a stream of events has ended")??;
                counts.news.fetch_add(piece.windows(5).filter(|bytes| bytes == b"data:").count() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Looks at the process until the end, and says now and then how it is.
async fn look(target: &Target, until: Instant) -> anyhow::Result<Vec<Look>> {
    let mut looks = Vec::new();
    while Instant::now() < until {
        let look = Look { resident: target.resident_bytes().map_or(0, |(now, _)| now), log: target.log_bytes() };
        if looks.len() % 150 == 0 {
            let left = until.saturating_duration_since(Instant::now()).as_secs();
            eprintln!("{left} s left: RSS {} MB, log {} MiB", look.resident / 1_000_000, look.log >> 20);
        }
        looks.push(look);
        tokio::time::sleep(LOOK_EVERY.min(until.saturating_duration_since(Instant::now()))).await;
    }
    Ok(looks)
}
