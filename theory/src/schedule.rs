//! The learning rate of each step, from the run's own rate η.
//!
//! A run of `T` steps makes the updates `t = 0, 1, …, T−1`; the update that turns `w_t` into
//! `w_{t+1}` uses the rate at progress `p = t/T`. The first update therefore uses η itself, and
//! under a schedule that ends at 0 the last one uses the rate at `(T−1)/T`: nearly, but not
//! exactly, 0, so that no update is wasted. (PyTorch's `LinearLR` from 1 to 0 and
//! `CosineAnnealingLR` with `T_max = T` and one scheduler step per update give the same rates.)

use serde::{Deserialize, Serialize};

/// How the learning rate changes over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// η at every step.
    #[default]
    Constant,
    /// `η·(1 − t/T)`.
    Linear,
    /// `η·½(1 + cos(π·t/T))`.
    Cosine,
}

impl Schedule {
    /// The rate of update `step` (from 0) of `total_steps`. From `step = total_steps` on it is what
    /// the schedule ends at: `rate` under a constant schedule, else 0.
    pub fn rate(self, rate: f64, step: u64, total_steps: u64) -> f64 {
        match self {
            Self::Constant => rate,
            _ if step >= total_steps => 0.0,
            Self::Linear => rate * ((total_steps - step) as f64 / total_steps as f64),
            Self::Cosine => {
                // ½(1 + cos 2x) = cos²x, which keeps its relative accuracy where it is close to 0.
                let cosine = (std::f64::consts::FRAC_PI_2 * (step as f64 / total_steps as f64)).cos();
                rate * cosine * cosine
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schedule_starts_at_the_full_rate() {
        for schedule in [Schedule::Constant, Schedule::Linear, Schedule::Cosine] {
            assert_eq!(schedule.rate(0.3, 0, 1), 0.3);
            assert_eq!(schedule.rate(0.3, 0, 1000), 0.3);
        }
    }

    #[test]
    fn a_constant_schedule_never_changes() {
        assert_eq!(Schedule::Constant.rate(0.3, 999, 1000), 0.3);
        assert_eq!(Schedule::Constant.rate(0.3, 5000, 1000), 0.3);
    }

    #[test]
    fn linear_and_cosine_pass_half_the_rate_in_the_middle_and_end_next_to_zero() {
        assert_eq!(Schedule::Linear.rate(2.0, 50, 100), 1.0);
        assert!((Schedule::Cosine.rate(2.0, 50, 100) - 1.0).abs() < 1e-15);
        assert!((Schedule::Linear.rate(1.0, 99, 100) - 0.01).abs() < 1e-17);
        let last = Schedule::Cosine.rate(1.0, 9_999, 10_000);
        let expected = (std::f64::consts::PI / 20_000.0).powi(2);
        assert!((last / expected - 1.0).abs() < 1e-7, "{last}");
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            assert_eq!(schedule.rate(1.0, 100, 100), 0.0);
            assert_eq!(schedule.rate(1.0, 0, 0), 0.0);
        }
    }

    #[test]
    fn decaying_rates_never_rise() {
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            let rates: Vec<f64> = (0..=777).map(|t| schedule.rate(0.7, t, 777)).collect();
            assert!(rates.windows(2).all(|pair| pair[1] < pair[0]));
        }
    }
}
