use super::*;
use crate::random::permutation;
use crate::regression::vector::{add_scaled, distance, norm};
use crate::regression::{Problem, Spectrum, SyntheticProblem};
use crate::schedule::Schedule;

fn wide(condition: f64) -> (Problem, Spectrum) {
    let made = SyntheticProblem { examples: 12, features: 30, condition, noise: 0.1, seed: 6 };
    let problem = made.generate().unwrap().0;
    let spectrum = Spectrum::of(&problem).unwrap();
    (problem, spectrum)
}

/// Gradient descent (`momentum` 0) or heavy ball from 0, with the loss before the first and after
/// each step.
fn descend(problem: &Problem, rate: f64, momentum: f64, l2: f64, steps: u64) -> (Vec<f64>, Vec<f64>) {
    descend_from(problem, vec![0.0; problem.features()], rate, momentum, l2, steps)
}

fn descend_from(problem: &Problem, mut weights: Vec<f64>, rate: f64, momentum: f64, l2: f64, steps: u64) -> (Vec<f64>, Vec<f64>) {
    let features = problem.features();
    let mut velocity = vec![0.0; features];
    let mut gradient = vec![0.0; features];
    let mut losses = Vec::new();
    for _ in 0..steps {
        losses.push(problem.loss_and_gradient(&weights, l2, &mut gradient));
        for (velocity, derivative) in velocity.iter_mut().zip(&gradient) {
            *velocity = momentum * *velocity + derivative;
        }
        add_scaled(&mut weights, -rate, &velocity);
    }
    losses.push(problem.loss(&weights, l2));
    (weights, losses)
}

/// RMSProp from 0 with β = 0.9; the final weights, and the gradient's norm at every hundredth step.
fn rmsprop(problem: &Problem, rate: f64, epsilon: f64, schedule: Schedule, steps: u64) -> (Vec<f64>, Vec<(u64, f64)>) {
    let features = problem.features();
    let (mut weights, mut square) = (vec![0.0; features], vec![0.0; features]);
    let (mut gradient, mut norms) = (vec![0.0; features], Vec::new());
    for step in 0..steps {
        problem.loss_and_gradient(&weights, 0.0, &mut gradient);
        if step.is_multiple_of(100) {
            norms.push((step, norm(&gradient)));
        }
        let rate = schedule.rate(rate, step, steps);
        for index in 0..features {
            let derivative = gradient[index];
            square[index] = 0.9 * square[index] + 0.1 * derivative * derivative;
            weights[index] -= rate * derivative / (square[index] + epsilon).sqrt();
        }
    }
    norms.push((steps, gradient_norm(problem, &weights)));
    (weights, norms)
}

fn gradient_norm(problem: &Problem, weights: &[f64]) -> f64 {
    let mut gradient = vec![0.0; weights.len()];
    problem.loss_and_gradient(weights, 0.0, &mut gradient);
    norm(&gradient)
}

#[test]
fn rates_on_either_side_of_the_bound_behave_as_claimed() {
    let (problem, spectrum) = wide(10.0);
    for l2 in [0.0, 0.3] {
        let bound = spectrum.largest_stable_rate(l2);
        for (factor, steps) in [(0.5, 300), (0.999, 300), (1.01, 3000), (3.0, 300)] {
            let rate = factor * bound;
            let losses = descend(&problem, rate, 0.0, l2, steps).1;
            let (first, last) = (losses[0], losses[steps as usize]);
            let found = gradient_descent_stability(&spectrum, rate, l2, first, last).unwrap();
            assert!(found.holds, "{found:?}");
            assert_eq!((found.predicted, found.measured), (bound, rate));
        }
    }
}

#[test]
fn stability_fails_when_a_stable_rate_blew_up_and_is_silent_when_undecided() {
    let (_, spectrum) = wide(10.0);
    let stability = |rate, last| gradient_descent_stability(&spectrum, rate, 0.0, 1.0, last);
    assert!(!stability(0.5, 2.0).unwrap().holds);
    assert!(!stability(0.5, f64::NAN).unwrap().holds);
    assert!(stability(1.5, f64::INFINITY).unwrap().holds);
    assert_eq!(stability(1.5, 0.5), None);
    assert_eq!(stability(spectrum.largest_stable_rate(0.0), 1.0), None);
}

#[test]
fn descent_agrees_with_its_exact_path_and_another_rule_does_not() {
    let (problem, spectrum) = wide(100.0);
    let certified = |rate, losses: Vec<f64>| exact_descent_path(&spectrum, &[0.0; 30], 0.01, rate, (0..).zip(losses)).unwrap();
    for rate in [0.3, 0.9, 1.05] {
        let losses = descend(&problem, rate, 0.0, 0.01, 2000).1;
        let found = certified(rate, losses);
        assert!(found.holds, "{found:?}");
    }
    let heavy = descend(&problem, 0.3, 0.001, 0.01, 2000).1;
    assert!(!certified(0.3, heavy).holds);
    assert_eq!(exact_descent_path(&spectrum, &[0.0; 30], 0.01, 0.3, [(0, f64::NAN)]), None);
}

#[test]
fn descent_from_next_to_the_solution_follows_its_path_to_rounding() {
    for (examples, features, noise) in [(12, 30, 0.0), (40, 8, 0.0), (40, 8, 1.0)] {
        for condition in [1.0, 1e3, 1e7] {
            let problem = SyntheticProblem { examples, features, condition, noise, seed: 4 }.generate().unwrap().0;
            let spectrum = Spectrum::of(&problem).unwrap();
            for l2 in [0.0, 1e-3] {
                let solution = spectrum.ridge_solution(l2);
                for nudge in [0.0, 1e-12, 1e-6] {
                    let start: Vec<f64> = solution.iter().map(|weight| weight + nudge).collect();
                    for rate in [0.01, 0.9] {
                        let losses = descend_from(&problem, start.clone(), rate, 0.0, l2, 300).1;
                        let found = exact_descent_path(&spectrum, &start, l2, rate, (0..).zip(losses)).unwrap();
                        assert!(found.holds, "{examples}×{features} κ = {condition}, l2 = {l2}, nudge {nudge}, rate {rate}: {found:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn descent_and_momentum_reach_the_minimum_norm_solution_and_stay_in_the_row_space() {
    let (problem, spectrum) = wide(50.0);
    for (momentum, steps) in [(0.0, 0), (0.0, 10), (0.0, 5000), (0.8, 100), (0.8, 5000)] {
        let weights = descend(&problem, 0.5, momentum, 0.0, steps).0;
        let residual = problem.residual_norm(&weights);
        let found = minimum_norm(&spectrum, &weights, residual).unwrap();
        assert!(found.holds, "{found:?}");
        let found = null_space(&spectrum, &[0.0; 30], &weights, steps, momentum).unwrap();
        assert!(found.holds, "{found:?}");
        assert!(found.tolerance < 1e-9);
    }
    let weights = descend(&problem, 0.5, 0.0, 0.0, 5000).0;
    assert!(spectrum.distance_to_minimum_norm(&weights) < 1e-12);
}

#[test]
fn stochastic_descent_stays_in_the_row_space_too() {
    let (problem, spectrum) = wide(50.0);
    let mut weights = vec![0.0; 30];
    let mut gradient = vec![0.0; 30];
    let epochs = 20_000;
    for epoch in 0..epochs {
        for batch in permutation(1, epoch, 12).chunks(5) {
            problem.batch_loss_and_gradient(batch, &weights, 0.0, &mut gradient);
            add_scaled(&mut weights, -0.2, &gradient);
        }
    }
    let found = null_space(&spectrum, &[0.0; 30], &weights, 3 * epochs, 0.0).unwrap();
    assert!(found.holds, "{found:?}");
    let found = minimum_norm(&spectrum, &weights, problem.residual_norm(&weights)).unwrap();
    assert!(found.holds, "{found:?}");
    assert!(found.measured < 1e-10, "{found:?}");
}

#[test]
fn a_solution_outside_the_row_space_fails_both_claims() {
    let problem = Problem::new(vec![2.0, 1.0], vec![2.0], 2).unwrap();
    let spectrum = Spectrum::of(&problem).unwrap();
    let other = [2.0 / 3.0; 2];
    assert!(!minimum_norm(&spectrum, &other, problem.residual_norm(&other)).unwrap().holds);
    assert!(!null_space(&spectrum, &[0.0; 2], &other, 20_000, 0.0).unwrap().holds);
    assert_eq!(null_space(&spectrum, &[1.0, -2.0], &other, 20_000, 0.0), None);
}

#[test]
fn an_overdetermined_problem_is_certified_at_its_least_squares_solution() {
    let made = SyntheticProblem { examples: 80, features: 10, condition: 30.0, noise: 0.5, seed: 2 };
    let problem = made.generate().unwrap().0;
    let spectrum = Spectrum::of(&problem).unwrap();
    for steps in [0, 20, 4000] {
        let weights = descend(&problem, 0.9, 0.0, 0.0, steps).0;
        let found = minimum_norm(&spectrum, &weights, problem.residual_norm(&weights)).unwrap();
        assert!(found.holds, "{found:?}");
    }
}

#[test]
fn rmsprop_under_a_cosine_schedule_ends_off_the_minimum_norm_solution() {
    let problem = Problem::new(vec![2.0, 1.0], vec![2.0], 2).unwrap();
    let weights = rmsprop(&problem, 0.01, 1e-8, Schedule::Cosine, 20_000).0;
    assert!(distance(&weights, &[2.0 / 3.0; 2]) < 1e-6, "{weights:?}");
    assert!((norm(&weights) - 0.9428).abs() < 1e-4);
}

#[test]
fn rmsprop_settles_under_its_bound_and_cycles_over_it() {
    let (problem, spectrum) = wide(3.0);
    let epsilon = 1e-4;
    let bound = spectrum.rmsprop_settle_limit(epsilon, 0.0);
    assert!((bound - 1e-2).abs() < 1e-12);
    for (factor, settles) in [(0.8, true), (1.3, false), (4.0, false)] {
        let rate = factor * bound;
        let norms = rmsprop(&problem, rate, epsilon, Schedule::Constant, 20_000).1;
        let size = norms.last().unwrap().1;
        let found = rmsprop_settles(&spectrum, rate, epsilon, 0.0, &norms).unwrap();
        assert!(found.holds, "{found:?} {size}");
        assert_eq!(size < 1e-5, settles, "{size}");
    }
    let verdict = |rate, sizes: [f64; 2]| rmsprop_settles(&spectrum, rate, epsilon, 0.0, &[(50, sizes[0]), (100, sizes[1])]);
    // Over the bound: by luck at the solution, or on the way to it still.
    assert_eq!(verdict(0.1, [0.5, 1e-9]), None);
    assert_eq!(verdict(0.1, [0.5, 0.0]), None);
    assert_eq!(verdict(0.1, [0.5, 0.4]), None);
    assert!(verdict(0.1, [0.5, 0.5]).unwrap().holds);
    // Under it, and not there yet.
    assert_eq!(verdict(0.005, [0.5, 0.5]), None);
}

#[test]
fn the_null_space_of_a_matrix_without_full_rank_is_not_judged() {
    let problem = Problem::new(vec![1.0, 2.0, 2.0, 1.0, 2.0, 2.0], vec![1.0, 1.0], 3).unwrap();
    let spectrum = Spectrum::of(&problem).unwrap();
    assert_eq!(spectrum.rank(), 1);
    assert_eq!(null_space(&spectrum, &[0.0; 3], &[0.1, 0.2, 0.2], 10, 0.0), None);
}

/// The coordinate of the steepest mode after each step of gradient descent from 0.
fn steepest_coordinates(problem: &Problem, spectrum: &Spectrum, rate: f64, l2: f64, steps: u64) -> Vec<(u64, f64)> {
    let mut weights = vec![0.0; problem.features()];
    let mut gradient = weights.clone();
    (0..=steps)
        .map(|step| {
            let coordinate = spectrum.steepest_coordinate(&weights, l2).unwrap();
            problem.loss_and_gradient(&weights, l2, &mut gradient);
            add_scaled(&mut weights, -rate, &gradient);
            (step, coordinate)
        })
        .collect()
}

#[test]
fn the_steepest_mode_contracts_under_the_bound_and_grows_over_it_by_the_predicted_factor() {
    for condition in [2.0, 100.0, 1e4] {
        let (problem, spectrum) = wide(condition);
        for l2 in [0.0, 0.3] {
            let bound = spectrum.largest_stable_rate(l2);
            for (factor, expected) in [(0.99, 0.98), (1.01, 1.02), (0.5, 0.0), (0.3, 0.4), (1.0, 1.0)] {
                let coordinates = steepest_coordinates(&problem, &spectrum, factor * bound, l2, 1000);
                let found = steepest_mode(&spectrum, &[0.0; 30], l2, factor * bound, coordinates).unwrap();
                assert!(found.holds, "{found:?}");
                assert!((found.predicted - expected).abs() < 1e-12 && found.tolerance < 1e-6, "{found:?}");
                assert_eq!(found.claim.contains("grow"), found.predicted > 1.0);
            }
        }
    }
}

#[test]
fn another_rate_fails_the_steepest_mode_and_a_start_without_it_is_not_judged() {
    let (problem, spectrum) = wide(100.0);
    let coordinates = steepest_coordinates(&problem, &spectrum, 0.9, 0.0, 100);
    assert!(!steepest_mode(&spectrum, &[0.0; 30], 0.0, 0.900_01, coordinates.clone()).unwrap().holds);
    let solution = spectrum.minimum_norm_solution().to_vec();
    assert_eq!(steepest_mode(&spectrum, &solution, 0.0, 0.9, coordinates), None);
    assert_eq!(steepest_mode(&spectrum, &[0.0; 30], 0.0, 0.9, [(0, 1.0)]), None);
}

#[test]
fn descent_converges_at_the_step_that_the_path_predicts() {
    let (problem, spectrum) = wide(20.0);
    let (rate, mut gradient) = (spectrum.best_fixed_rate(0.0), vec![0.0; 30]);
    for tolerance in [1e-2, 1e-6, 1e-10] {
        let mut weights = vec![0.0; 30];
        let mut steps = 0;
        loop {
            problem.loss_and_gradient(&weights, 0.0, &mut gradient);
            if norm(&gradient) <= tolerance {
                break;
            }
            add_scaled(&mut weights, -rate, &gradient);
            steps += 1;
        }
        let certified = |steps| steps_to_tolerance(&spectrum, &[0.0; 30], 0.0, rate, tolerance, steps).unwrap();
        let found = certified(steps);
        assert!(found.holds && found.tolerance <= 1.0, "{found:?}");
        assert!(!certified(steps + 3).holds && !certified(steps - 3).holds);
    }
    assert_eq!(steps_to_tolerance(&spectrum, &[0.0; 30], 0.0, rate, 1e-300, 50_000), None);
}

#[test]
fn an_adaptive_end_is_certified_as_another_solution_and_a_descents_as_the_minimum_norm_one() {
    let (problem, spectrum) = wide(10.0);
    let target = norm(problem.t());
    let adaptive = rmsprop(&problem, 0.01, 1e-8, Schedule::Cosine, 20_000).0;
    let residual = problem.residual_norm(&adaptive);
    assert!(residual < 1e-5 * target, "{residual}");
    let found = solution_reached(&spectrum, &adaptive, residual, target).unwrap();
    assert!(found.holds && found.claim.contains("not the minimum-norm one"), "{found:?}");
    assert!(found.measured > 1e-3 && found.measured > 10.0 * found.predicted, "{found:?}");
    let outside = outside_row_space(&spectrum, &[0.0; 30], &adaptive, 20_000).unwrap();
    assert!(outside.holds && outside.claim.contains("left the row space") && outside.measured > 1e-3, "{outside:?}");

    let plain = descend(&problem, 0.9, 0.0, 0.0, 2000).0;
    let found = solution_reached(&spectrum, &plain, problem.residual_norm(&plain), target).unwrap();
    assert!(found.holds && found.claim.contains("no farther"), "{found:?}");
    let inside = outside_row_space(&spectrum, &[0.0; 30], &plain, 2000).unwrap();
    assert!(inside.holds && inside.claim.contains("stays at rounding level"), "{inside:?}");
    // On its way nothing can be said of where it ends.
    let early = descend(&problem, 0.9, 0.0, 0.0, 3).0;
    assert_eq!(solution_reached(&spectrum, &early, problem.residual_norm(&early), target), None);
}

#[test]
fn weights_are_as_near_to_the_ridge_solution_as_their_gradient_allows() {
    for (examples, features) in [(60, 8), (8, 60)] {
        let made = SyntheticProblem { examples, features, condition: 40.0, noise: 0.4, seed: 5 };
        let problem = made.generate().unwrap().0;
        let spectrum = Spectrum::of(&problem).unwrap();
        let mut gradient = vec![0.0; features];
        for l2 in [1e-3, 0.5] {
            let solution = spectrum.ridge_solution(l2);
            for steps in [0, 5, 20_000] {
                let weights = descend(&problem, 0.6, 0.0, l2, steps).0;
                problem.loss_and_gradient(&weights, l2, &mut gradient);
                let found = ridge_solution(&spectrum, &solution, l2, &weights, norm(&gradient));
                assert!(found.holds, "{found:?}");
                assert!(steps < 20_000 || found.measured < 1e-11, "{found:?}");
                let other = ridge_solution(&spectrum, spectrum.minimum_norm_solution(), l2, &weights, norm(&gradient));
                assert!(steps < 20_000 || !other.holds, "{other:?}");
            }
        }
    }
}
