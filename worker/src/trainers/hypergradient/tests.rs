use serde_json::{Value, json};
use trainyard_theory::hypergradient::claims::{self, Found, Place};
use trainyard_theory::hypergradient::{Interrupted, Unrolled};
use trainyard_theory::regression::{Spectrum, SyntheticProblem};
use trainyard_wire::spec::hypergradient::Method;
use trainyard_wire::{Spec, StopReason};

use super::super::memory::MemorySession;
use super::super::{Assignment, Ended, Stop, TrainError, Workshop, train};
use super::methods::Methods;

fn workshop() -> Workshop {
    Workshop::new(candle_core::Device::Cpu)
}

fn go_on() -> Result<(), Interrupted> {
    Ok(())
}

/// The documented spec, changed.
fn spec(changes: Value) -> Value {
    let mut spec = json!({"kind": "hypergradient",
        "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1, "seed": 0},
        "l2": 0.1, "inner_steps": 10, "learning_rate": 0.01, "method": "forward", "outer_steps": 200});
    for (field, value) in changes.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

fn assignment(changes: Value) -> Assignment {
    Assignment { spec: Spec::from_value(spec(changes), "").unwrap(), dataset: None, checkpoint: None, picture: None }
}

/// Trains to the end and returns the result.
fn result(changes: Value, session: &MemorySession) -> (StopReason, Value) {
    match train(&assignment(changes), &workshop(), session).unwrap() {
        Ended::Succeeded { stop_reason, result } => (stop_reason, result),
        other => panic!("{other:?}"),
    }
}

/// The certificate whose claim holds these words.
fn certified(session: &MemorySession, words: &str) -> trainyard_wire::run::Certificate {
    let certificates = session.certificates.borrow();
    let found: Vec<_> = certificates.iter().filter(|certificate| certificate.claim.contains(words)).collect();
    assert_eq!(found.len(), 1, "{words}: {certificates:#?}");
    found[0].clone()
}

#[test]
fn the_three_methods_agree_with_each_other_and_with_differences_for_every_k_with_and_without_a_penalty() {
    let problem = SyntheticProblem { examples: 50, features: 10, condition: 20.0, noise: 0.1, seed: 0 }.generate().unwrap().0;
    let spectrum = Spectrum::of(&problem).unwrap();
    let start = vec![0.0; 10];
    for (l2, steps) in [0.0, 0.1].into_iter().flat_map(|l2| [1, 2, 10, 100].map(|steps| (l2, steps))) {
        let unrolled = Unrolled::new(&problem, l2, &start, steps);
        let methods = Methods::new(unrolled, &go_on).unwrap();
        let best = spectrum.descent_path(&start, l2).best_rate(steps as u64).unwrap();
        let (mut worst, mut worst_difference) = (0.0_f64, 0.0_f64);
        for rate in [0.001, 0.01, 0.5 * best, best, 1.1 * best, 1.5 * best] {
            let found = Method::ALL.iter().map(|method| {
                let hypergradient = methods.evaluate(*method, rate, steps).unwrap().evaluation.hypergradient;
                Found { method: method.as_str(), hypergradient }
            });
            let found: Vec<Found<'_>> = found.collect();
            let place = Place { name: "tested", rate, first_loss: unrolled.first_loss() };
            let difference = methods.central_difference(rate).unwrap();
            for one in &found {
                let checked = claims::difference_agrees(*one, difference, place).unwrap();
                assert!(checked.holds, "l2 {l2}, k {steps}, rate {rate}: {checked:?}");
                worst_difference = worst_difference.max((checked.measured - checked.predicted).abs() / checked.tolerance);
                for other in &found {
                    let checked = claims::methods_agree(*one, *other, place).unwrap();
                    assert!(checked.holds, "l2 {l2}, k {steps}, rate {rate}: {checked:?}");
                    worst = worst.max((checked.measured - checked.predicted).abs() / checked.tolerance);
                }
            }
        }
        println!("l2 {l2}, k {steps}: methods differ by {worst:.1e} of the tolerance, differences by {worst_difference:.1e}");
    }
}

#[test]
fn one_step_arrives_at_the_closed_form_with_every_method_and_both_outer_optimizers() {
    for method in ["forward", "reverse", "autograd"] {
        for outer in [json!({}), json!({"outer_optimizer": "gradient_descent", "outer_steps": 500})] {
            let mut changes = json!({"inner_steps": 1, "l2": 0, "method": method, "initial_weights": "normal"});
            changes.as_object_mut().unwrap().extend(outer.as_object().unwrap().clone());
            let session = MemorySession::default();
            let (stop_reason, result) = result(changes, &session);
            assert_eq!(stop_reason, StopReason::Converged);
            let closed_form = certified(&session, "closed form");
            assert!(closed_form.holds, "{closed_form:?}");
            let found = result["learning_rate"].as_f64().unwrap();
            assert_eq!(found, closed_form.measured.0);
            let off = (found / closed_form.predicted.0 - 1.0).abs();
            assert!(off <= 1e-6, "{off}");
            println!("{method} {outer}: η = {found}, off by {off:.1e}, after {} updates", session.series("loss").len() - 1);
            assert!(certified(&session, "exact L̃_k(η) least").holds);
        }
    }
}

#[test]
fn ten_steps_arrive_at_the_exact_optimum_and_every_claim_holds() {
    for (l2, method) in [0.0, 0.1].into_iter().flat_map(|l2| ["forward", "reverse", "autograd"].map(|method| (l2, method))) {
        let session = MemorySession::default();
        let (stop_reason, result) = result(json!({"l2": l2, "method": method}), &session);
        assert_eq!(stop_reason, StopReason::Converged);
        let optimum = certified(&session, "exact L̃_k(η) least");
        let off = (result["learning_rate"].as_f64().unwrap() / optimum.predicted.0 - 1.0).abs();
        assert!(off <= 1e-6, "{off}");
        println!(
            "l2 {l2}, {method}: η = {}, off by {off:.1e}, after {} updates",
            result["learning_rate"],
            session.series("loss").len() - 1
        );
        let certificates = session.certificates.borrow();
        assert_eq!(certificates.len(), 2 * 3 + 1 + 2 + 3, "{certificates:#?}");
        assert!(certificates.iter().all(|certificate| certificate.holds), "{certificates:#?}");
    }
}

#[test]
fn every_point_of_the_way_is_recorded() {
    let session = MemorySession::default();
    let (_, result) = result(json!({}), &session);
    let rates = session.series("learning_rate");
    assert_eq!(rates[0], (0, 0.01));
    for name in ["loss", "hypergradient"] {
        let steps: Vec<u64> = session.series(name).iter().map(|(step, _)| *step).collect();
        assert_eq!(steps, (0..rates.len() as u64).collect::<Vec<_>>(), "{name}");
    }
    for name in ["learning_rate", "loss", "hypergradient"] {
        assert_eq!(json!(session.series(name).last().unwrap().1), result[name], "{name}");
    }
    let progress = session.progress.borrow().last().unwrap().clone();
    assert_eq!((progress.step, progress.total_steps), (rates.len() as u64 - 1, 200));
}

#[test]
fn held_bytes_are_flat_forward_and_grow_by_the_same_with_every_step_in_the_others() {
    let session = MemorySession::default();
    result(json!({"inner_steps": 100, "outer_steps": 1}), &session);
    let held = |method: &str| session.series(&format!("held_bytes_{method}"));
    let forward = held("forward");
    assert!(forward.iter().all(|(_, bytes)| *bytes == 4.0 * 8.0 * 10.0), "{forward:?}");
    // Candle keeps of each step Xw, the residual, the four parts and the sum of the gradient, η times it and the new weights: 2n + 6d numbers.
    for (method, step) in [("reverse", 8.0 * 10.0), ("autograd", 8.0 * (2.0 * 50.0 + 6.0 * 10.0))] {
        let points = held(method);
        assert_eq!((points[0].0, points[1].0, points.last().unwrap().0), (1, 2, 100));
        for pair in points.windows(2) {
            assert_eq!((pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0) as f64, step, "{method}: {points:?}");
        }
        println!("{method}: {points:?}");
    }
    for method in ["forward", "reverse", "autograd"] {
        assert!(certified(&session, &format!("the bytes that {method} holds")).holds);
    }
    let chart = String::from_utf8(session.artifact("held_bytes.svg").to_vec()).unwrap();
    for method in ["forward", "reverse", "autograd"] {
        assert!(chart.contains(&format!(">{method}</text>")), "{chart}");
    }
    let table: Value = serde_json::from_slice(&session.artifact("held_bytes.json")).unwrap();
    assert_eq!(table["reverse"][1], json!({"inner_steps": 2, "bytes": 480}));
}

#[test]
fn curve_and_graph_are_saved_and_the_graph_of_many_steps_is_not() {
    let session = MemorySession::default();
    result(json!({}), &session);
    let names: Vec<String> = session.artifacts.borrow().keys().cloned().collect();
    assert_eq!(names, ["curve.json", "curve.svg", "graph.dot", "graph.svg", "held_bytes.json", "held_bytes.svg"]);
    let curve: Value = serde_json::from_slice(&session.artifact("curve.json")).unwrap();
    let column = |name: &str| -> Vec<f64> { serde_json::from_value(curve[name].clone()).unwrap() };
    let (losses, exact) = (column("loss"), column("exact_loss"));
    assert_eq!((losses.len(), column("learning_rate").len()), (101, 101));
    assert!(losses.iter().zip(&exact).all(|(loss, exact)| (loss / exact - 1.0).abs() < 1e-10));
    assert!((losses[100] / losses[0] - 1.0).abs() < 1e-9, "the curve ends where nothing is gained");
    assert!(curve["found"]["loss"].as_f64().unwrap() <= losses.iter().copied().fold(f64::INFINITY, f64::min));
    let dot = String::from_utf8(session.artifact("graph.dot").to_vec()).unwrap();
    assert!(dot.contains("gradient_9 -> w_10") && dot.contains("lambda -> loss_10"), "{dot}");

    let session = MemorySession::default();
    result(json!({"inner_steps": 21}), &session);
    assert!(!session.artifacts.borrow().contains_key("graph.svg"));
    assert!(session.logs.borrow().iter().any(|line| line.contains("no graph")));
}

#[test]
fn a_run_stopped_anywhere_goes_on_to_the_same_bits() {
    for outer in ["secant", "gradient_descent"] {
        let changes = json!({"inner_steps": 3, "outer_steps": 8, "outer_optimizer": outer});
        let whole = MemorySession::default();
        let (_, undisturbed) = result(changes.clone(), &whole);
        let asked = whole.asked.get();
        assert!(asked > 300, "{asked}");
        // All of the outer loop, and parts of what comes after it.
        for stop_at in (0..30).chain((30..asked).step_by(37)) {
            let stop = if stop_at % 2 == 0 { Stop::Release } else { Stop::Pause };
            let first = MemorySession::stopping_at(stop_at, stop);
            assert_eq!(train(&assignment(changes.clone()), &workshop(), &first).unwrap(), Ended::Stopped(stop));
            assert!(first.certificates.borrow().is_empty());
            let rest = Assignment { checkpoint: first.last_checkpoint(), ..assignment(changes.clone()) };
            let second = MemorySession::default();
            let Ended::Succeeded { result, .. } = train(&rest, &workshop(), &second).unwrap() else { panic!() };
            assert_eq!(result, undisturbed, "{outer} stopped at {stop_at}");
            let mut metrics = first.metrics.borrow().clone();
            for (name, points) in second.metrics.borrow().iter() {
                metrics.entry(name).or_default().extend(points);
            }
            assert_eq!(metrics, *whole.metrics.borrow());
            assert_eq!(*second.certificates.borrow(), *whole.certificates.borrow());
            assert_eq!(*second.artifacts.borrow(), *whole.artifacts.borrow());
        }
    }
}

#[test]
fn a_cancelled_or_lost_run_leaves_no_checkpoint() {
    for stop in [Stop::Cancel, Stop::Drop] {
        let session = MemorySession::stopping_at(25, stop);
        assert_eq!(train(&assignment(json!({})), &workshop(), &session).unwrap(), Ended::Stopped(stop));
        assert!(session.checkpoints.borrow().is_empty());
    }
}

#[test]
fn checkpoints_are_made_by_time() {
    let session = MemorySession::default();
    let mut workshop = workshop();
    workshop.regression_checkpoint = std::time::Duration::ZERO;
    train(&assignment(json!({"outer_steps": 5})), &workshop, &session).unwrap();
    assert_eq!(session.checkpoints.borrow().iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_checkpoint_of_another_trainer_is_refused() {
    let regression = json!({"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 9});
    let regression = Assignment { spec: Spec::from_value(regression, "").unwrap(), dataset: None, checkpoint: None, picture: None };
    let session = MemorySession::stopping_at(3, Stop::Pause);
    train(&regression, &workshop(), &session).unwrap();
    let other = Assignment { checkpoint: session.last_checkpoint(), ..assignment(json!({})) };
    assert!(matches!(train(&other, &workshop(), &MemorySession::default()), Err(TrainError::Checkpoint(_))));
}

#[test]
fn a_descent_that_runs_away_diverges_and_a_search_that_starts_too_high_does_not() {
    let session = MemorySession::default();
    let changes = json!({"inner_steps": 100, "learning_rate": 30, "outer_optimizer": "gradient_descent"});
    let ended = train(&assignment(changes), &workshop(), &session).unwrap();
    assert!(matches!(ended, Ended::Diverged { .. }), "{ended:?}");
    assert!(session.artifacts.borrow().is_empty());

    let session = MemorySession::default();
    let (stop_reason, result) = result(json!({"inner_steps": 10, "learning_rate": 1e5}), &session);
    assert_eq!(stop_reason, StopReason::Converged);
    assert!(result["learning_rate"].as_f64().unwrap() < 1.5);
    let overflow = MemorySession::default();
    let ended = train(&assignment(json!({"inner_steps": 1000, "learning_rate": 1e6, "outer_steps": 1})), &workshop(), &overflow).unwrap();
    assert!(matches!(ended, Ended::Diverged { .. }), "{ended:?}");
}

#[test]
fn a_start_at_the_minimum_has_every_rate_alike() {
    let session = MemorySession::default();
    let problem = json!({"source": "inline", "x": [[2, 1], [0, 1]], "t": [0, 0]});
    let (stop_reason, result) = result(json!({"problem": problem, "l2": 0}), &session);
    assert_eq!(stop_reason, StopReason::Converged);
    assert_eq!(result, json!({"learning_rate": 0.01, "loss": 0.0, "hypergradient": 0.0}));
    assert!(session.certificates.borrow().iter().all(|certificate| certificate.holds));
}

#[test]
fn the_most_steps_that_a_spec_may_have_fit_a_stack_far_smaller_than_a_trainers() {
    let trainer = || {
        let session = MemorySession::default();
        let problem = json!({"source": "synthetic", "n": 5, "d": 3, "condition": 2});
        result(json!({"inner_steps": 1000, "method": "autograd", "outer_steps": 2, "problem": problem}), &session);
        session.certificates.into_inner()
    };
    let certificates = std::thread::Builder::new().stack_size(4 << 20).spawn(trainer).unwrap().join().unwrap();
    assert!(certificates.iter().all(|certificate| certificate.holds), "{certificates:#?}");
}

#[test]
fn runs_of_many_shapes_come_to_their_end_with_every_claim_holding() {
    for (n, d, condition, noise) in [(1, 1, 1.0, 0.0), (5, 1, 1.0, 0.5), (1, 4, 1.0, 0.0), (6, 20, 50.0, 0.0), (30, 30, 1000.0, 0.2)] {
        for (inner_steps, l2) in [1, 2, 7, 60].into_iter().flat_map(|inner_steps| [0.0, 0.01, 5.0].map(|l2| (inner_steps, l2))) {
            let session = MemorySession::default();
            let problem = json!({"source": "synthetic", "n": n, "d": d, "condition": condition, "noise": noise, "seed": 3});
            let changes = json!({"problem": problem, "inner_steps": inner_steps, "l2": l2, "initial_weights": "normal"});
            let (stop_reason, _) = result(changes, &session);
            assert_eq!(stop_reason, StopReason::Converged, "{n}×{d}, k {inner_steps}, l2 {l2}");
            let certificates = session.certificates.borrow();
            let failed: Vec<_> = certificates.iter().filter(|certificate| !certificate.holds).collect();
            assert!(failed.is_empty(), "{n}×{d}, k {inner_steps}, l2 {l2}: {failed:#?}");
        }
    }
}
