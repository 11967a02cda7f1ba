use serde_json::{Value, json};
use trainyard_wire::{Spec, StopReason};

use super::super::memory::MemorySession;
use super::super::{Assignment, Ended, Stop, TrainError, Workshop, train};

fn workshop() -> Workshop {
    Workshop::new(candle_core::Device::Cpu)
}

fn assignment(kind: &str, mut spec: Value) -> Assignment {
    spec["kind"] = json!(kind);
    Assignment { spec: Spec::from_value(spec, "").unwrap(), dataset: None, checkpoint: None, picture: None }
}

/// Trains to the end and returns the result.
fn result(kind: &str, spec: Value, session: &MemorySession) -> Value {
    match train(&assignment(kind, spec), &workshop(), session).unwrap() {
        Ended::Succeeded { stop_reason: StopReason::Completed, result } => result,
        other => panic!("{other:?}"),
    }
}

fn weights(result: &Value, name: &str) -> Vec<f64> {
    serde_json::from_value(result[name].clone()).unwrap()
}

/// 200 steps on 30 × 8 numbers from weights that are not 0.
fn pair(optimizer: Value) -> Value {
    json!({"problem": {"source": "synthetic", "n": 30, "d": 8, "condition": 20, "noise": 0.1}, "initial_weights": "normal",
        "optimizer": optimizer, "l2": 0.05, "steps": 200, "seed": 4})
}

fn optimizers() -> [Value; 10] {
    [
        json!({"name": "gd", "learning_rate": 0.2}),
        json!({"name": "gd", "learning_rate": 0.2, "schedule": "cosine"}),
        json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 7}),
        json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 7, "schedule": "linear"}),
        json!({"name": "momentum", "learning_rate": 0.05}),
        json!({"name": "momentum", "learning_rate": 0.05, "batch_size": 10, "schedule": "linear"}),
        json!({"name": "rmsprop", "learning_rate": 0.01}),
        json!({"name": "rmsprop", "learning_rate": 0.01, "schedule": "cosine"}),
        json!({"name": "adam", "learning_rate": 0.05}),
        json!({"name": "adam", "learning_rate": 0.05, "batch_size": 10, "schedule": "cosine"}),
    ]
}

#[test]
fn penalty_and_decay_are_one_method_for_gradient_descent_at_every_step_and_two_for_all_others() {
    for start in ["normal", "zeros"] {
        for optimizer in optimizers() {
            let session = MemorySession::default();
            let mut spec = pair(optimizer.clone());
            spec["initial_weights"] = json!(start);
            let result = result("regularization_pair", spec, &session);
            let distances = session.series("weight_distance");
            assert!(distances.iter().map(|(step, _)| *step).eq(0..=200), "every step is recorded");
            let largest = distances.iter().map(|(_, distance)| *distance).fold(0.0, f64::max);
            if ["gd", "sgd"].contains(&optimizer["name"].as_str().unwrap()) {
                assert!(largest <= 1e-12, "{optimizer}: {largest}");
            } else {
                assert!(largest > 1e-4, "{optimizer}: {largest}");
            }
            assert_eq!(result["largest_weight_distance"], largest);
            assert_eq!(result["weight_distance"], distances[200].1);
            let certificates = session.certificates.borrow();
            assert_eq!(certificates.len(), if optimizer["name"] == "momentum" { 2 } else { 1 });
            assert!(certificates.iter().all(|certificate| certificate.holds), "{certificates:?}");
        }
    }
}

#[test]
fn the_twins_are_the_regressions_with_a_penalty_and_with_the_matched_decay() {
    for optimizer in optimizers() {
        let both = result("regularization_pair", pair(optimizer.clone()), &MemorySession::default());
        let penalty = result("regression", pair(optimizer.clone()), &MemorySession::default());
        assert_eq!(both["weights_l2"], penalty["weights"], "{optimizer}");
        let (mut decayed, name) = (optimizer.clone(), optimizer["name"].as_str().unwrap());
        if name == "adam" {
            // PyTorch's decay is scaled by the rate, as the pair's is, whatever the schedule.
            (decayed["name"], decayed["weight_decay"]) = (json!("adamw"), json!(2.0 * 0.05));
        } else if optimizer.get("schedule").is_none() {
            decayed["weight_decay"] = json!(2.0 * optimizer["learning_rate"].as_f64().unwrap() * 0.05);
        } else {
            continue;
        }
        let mut spec = pair(decayed);
        spec["l2"] = json!(0);
        let decay = result("regression", spec, &MemorySession::default());
        assert_eq!(both["weights_decay"], decay["weights"], "{optimizer}");
    }
}

#[test]
fn a_decay_that_stays_at_the_full_rate_would_part_the_twins_under_a_schedule() {
    let spec = pair(json!({"name": "gd", "learning_rate": 0.2, "schedule": "linear"}));
    let both = result("regularization_pair", spec.clone(), &MemorySession::default());
    let mut fixed = spec;
    (fixed["l2"], fixed["optimizer"]["weight_decay"]) = (json!(0), json!(2.0 * 0.2 * 0.05));
    let fixed = result("regression", fixed, &MemorySession::default());
    let distance = trainyard_theory::regression::vector::distance(&weights(&both, "weights_l2"), &weights(&fixed, "weights"));
    assert!(distance > 1e-4, "{distance}");
}

#[test]
fn the_losses_are_the_penalized_one_at_both_weights() {
    let session = MemorySession::default();
    let spec = json!({"problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "initial_weights": [1, 1], "record": "logarithmic",
        "optimizer": {"name": "momentum", "learning_rate": 0.05}, "l2": 0.5, "steps": 2});
    let result = result("regularization_pair", spec, &session);
    // At w₀ = (1, 1): the residual is 1, ‖w‖² = 2.
    assert_eq!((session.series("loss_l2")[0], session.series("loss_decay")[0]), ((0, 2.0), (0, 2.0)));
    // The first step is one and the same: w₁ = w₀ − 0.05·(2(2, 1) + (1, 1)); the second parts by 2ηλ̃β‖w₀‖.
    let distances = session.series("weight_distance");
    assert_eq!(distances[0], (0, 0.0));
    assert!(distances[1].1 < 1e-15);
    assert!((distances[2].1 - 2.0 * 0.05 * 0.5 * 0.9 * 2f64.sqrt()).abs() < 1e-15);
    let loss = |weights: &[f64]| (2.0 * weights[0] + weights[1] - 2.0).powi(2) + 0.5 * (weights[0].powi(2) + weights[1].powi(2));
    for (name, weights_name) in [("loss_l2", "weights_l2"), ("loss_decay", "weights_decay")] {
        assert!((result[name].as_f64().unwrap() - loss(&weights(&result, weights_name))).abs() < 1e-15);
    }
}

#[test]
fn a_pair_stopped_anywhere_goes_on_to_the_same_bits_with_every_optimizer() {
    for optimizer in optimizers() {
        let mut spec = pair(optimizer.clone());
        spec["steps"] = json!(40);
        let whole = MemorySession::default();
        let undisturbed = result("regularization_pair", spec.clone(), &whole);
        for stop_at in 0..40 {
            let stop = if stop_at % 2 == 0 { Stop::Release } else { Stop::Pause };
            let first = MemorySession::stopping_at(stop_at, stop);
            assert_eq!(train(&assignment("regularization_pair", spec.clone()), &workshop(), &first).unwrap(), Ended::Stopped(stop));
            let mut rest = assignment("regularization_pair", spec.clone());
            rest.checkpoint = first.last_checkpoint();
            let second = MemorySession::default();
            let Ended::Succeeded { result, .. } = train(&rest, &workshop(), &second).unwrap() else { panic!() };
            assert_eq!(result, undisturbed, "{optimizer} stopped at {stop_at}");
            let mut metrics = first.metrics.borrow().clone();
            for (name, points) in second.metrics.borrow().iter() {
                metrics.entry(name).or_default().extend(points);
            }
            assert_eq!(metrics, *whole.metrics.borrow());
            assert_eq!(*second.certificates.borrow(), *whole.certificates.borrow());
        }
    }
}

#[test]
fn a_pair_that_runs_away_ends_and_keeps_its_metrics() {
    for optimizer in [json!({"name": "gd", "learning_rate": 3.0}), json!({"name": "sgd", "learning_rate": 3.0, "batch_size": 7})] {
        let session = MemorySession::default();
        let mut spec = pair(optimizer);
        (spec["record"], spec["steps"]) = (json!("logarithmic"), json!(10_000_000u64));
        let ended = train(&assignment("regularization_pair", spec), &workshop(), &session).unwrap();
        let Ended::Diverged { error } = ended else { panic!("{ended:?}") };
        assert!(error.contains("over 10⁸ times the first"), "{error}");
        let losses = session.series("loss_l2");
        assert!(losses.last().unwrap().1 > 1e8 * losses[0].1);
        assert_eq!(losses.len(), session.series("weight_distance").len());
        assert!(session.certificates.borrow().is_empty());
    }
}

#[test]
fn a_cancelled_pair_leaves_no_checkpoint_and_a_slow_one_makes_them_by_time() {
    let spec = pair(json!({"name": "gd", "learning_rate": 0.2}));
    let session = MemorySession::stopping_at(10, Stop::Cancel);
    assert_eq!(train(&assignment("regularization_pair", spec.clone()), &workshop(), &session).unwrap(), Ended::Stopped(Stop::Cancel));
    assert!(session.checkpoints.borrow().is_empty());
    let session = MemorySession::default();
    let mut workshop = workshop();
    workshop.regression_checkpoint = std::time::Duration::ZERO;
    train(&assignment("regularization_pair", spec), &workshop, &session).unwrap();
    // The clock is read once in 18 steps of a problem of 240 numbers.
    assert_eq!(session.checkpoints.borrow().iter().map(|(step, _)| *step).take(3).collect::<Vec<_>>(), [18, 36, 54]);
    assert_eq!(session.progress.borrow().last().unwrap().step, 200);
}

#[test]
fn many_weights_of_both_go_into_a_file() {
    let session = MemorySession::default();
    let spec = json!({"problem": {"source": "synthetic", "n": 2, "d": 10_001, "condition": 2},
        "optimizer": {"name": "gd", "learning_rate": 0.5}, "l2": 0.1, "steps": 1});
    let result = result("regularization_pair", spec, &session);
    assert_eq!(result["weights_artifact"], "weights.safetensors");
    assert!(result.get("weights_l2").is_none() && result.get("weights_decay").is_none());
    assert!(session.artifact("weights.safetensors").len() > 160_000);
}

#[test]
fn a_checkpoint_of_a_regression_is_refused() {
    let session = MemorySession::stopping_at(3, Stop::Pause);
    let spec = pair(json!({"name": "gd", "learning_rate": 0.2}));
    train(&assignment("regression", spec.clone()), &workshop(), &session).unwrap();
    let mut other = assignment("regularization_pair", spec);
    other.checkpoint = session.last_checkpoint();
    assert!(matches!(train(&other, &workshop(), &MemorySession::default()), Err(TrainError::Checkpoint(_))));
}
