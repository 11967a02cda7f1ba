//! The chart of a long run.

use std::time::Duration;

use anyhow::ensure;
use trainyard_wire::RunId;
use trainyard_wire::metric::BucketHistory;
use trainyard_wire::worker::Report as RunReport;

use crate::Target;
use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::target::http;
use crate::trainer::{Trainer, batch, queue, report, success, timed};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub points: u64,
    pub buckets: u32,
    /// How often the chart is asked for.
    pub asked: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, points: 1_000_000, buckets: 1000, asked: 50 }
    }
}

/// A chart as it came.
#[derive(Debug)]
pub struct Chart {
    pub history: BucketHistory,
    pub bytes: usize,
    pub time: Duration,
}

/// Asks for the buckets of a run's metrics; `parameters` are added to the query.
///
/// # Errors
/// What the server answers.
pub async fn ask(target: &Target, run: RunId, parameters: &str, buckets: u32) -> anyhow::Result<Chart> {
    ask_with(&http(), target, run, parameters, buckets).await
}

async fn ask_with(http: &reqwest::Client, target: &Target, run: RunId, parameters: &str, buckets: u32) -> anyhow::Result<Chart> {
    let url = format!("{}/v1/runs/{run}/metrics?buckets={buckets}{parameters}", target.url);
    let call = async { http.get(url).bearer_auth(&target.admin_token).send().await?.error_for_status()?.bytes().await };
    let (body, time) = timed(call).await;
    let body = body?;
    Ok(Chart { history: serde_json::from_slice(&body)?, bytes: body.len(), time })
}

/// Stores a run with many points of one metric and asks for its chart, whole and a part: each point is in one bucket.
///
/// # Errors
/// What the server answers, and where the buckets do not add up.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    const BATCH: u64 = 10_000;
    let Settings { seed, points, buckets, asked } = settings;
    queue(&target.admin()?, "chart", 1).await?;
    let trainer = Trainer::register(target).await?;
    let held = trainer.claim_all(1).await?[0];
    let mut draws = Draws::new(seed, 0);
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    let mut first = 1;
    while first <= points {
        let batch = batch("loss", first, BATCH.min(points - first + 1), &mut draws);
        for value in &batch.values {
            (least, most) = (least.min(value.0), most.max(value.0));
        }
        first += batch.steps.len() as u64;
        trainer.client.report(held.run, &RunReport { metrics: vec![batch], ..report(held.attempt) }).await?;
    }
    trainer.client.report(held.run, &success(held.attempt)).await?;

    let http = http();
    let (mut whole, mut part, mut bytes) = (Times::default(), Times::default(), 0);
    for _ in 0..asked {
        let chart = ask_with(&http, target, held.run, "&names=loss", buckets).await?;
        let series = &chart.history.series[0].buckets;
        ensure!(series.len() <= buckets as usize, "{} buckets were answered to a question for {buckets}", series.len());
        ensure!(series.iter().map(|bucket| bucket.count).sum::<u64>() == points, "the buckets do not hold each point once");
        let extremes = series
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), bucket| (least.min(bucket.min.0), most.max(bucket.max.0)));
        ensure!(extremes == (least, most), "the extremes are {extremes:?} and not {:?}", (least, most));
        whole.add(chart.time);
        bytes = chart.bytes.max(bytes);

        let from = 1 + draws.below(points / 2);
        let to = from + draws.below(points / 2);
        let chart = ask_with(&http, target, held.run, &format!("&names=loss&from={from}&to={to}"), buckets).await?;
        let counted: u64 = chart.history.series[0].buckets.iter().map(|bucket| bucket.count).sum();
        ensure!(counted == to - from + 1, "the buckets of {from} to {to} hold {counted} points");
        part.add(chart.time);
        bytes = chart.bytes.max(bytes);
    }
    let mut report = Report::new("chart", seed);
    report.tell("points", points as f64, "");
    report.tell("buckets", f64::from(buckets), "");
    report.times("whole chart", &mut whole, Some(("p95", 100.0)));
    report.times("part of it", &mut part, Some(("p95", 100.0)));
    report.promise("largest answer", bytes as f64 / 1e3, "kB", Bound::AtMost(200.0));
    Ok(report)
}
