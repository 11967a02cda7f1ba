//! The page that compares the runs of a large sweep.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::future::try_join3;
use serde_json::{Value, json};
use trainyard_wire::compare::Comparison;
use trainyard_wire::worker::{Report as RunReport, Reports};
use trainyard_wire::{JobId, RunId};

use crate::Target;
use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::target::http;
use crate::trainer::{Held, Trainer, batch, report, success, timed};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    /// Learning rates of the sweep.
    pub rates: u64,
    /// Seeds of each rate.
    pub seeds: u64,
    /// Of each metric of a run.
    pub points: u64,
    /// How often the page is opened.
    pub asked: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, rates: 100, seeds: 10, points: 150, asked: 30 }
    }
}

/// What a regression tells of itself.
const METRICS: [&str; 6] = ["loss", "gradient_norm", "residual_norm", "null_space_norm", "weight_norm", "distance_to_minimum_norm"];

/// Stores a sweep with its metrics and asks for all that its page shows, again and again, each time at a new revision.
///
/// # Errors
/// What the server answers, and where a run or a point is missing in it.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, rates, seeds, points, asked } = settings;
    let (job, runs) = store(target, settings).await?;
    let page = Page { http: http(), target };

    let names = ["comparison", "curves", "scatter", "parallel"];
    let mut times: [Times; 4] = Default::default();
    let mut largest = [0; 4];
    let mut whole = Times::default();
    for _ in 0..asked {
        let (answers, time) = timed(page.open(job)).await;
        let answers = answers?;
        is_whole(&serde_json::from_slice(&answers[0].0)?, &runs, settings)?;
        for (place, (body, time)) in answers.into_iter().enumerate() {
            times[place].add(time);
            largest[place] = body.len().max(largest[place]);
        }
        whole.add(time);
        // A new revision, so that nobody is answered what was answered before.
        target.admin()?.submit(serde_json::to_vec(&crate::trainer::job("aside"))?, None).await?;
    }
    let (body, _) = page.ask(&format!("/v1/compare/charts/curves.json?job={job}&metric=loss&y=log")).await?;
    let figure: Value = serde_json::from_slice(&body)?;
    let counted: u64 =
        figure["facts"]["series"].as_array().context("the facts of a chart")?.iter().filter_map(|it| it["points"].as_u64()).sum();
    let drawn = rates.min(24) * seeds.min(20) * points;
    ensure!(counted == drawn, "the curves are made of {counted} points, and should be of {drawn}");

    let mut report = Report::new("comparison", seed);
    report.tell("runs", runs.len() as f64, "");
    report.tell("points", (runs.len() as u64 * points * METRICS.len() as u64) as f64, "");
    for ((name, times), bytes) in names.into_iter().zip(&mut times).zip(largest) {
        report.times(name, times, Some(("p99", 500.0)));
        report.tell(format!("{name}, largest answer"), bytes as f64 / 1e3, "kB");
    }
    report.promise("the whole page p99", whole.percentile(99.0), "ms", Bound::AtMost(500.0));
    Ok(report)
}

/// Submits the sweep and reports each run's metrics; answers the job and its runs.
async fn store(target: &Target, settings: Settings) -> anyhow::Result<(JobId, Vec<RunId>)> {
    let Settings { seed, rates, seeds, points, .. } = settings;
    let job = json!({"name": "comparison", "spec": {
        "kind": "regression", "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1},
        "optimizer": {"name": "sgd", "learning_rate": 0.1, "batch_size": 5}, "steps": 400
    }, "sweep": {
        "optimizer.learning_rate": (1..=rates).map(|rate| rate as f64 / 1000.0).collect::<Vec<_>>(),
        "seed": (0..seeds).collect::<Vec<_>>(),
    }});
    let accepted = target.admin()?.submit(serde_json::to_vec(&job)?, None).await?;
    let trainer = Trainer::register(target).await?;
    let mut draws = Draws::new(seed, 0);
    let mut left = accepted.run_ids.len();
    while left > 0 {
        let held: Vec<Held> = trainer.claim_all(left.min(50)).await?;
        left -= held.len();
        let reports = held.iter().map(|held| {
            let metrics = METRICS.map(|name| batch(name, 1, points, &mut draws)).into();
            let report = RunReport { metrics, ..report(held.attempt) };
            trainyard_wire::worker::RunReport { run_id: held.run, report: RunReport { finish: success(held.attempt).finish, ..report } }
        });
        for answer in trainer.client.report_all(&Reports { reports: reports.collect() }).await? {
            answer?;
        }
    }
    Ok((accepted.id, accepted.run_ids))
}

fn is_whole(comparison: &Comparison, runs: &[RunId], settings: Settings) -> anyhow::Result<()> {
    let ids: Vec<RunId> = comparison.runs.iter().map(|run| run.id).collect();
    ensure!(ids == runs, "{} runs are compared, and should be {}", ids.len(), runs.len());
    ensure!(comparison.groups.len() as u64 == settings.rates, "there are {} groups", comparison.groups.len());
    for metric in METRICS {
        let summaries = comparison.metrics.get(metric).with_context(|| format!("{metric} is missing"))?;
        ensure!(
            summaries.iter().all(|summary| summary.as_ref().is_some_and(|it| it.last_step == settings.points)),
            "{metric} is not whole"
        );
    }
    Ok(())
}

struct Page<'a> {
    http: reqwest::Client,
    target: &'a Target,
}

impl Page<'_> {
    /// Asks for all that the page shows, as its script does: the comparison, then all charts at once.
    async fn open(&self, job: JobId) -> anyhow::Result<[(Bytes, Duration); 4]> {
        let comparison = self.ask(&format!("/v1/compare?job={job}")).await?;
        let chart = async |name: &str, y: &str| self.ask(&format!("/v1/compare/charts/{name}.json?job={job}&metric=loss{y}")).await;
        let (curves, scatter, parallel) = try_join3(chart("curves", "&y=log"), chart("scatter", "&y=log"), chart("parallel", "")).await?;
        Ok([comparison, curves, scatter, parallel])
    }

    async fn ask(&self, address: &str) -> anyhow::Result<(Bytes, Duration)> {
        let request = self.http.get(format!("{}{address}", self.target.url)).bearer_auth(&self.target.admin_token);
        let (body, time) = timed(async { request.send().await?.error_for_status()?.bytes().await }).await;
        Ok((body?, time))
    }
}
