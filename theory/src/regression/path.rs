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

    /// `‖∇L̃(w_k)‖ = √(Σ_i (μ_i(1 − ημ_i)^k c_i)²)`.
    pub fn gradient_norm(&self, rate: f64, step: u64) -> f64 {
        let square = |(curvature, coordinate): &(f64, f64)| {
            let slope = curvature * coordinate * shrinkage(rate * curvature, step);
            slope * slope
        };
        self.modes.iter().map(square).sum::<f64>().sqrt()
    }

    /// The first step, up to `most`, at which the gradient's norm is at most `tolerance`.
    ///
    /// None where it is not that small by then, where the tolerance is 0, or where the rate lets a
    /// mode grow.
    pub fn steps_to_gradient(&self, rate: f64, tolerance: f64, most: u64) -> Option<u64> {
        if self.gradient_norm(rate, 0) <= tolerance {
            return Some(0);
        }
        let grows = |(curvature, _): &(f64, f64)| rate * curvature > 2.0;
        if tolerance <= 0.0 || self.modes.iter().any(grows) || self.gradient_norm(rate, most) > tolerance {
            return None;
        }
        // No mode grows, so the norm does not rise. It is over the tolerance at `above`, not at `below`.
        let (mut above, mut below) = (0, most);
        while below - above > 1 {
            let middle = above + (below - above) / 2;
            if self.gradient_norm(rate, middle) <= tolerance { below = middle } else { above = middle }
        }
        Some(below)
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

    /// `dL̃(w_k)/dη = −k·Σ_i μ_i²·(1 − ημ_i)^{2k−1}·c_i²` at `rate`, which rises with the rate.
    pub fn rate_derivative(&self, rate: f64, step: u64) -> f64 {
        let Some(exponent) = (2 * step).checked_sub(1) else { return 0.0 };
        let derivative = |(curvature, coordinate): &(f64, f64)| {
            let x = rate * curvature;
            let power = shrinkage(x, exponent).copysign(1.0 - x);
            let pull = curvature * coordinate;
            -(step as f64) * power * pull * pull
        };
        self.modes.iter().map(derivative).sum()
    }

    /// `d²L̃(w_k)/dη² = k(2k − 1)·Σ_i μ_i³·(1 − ημ_i)^{2k−2}·c_i²` at `rate`: at least 0, as the loss is convex in the rate.
    pub fn rate_curvature(&self, rate: f64, step: u64) -> f64 {
        let Some(exponent) = (2 * step).checked_sub(2) else { return 0.0 };
        let factor = step as f64 * (2 * step - 1) as f64;
        let second = |(curvature, coordinate): &(f64, f64)| {
            let pull = curvature * coordinate;
            factor * curvature * shrinkage(rate * curvature, exponent) * pull * pull
        };
        self.modes.iter().map(second).sum()
    }

    /// The one rate that makes `L̃(w_k)` least, to the last bit that its derivative tells; where that underflows to 0 over a range of
    /// rates, the middle of them. It lies between 0 and `2/μ_min`, where `μ_min` is the least curvature that the start feels, and may
    /// exceed the stability limit `2/μ_max`.
    ///
    /// None without a step, and where no rate changes the loss.
    pub fn best_rate(&self, step: u64) -> Option<f64> {
        let (_, highest) = self.rates_of_return(step)?;
        let falls = bisect(0.0, highest, |rate| self.rate_derivative(rate, step) < 0.0);
        let rises = bisect(0.0, highest, |rate| self.rate_derivative(rate, step) <= 0.0);
        Some(0.5 * (falls + rises))
    }

    /// The rate over 0 at which `k` steps end at the loss that they started with; all rates below it lower the loss.
    ///
    /// None without a step, and where no rate changes the loss.
    pub fn break_even_rate(&self, step: u64) -> Option<f64> {
        let (lowest, highest) = self.rates_of_return(step)?;
        let start = self.excess_loss(0.0, step);
        Some(bisect(lowest, highest, |rate| self.excess_loss(rate, step) < start))
    }

    /// `2/μ_max` and `2/μ_min` of the directions that a step moves in: at the first none has grown, at the second none has shrunk.
    fn rates_of_return(&self, step: u64) -> Option<(f64, f64)> {
        let curvatures = self.modes.iter().map(|(curvature, _)| *curvature).filter(|curvature| *curvature > 0.0);
        let (least, greatest) =
            curvatures.fold((f64::INFINITY, 0.0_f64), |(least, greatest), curvature| (least.min(curvature), greatest.max(curvature)));
        (step > 0 && greatest > 0.0).then_some((2.0 / greatest, 2.0 / least))
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

/// The number between `low` and `high` where `is_below` turns false, to the last bit.
fn bisect(mut low: f64, mut high: f64, is_below: impl Fn(f64) -> bool) -> f64 {
    loop {
        let middle = low + 0.5 * (high - low);
        if middle <= low || middle >= high {
            return high;
        }
        if is_below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
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
    fn the_steps_to_a_tolerance_are_those_of_gradient_descent_itself() {
        let made = SyntheticProblem { examples: 30, features: 12, condition: 15.0, noise: 0.2, seed: 8 };
        let problem = made.generate().unwrap().0;
        let path = Spectrum::of(&problem).unwrap().descent_path(&[0.0; 12], 0.01);
        let mut gradient = [0.0; 12];
        let norm_after = |steps, gradient: &mut [f64]| {
            problem.loss_and_gradient(&descend(&problem, &[0.0; 12], 0.7, 0.01, steps), 0.01, gradient);
            super::super::vector::norm(gradient)
        };
        for steps in [0, 1, 10, 60] {
            let norm = norm_after(steps, &mut gradient);
            assert!((path.gradient_norm(0.7, steps) / norm - 1.0).abs() < 1e-9);
            assert_eq!(path.steps_to_gradient(0.7, norm * (1.0 + 1e-8), 1000), Some(steps));
            assert_eq!(path.steps_to_gradient(0.7, norm * (1.0 - 1e-8), 1000), Some(steps + 1));
        }
        assert_eq!(path.steps_to_gradient(0.7, 1e-9, 20), None);
        assert_eq!(path.steps_to_gradient(0.7, 0.0, u64::MAX), None);
        assert_eq!(path.steps_to_gradient(1.1, 1e-3, u64::MAX), None);
    }

    #[test]
    fn a_direction_that_the_start_is_not_in_stays_0_where_its_factor_overflows() {
        let path = DescentPath::new(1.0, vec![(1.0, 0.0), (0.5, 2.0)]);
        // Factors 2^10000 and ½^10000.
        assert_eq!((path.loss(3.0, 10_000), path.distance(3.0, 10_000)), (1.0, 0.0));
    }

    #[test]
    fn derivatives_in_the_rate_are_those_of_the_loss() {
        let path = DescentPath::new(0.25, vec![(2.0, 1.0), (0.5, -3.0), (0.1, 2.0), (0.0, 7.0)]);
        for step in [1, 2, 10] {
            for rate in [0.05, 0.7, 1.3] {
                let h = 1e-5;
                let differences = |f: &dyn Fn(f64) -> f64| (f(rate + h) - f(rate - h)) / (2.0 * h);
                let (first, second) = (path.rate_derivative(rate, step), path.rate_curvature(rate, step));
                assert!((differences(&|rate| path.loss(rate, step)) - first).abs() < 1e-7 * second, "{step} {rate}");
                assert!((differences(&|rate| path.rate_derivative(rate, step)) / second - 1.0).abs() < 1e-6, "{step} {rate}");
            }
        }
        assert_eq!((path.rate_derivative(0.3, 0), path.rate_curvature(0.3, 0)), (0.0, 0.0));
    }

    #[test]
    fn the_best_rate_is_the_bottom_of_the_bowl_and_the_break_even_rate_its_rim() {
        // One direction of curvature 2 is gone after one step of ½, and comes back as it was at 1.
        let single = DescentPath::new(0.0, vec![(2.0, 3.0)]);
        for step in [1, 7, 1000] {
            assert!((single.best_rate(step).unwrap() - 0.5).abs() < 1e-15);
            assert!((single.break_even_rate(step).unwrap() - 1.0).abs() < 1e-15);
        }
        // Σ μ²(1 − ημ)c² = 0 at η = Σ μ²c²/Σ μ³c².
        let path = DescentPath::new(1.0, vec![(2.0, 1.0), (0.5, -3.0), (0.0, 5.0)]);
        let exact = (4.0 + 0.25 * 9.0) / (8.0 + 0.125 * 9.0);
        assert!((path.best_rate(1).unwrap() / exact - 1.0).abs() < 1e-15);
        // A loss made of the flat direction alone gains from a rate over the stability limit of the steep one.
        let flat = DescentPath::new(0.0, vec![(2.0, 1e-3), (0.1, 1.0)]);
        let best = flat.best_rate(2).unwrap();
        assert!(best > 1.0, "{best}");
        for rate in [0.9 * best, 1.1 * best] {
            assert!(flat.loss(rate, 2) > flat.loss(best, 2));
        }
        let rim = flat.break_even_rate(2).unwrap();
        assert!(rim > best && (flat.loss(rim, 2) / flat.loss(0.0, 2) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_path_that_no_rate_changes_has_no_best_one() {
        for path in [DescentPath::new(1.0, vec![]), DescentPath::new(1.0, vec![(0.0, 2.0)])] {
            assert_eq!((path.best_rate(3), path.break_even_rate(3)), (None, None));
        }
        assert_eq!(DescentPath::new(1.0, vec![(1.0, 1.0)]).best_rate(0), None);
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
