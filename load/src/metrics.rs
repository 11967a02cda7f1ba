//! Metrics from many workers, as fast as they are taken or at a pace.

use std::time::{Duration, Instant};

use anyhow::ensure;
use futures::future::try_join_all;
use trainyard_wire::worker::Report as RunReport;

use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::trainer::{Held, Trainer, batch, queue, report, success};
use crate::{Target, chart};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub workers: u64,
    /// Of each worker.
    pub batches: u64,
    pub points: u64,
    /// Different metrics of a batch.
    pub metrics: u64,
    /// Points a second of all workers together; none: each sends its next batch when the one before is acknowledged.
    pub pace: Option<u64>,
}

impl Settings {
    /// When a batch is due after the beginning: each worker's batches lie evenly in time, and the workers' evenly between them.
    fn due(&self, worker: u64, batch: u64) -> Option<Duration> {
        let before = (batch * self.workers + worker) * self.of_a_batch();
        self.pace.map(|pace| Duration::from_secs_f64(before as f64 / pace as f64))
    }

    /// Points of a batch: the same number of each metric.
    fn of_a_batch(&self) -> u64 {
        self.points / self.metrics * self.metrics
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, workers: 20, batches: 100, points: 1000, metrics: 4, pace: None }
    }
}

/// Every worker reports batches of points of its run, one after another. All points are there afterwards.
///
/// At a pace, a batch's time begins when it is due, not when it is sent: what a slow one holds up behind it is slow too, and a server
/// that cannot follow shows it.
///
/// # Errors
/// What the server answers, and where points are missing.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, workers, batches, points, metrics, pace } = settings;
    queue(&target.admin()?, "metrics", workers).await?;
    let trainers = try_join_all((0..workers).map(|_| Trainer::register(target))).await?;
    let mut held = Vec::new();
    for trainer in &trainers {
        held.extend(trainer.claim_all(1).await?);
    }
    let begun = Instant::now();
    let work = async |(index, (trainer, held)): (usize, (&Trainer, &Held))| {
        let mut draws = Draws::new(seed, index as u64);
        let mut times = Times::default();
        for number in 0..batches {
            let each = points / metrics;
            let series = (0..metrics).map(|metric| batch(&format!("metric {metric}"), number * each + 1, each, &mut draws));
            let body = RunReport { metrics: series.collect(), ..report(held.attempt) };
            let due = match settings.due(index as u64, number) {
                Some(due) => begun + due,
                None => Instant::now(),
            };
            tokio::time::sleep_until(due.into()).await;
            trainer.client.report(held.run, &body).await?;
            times.add(due.elapsed());
        }
        anyhow::Ok(times)
    };
    let done = try_join_all(trainers.iter().zip(&held).enumerate().map(work)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut times = Times::default();
    done.into_iter().for_each(|of_worker| times.extend(of_worker));

    let each = points / metrics;
    for (trainer, held) in trainers.iter().zip(&held) {
        let chart = chart::ask(target, held.run, "", 50).await?;
        let counts: Vec<u64> = chart.history.series.iter().map(|series| series.buckets.iter().map(|bucket| bucket.count).sum()).collect();
        ensure!(counts == vec![each * batches; metrics as usize], "run {} has {counts:?} points", held.run);
        trainer.client.report(held.run, &success(held.attempt)).await?;
    }
    let total = workers * batches * settings.of_a_batch();
    let mut report = Report::new("metrics", seed);
    report.tell("workers", workers as f64, "");
    report.tell("points of a batch", settings.of_a_batch() as f64, "");
    if let Some(pace) = pace {
        report.tell("pace", pace as f64, "1/s");
    }
    report.promise("points a second", total as f64 / seconds, "1/s", Bound::AtLeast(100_000.0));
    report.times("batch", &mut times, Some(("p95", 100.0)));
    Ok(report)
}
