//! How fast a sweep of small runs goes, and whether its runs come to the bits that they come to alone.
//!
//! ```text
//! cargo bench --bench sweep
//! ```
//!
//! starts `trainyard server` and one `trainyard worker` of the release build with a temporary data folder on loopback, submits 1,000 runs
//! (10 rates × 100 seeds, SGD on 100 × 50 numbers, 500 steps each) over HTTP and asks for the job until the last run has succeeded. Then
//! it reads every metric and certificate of every run, submits 20 of the runs alone to a second, empty server, and compares weights,
//! metrics and certificates bit for bit. It wants the machine for itself, and prints the load it found.
//!
//! `SWEEP_THREADS` bounds the worker's threads (all cores), `SWEEP_ROUNDS` (1) repeats it all.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::sweeps::{self, Outcome};
use support::{Process, Yard};
use trainyard_wire::RunId;

const RATES: u64 = 10;
const SEEDS: u64 = 100;
const ALONE: usize = 20;

fn main() {
    // `cargo test --benches` runs it without this argument, to see that it builds.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..number("SWEEP_ROUNDS").unwrap_or(1) {
        runtime.block_on(measure());
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// A server with one worker that waits for work.
async fn yard() -> (Yard, Process) {
    let yard = Yard::server(&[]).await;
    let threads = number("SWEEP_THREADS").map(|threads| threads.to_string());
    let worker = yard.worker_with("worker", threads.as_deref());
    support::eventually("the worker", async || {
        let workers = yard.client.workers().await.unwrap().items;
        (!workers.is_empty()).then_some(())
    })
    .await;
    (yard, worker)
}

async fn measure() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let job = sweeps::job(RATES, SEEDS, 100, 50, 500);
    let (yard, worker) = yard().await;
    let commits = || async { sweeps::commits(&yard).await };
    let before = commits().await;
    let begun = Instant::now();
    let runs = yard.submit_all(&job).await;
    let submitted = begun.elapsed();
    sweeps::until_succeeded(&yard, runs[0], Duration::from_millis(20)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let commits = commits().await - before;
    let [server_cpu, worker_cpu] = [yard.process.pid(), worker.pid()].map(sweeps::cpu_seconds);

    let mut outcomes = Vec::with_capacity(runs.len());
    for id in &runs {
        outcomes.push(sweeps::outcome(&yard, *id).await);
    }
    let points: usize = outcomes.iter().map(|outcome| outcome.points.len()).sum();
    let certificates: usize = outcomes.iter().map(|outcome| outcome.certificates.len()).sum();
    sweeps::assert_complete(&outcomes, 500);
    println!(
        "{} runs in {seconds:.2} s: {:.0} runs/s, {commits} commits, {points} points, {certificates} certificates; submit {:.0} ms; \
         CPU seconds: server {server_cpu:.1}, worker {worker_cpu:.1}; load before: {}",
        runs.len(),
        runs.len() as f64 / seconds,
        submitted.as_secs_f64() * 1e3,
        load.trim(),
    );
    drop(worker);

    let picked: Vec<usize> = (0..ALONE).map(|index| index * runs.len() / ALONE + index % 7).collect();
    let alone = alone(&yard, &runs, &picked).await;
    for (index, alone) in picked.iter().zip(&alone) {
        outcomes[*index].assert_same(alone);
    }
    println!("{ALONE} of the runs, submitted alone, come to the same bits: weights, loss, every metric's value and every certificate");
}

/// What runs come to that are submitted one by one, each when the one before is done.
async fn alone(sweep: &Yard, runs: &[RunId], picked: &[usize]) -> Vec<Outcome> {
    let (yard, _worker) = yard().await;
    let mut outcomes = Vec::with_capacity(picked.len());
    for index in picked {
        let spec: Value = serde_json::to_value(sweep.run(runs[*index]).await.spec).unwrap();
        let id = yard.submit(&json!({ "spec": spec })).await;
        sweeps::until_succeeded(&yard, id, Duration::from_millis(5)).await;
        outcomes.push(sweeps::outcome(&yard, id).await);
    }
    outcomes
}
