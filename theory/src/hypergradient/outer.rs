//! The outer loop: how the next learning rate follows from the hypergradients so far.
//!
//! `L̃_k(η)` is convex, so its derivative rises with η and has one root, the best rate. Both rules here are pure functions of the points
//! they are shown.

/// A rate and the hypergradient there.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    rate: f64,
    slope: f64,
}

/// What to do after a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Look at this rate.
    At(f64),
    /// The last rate is the best one, to the digits that the hypergradient tells.
    Settled,
}

/// Root finding on the hypergradient: secants, kept inside a bracket.
///
/// The derivative at η = 0 is known without a step and is negative, so 0 is the first lower end. Until a rate with a positive
/// hypergradient is found, each next rate is at least 1.5 and at most 4 times the one before. From then on a secant is taken where it
/// stays inside the bracket and moves less than half as far as the step before the last did (the rule of T. J. Dekker and R. P. Brent,
/// "Algorithms for minimization without derivatives", 1973, chapter 4), and the middle of the bracket otherwise.
///
/// A short secant alone does not mean that the root is near: with many steps the hypergradient spans a hundred decades, and a line
/// from far up seems to cross 0 at its lower point. So the search looks a little beyond, and has settled only when the bracket is that
/// narrow, at the better end of it. A hypergradient that is not finite belongs to a rate so large that the loss overflowed.
#[derive(Clone, Debug, PartialEq)]
pub struct SecantSearch {
    below: Point,
    above: Option<Point>,
    last: Point,
    /// The lengths of the step before the last and of the last one.
    moved: [f64; 2],
}

/// The shortest step of a [`SecantSearch`], as a share of the rate; it has settled in a bracket of two of them.
const SECANT_RESOLUTION: f64 = 1e-12;
/// The share of the rate under which [`LogDescent`] takes its distance to the root for none.
const DESCENT_RESOLUTION: f64 = 1e-9;

impl SecantSearch {
    /// A search that knows the hypergradient at η = 0.
    pub fn new(slope_at_zero: f64) -> Self {
        let zero = Point { rate: 0.0, slope: slope_at_zero };
        Self { below: zero, above: None, last: zero, moved: [f64::INFINITY; 2] }
    }

    /// Takes the hypergradient at the rate that was looked at, and says where to look next.
    pub fn next(&mut self, rate: f64, hypergradient: f64) -> Next {
        let slope = if hypergradient.is_nan() { f64::INFINITY } else { hypergradient };
        let (before, point) = (self.last, Point { rate, slope });
        self.last = point;
        if slope == 0.0 {
            return Next::Settled;
        }
        if slope < 0.0 {
            self.below = point;
        } else {
            self.above = Some(point);
        }
        let secant = secant(before, point);
        let shortest = SECANT_RESOLUTION * rate;
        let is_short = |root: &f64| (root - rate).abs() < shortest;
        let next = match self.above {
            None if secant.as_ref().is_some_and(is_short) => rate + 2.0 * shortest,
            None => secant.unwrap_or(f64::INFINITY).clamp(1.5 * rate, 4.0 * rate),
            Some(above) => {
                if above.rate - self.below.rate <= 2.0 * SECANT_RESOLUTION * above.rate {
                    // The end that is nearer to the root is looked at again where it was not the last.
                    let nearer = if above.slope < -self.below.slope { above } else { self.below };
                    return if nearer == point { Next::Settled } else { Next::At(nearer.rate) };
                }
                let inside = |root: &f64| *root > self.below.rate && *root < above.rate;
                let converges = |root: &f64| (root - rate).abs() < 0.5 * self.moved[0];
                let root = secant.filter(inside).filter(converges);
                match root.unwrap_or(0.5 * (self.below.rate + above.rate)) {
                    root if !is_short(&root) => root,
                    _ if slope < 0.0 => rate + shortest,
                    _ => rate - shortest,
                }
            }
        };
        self.moved = [self.moved[1], (next - rate).abs()];
        Next::At(next)
    }
}

/// Gradient descent on `log η` and the share of the first loss that is left: `log η ← log η − (ρ/L̃_0)·dL̃_k/d log η`, where `dL̃_k/d log η
/// = η·dL̃_k/dη`. Of the share, so that ρ does not depend on the unit of t: with one step, ρ < 1 is stable. It has settled where the
/// secant through its last two points crosses 0 next to the last.
#[derive(Clone, Debug, PartialEq)]
pub struct LogDescent {
    /// ρ/L̃_0.
    outer_rate: f64,
    last: Option<Point>,
}

impl LogDescent {
    /// A descent with the rate ρ from the loss `L̃_0 = L̃(w_0)`.
    pub fn new(outer_rate: f64, first_loss: f64) -> Self {
        Self { outer_rate: outer_rate / first_loss, last: None }
    }

    /// Takes the hypergradient at the rate that was looked at, and says where to look next. A descent that runs away comes to rates of
    /// 0, ∞ or NaN.
    pub fn next(&mut self, rate: f64, hypergradient: f64) -> Next {
        let point = Point { rate, slope: hypergradient };
        let root = self.last.replace(point).and_then(|before| secant(before, point));
        let settled = root.is_some_and(|root| (root - rate).abs() <= DESCENT_RESOLUTION * rate);
        if settled || hypergradient == 0.0 {
            return Next::Settled;
        }
        Next::At(rate * (-self.outer_rate * rate * hypergradient).exp())
    }
}

/// Where the line through two points crosses 0; none where that is not a number.
fn secant(one: Point, other: Point) -> Option<f64> {
    let root = other.rate - other.slope * (other.rate - one.rate) / (other.slope - one.slope);
    root.is_finite().then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until the search settles; the last rate, and how many it looked at.
    fn find(slope: impl Fn(f64) -> f64, mut rate: f64, mut next: impl FnMut(f64, f64) -> Next) -> (f64, usize) {
        for looked in 1..1000 {
            match next(rate, slope(rate)) {
                Next::Settled => return (rate, looked),
                Next::At(other) => rate = other,
            }
        }
        panic!("not settled at {rate}");
    }

    /// The derivative of `Σ a(1 − ημ)^{2k}` in η, up to the factor 2k.
    fn slope(modes: &[(f64, f64)], steps: i32) -> impl Fn(f64) -> f64 {
        move |rate: f64| modes.iter().map(|(a, mu)| -a * mu * (1.0 - rate * mu).powi(2 * steps - 1)).sum()
    }

    #[test]
    fn a_straight_hypergradient_is_solved_by_one_secant() {
        let (root, looked) = find(|rate| 3.0 * (rate - 0.02), 0.01, {
            let mut search = SecantSearch::new(-0.06);
            move |rate, slope| search.next(rate, slope)
        });
        assert!((root / 0.02 - 1.0).abs() < 1e-11 && looked <= 6, "{root} {looked}");
    }

    #[test]
    fn the_root_is_found_from_far_below_and_far_above_and_past_an_overflow() {
        let modes = [(1.0, 2.0), (3.0, 0.7), (1.0, 0.1)];
        for steps in [1, 2, 10, 100, 1000] {
            let slope = slope(&modes, steps);
            let found = [1e-6, 0.01, 0.9, 5.0, 1e4, 1e6].map(|start| {
                let mut search = SecantSearch::new(slope(0.0));
                find(&slope, start, |rate, hypergradient| search.next(rate, hypergradient))
            });
            for (root, looked) in found {
                assert!((root / found[0].0 - 1.0).abs() < 1e-9, "{steps}: {found:?}");
                assert!(looked < 120, "{steps}: {found:?}");
                assert!(slope(root * (1.0 - 1e-6)) < 0.0 && slope(root * (1.0 + 1e-6)) > 0.0);
            }
        }
    }

    #[test]
    fn a_search_ends_at_the_best_point_that_it_saw() {
        let slope = slope(&[(1.0, 2.0), (3.0, 0.7), (1.0, 0.1)], 10);
        let (mut search, mut rate, mut seen) = (SecantSearch::new(slope(0.0)), 0.01, Vec::new());
        loop {
            seen.push(slope(rate).abs());
            match search.next(rate, slope(rate)) {
                Next::At(next) => rate = next,
                Next::Settled => break,
            }
        }
        assert!(seen.iter().all(|other| seen.last() <= Some(other)), "{seen:?}");
    }

    #[test]
    fn rounding_noise_does_not_keep_a_search_from_its_end() {
        let slope = |rate: f64| (rate - 0.3) + 1e-9 * (rate * 1e17).sin();
        let mut search = SecantSearch::new(slope(0.0));
        let (root, looked) = find(slope, 0.01, |rate, hypergradient| search.next(rate, hypergradient));
        assert!((root - 0.3).abs() < 1e-8 && looked < 200, "{root} {looked}");
    }

    #[test]
    fn descent_on_the_logarithm_comes_to_the_same_root() {
        let slope = slope(&[(1.0, 2.0), (3.0, 0.7)], 5);
        let mut search = SecantSearch::new(slope(0.0));
        let (exact, _) = find(&slope, 0.1, |rate, hypergradient| search.next(rate, hypergradient));
        let mut descent = LogDescent::new(0.6, 2.0);
        let (root, _) = find(&slope, 0.1, |rate, hypergradient| descent.next(rate, hypergradient));
        assert!((root / exact - 1.0).abs() < 1e-7, "{root} {exact}");
    }

    #[test]
    fn a_root_that_was_hit_is_settled_at_once() {
        assert_eq!(SecantSearch::new(-1.0).next(0.5, 0.0), Next::Settled);
        assert_eq!(LogDescent::new(0.1, 0.0).next(0.5, 0.0), Next::Settled);
    }
}
