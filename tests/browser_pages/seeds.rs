//! Runs that the pages are shown with.

use serde_json::{Value, json};
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::Progress;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report};
use trainyard_wire::{Attempt, Number, RunId, RunState, StopReason};

use crate::support::Yard;

/// Steps of a batch of points.
const BATCH: u64 = 10_000;

/// A run of so many noisy points with a spike of 1,000 in the middle and NaN one step after it, told by a worker that is none.
pub(crate) async fn long_run(yard: &Yard, points: u64) -> RunId {
    let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap();
    let client = Client::new(&yard.url, Some(token.trim().to_owned())).unwrap();
    let worker_id = client.register(&Register::cpu("pages")).await.unwrap().worker_id;
    let job = json!({"name": "long", "spec": {"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
        "optimizer": {"name": "sgd", "learning_rate": 0.01, "batch_size": 1}, "steps": points, "record": "every"}});
    let run = yard.submit(&job).await;
    let claim = ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 30.0 };
    assert_eq!(client.claim(&claim).await.unwrap().runs[0].run_id, run);
    let value = |step: u64| match step {
        step if step == points / 2 => 1_000.0,
        step if step == points / 2 + 1 => f64::NAN,
        // A curve that falls, with noise that no seed is needed for.
        step => 2.0 / (1.0 + step as f64 / 2_000.0) + 0.2 + 0.15 * ((step * 2_654_435_761) % 1_000) as f64 / 1_000.0,
    };
    let mut first = 0;
    while first < points {
        let steps: Vec<u64> = (first..points.min(first + BATCH)).collect();
        first += steps.len() as u64;
        let values = steps.iter().map(|step| Number(value(*step))).collect();
        let batch = SeriesBatch { name: "loss".to_owned(), times: vec![1_700_000_000_000; steps.len()], values, steps };
        let progress = Progress { step: first, total_steps: points, epoch: None, eta_seconds: None };
        client.report(run, &Report { metrics: vec![batch], progress: Some(progress), ..empty() }).await.unwrap();
    }
    let finish =
        Finish { outcome: Outcome::Succeeded, stop_reason: Some(StopReason::Completed), error: None, result: Some(json!({"loss": 0.2})) };
    client.report(run, &Report { finish: Some(finish), ..empty() }).await.unwrap();
    run
}

fn empty() -> Report {
    Report {
        attempt: Attempt(1),
        metrics: Vec::new(),
        progress: None,
        logs: Vec::new(),
        certificates: Vec::new(),
        left_out: Vec::new(),
        finish: None,
    }
}

/// Submits a job and waits until all of its runs have succeeded; answers job and runs.
pub(crate) async fn done(yard: &Yard, job: &Value) -> (i64, Vec<RunId>) {
    let accepted = yard.client.submit(serde_json::to_vec(job).unwrap(), None).await.unwrap();
    for run in &accepted.run_ids {
        yard.until(*run, RunState::Succeeded).await;
    }
    (accepted.id.0, accepted.run_ids)
}

/// Two rates and three seeds each, on mini-batches, so that seeds matter.
pub(crate) fn seeded_sweep(rates: &[f64]) -> Value {
    json!({"name": "rates", "tags": {"topic": "seeds"},
        "spec": {"kind": "regression", "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1},
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "batch_size": 5}, "steps": 400},
        "sweep": {"optimizer.learning_rate": rates, "seed": [0, 1, 2]}})
}

/// Two networks with pictures of every epoch.
pub(crate) fn networks(names: &[&str], epochs: u64) -> Value {
    let mut job = crate::support::jobs::colourization(epochs);
    job["name"] = json!("networks");
    job["spec"]["sample_every"] = json!(1);
    job["sweep"] = json!({"network.name": names});
    job
}
