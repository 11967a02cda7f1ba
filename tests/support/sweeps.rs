//! Sweeps of small regressions, and what their runs come to, to the bit.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use trainyard_wire::run::Certificate;
use trainyard_wire::{JobId, RunId, RunState, StopReason};

use super::{PATIENCE, Yard};

/// SGD on one problem of n × d numbers, over learning rates and seeds.
pub fn job(rates: u64, seeds: u64, n: u64, d: u64, steps: u64) -> Value {
    json!({
        "name": "sweep",
        "spec": {
            "kind": "regression",
            "problem": {"source": "synthetic", "n": n, "d": d, "condition": 20, "noise": 0.1, "seed": 0},
            "optimizer": {"name": "sgd", "learning_rate": 0.01, "batch_size": 10},
            "steps": steps,
        },
        "sweep": {
            "optimizer.learning_rate": (1..=rates).map(|rate| rate as f64 * 0.01).collect::<Vec<_>>(),
            "seed": (0..seeds).collect::<Vec<_>>(),
        },
    })
}

/// All that a run came to which does not tell when.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub stop_reason: Option<StopReason>,
    /// The weights, the loss and the steps.
    pub result: Value,
    /// Name, step and bits of the value, by name and step.
    pub points: Vec<(String, u64, u64)>,
    pub certificates: Vec<Certificate>,
}

impl Outcome {
    /// Panics unless both came to the same bits.
    pub fn assert_same(&self, other: &Self) {
        assert_eq!(self.stop_reason, other.stop_reason);
        // As text, which has every bit of a number, the sign of a zero too.
        let [one, two] = [&self.result, &other.result].map(Value::to_string);
        assert_eq!(one, two);
        assert_eq!(self.points.len(), other.points.len());
        for (one, other) in self.points.iter().zip(&other.points) {
            assert_eq!(one, other);
        }
        let bits = |certificates: &[Certificate]| -> Vec<_> {
            let numbers =
                |certificate: &Certificate| [certificate.predicted, certificate.measured, certificate.tolerance].map(|n| n.0.to_bits());
            certificates.iter().map(|certificate| (certificate.claim.clone(), certificate.holds, numbers(certificate))).collect()
        };
        assert_eq!(bits(&self.certificates), bits(&other.certificates));
    }
}

/// What a run that succeeded came to.
pub async fn outcome(yard: &Yard, id: RunId) -> Outcome {
    let run = yard.run(id).await;
    assert_eq!(run.state, RunState::Succeeded, "run {id}: {:?}", run.error);
    let history = yard.client.metrics(id, None).await.unwrap();
    let series = history.series.into_iter().flat_map(|series| {
        let name = series.name;
        series.points.into_iter().map(move |point| (name.clone(), point.step, point.value.0.to_bits()))
    });
    Outcome {
        stop_reason: run.stop_reason,
        result: run.result.unwrap(),
        points: series.collect(),
        certificates: yard.client.certificates(id).await.unwrap().certificates,
    }
}

/// Panics unless every run has the usual metrics at every recorded step, its certificates and its weights.
pub fn assert_complete(outcomes: &[Outcome], steps: u64) {
    let recorded = trainyard_theory::log_schedule::LogSchedule::new(steps).steps().collect::<Vec<_>>();
    let names = ["distance_to_minimum_norm", "gradient_norm", "loss", "null_space_norm", "residual_norm", "weight_norm"];
    for outcome in outcomes {
        for name in names {
            let steps = outcome.points.iter().filter(|(other, ..)| other == name).map(|(_, step, _)| *step);
            assert!(steps.eq(recorded.iter().copied()), "{name} is not at every recorded step");
        }
        assert!(!outcome.certificates.is_empty());
        assert_eq!(outcome.result["steps"], json!(steps));
        assert!(outcome.result["weights"].as_array().is_some_and(|weights| !weights.is_empty()));
    }
}

/// Asks for the job of a run until all its runs have succeeded.
pub async fn until_succeeded(yard: &Yard, id: RunId, every: Duration) {
    let job: JobId = yard.run(id).await.job_id;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = yard.client.job(job).await.unwrap();
        let count = |state| job.states.get(&state).copied().unwrap_or(0);
        assert_eq!(count(RunState::Failed) + count(RunState::Cancelled), 0, "{:?}", job.states);
        if count(RunState::Succeeded) == job.run_count {
            return;
        }
        assert!(Instant::now() < deadline, "waited {} s for {:?}", PATIENCE.as_secs(), job.states);
        tokio::time::sleep(every).await;
    }
}

/// Commits of the server's store so far.
pub async fn commits(yard: &Yard) -> u64 {
    let text = yard.request(reqwest::Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("trainyard_commit_seconds_count "));
    line.unwrap_or_else(|| panic!("no commits in {text}")).trim().parse().unwrap()
}

/// The CPU time that a process has taken so far.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
    // utime and stime, the 14th and 15th field, in ticks of 10 ms.
    [11, 12].iter().filter_map(|index| fields.get(*index)?.parse::<f64>().ok()).sum::<f64>() / 100.0
}
