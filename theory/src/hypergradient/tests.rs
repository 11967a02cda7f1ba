use super::claims::{self, Found, Place};
use super::*;
use crate::regression::vector::norm;
use crate::regression::{Spectrum, SyntheticProblem};

fn go_on() -> Result<(), Interrupted> {
    Ok(())
}

fn problem(examples: usize, features: usize, condition: f64, noise: f64) -> Problem {
    SyntheticProblem { examples, features, condition, noise, seed: 0 }.generate().unwrap().0
}

fn forward(unrolled: &Unrolled<'_>, rate: f64) -> Evaluation {
    unrolled.forward(rate, &Ledger::new(), &go_on).unwrap()
}

#[test]
fn forward_reverse_and_central_differences_agree_for_every_k_with_and_without_a_penalty() {
    for (examples, features, condition) in [(50, 10, 20.0), (8, 30, 100.0), (40, 40, 1e4)] {
        let problem = problem(examples, features, condition, 0.1);
        let spectrum = Spectrum::of(&problem).unwrap();
        let starts = [vec![0.0; features], (0..features).map(|i| (i as f64).cos()).collect()];
        for (start, l2, steps) in starts
            .iter()
            .flat_map(|start| [0.0, 0.1].map(|l2| (start, l2)))
            .flat_map(|(start, l2)| [1, 2, 10, 100].map(move |steps| (start, l2, steps)))
        {
            let unrolled = Unrolled::new(&problem, l2, start, steps);
            let path = spectrum.descent_path(start, l2);
            let best = path.best_rate(steps as u64).unwrap();
            for rate in [1e-3, 0.01, 0.5 * best, 0.999 * best, best, 1.001 * best, 1.5 * best] {
                let found = forward(&unrolled, rate);
                let reverse = unrolled.reverse(rate, &Ledger::new(), &go_on).unwrap();
                let difference = unrolled.central_difference(rate, &go_on).unwrap();
                let place = Place { name: "tested", rate, first_loss: unrolled.first_loss() };
                let named = |method, hypergradient| Found { method, hypergradient };
                let (found, reverse) = (named("forward", found.hypergradient), named("reverse", reverse.hypergradient));
                let what = format!("{examples}×{features}, l2 {l2}, k {steps}, rate {rate} of {best}");
                let agree = claims::methods_agree(found, reverse, place).unwrap();
                assert!(agree.holds, "{what}: {agree:?}");
                let agree = claims::difference_agrees(found, difference, place).unwrap();
                assert!(agree.holds, "{what}: {agree:?}");
            }
        }
    }
}

#[test]
fn the_hypergradient_is_the_exact_one_in_the_eigenbasis() {
    let problem = problem(50, 10, 20.0, 0.1);
    let spectrum = Spectrum::of(&problem).unwrap();
    let start = [0.0; 10];
    for l2 in [0.0, 0.1] {
        let path = spectrum.descent_path(&start, l2);
        for steps in [1, 2, 10, 100] {
            let unrolled = Unrolled::new(&problem, l2, &start, steps);
            for rate in [0.01, 0.3, 0.8] {
                let found = forward(&unrolled, rate);
                let (loss, slope) = (path.loss(rate, steps as u64), path.rate_derivative(rate, steps as u64));
                assert!((found.loss / loss - 1.0).abs() < 1e-12);
                assert!((found.hypergradient - slope).abs() <= 1e-9 * slope.abs() + 1e-13 * unrolled.first_loss() / rate);
            }
            let zero = unrolled.hypergradient_at_zero();
            assert!((zero / path.rate_derivative(0.0, steps as u64) - 1.0).abs() < 1e-12);
        }
    }
}

#[test]
fn a_wrong_hypergradient_fails_and_one_that_overflowed_is_not_judged() {
    let place = Place { name: "first", rate: 0.01, first_loss: 1.0 };
    let found = |hypergradient| Found { method: "forward", hypergradient };
    assert!(claims::methods_agree(found(-2.0), found(-2.0 * (1.0 + 1e-11)), place).unwrap().holds);
    assert!(!claims::methods_agree(found(-2.0), found(-2.0 * (1.0 + 1e-9)), place).unwrap().holds);
    assert!(!claims::difference_agrees(found(-2.0), -2.0 * (1.0 + 1e-5), place).unwrap().holds);
    assert_eq!(claims::methods_agree(found(f64::NAN), found(1.0), place), None);
}

#[test]
fn the_closed_form_of_one_step_is_the_bottom_of_its_parabola() {
    for (examples, features) in [(50, 10), (6, 20)] {
        let problem = problem(examples, features, 20.0, 0.1);
        let start: Vec<f64> = (0..features).map(|i| (i as f64).sin()).collect();
        let best = one_step_optimum(&problem, &start).unwrap();
        let exact = Spectrum::of(&problem).unwrap().descent_path(&start, 0.0).best_rate(1).unwrap();
        assert!((best / exact - 1.0).abs() < 1e-12, "{best} {exact}");
        let unrolled = Unrolled::new(&problem, 0.0, &start, 1);
        // The second derivative (8/n³)‖XXᵀa‖² is −g(0)/η*.
        let mut residual = vec![0.0; examples];
        problem.residual(&start, &mut residual);
        let mut back = vec![0.0; features];
        residual.iter().enumerate().for_each(|(j, value)| add_scaled(&mut back, *value, problem.row(j)));
        let again: Vec<f64> = (0..examples).map(|j| dot(problem.row(j), &back)).collect();
        let curvature = 8.0 / (examples as f64).powi(3) * norm(&again).powi(2);
        assert!((-unrolled.hypergradient_at_zero() / best / curvature - 1.0).abs() < 1e-12);
        assert!(claims::one_step_closed_form(&unrolled, Some(best), best * (1.0 + 1e-7)).unwrap().holds);
        assert!(!claims::one_step_closed_form(&unrolled, Some(best), best * (1.0 + 1e-5)).unwrap().holds);
        assert_eq!(claims::one_step_closed_form(&unrolled.with_steps(2), Some(best), best), None);
    }
    assert_eq!(one_step_optimum(&Problem::new(vec![2.0, 1.0], vec![0.0], 2).unwrap(), &[0.0; 2]), None);
}

#[test]
fn the_search_comes_to_the_exact_optimum() {
    let problem = problem(50, 10, 20.0, 0.1);
    let spectrum = Spectrum::of(&problem).unwrap();
    let start = [0.0; 10];
    for (l2, steps) in [(0.0, 1), (0.0, 2), (0.0, 10), (0.1, 10), (0.0, 100), (0.1, 100)] {
        let unrolled = Unrolled::new(&problem, l2, &start, steps);
        let path = spectrum.descent_path(&start, l2);
        let (mut search, mut rate, mut looked) = (SecantSearch::new(unrolled.hypergradient_at_zero()), 0.01, 0);
        while let Next::At(next) = search.next(rate, forward(&unrolled, rate).hypergradient) {
            (rate, looked) = (next, looked + 1);
        }
        assert!(looked < 200, "{looked}");
        if let Some(optimum) = claims::exact_optimum(&path, steps, rate) {
            assert!(optimum.holds, "{optimum:?}");
            assert!(!claims::exact_optimum(&path, steps, rate * (1.0 + 1e-5)).unwrap().holds);
        } else {
            assert_eq!((l2, steps), (0.1, 100), "rounding hides this optimum alone");
        }
    }
}

#[test]
fn the_curve_is_convex_and_exact_over_the_whole_bowl_and_a_dent_is_seen() {
    for (features, l2, steps) in [(10, 0.0, 1), (10, 0.1, 10), (70, 0.0, 10), (10, 0.0, 100)] {
        let problem = problem(50, features, 20.0, 0.1);
        let spectrum = Spectrum::of(&problem).unwrap();
        let start = vec![0.0; features];
        let unrolled = Unrolled::new(&problem, l2, &start, steps);
        let rim = spectrum.descent_path(&start, l2).break_even_rate(steps as u64).unwrap();
        let rates = (0..=100).map(|i| f64::from(i) * 0.012 * rim);
        let mut curve: Vec<(f64, f64)> = rates.map(|rate| (rate, unrolled.loss(rate, &go_on).unwrap())).collect();
        let exact = claims::curve_is_exact(&spectrum, &unrolled, &curve).unwrap();
        let convex = claims::curve_is_convex(&unrolled, &curve).unwrap();
        assert!(exact.holds && convex.holds, "{exact:?} {convex:?}");
        curve[1].1 *= 1.0 + 1e-9;
        assert!(!claims::curve_is_exact(&spectrum, &unrolled, &curve).unwrap().holds);
        curve[50].1 *= 1.5;
        assert!(!claims::curve_is_convex(&unrolled, &curve).unwrap().holds);
    }
}

#[test]
fn forward_holds_the_same_bytes_for_every_k_and_reverse_a_vector_more_a_step() {
    let problem = problem(50, 10, 20.0, 0.1);
    let start = [0.0; 10];
    let held = |method: &dyn Fn(&Unrolled<'_>, &Ledger)| -> Vec<(u64, u64)> {
        [1, 2, 10, 100]
            .map(|steps| {
                let ledger = Ledger::new();
                method(&Unrolled::new(&problem, 0.1, &start, steps), &ledger);
                assert_eq!(ledger.held(), 0, "all was given back");
                (steps as u64, ledger.peak())
            })
            .to_vec()
    };
    let forward = held(&|unrolled, ledger| assert!(unrolled.forward(0.1, ledger, &go_on).is_ok()));
    let reverse = held(&|unrolled, ledger| assert!(unrolled.reverse(0.1, ledger, &go_on).is_ok()));
    assert_eq!(forward, [1, 2, 10, 100].map(|steps| (steps, 4 * 80)));
    assert_eq!(reverse, [1, 2, 10, 100].map(|steps| (steps, (steps + 4) * 80)));
    assert!(claims::held_bytes_are_flat("forward", &forward).unwrap().holds);
    assert!(claims::held_bytes_are_linear("reverse", &reverse).unwrap().holds);
    assert!(!claims::held_bytes_are_flat("reverse", &reverse).unwrap().holds);
    assert!(!claims::held_bytes_are_linear("forward", &forward).unwrap().holds);
    assert!(!claims::held_bytes_are_linear("squares", &[(1, 1), (2, 4), (3, 9)]).unwrap().holds);
}

#[test]
fn a_check_that_fails_breaks_every_computation_off() {
    let problem = problem(50, 10, 20.0, 0.1);
    let start = [0.0; 10];
    let unrolled = Unrolled::new(&problem, 0.1, &start, 5);
    let stop = || Err(Interrupted);
    assert_eq!(unrolled.forward(0.1, &Ledger::new(), &stop), Err(Interrupted));
    assert_eq!(unrolled.reverse(0.1, &Ledger::new(), &stop), Err(Interrupted));
    assert_eq!(unrolled.loss(0.1, &stop), Err(Interrupted));
    assert_eq!(unrolled.central_difference(0.1, &stop), Err(Interrupted));
}
