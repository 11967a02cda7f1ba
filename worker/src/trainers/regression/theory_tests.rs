//! Runs against the theory that is certified on them.

use serde_json::{Value, json};
use trainyard_wire::run::Certificate;

use super::super::memory::MemorySession;
use super::super::{Ended, Workshop, train};
use super::tests::assignment;

fn run(spec: Value) -> (Ended, MemorySession) {
    let session = MemorySession::default();
    let ended = train(&assignment(spec), &Workshop::new(candle_core::Device::Cpu), &session).unwrap();
    (ended, session)
}

fn last(session: &MemorySession, name: &str) -> f64 {
    session.series(name).pop().unwrap().1
}

/// The certificate whose claim says this; all that there are must hold.
fn certificate(session: &MemorySession, claim: &str) -> Certificate {
    let certificates = session.certificates.borrow();
    assert!(certificates.iter().all(|certificate| certificate.holds && !certificate.source.is_empty()), "{certificates:?}");
    let found = certificates.iter().find(|certificate| certificate.claim.contains(claim));
    found.unwrap_or_else(|| panic!("no certificate that {claim}: {certificates:?}")).clone()
}

/// Fifty equations in two hundred unknowns, without noise.
fn interpolation(optimizer: Value, steps: u64) -> Value {
    json!({"problem": {"source": "synthetic", "n": 50, "d": 200, "condition": 10}, "optimizer": optimizer, "steps": steps})
}

#[test]
fn descent_with_batches_or_momentum_too_reaches_the_minimum_norm_solution_within_the_row_space() {
    for (optimizer, steps) in [
        (json!({"name": "gd", "learning_rate": 0.9}), 2000),
        (json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 10}), 20_000),
        (json!({"name": "momentum", "learning_rate": 0.3, "beta": 0.9}), 2000),
    ] {
        let (_, session) = run(interpolation(optimizer.clone(), steps));
        let distance = last(&session, "distance_to_minimum_norm");
        let outside = session.series("null_space_norm").into_iter().map(|(_, norm)| norm).fold(0.0, f64::max);
        println!("{optimizer}: distance to the minimum norm {distance:e}, null-space part at most {outside:e}");
        assert!(distance <= 1e-8, "{optimizer}: {distance}");
        assert!(outside <= 1e-12, "{optimizer}: {outside}");
        let reached = certificate(&session, "no farther from the minimum-norm solution");
        assert_eq!(reached.measured.0, distance);
        assert!(certificate(&session, "null-space part of the weights stays").tolerance.0 < 1e-9);
    }
}

#[test]
fn adaptive_optimizers_interpolate_elsewhere_and_are_certified_to() {
    for name in ["rmsprop", "adam", "adamw"] {
        let mut optimizer = json!({"name": name, "learning_rate": 0.01, "schedule": "cosine"});
        if name == "adamw" {
            optimizer["weight_decay"] = json!(0);
        }
        let (_, session) = run(interpolation(optimizer, 20_000));
        let (residual, distance) = (last(&session, "residual_norm"), last(&session, "distance_to_minimum_norm"));
        println!("{name}: residual {residual:e}, distance to the minimum norm {distance}");
        assert!(residual <= 1e-6, "{name}: {residual}");
        assert!(distance > 1e-3, "{name}: {distance}");
        let elsewhere = certificate(&session, "not the minimum-norm one");
        assert_eq!(elsewhere.measured.0, distance);
        assert!(elsewhere.predicted.0 < 1e-3 * distance, "{elsewhere:?}");
        certificate(&session, "left the row space");
    }
}

#[test]
fn the_measured_loss_of_gradient_descent_follows_the_exact_one_at_every_condition() {
    for (n, d, noise) in [(40, 60, 0.0), (60, 40, 0.1)] {
        for condition in [2.0, 100.0, 10_000.0] {
            for rate in [2.0 / (2.0 + 2.0 / condition), 0.3, 0.99] {
                let (_, session) = run(json!({"problem": {"source": "synthetic", "n": n, "d": d, "condition": condition, "noise": noise},
                    "optimizer": {"name": "gd", "learning_rate": rate}, "record": "every", "steps": 1000}));
                let (measured, exact) = (session.series("loss"), session.series("exact_loss"));
                assert_eq!((measured.len(), exact.len()), (1001, 1001));
                let first = measured[0].1;
                for ((step, measured), (_, exact)) in measured.iter().zip(&exact) {
                    let allowed = 1e-9 * exact + 1e-18 * first;
                    assert!((measured - exact).abs() <= allowed, "κ = {condition}, η = {rate}, step {step}: {measured} {exact}");
                }
                certificate(&session, "follows its exact path");
            }
        }
    }
}

#[test]
fn next_to_the_stability_limit_the_steepest_mode_goes_by_its_factor_and_over_it_the_run_diverges_as_predicted() {
    for condition in [2.0, 100.0, 10_000.0] {
        let at = |rate: f64| {
            run(json!({"problem": {"source": "synthetic", "n": 50, "d": 20, "condition": condition, "noise": 0.1},
                "optimizer": {"name": "gd", "learning_rate": rate}, "steps": 1000}))
        };
        // λ_max = 2: the limit is 1.
        let (ended, session) = at(0.99);
        assert!(matches!(ended, Ended::Succeeded { .. }), "{ended:?}");
        let contracts = certificate(&session, "contracts the steepest mode");
        assert!((contracts.predicted.0 - 0.98).abs() < 1e-12 && contracts.tolerance.0 < 1e-8, "{contracts:?}");
        certificate(&session, "is stable");

        let (ended, session) = at(1.01);
        let Ended::Diverged { error } = ended else { panic!("{ended:?}") };
        assert!(error.contains("as predicted: the learning rate 1.01 is over the stability limit 2/λ_max ≈ 1"), "{error}");
        let grows = certificate(&session, "lets the steepest mode grow");
        assert!((grows.predicted.0 - 1.02).abs() < 1e-12 && grows.tolerance.0 < 1e-8, "{grows:?}");
        certificate(&session, "diverges: the loss grows");
        println!("κ = {condition}: {} a step for 0.98, {} for 1.02", contracts.measured, grows.measured);
    }
}

#[test]
fn a_converged_descent_is_certified_to_have_taken_the_predicted_steps() {
    let (_, session) = run(json!({"problem": {"source": "synthetic", "n": 30, "d": 10, "condition": 20, "noise": 0.3},
        "optimizer": {"name": "gd", "learning_rate": 0.9}, "gradient_tolerance": 1e-7, "steps": 100_000}));
    let steps = certificate(&session, "at the step that the exact path predicts");
    assert_eq!(steps.predicted, steps.measured);
}

#[test]
fn every_optimizer_has_certificates_on_problems_with_and_without_a_null_space() {
    for (n, d) in [(40, 8), (8, 40), (12, 12)] {
        for name in ["gd", "sgd", "momentum", "rmsprop", "adam", "adamw"] {
            let mut optimizer = json!({"name": name, "learning_rate": 0.02});
            if name == "sgd" {
                optimizer["batch_size"] = json!(4);
            }
            let (_, session) = run(json!({"problem": {"source": "synthetic", "n": n, "d": d, "condition": 5, "noise": 0.2},
                "optimizer": optimizer, "steps": 300}));
            let outside = if matches!(name, "gd" | "sgd" | "momentum") { "stays at rounding level" } else { "left the row space" };
            certificate(&session, if n < d { outside } else { "no farther from the minimum-norm solution" });
        }
    }
}

#[test]
fn every_optimizer_reaches_the_ridge_solution_of_a_penalty() {
    for optimizer in [
        json!({"name": "gd", "learning_rate": 0.8}),
        json!({"name": "sgd", "learning_rate": 0.1, "batch_size": 30}),
        json!({"name": "momentum", "learning_rate": 0.3}),
        json!({"name": "rmsprop", "learning_rate": 0.01, "schedule": "cosine"}),
        json!({"name": "adam", "learning_rate": 0.01, "schedule": "cosine"}),
        json!({"name": "adamw", "learning_rate": 0.01, "schedule": "cosine", "weight_decay": 0}),
    ] {
        let (_, session) = run(json!({"problem": {"source": "synthetic", "n": 30, "d": 12, "condition": 10, "noise": 0.3},
            "optimizer": optimizer, "l2": 0.1, "steps": 20_000}));
        let distance = last(&session, "distance_to_ridge_solution");
        assert!(distance <= 1e-8, "{optimizer}: {distance}");
        assert_eq!(certificate(&session, "no farther from the ridge solution").measured.0, distance);
    }
}
