//! Claims from a long queue.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;

use crate::Target;
use crate::report::{Report, Times};
use crate::trainer::{Trainer, queue, success, timed};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    /// Runs that are queued during the last claim.
    pub queued: u64,
    pub claims: u64,
    pub workers: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, queued: 10_000, claims: 2000, workers: 8 }
    }
}

/// Claims runs one at a time, and ends each: no run is given out twice, and they come in the order of the queue.
///
/// # Errors
/// What the server answers, and where the queue gives the wrong runs.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, queued, claims, workers } = settings;
    let each = claims / workers.max(1);
    let claims = each * workers.max(1);
    let runs = queue(&target.admin()?, "claims", queued + claims).await?;
    let begun = Instant::now();
    let worker = async |_: u64| {
        let trainer = Trainer::register(target).await?;
        let (mut times, mut taken) = (Times::default(), Vec::new());
        for _ in 0..each {
            let (held, time) = timed(trainer.claim(Duration::ZERO)).await;
            let held = held?.context("the queue is empty too early")?;
            times.add(time);
            trainer.client.report(held.run, &success(held.attempt)).await?;
            taken.push(held.run);
        }
        anyhow::Ok((times, taken))
    };
    let done = try_join_all((0..workers.max(1)).map(worker)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut times = Times::default();
    let mut taken = HashSet::new();
    for (of_worker, runs) in done {
        times.extend(of_worker);
        ensure!(runs.is_sorted(), "a worker was given an older run after a younger one");
        taken.extend(runs);
    }
    ensure!(taken.len() as u64 == claims, "{claims} claims gave {} different runs", taken.len());
    ensure!(runs[..claims as usize].iter().all(|run| taken.contains(run)), "the claims gave other runs than the oldest");

    let mut report = Report::new("claims", seed);
    report.tell("workers", workers as f64, "");
    report.tell("queued at the end", queued as f64, "runs");
    report.times("claim", &mut times, Some(("p99", 20.0)));
    report.tell("claims with a finish a second", claims as f64 / seconds, "1/s");
    Ok(report)
}
