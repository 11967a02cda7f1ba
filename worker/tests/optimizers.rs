//! The first 20 steps of every optimizer, through the trainer, against an independent implementation in NumPy: `optimizers/reference.py`
//! stands beside the numbers that it wrote, `optimizers/reference.json`.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use candle_core::Device;
use serde::Deserialize;
use serde_json::{Value, json};
use trainyard_theory::random::permutation;
use trainyard_wire::Spec;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, Progress};
use trainyard_worker::trainers::checkpoint::CheckpointReader;
use trainyard_worker::trainers::{Artifact, Assignment, Ended, Session, Stop, Workshop, train};

const REFERENCE: &str = include_str!("optimizers/reference.json");

#[derive(Deserialize)]
struct Reference {
    x: Vec<Vec<f64>>,
    t: Vec<f64>,
    initial_weights: Vec<f64>,
    steps: u64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// As in a spec.
    optimizer: Value,
    l2: f64,
    seed: u64,
    /// The examples of each step, where it is not all of them.
    #[serde(default)]
    batches: Vec<Vec<usize>>,
    /// After 0, 1, … steps.
    weights: Vec<Vec<f64>>,
}

fn reference() -> Reference {
    serde_json::from_str(REFERENCE).unwrap()
}

/// Stops a run before update `stop_at` and keeps the checkpoint.
struct StopAt {
    stop_at: u64,
    asked: Cell<u64>,
    checkpoint: RefCell<Option<Bytes>>,
}

impl Session for StopAt {
    fn metric(&self, _: &'static str, _: u64, _: f64) {}
    fn progress(&self, _: Progress) {}
    fn log(&self, _: LogLevel, _: String) {}
    fn certificates(&self, _: Vec<Certificate>) {}
    fn left_out(&self, _: Vec<LeftOut>) {}
    fn save_artifact(&self, _: Artifact) {}

    fn save_checkpoint(&self, _: u64, bytes: Bytes) {
        self.checkpoint.replace(Some(bytes));
    }

    fn stop(&self) -> Option<Stop> {
        let asked = self.asked.replace(self.asked.get() + 1);
        (asked == self.stop_at).then_some(Stop::Release)
    }
}

/// The weights that the trainer has after `step` of all the steps.
fn trained(reference: &Reference, case: &Case, step: u64) -> Vec<f64> {
    let spec = json!({"kind": "regression", "problem": {"source": "inline", "x": reference.x, "t": reference.t},
        "initial_weights": reference.initial_weights, "optimizer": case.optimizer, "l2": case.l2, "steps": reference.steps, "seed": case.seed});
    let assignment = Assignment { spec: Spec::from_value(spec, "").unwrap(), dataset: None, checkpoint: None, picture: None };
    let session = StopAt { stop_at: step, asked: Cell::new(0), checkpoint: RefCell::new(None) };
    match train(&assignment, &Workshop::new(Device::Cpu), &session).unwrap() {
        Ended::Stopped(Stop::Release) => {
            let bytes = session.checkpoint.take().unwrap();
            CheckpointReader::new(&bytes).unwrap().vector("weights", reference.initial_weights.len()).unwrap()
        }
        Ended::Succeeded { result, .. } => {
            assert_eq!(step, reference.steps);
            serde_json::from_value(result["weights"].clone()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_twenty_steps_of_every_optimizer_agree_with_numpy() {
    let reference = reference();
    for case in &reference.cases {
        assert_eq!(case.weights.len() as u64, reference.steps + 1);
        let mut largest: f64 = 0.0;
        for (step, expected) in (0..).zip(&case.weights) {
            let found = trained(&reference, case, step);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                let difference = (found - expected).abs();
                assert!(difference <= 1e-12, "{} at step {step}: {found} instead of {expected}", case.optimizer);
                largest = largest.max(difference);
            }
        }
        println!("{:.1e} {} l2 {}", largest, case.optimizer, case.l2);
    }
}

#[test]
fn the_reference_has_every_optimizer_with_penalty_decay_batches_and_schedules() {
    let cases = reference().cases;
    for name in ["gd", "sgd", "momentum", "rmsprop", "adam", "adamw"] {
        let of_name: Vec<&Case> = cases.iter().filter(|case| case.optimizer["name"] == name).collect();
        let any = |holds: fn(&Case) -> bool| of_name.iter().any(|case| holds(case));
        assert!(any(|case| case.l2 > 0.0) && any(|case| case.optimizer.get("schedule").is_some()), "{name}");
        assert!(any(|case| case.optimizer["weight_decay"].as_f64() > Some(0.0)) || name == "adam", "{name}");
        assert!(any(|case| !case.batches.is_empty()) || name == "gd", "{name}");
    }
}

#[test]
fn the_script_and_the_trainer_draw_the_same_batches() {
    let reference = reference();
    for case in reference.cases.iter().filter(|case| !case.batches.is_empty()) {
        let size = case.optimizer["batch_size"].as_u64().unwrap() as usize;
        let epochs = (0..).map(|epoch| permutation(case.seed, epoch, reference.t.len()));
        let drawn = epochs.flat_map(|order| order.chunks(size).map(<[usize]>::to_vec).collect::<Vec<_>>());
        assert!(drawn.take(case.batches.len()).eq(case.batches.iter().cloned()), "{}", case.optimizer);
    }
}
