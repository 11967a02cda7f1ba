//! Durable submits from many clients at once.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::ensure;
use futures::future::try_join_all;
use trainyard_wire::JobId;

use crate::report::{Bound, Report, Times};
use crate::trainer::{job, timed};
use crate::{Target, seeds::Draws};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub submits: u64,
    pub clients: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, submits: 10_000, clients: 32 }
    }
}

/// Submits jobs, each under a key of its own; all of them are there afterwards, each once.
///
/// # Errors
/// What the server answers, and where a job is missing or there twice.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, submits, clients } = settings;
    let next = Arc::new(AtomicU64::new(0));
    let before = queued(target).await?;
    let begun = Instant::now();
    let client = |index: u64| {
        let next = Arc::clone(&next);
        let mut draws = Draws::new(seed, index);
        async move {
            let client = target.admin()?;
            let (mut times, mut ids) = (Times::default(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= submits {
                    return anyhow::Ok((times, ids));
                }
                let body = serde_json::to_vec(&job(&format!("submit {number}")))?;
                let key = format!("{seed}-{number}-{:x}", draws.draw());
                let (accepted, time) = timed(client.submit(body, Some(&key))).await;
                times.add(time);
                ids.push(accepted?.id);
            }
        }
    };
    let done = try_join_all((0..clients).map(client)).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut times = Times::default();
    let mut ids: HashSet<JobId> = HashSet::new();
    for (of_client, accepted) in done {
        times.extend(of_client);
        ids.extend(accepted);
    }
    ensure!(ids.len() as u64 == submits, "{submits} submits were answered with {} different jobs", ids.len());
    let made = queued(target).await? - before;
    ensure!(made == submits, "{submits} submits made {made} runs");

    let mut report = Report::new("submits", seed);
    report.tell("clients", clients as f64, "");
    report.promise(format!("{submits} durable submits"), seconds, "s", Bound::AtMost(20.0));
    report.tell("submits a second", submits as f64 / seconds, "1/s");
    report.times("submit", &mut times, None);
    Ok(report)
}

async fn queued(target: &Target) -> anyhow::Result<u64> {
    Ok(target.figure("trainyard_runs{state=\"queued\"}").await?.unwrap_or(0.0) as u64)
}
