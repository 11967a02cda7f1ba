//! Fills a server through its API, as years of use would: finished jobs with metrics.

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report, Reports, RunReport};
use trainyard_wire::{Number, RunId};

use crate::load::{job, value};

/// Requests at one time.
const AT_ONCE: usize = 16;
/// Reports of one request.
const REPORTS: usize = 64;

/// Stores `jobs` jobs of one run each, and `points` metric points spread over them.
///
/// # Errors
/// Where the server does not take them.
pub async fn fill(client: &Client, jobs: usize, points: usize) -> anyhow::Result<()> {
    let submits = stream::iter(0..jobs).map(|number| async move {
        let name = format!("filled-{number}");
        client.submit(job(&name, 1, 0).to_string().into_bytes(), Some(&name)).await
    });
    submits.buffer_unordered(AT_ONCE).try_for_each(async |_| Ok(())).await.context("cannot fill the server with jobs")?;

    let register = Register::cpu("filler");
    let worker_id = client.register(&register).await?.worker_id;
    let (each, mut rest) = (points / jobs.max(1), points % jobs.max(1));
    loop {
        let claim = ClaimRequest { worker_id, max: REPORTS as u32, small: false, wait_seconds: 0.0 };
        let runs = client.claim(&claim).await?.runs;
        if runs.is_empty() {
            return Ok(());
        }
        let report = |run: &trainyard_wire::worker::ClaimedRun| {
            let more = rest.min(1);
            rest -= more;
            RunReport { run_id: run.run_id, report: whole(run.run_id, run.attempt, (each + more) as u64) }
        };
        let reports = Reports { reports: runs.iter().map(report).collect() };
        for outcome in client.report_all(&reports).await? {
            if let Err(error) = outcome {
                bail!("a report was refused: {error}");
            }
        }
    }
}

/// All that a run has to tell, in one report.
fn whole(run: RunId, attempt: trainyard_wire::Attempt, points: u64) -> Report {
    let steps: Vec<u64> = (0..points).collect();
    let series = SeriesBatch {
        name: "loss".to_owned(),
        values: steps.iter().map(|step| Number(value(run, "loss", *step))).collect(),
        times: steps.iter().map(|step| 1_700_000_000_000 + *step as i64).collect(),
        steps,
    };
    let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result: None };
    Report {
        attempt,
        metrics: vec![series],
        progress: None,
        logs: Vec::new(),
        certificates: Vec::new(),
        left_out: Vec::new(),
        finish: Some(finish),
    }
}
