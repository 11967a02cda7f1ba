use serde_json::{Value, json};
use trainyard_wire::{Spec, StopReason};

use super::super::memory::MemorySession;
use super::super::{Assignment, Ended, Stop, TrainError, Workshop, train};

fn workshop() -> Workshop {
    Workshop::new(candle_core::Device::Cpu)
}

pub(super) fn assignment(spec: Value) -> Assignment {
    let mut spec = spec;
    spec["kind"] = json!("regression");
    Assignment { spec: Spec::from_value(spec, "").unwrap(), dataset: None, checkpoint: None, picture: None }
}

/// Trains to the end and returns the result.
fn result(spec: Value, session: &MemorySession) -> (StopReason, Value) {
    match train(&assignment(spec), &workshop(), session).unwrap() {
        Ended::Succeeded { stop_reason, result } => (stop_reason, result),
        other => panic!("{other:?}"),
    }
}

fn weights(result: &Value) -> Vec<f64> {
    serde_json::from_value(result["weights"].clone()).unwrap()
}

fn counterexample(optimizer: Value) -> Value {
    json!({"problem": {"source": "inline", "x": [[2, 1]], "t": [2]}, "optimizer": optimizer, "steps": 20000})
}

#[test]
fn rmsprop_ends_the_counterexample_off_the_minimum_norm_solution() {
    let session = MemorySession::default();
    let optimizer =
        json!({"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8, "weight_decay": 0, "schedule": "cosine"});
    let (stop_reason, result) = result(counterexample(optimizer), &session);
    assert_eq!(stop_reason, StopReason::Completed);
    for weight in weights(&result) {
        assert!((weight - 2.0 / 3.0).abs() < 1e-6, "{weight}");
    }
    let (last_step, distance) = session.series("distance_to_minimum_norm").pop().unwrap();
    assert_eq!(last_step, 20000);
    let expected = (2.0 / 3.0 - 0.8_f64).hypot(2.0 / 3.0 - 0.4);
    assert!((distance - expected).abs() < 1e-6);
    assert!(session.series("null_space_norm").pop().unwrap().1 > 0.1);
}

#[test]
fn gradient_descent_ends_the_counterexample_at_the_minimum_norm_solution() {
    let session = MemorySession::default();
    let (_, result) = result(counterexample(json!({"name": "gd", "learning_rate": 0.01})), &session);
    let found = weights(&result);
    assert!((found[0] - 0.8).abs() < 1e-9 && (found[1] - 0.4).abs() < 1e-9, "{found:?}");
    assert!(session.series("null_space_norm").iter().all(|(_, norm)| *norm < 1e-12));
    let certificates = session.certificates.borrow();
    assert_eq!(certificates.len(), 5);
    assert!(certificates.iter().all(|certificate| certificate.holds), "{certificates:?}");
}

#[test]
fn a_recorded_step_has_every_metric_and_the_penalty_splits_loss_and_mse() {
    let session = MemorySession::default();
    let mut spec = counterexample(json!({"name": "gd", "learning_rate": 0.05}));
    spec["l2"] = json!(0.5);
    spec["steps"] = json!(3);
    spec["initial_weights"] = json!([1, 1]);
    result(spec, &session);
    // At w₀ = (1, 1): the residual is 1, ‖w‖² = 2, ∇L̃ = 2(2, 1) + (1, 1).
    let first = |name: &str| session.series(name)[0];
    assert_eq!(first("loss"), (0, 2.0));
    assert_eq!(first("mse"), (0, 1.0));
    assert_eq!(first("residual_norm"), (0, 1.0));
    assert_eq!(first("gradient_norm"), (0, 34f64.sqrt()));
    assert_eq!(first("weight_norm"), (0, 2f64.sqrt()));
    assert!((first("distance_to_minimum_norm").1 - 0.4f64.sqrt()).abs() < 1e-15);
    assert!((first("null_space_norm").1 - 1.0 / 5f64.sqrt()).abs() < 1e-15);
    assert_eq!(session.series("loss").iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn weight_decay_equals_the_penalty_for_gradient_descent_and_not_with_momentum() {
    let end = |optimizer: Value, l2: f64| {
        let spec = json!({"problem": {"source": "synthetic", "n": 20, "d": 5, "condition": 10, "noise": 0.1}, "optimizer": optimizer,
            "l2": l2, "steps": 50, "initial_weights": "normal"});
        weights(&result(spec, &MemorySession::default()).1)
    };
    // λ = 2ηλ̃.
    let (rate, l2) = (0.2, 0.05);
    let distance = |name: &str| {
        let penalty = end(json!({"name": name, "learning_rate": rate}), l2);
        let decay = end(json!({"name": name, "learning_rate": rate, "weight_decay": 2.0 * rate * l2}), 0.0);
        trainyard_theory::regression::vector::distance(&penalty, &decay)
    };
    assert!(distance("gd") < 1e-14);
    assert!(distance("momentum") > 1e-3);
}

#[test]
fn a_loss_that_runs_away_ends_the_run_and_keeps_its_metrics() {
    let session = MemorySession::default();
    let ended = train(&assignment(counterexample(json!({"name": "gd", "learning_rate": 1.0}))), &workshop(), &session).unwrap();
    let Ended::Diverged { error } = ended else { panic!("{ended:?}") };
    assert!(error.contains("over 10⁸ times the first"), "{error}");
    let losses = session.series("loss");
    assert!(losses.len() > 3 && losses.last().unwrap().1 > 1e8 * losses[0].1);
    assert!(session.certificates.borrow().iter().all(|certificate| certificate.holds));
    assert!(session.artifacts.borrow().is_empty());
}

#[test]
fn a_stochastic_run_that_runs_away_ends_too() {
    let session = MemorySession::default();
    let spec = json!({"problem": {"source": "synthetic", "n": 200, "d": 3, "condition": 4},
        "optimizer": {"name": "sgd", "learning_rate": 1.2, "batch_size": 20}, "steps": 10_000_000u64});
    let ended = train(&assignment(spec), &workshop(), &session).unwrap();
    assert!(matches!(ended, Ended::Diverged { .. }), "{ended:?}");
}

#[test]
fn a_run_that_runs_away_ends_at_the_same_step_wherever_it_was_stopped() {
    let spec = json!({"problem": {"source": "synthetic", "n": 200, "d": 3, "condition": 4},
        "optimizer": {"name": "sgd", "learning_rate": 1.2, "batch_size": 20}, "steps": 10_000_000u64});
    let whole = MemorySession::default();
    let undisturbed = train(&assignment(spec.clone()), &workshop(), &whole).unwrap();
    assert!(whole.asked.get() > 10);
    for stop_at in 0..whole.asked.get() {
        let first = MemorySession::stopping_at(stop_at, Stop::Release);
        assert_eq!(train(&assignment(spec.clone()), &workshop(), &first).unwrap(), Ended::Stopped(Stop::Release));
        let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment(spec.clone()) };
        assert_eq!(train(&rest, &workshop(), &MemorySession::default()).unwrap(), undisturbed, "stopped at {stop_at}");
    }
}

#[test]
fn a_small_gradient_ends_the_run_as_converged() {
    let session = MemorySession::default();
    // Each step leaves 0.8 of the gradient.
    let mut spec = counterexample(json!({"name": "gd", "learning_rate": 0.02}));
    spec["gradient_tolerance"] = json!(1e-6);
    spec["steps"] = json!(100_000_000u64);
    let (stop_reason, result) = result(spec, &session);
    assert_eq!(stop_reason, StopReason::Converged);
    let steps = result["steps"].as_u64().unwrap();
    let (last_step, norm) = session.series("gradient_norm").pop().unwrap();
    assert_eq!(last_step, steps);
    assert!(norm <= 1e-6 && norm > 0.79e-6, "{norm}");
}

#[test]
fn recording_every_step_records_every_step() {
    let session = MemorySession::default();
    let mut spec = counterexample(json!({"name": "adam", "learning_rate": 0.01}));
    spec["record"] = json!("every");
    spec["steps"] = json!(700);
    result(spec, &session);
    assert_eq!(session.series("loss").len(), 701);
}

#[test]
fn many_weights_go_into_a_file_instead_of_the_result() {
    let session = MemorySession::default();
    let spec = json!({"problem": {"source": "synthetic", "n": 2, "d": 10_001, "condition": 2},
        "optimizer": {"name": "gd", "learning_rate": 0.5}, "steps": 1});
    let (_, result) = result(spec, &session);
    assert_eq!(result["weights_artifact"], "weights.safetensors");
    assert!(result.get("weights").is_none());
    assert!(session.artifact("weights.safetensors").len() > 80_000);
}

#[test]
fn starting_weights_of_another_length_are_an_error() {
    let mut spec = assignment(counterexample(json!({"name": "gd", "learning_rate": 0.1})));
    let Spec::Regression(regression) = &mut spec.spec else { unreachable!() };
    regression.initial_weights = trainyard_wire::spec::regression::InitialWeights::Given(vec![1.0]);
    assert!(matches!(train(&spec, &workshop(), &MemorySession::default()), Err(TrainError::Spec(_))));
}

#[test]
fn a_run_stopped_anywhere_goes_on_to_the_same_bits_with_every_optimizer() {
    let optimizers = [
        json!({"name": "gd", "learning_rate": 0.3, "schedule": "linear"}),
        json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 7}),
        json!({"name": "momentum", "learning_rate": 0.05, "batch_size": 10, "weight_decay": 0.001}),
        json!({"name": "rmsprop", "learning_rate": 0.01, "schedule": "cosine"}),
        json!({"name": "adam", "learning_rate": 0.1}),
        json!({"name": "adamw", "learning_rate": 0.1, "batch_size": 4}),
    ];
    for optimizer in optimizers {
        let spec = json!({"problem": {"source": "synthetic", "n": 30, "d": 6, "condition": 10, "noise": 0.1}, "optimizer": optimizer,
            "initial_weights": "normal", "l2": 0.01, "steps": 60, "seed": 3});
        let whole = MemorySession::default();
        let (_, undisturbed) = result(spec.clone(), &whole);
        for stop_at in 0..60 {
            let stop = if stop_at % 2 == 0 { Stop::Release } else { Stop::Pause };
            let first = MemorySession::stopping_at(stop_at, stop);
            assert_eq!(train(&assignment(spec.clone()), &workshop(), &first).unwrap(), Ended::Stopped(stop));
            let mut rest = assignment(spec.clone());
            rest.checkpoint = first.last_checkpoint();
            let second = MemorySession::default();
            let Ended::Succeeded { result, .. } = train(&rest, &workshop(), &second).unwrap() else { panic!() };
            assert_eq!(result, undisturbed, "{optimizer} stopped at {stop_at}");
            let mut metrics = first.metrics.borrow().clone();
            for (name, points) in second.metrics.borrow().iter() {
                metrics.entry(name).or_default().extend(points);
            }
            assert_eq!(metrics, *whole.metrics.borrow());
        }
    }
}

#[test]
fn a_cancelled_or_lost_run_leaves_no_checkpoint() {
    for stop in [Stop::Cancel, Stop::Drop] {
        let session = MemorySession::stopping_at(10, stop);
        let spec = assignment(counterexample(json!({"name": "gd", "learning_rate": 0.1})));
        assert_eq!(train(&spec, &workshop(), &session).unwrap(), Ended::Stopped(stop));
        assert!(session.checkpoints.borrow().is_empty());
    }
}

#[test]
fn checkpoints_are_made_by_time() {
    let session = MemorySession::default();
    let mut workshop = workshop();
    workshop.regression_checkpoint = std::time::Duration::ZERO;
    let mut spec = counterexample(json!({"name": "gd", "learning_rate": 0.01}));
    spec["steps"] = json!(10_000);
    train(&assignment(spec), &workshop, &session).unwrap();
    // The clock is read once in 2048 steps of a problem of two numbers.
    assert_eq!(session.checkpoints.borrow().iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2048, 4096, 6144, 8192]);
}

#[test]
fn a_checkpoint_of_another_problem_is_refused() {
    let mut other = assignment(json!({"problem": {"source": "inline", "x": [[1, 2, 3]], "t": [1]},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 9}));
    let session = MemorySession::stopping_at(3, Stop::Pause);
    train(&assignment(counterexample(json!({"name": "gd", "learning_rate": 0.1}))), &workshop(), &session).unwrap();
    other.checkpoint = session.last_checkpoint();
    assert!(matches!(train(&other, &workshop(), &MemorySession::default()), Err(TrainError::Checkpoint(_))));
}
