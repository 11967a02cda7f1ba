use super::super::vector::norm;
use super::super::{Problem, Spectrum, SpectrumSummary, SyntheticProblem, spectrum_cost};

fn synthetic(examples: usize, features: usize, condition: f64) -> (Problem, Spectrum) {
    let made = SyntheticProblem { examples, features, condition, noise: 0.3, seed: 21 };
    let problem = made.generate().unwrap().0;
    let spectrum = Spectrum::of(&problem).unwrap();
    (problem, spectrum)
}

#[test]
fn one_equation_in_two_unknowns_has_its_known_solution() {
    let problem = Problem::new(vec![2.0, 1.0], vec![2.0], 2).unwrap();
    let spectrum = Spectrum::of(&problem).unwrap();
    // H = 2·[[4, 2], [2, 1]] has the eigenvalues 10 and 0.
    assert_eq!(spectrum.rank(), 1);
    assert!((spectrum.lambda_max() - 10.0).abs() < 1e-14);
    assert_eq!(spectrum.condition(), Some(1.0));
    let solution = spectrum.minimum_norm_solution();
    assert!((solution[0] - 0.8).abs() < 1e-15 && (solution[1] - 0.4).abs() < 1e-15);
    assert!((norm(solution) - 0.894_427_190_999_915_9).abs() < 1e-15);
    assert_eq!(spectrum.minimum_loss(), 0.0);
    // [2/3, 2/3] also solves it; its part along (1, −2)/√5 is 2/(3√5).
    let other = [2.0 / 3.0; 2];
    let off = 2.0 / (3.0 * 5.0_f64.sqrt());
    assert!((spectrum.null_space_norm(&other) - off).abs() < 1e-15);
    assert!((spectrum.distance_to_minimum_norm(&other) - off).abs() < 1e-15);
    assert!((spectrum.largest_stable_rate(0.0) - 0.2).abs() < 1e-15);
    assert!((spectrum.best_fixed_rate(0.0) - 0.1).abs() < 1e-15);
    assert!((spectrum.rmsprop_settle_limit(1e-8, 0.0) - 2e-5).abs() < 1e-19);
}

#[test]
fn the_gradient_vanishes_at_the_closed_form_solutions() {
    for (examples, features) in [(40, 7), (7, 40), (9, 9), (1, 3), (3, 1)] {
        let condition = if examples.min(features) == 1 { 1.0 } else { 50.0 };
        let (problem, spectrum) = synthetic(examples, features, condition);
        let mut gradient = vec![0.0; features];
        for l2 in [0.0, 0.05, 3.0] {
            let solution = spectrum.ridge_solution(l2);
            let loss = problem.loss_and_gradient(&solution, l2, &mut gradient);
            assert!(norm(&gradient) < 1e-13, "{}", norm(&gradient));
            assert!((loss - spectrum.minimum_penalized_loss(l2)).abs() < 1e-14);
            assert!(spectrum.null_space_norm(&solution) < 1e-14);
        }
        let solution = spectrum.minimum_norm_solution();
        assert!((problem.loss(solution, 0.0) - spectrum.minimum_loss()).abs() < 1e-14);
    }
}

#[test]
fn the_null_space_part_is_seen_down_to_rounding() {
    let (problem, spectrum) = synthetic(10, 30, 100.0);
    // A combination of rows lies in the row space; 10⁻¹² of a null direction added to it must be
    // found.
    let mut inside = vec![0.0; 30];
    for example in 0..10 {
        let factor = (example as f64).cos();
        for (value, x) in inside.iter_mut().zip(problem.row(example)) {
            *value += factor * x;
        }
    }
    let scale = norm(&inside);
    assert!(spectrum.null_space_norm(&inside) < 1e-14 * scale);
    let axis: Vec<f64> = (0..30).map(|i| f64::from(i == 4)).collect();
    let off = spectrum.null_space_norm(&axis);
    assert!(off > 0.1 && off < 1.0);
    for (value, axis) in inside.iter_mut().zip(&axis) {
        *value += 1e-10 * axis;
    }
    let found = spectrum.null_space_norm(&inside);
    assert!((found / (1e-10 * off) - 1.0).abs() < 1e-3, "{found}");
}

#[test]
fn a_repeated_feature_lowers_the_rank() {
    let rows = [[1.0, 2.0, 2.0], [0.5, -1.0, -1.0], [3.0, 0.1, 0.1], [1.0, 1.0, 1.0]];
    let problem = Problem::new(rows.concat(), vec![1.0, 2.0, 3.0, 4.0], 3).unwrap();
    let spectrum = Spectrum::of(&problem).unwrap();
    assert_eq!(spectrum.rank(), 2);
    assert_eq!(spectrum.singular_values().len(), 3);
    assert!(spectrum.singular_values()[2] <= spectrum.rank_tolerance());
    let solution = spectrum.minimum_norm_solution();
    assert!((solution[1] - solution[2]).abs() < 1e-14);
    let along = 0.5_f64.sqrt();
    assert!((spectrum.null_space_norm(&[0.0, along, -along]) - 1.0).abs() < 1e-14);
    assert!(spectrum.lambda_min_positive().unwrap() > 0.1);
}

#[test]
fn a_zero_matrix_has_no_positive_eigenvalue_and_no_rate_bound() {
    let problem = Problem::new(vec![0.0; 6], vec![1.0, 2.0], 3).unwrap();
    let spectrum = Spectrum::of(&problem).unwrap();
    assert_eq!(spectrum.rank(), 0);
    assert_eq!(spectrum.lambda_max(), 0.0);
    assert_eq!(spectrum.condition(), None);
    assert_eq!(spectrum.largest_stable_rate(0.0), f64::INFINITY);
    assert_eq!(spectrum.minimum_norm_solution(), [0.0; 3]);
    assert_eq!(spectrum.minimum_loss(), 2.5);
    assert_eq!(spectrum.null_space_norm(&[0.0, 3.0, 4.0]), 5.0);
    assert_eq!(spectrum.summary(0.0).largest_stable_rate, None);
    assert_eq!(spectrum.summary(0.5).largest_stable_rate, Some(2.0));
}

#[test]
fn a_synthetic_problem_is_summarized_without_being_made() {
    let made = SyntheticProblem { examples: 20, features: 35, condition: 40.0, noise: 0.0, seed: 2 };
    let spectrum = Spectrum::of(&made.generate().unwrap().0).unwrap();
    let (found, known) = (spectrum.summary(0.1), SpectrumSummary::of_synthetic(&made, 0.1));
    let close = |a: Option<f64>, b: Option<f64>| {
        let (a, b) = (a.unwrap(), b.unwrap());
        assert!((a / b - 1.0).abs() < 1e-12, "{a} {b}");
    };
    assert_eq!(found.rank, known.rank);
    close(Some(found.lambda_max), Some(known.lambda_max));
    close(found.lambda_min_positive, known.lambda_min_positive);
    close(found.condition, known.condition);
    close(found.largest_stable_rate, known.largest_stable_rate);
    close(found.best_fixed_rate, known.best_fixed_rate);
    assert!((known.largest_stable_rate.unwrap() - 2.0 / 2.2).abs() < 1e-15);
    assert!((known.best_fixed_rate.unwrap() - 2.0 / (2.0 + 0.05 + 0.4)).abs() < 1e-15);
}

#[test]
fn the_best_fixed_rate_contracts_faster_than_its_neighbours() {
    let (_, spectrum) = synthetic(12, 30, 25.0);
    for l2 in [0.0, 0.1] {
        let path = spectrum.descent_path(&[0.0; 30], l2);
        let best = spectrum.best_fixed_rate(l2);
        let at = |factor: f64| path.excess_loss(best * factor, 1000);
        assert!(at(1.0) < at(0.9) && at(1.0) < at(1.1));
        let limit = spectrum.largest_stable_rate(l2);
        assert!(path.excess_loss(limit * 0.999, 100_000) < path.excess_loss(0.0, 1));
        assert!(path.excess_loss(limit * 1.001, 100_000) > path.excess_loss(0.0, 1));
    }
}

#[test]
fn the_cost_grows_with_the_square_of_the_short_side_and_never_overflows() {
    assert_eq!(spectrum_cost(1000, 10), 6 * 1000 * 100 + 20 * 1000);
    assert_eq!(spectrum_cost(10, 1000), spectrum_cost(1000, 10));
    assert_eq!(spectrum_cost(usize::MAX, usize::MAX), u64::MAX);
}

#[test]
fn data_at_the_edge_of_the_numbers_give_figures_or_an_error_but_no_nonsense() {
    for scale in [1e-300, 1e-160, 1e150, 1e300, f64::MAX] {
        let x: Vec<f64> = [1.0, 0.5, -0.25, 1.0, 0.0, 0.75].iter().map(|value| value * scale).collect();
        let problem = Problem::new(x, vec![1.0, 2.0, 3.0], 2).unwrap();
        if let Ok(spectrum) = Spectrum::of(&problem) {
            assert_eq!(spectrum.rank(), 2, "{scale}");
            let condition = spectrum.condition().unwrap();
            assert!((1.0..10.0).contains(&condition), "{scale} {condition}");
            assert!(spectrum.minimum_norm_solution().iter().all(|weight| weight.is_finite()));
        } else {
            assert!(scale > 1e150, "{scale}");
        }
    }
}

#[test]
fn a_decomposition_in_parts_is_the_same_bits_on_any_number_of_threads() {
    for (examples, features) in [(440, 440), (1500, 240), (240, 1500)] {
        let made = SyntheticProblem { examples, features, condition: 1e4, noise: 0.1, seed: 3 };
        assert!(spectrum_cost(examples, features) >= super::COST_OF_PARTS || examples != features);
        let problem = made.generate().unwrap().0;
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Spectrum::of(&problem).unwrap())
        };
        let one = on(1);
        for threads in [2, 3] {
            let other = on(threads);
            assert_eq!(one.singular_values(), other.singular_values(), "{examples}×{features} on {threads}");
            assert_eq!(one.right, other.right, "{examples}×{features} on {threads}");
            assert_eq!(one.minimum_norm_solution(), other.minimum_norm_solution());
        }
        for (found, wanted) in one.eigenvalues().zip(made.eigenvalues()) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
    }
}
