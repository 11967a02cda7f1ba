//! Runs that the pages are shown with.

use serde_json::{Value, json};
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::Progress;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report, Reports, RunReport};
use trainyard_wire::{Attempt, Number, RunId, RunState, StopReason};

use crate::support::Yard;

/// Steps of a batch of points.
const BATCH: u64 = 10_000;

/// A run that is told by a worker that is none, and goes on until it is told to end.
pub(crate) struct Going {
    client: Client,
    pub(crate) run: RunId,
    attempt: Attempt,
    /// Of the next point.
    step: u64,
    points: u64,
}

impl Going {
    /// A run of so many noisy points with a spike of 1,000 in the middle and NaN one step after it.
    pub(crate) async fn begin(yard: &Yard, points: u64) -> Self {
        let client = worker(yard);
        let worker_id = client.register(&Register::cpu("pages")).await.unwrap().worker_id;
        let job = json!({"name": "long", "spec": {"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
            "optimizer": {"name": "sgd", "learning_rate": 0.01, "batch_size": 1}, "steps": points, "record": "every"}});
        let run = yard.submit(&job).await;
        let claim = ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 30.0 };
        assert_eq!(client.claim(&claim).await.unwrap().runs[0].run_id, run);
        let mut going = Self { client, run, attempt: Attempt(1), step: 0, points };
        while going.step < points {
            going.report(BATCH.min(points - going.step)).await;
        }
        going
    }

    /// Tells so many points more; answers the step of the last.
    pub(crate) async fn report(&mut self, points: u64) -> u64 {
        let steps: Vec<u64> = (self.step..self.step + points).collect();
        self.step += points;
        let values = steps.iter().map(|step| Number(self.value(*step))).collect();
        let batch = SeriesBatch { name: "loss".to_owned(), times: vec![1_700_000_000_000; steps.len()], values, steps };
        let progress = Progress { step: self.step, total_steps: self.points.max(self.step), epoch: None, eta_seconds: None };
        let report = Report { metrics: vec![batch], progress: Some(progress), ..empty(self.attempt) };
        self.client.report(self.run, &report).await.unwrap();
        self.step - 1
    }

    fn value(&self, step: u64) -> f64 {
        match step {
            step if step == self.points / 2 => 1_000.0,
            step if step == self.points / 2 + 1 => f64::NAN,
            // A curve that falls, with noise that no seed is needed for.
            step => 2.0 / (1.0 + step as f64 / 2_000.0) + 0.2 + 0.15 * ((step * 2_654_435_761) % 1_000) as f64 / 1_000.0,
        }
    }

    pub(crate) async fn end(self) -> RunId {
        self.client.report(self.run, &Report { finish: succeeded(), ..empty(self.attempt) }).await.unwrap();
        self.run
    }
}

/// A run of so many points that has ended.
pub(crate) async fn long_run(yard: &Yard, points: u64) -> RunId {
    Going::begin(yard, points).await.end().await
}

fn worker(yard: &Yard) -> Client {
    let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap();
    Client::new(&yard.url, Some(token.trim().to_owned())).unwrap()
}

fn succeeded() -> Option<Finish> {
    let result = Some(json!({"loss": 0.2}));
    Some(Finish { outcome: Outcome::Succeeded, stop_reason: Some(StopReason::Completed), error: None, result })
}

/// A sweep over learning rates and seeds that has ended, each run with six metrics of so many points; answers its job. Nothing else may be
/// queued.
pub(crate) async fn told_sweep(yard: &Yard, (rates, seeds): (u64, u64), points: u64) -> i64 {
    const METRICS: [&str; 6] = ["loss", "gradient_norm", "residual_norm", "null_space_norm", "weight_norm", "distance_to_minimum_norm"];
    let mut job = seeded_sweep(&(1..=rates).map(|rate| rate as f64 / 1000.0).collect::<Vec<_>>());
    job["sweep"]["seed"] = json!((0..seeds).collect::<Vec<_>>());
    let accepted = yard.client.submit(serde_json::to_vec(&job).unwrap(), None).await.unwrap();
    let client = worker(yard);
    let worker_id = client.register(&Register::cpu("sweep")).await.unwrap().worker_id;
    let mut left = accepted.run_ids.len();
    while left > 0 {
        let claim = ClaimRequest { worker_id, max: 64, small: false, wait_seconds: 0.0 };
        let claimed = client.claim(&claim).await.unwrap().runs;
        assert!(!claimed.is_empty(), "{left} runs are not queued");
        left -= claimed.len();
        let reports = claimed.iter().map(|claimed| {
            let batch = |name: &str| SeriesBatch {
                name: name.to_owned(),
                steps: (1..=points).collect(),
                // Each run's own.
                values: (1..=points).map(|step| Number(((claimed.run_id.0 * 7919 % 101) as f64 + 100.0) / (10.0 + step as f64))).collect(),
                times: vec![1_700_000_000_000; usize::try_from(points).unwrap()],
            };
            let metrics = METRICS.iter().map(|name| batch(name)).collect();
            RunReport { run_id: claimed.run_id, report: Report { metrics, finish: succeeded(), ..empty(claimed.attempt) } }
        });
        let answers = client.report_all(&Reports { reports: reports.collect() }).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
    accepted.id.0
}

/// So many runs that wait, in sweeps of a thousand.
pub(crate) async fn waiting(yard: &Yard, runs: u64) {
    for first in (0..runs).step_by(1000) {
        let mut job = crate::support::jobs::quick();
        (job["name"], job["tags"]) = (json!(format!("sweep {first}")), json!({"first": first.to_string()}));
        job["sweep"] = json!({"seed": (first..runs.min(first + 1000)).collect::<Vec<_>>()});
        yard.submit_all(&job).await;
    }
}

fn empty(attempt: Attempt) -> Report {
    Report { attempt, metrics: Vec::new(), progress: None, logs: Vec::new(), certificates: Vec::new(), left_out: Vec::new(), finish: None }
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
