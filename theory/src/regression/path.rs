//! Full-batch gradient descent in the eigenbasis, where every direction shrinks on its own.

/// The exact path of gradient descent at a fixed rate on a quadratic loss with minimizer `w*`:
///
/// ```text
/// L̃(w_k) − min L̃ = ½·Σ_i μ_i·(1 − ημ_i)^{2k}·c_i²        c_i = v_iᵀ(w_0 − w*)
/// ```
///
/// with the eigenvalues `μ_i = λ_i + 2·l2` of H̃ and its eigenvectors `v_i`. Made by
/// [`Spectrum::descent_path`](super::Spectrum::descent_path).
#[derive(Clone, Debug, PartialEq)]
pub struct DescentPath {
    minimum: f64,
    /// (μ_i, c_i) of the directions that the start is in; the null space of X counts as one.
    modes: Vec<(f64, f64)>,
}

impl DescentPath {
    pub(super) fn new(minimum: f64, mut modes: Vec<(f64, f64)>) -> Self {
        // 0 stays 0 at any rate, also where its factor overflows.
        modes.retain(|(_, coordinate)| *coordinate != 0.0);
        Self { minimum, modes }
    }

    /// `L̃(w_k)` after `step` updates with `rate`. ∞ once it has overflowed.
    pub fn loss(&self, rate: f64, step: u64) -> f64 {
        self.minimum + self.excess_loss(rate, step)
    }

    /// `L̃(w_k) − min L̃`, with all its digits where the loss itself is next to its minimum.
    pub fn excess_loss(&self, rate: f64, step: u64) -> f64 {
        let excess = |(curvature, coordinate): &(f64, f64)| {
            let shrunk = coordinate * shrinkage(rate * curvature, step);
            0.5 * curvature * shrunk * shrunk
        };
        self.modes.iter().map(excess).sum()
    }

    /// `‖w_k − w*‖`, where `w*` is the minimizer of least norm: what is in the null space counts,
    /// and stays unless a penalty shrinks it.
    pub fn distance(&self, rate: f64, step: u64) -> f64 {
        let square = |(curvature, coordinate): &(f64, f64)| {
            let shrunk = coordinate * shrinkage(rate * curvature, step);
            shrunk * shrunk
        };
        self.modes.iter().map(square).sum::<f64>().sqrt()
    }

    /// `min L̃`, where a stable path ends.
    pub fn minimum(&self) -> f64 {
        self.minimum
    }
}

/// `|1 − x|^k`. Through the logarithm of `1 − x` rather than its rounded value, whose relative
/// error the power would multiply by `k`.
fn shrinkage(x: f64, k: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    let logarithm = if x < 1.0 { (-x).ln_1p() } else { (x - 1.0).ln() };
    (k as f64 * logarithm).exp()
}

#[cfg(test)]
mod tests {
    use super::super::{Problem, Spectrum, SyntheticProblem};
    use super::*;

    fn descend(problem: &Problem, start: &[f64], rate: f64, l2: f64, steps: u64) -> Vec<f64> {
        let mut weights = start.to_vec();
        let mut gradient = vec![0.0; weights.len()];
        for _ in 0..steps {
            problem.loss_and_gradient(&weights, l2, &mut gradient);
            for (weight, derivative) in weights.iter_mut().zip(&gradient) {
                *weight -= rate * derivative;
            }
        }
        weights
    }

    #[test]
    fn the_path_is_that_of_gradient_descent_itself() {
        for (examples, features) in [(50, 10), (8, 20), (6, 6)] {
            let made = SyntheticProblem { examples, features, condition: 30.0, noise: 0.2, seed: 3 };
            let problem = made.generate().unwrap().0;
            let spectrum = Spectrum::of(&problem).unwrap();
            let start: Vec<f64> = (0..features).map(|i| (i as f64).sin()).collect();
            for (rate, l2) in [(0.5, 0.0), (0.3, 0.2), (1.01, 0.0)] {
                let path = spectrum.descent_path(&start, l2);
                for steps in [0, 1, 2, 17, 200] {
                    let weights = descend(&problem, &start, rate, l2, steps);
                    let (exact, found) = (path.loss(rate, steps), problem.loss(&weights, l2));
                    // The power multiplies the rounding of an eigenvalue by its exponent.
                    let tolerance = 1e-15 * (100 + 2 * steps) as f64;
                    let scale = path.loss(rate, 0).max(exact);
                    assert!((exact - found).abs() < tolerance * scale, "{exact} {found}");
                    let ridge = spectrum.ridge_solution(l2);
                    let distance = super::super::vector::distance(&weights, &ridge);
                    let scale = path.distance(rate, 0).max(distance);
                    assert!((path.distance(rate, steps) - distance).abs() < tolerance * scale);
                }
            }
        }
    }

    #[test]
    fn one_direction_shrinks_by_its_factor_each_step() {
        // μ = 1, c = 2, η = ½: the excess is ½·2²·¼^k = 2·4^{−k}.
        let path = DescentPath::new(3.0, vec![(1.0, 2.0)]);
        assert_eq!(path.minimum(), 3.0);
        assert_eq!(path.loss(0.5, 0), 5.0);
        assert!((path.excess_loss(0.5, 5) / (2.0 / 1024.0) - 1.0).abs() < 1e-14);
        assert!((path.distance(0.5, 3) - 0.25).abs() < 1e-15);
        // At η = 1/μ it is gone after one step, and past 2/μ it grows without bound.
        assert_eq!(path.excess_loss(1.0, 1), 0.0);
        assert_eq!(path.loss(4.0, 1_000_000), f64::INFINITY);
    }

    #[test]
    fn a_direction_that_the_start_is_not_in_stays_0_where_its_factor_overflows() {
        let path = DescentPath::new(1.0, vec![(1.0, 0.0), (0.5, 2.0)]);
        // Factors 2^10000 and ½^10000.
        assert_eq!((path.loss(3.0, 10_000), path.distance(3.0, 10_000)), (1.0, 0.0));
    }

    #[test]
    fn a_long_path_keeps_its_digits() {
        // (1 − 10⁻⁹)^{2·10⁹} = e^{−2(1 + 5·10⁻¹⁰ + …)}.
        let path = DescentPath::new(0.0, vec![(2.0, 1.0)]);
        let exact = (2e9 * (-1e-9_f64).ln_1p()).exp();
        let found = path.excess_loss(0.5e-9, 1_000_000_000);
        assert!((found / exact - 1.0).abs() < 1e-14);
    }
}
