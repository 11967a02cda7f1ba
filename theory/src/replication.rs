//! What the same setting comes to under several seeds, and whether two settings differ by more than their seeds do.
//!
//! The values of one setting are taken as independent draws of one distribution, each setting with a variance of its own: Student's interval
//! for a mean, and Welch's for the difference of two (Welch 1947). With the few seeds that runs have, the quantiles of the t distribution
//! matter: for two values it is 12.7 standard errors and not 1.96.

use std::f64::consts::PI;

/// How the verdict on two settings is come to, for people.
pub const WELCH: &str =
    "Welch's t interval at 95 %: (x̄ − ȳ) ± t₀.₉₇₅(ν)·√(s²ₓ/n + s²ᵧ/m), ν = (s²ₓ/n + s²ᵧ/m)²/((s²ₓ/n)²/(n−1) + (s²ᵧ/m)²/(m−1))";
/// The share of the t distribution below the upper end of a 95 % interval.
const UPPER: f64 = 0.975;

/// The values of one setting over its seeds, summed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub n: usize,
    pub mean: f64,
    /// With n − 1; 0 for a single value, which tells nothing of a spread.
    pub standard_deviation: f64,
}

/// A difference of two means with its interval at 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// First mean minus second mean.
    pub difference: f64,
    pub low: f64,
    pub high: f64,
    /// ν of the t distribution; not a whole number.
    pub degrees_of_freedom: f64,
}

impl Sample {
    /// Of finite values; `None` without any, or where one is not finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let n = values.len() as f64;
        // Shifted by the first value, so that a mean far from 0 costs no digits.
        let mean = values[0] + values.iter().map(|value| value - values[0]).sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        let standard_deviation = if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 };
        Some(Self { n: values.len(), mean, standard_deviation })
    }

    /// s²/n, the variance of the mean.
    fn mean_variance(&self) -> f64 {
        self.standard_deviation.powi(2) / self.n as f64
    }

    /// Student's interval of the mean at 95 %: `x̄ ± t₀.₉₇₅(n − 1)·s/√n`; `None` for fewer than two values.
    pub fn interval(&self) -> Option<(f64, f64)> {
        if self.n < 2 {
            return None;
        }
        let half = t_quantile(UPPER, (self.n - 1) as f64) * self.mean_variance().sqrt();
        Some((self.mean - half, self.mean + half))
    }

    /// [`WELCH`] for the mean of `self` minus that of `other`; `None` where one of them has fewer than two values.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        if self.n < 2 || other.n < 2 {
            return None;
        }
        let (a, b) = (self.mean_variance(), other.mean_variance());
        let (below_a, below_b) = ((self.n - 1) as f64, (other.n - 1) as f64);
        let spread = a.powi(2) / below_a + b.powi(2) / below_b;
        // Where nothing varies, any number of degrees comes to the same interval, a point.
        let degrees_of_freedom = if spread > 0.0 { (a + b).powi(2) / spread } else { below_a + below_b };
        let half = t_quantile(UPPER, degrees_of_freedom) * (a + b).sqrt();
        let difference = self.mean - other.mean;
        Some(Difference { difference, low: difference - half, high: difference + half, degrees_of_freedom })
    }
}

impl Difference {
    /// Whether seeds alone explain the difference: the interval holds 0.
    pub fn is_within_noise(&self) -> bool {
        self.low <= 0.0 && self.high >= 0.0
    }
}

/// The number that a share `p` (½ < p < 1) of the t distribution with `degrees` of freedom lies below.
pub fn t_quantile(p: f64, degrees: f64) -> f64 {
    let share_above = 1.0 - p;
    let above = |t: f64| 0.5 * incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5);
    let (mut low, mut high) = (0.0, 1.0);
    while above(high) > share_above && high < 1e300 {
        high *= 2.0;
    }
    // Halving ends at two neighbouring doubles.
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        if above(middle) > share_above { low = middle } else { high = middle }
    }
}

/// I_x(a, b), the regularized incomplete beta function, by its continued fraction (Press et al., Numerical Recipes, §6.4).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) { front * beta_fraction(x, a, b) / a } else { 1.0 - front * beta_fraction(1.0 - x, b, a) / b }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away_from_zero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            change = c * d;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    fraction
}

/// ln Γ(x) for x > 0, by Lanczos' approximation with g = 7 and nine terms, good to 15 digits.
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        return (PI / (PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let sum = TERMS[1..].iter().zip(1..).fold(TERMS[0], |sum, (term, i)| sum + term / (x + f64::from(i)));
    let t = x + 7.5;
    0.5 * (2.0 * PI).ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, relative: f64) -> bool {
        (a - b).abs() <= relative * b.abs()
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let table = [
            (1.0, 12.706_204_736_174_7),
            (2.0, 4.302_652_729_749_46),
            (3.0, 3.182_446_305_284_26),
            (4.5, 2.658_912_347_2),
            (10.0, 2.228_138_851_964_94),
            (30.0, 2.042_272_456_301_24),
            (1e6, 1.959_966_356_814_15),
        ];
        for (degrees, expected) in table {
            assert!(near(t_quantile(0.975, degrees), expected, 1e-9), "{degrees}: {}", t_quantile(0.975, degrees));
        }
        // One degree of freedom is Cauchy's distribution, whose quantile is a tangent.
        assert!(near(t_quantile(0.9, 1.0), (PI * 0.4).tan(), 1e-12));
    }

    #[test]
    fn a_mean_has_the_interval_of_student() {
        let sample = Sample::of(&[1e9 + 1.0, 1e9 + 2.0, 1e9 + 3.0]).unwrap();
        assert_eq!((sample.n, sample.mean, sample.standard_deviation), (3, 1e9 + 2.0, 1.0));
        let (low, high) = sample.interval().unwrap();
        assert!(near(high - low, 2.0 * 4.302_652_729_749_46 / 3.0_f64.sqrt(), 1e-6));
        assert_eq!(Sample::of(&[4.0]).unwrap().interval(), None);
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(Sample::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_difference_has_the_interval_of_welch() {
        let (a, b) = (Sample::of(&[1.0, 2.0, 3.0]).unwrap(), Sample::of(&[2.0, 6.0, 4.0, 8.0]).unwrap());
        let found = a.difference(&b).unwrap();
        // Variances of the means 1/3 and 5/3: ν = 4/((1/9)/2 + (25/9)/3) = 4/(53/54).
        assert!(near(found.degrees_of_freedom, 4.0 * 54.0 / 53.0, 1e-12), "{found:?}");
        assert!(near(found.difference, -3.0, 1e-12));
        assert!(near(found.high - found.low, 2.0 * t_quantile(0.975, 216.0 / 53.0) * 2.0_f64.sqrt(), 1e-12));
        assert!(found.is_within_noise());
    }

    #[test]
    fn far_means_are_no_noise_and_equal_ones_are() {
        let sample = |values: &[f64]| Sample::of(values).unwrap();
        assert!(!sample(&[0.0, 0.1]).difference(&sample(&[10.0, 10.1])).unwrap().is_within_noise());
        let same = sample(&[0.5, 0.5]);
        assert!(same.difference(&same).unwrap().is_within_noise());
        assert!(!same.difference(&sample(&[0.6, 0.6])).unwrap().is_within_noise());
        assert_eq!(same.difference(&sample(&[0.6])), None);
    }
}
