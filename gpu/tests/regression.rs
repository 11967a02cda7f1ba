//! Least squares on a device against sums written out.

#![allow(clippy::unwrap_used)]

mod support;

use support::Random;
use trainyard_gpu::Regression;
use trainyard_gpu_emulator::Emulator;

fn numbers(count: usize) -> Vec<f64> {
    let mut random = Random(count as u64);
    (0..count).map(|_| f64::from(random.next())).collect()
}

#[test]
fn loss_and_gradient_are_those_of_the_formula_in_any_order() {
    for (rows, columns) in [(1, 1), (7, 3), (300, 5), (12, 700)] {
        let (x, targets, weights) = (numbers(rows * columns), numbers(rows), numbers(columns));
        let residual: Vec<f64> =
            (0..rows).map(|r| (0..columns).map(|c| x[r * columns + c] * weights[c]).sum::<f64>() - targets[r]).collect();
        let loss = residual.iter().map(|r| r * r).sum::<f64>() / rows as f64;
        let slope = |c: usize| 2.0 / rows as f64 * (0..rows).map(|r| x[r * columns + c] * residual[r]).sum::<f64>();
        let run = |driver: std::sync::Arc<Emulator>| {
            let mut gradient = vec![f64::NAN; columns];
            let mut problem = Regression::new(&*driver, &x, &targets).unwrap();
            problem.loss_and_gradient(&numbers(columns + 1)[1..], &mut gradient).unwrap();
            (problem.loss_and_gradient(&weights, &mut gradient).unwrap(), gradient)
        };
        let (own, gradient) = run(Emulator::new());
        assert!((own - loss).abs() < 1e-13 * loss, "{rows}×{columns}: {own} {loss}");
        for (c, g) in gradient.iter().enumerate() {
            assert!((g - slope(c)).abs() < 1e-12, "{rows}×{columns}: {g} {}", slope(c));
        }
        assert_eq!(run(Emulator::shuffled(5)), (own, gradient));
    }
    assert!(Regression::new(&*Emulator::new(), &[1.0; 5], &[0.0; 2]).is_err());
}
