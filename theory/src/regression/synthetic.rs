//! Problems with a prescribed spectrum.
//!
//! `X = U·diag(s)·Vᵀ` with `k = min(n, d)` singular values. U (n×k) and V (d×k) are the Q factors
//! of Gaussian matrices, signs fixed so that R has a positive diagonal, which makes them uniform
//! over all orthonormal frames. Neither is ever formed: the Householder reflections of a Gaussian
//! matrix's QR factorization are those of independent Gaussian vectors of falling length (G. W.
//! Stewart, "The efficient generation of random orthogonal matrices", 1980), and they are applied
//! to `diag(s)` directly. That costs about `2k·n·d` multiply-adds and keeps the singular values to
//! rounding. Reflections from the left work on each column by itself, those from the right on each
//! row, so that a few columns or rows that fit the cache take all of them at once. The sums run in one
//! fixed order, whatever the block: a problem is the same bits on any number of threads.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::problem::{Problem, ProblemError};
use super::vector::{add_scaled, dot, norm};
use crate::random::{Generator, Purpose};

/// What defines a synthetic problem: the eigenvalues of `H = (2/n)·XᵀX` that are not 0 are
/// log-spaced from 2 down to `2/condition`, and `t = X·w_true + noise·N(0, 1)` with `w_true`
/// standard normal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyntheticProblem {
    /// n, at least 1.
    pub examples: usize,
    /// d, at least 1.
    pub features: usize,
    /// `λ_max/λ_min⁺` of H, at least 1; exactly 1 where `min(n, d) = 1`, as there is one
    /// eigenvalue.
    pub condition: f64,
    /// The standard deviation of the targets' noise, at least 0.
    pub noise: f64,
    /// Chooses U, V, the true weights and the noise.
    pub seed: u64,
}

/// Why there is no such problem.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
pub enum SyntheticError {
    #[error("the condition number must be finite and at least 1, not {0}")]
    Condition(f64),
    #[error("a problem with one example or one feature has one eigenvalue, so its condition number is 1, not {0}")]
    SingleEigenvalue(f64),
    #[error("the noise must be finite and at least 0, not {0}")]
    Noise(f64),
    #[error("{examples} examples of {features} features are too many for the memory's addresses")]
    TooLarge { examples: usize, features: usize },
    #[error(transparent)]
    Problem(#[from] ProblemError),
}

/// Columns that take the reflections from the left together, and rows those from the right.
const COLUMNS: usize = 32;
const ROWS: usize = 16;
/// The multiply-adds from which on a problem is made on all threads.
const WORTH_THREADS: f64 = 1e7;

impl SyntheticProblem {
    /// The nonzero eigenvalues of H, `min(n, d)` of them, falling: `2·condition^{−i/(k−1)}`.
    pub fn eigenvalues(&self) -> impl Iterator<Item = f64> {
        let count = self.examples.min(self.features);
        let condition = self.condition;
        let last = count.saturating_sub(1).max(1) as f64;
        (0..count).map(move |index| 2.0 * condition.powf(-(index as f64) / last))
    }

    /// Checks the numbers that define the problem without making it.
    pub fn validate(&self) -> Result<(), SyntheticError> {
        if self.examples == 0 || self.features == 0 {
            return Err(ProblemError::Empty.into());
        }
        if !self.condition.is_finite() || self.condition < 1.0 {
            return Err(SyntheticError::Condition(self.condition));
        }
        if self.examples.min(self.features) == 1 && self.condition != 1.0 {
            return Err(SyntheticError::SingleEigenvalue(self.condition));
        }
        if !self.noise.is_finite() || self.noise < 0.0 {
            return Err(SyntheticError::Noise(self.noise));
        }
        let values = self.examples.checked_mul(self.features);
        if values.is_none_or(|values| values > isize::MAX as usize / size_of::<f64>()) {
            return Err(SyntheticError::TooLarge { examples: self.examples, features: self.features });
        }
        Ok(())
    }

    /// The problem and `w_true`. Drawn from the stream (seed, [`Purpose::Problem`], 0) in this
    /// order: the Gaussian vectors of U, those of V, `w_true`, the noise.
    pub fn generate(&self) -> Result<(Problem, Vec<f64>), SyntheticError> {
        self.validate()?;
        let (examples, features) = (self.examples, self.features);
        let count = examples.min(features);
        let mut generator = Generator::new(self.seed, Purpose::Problem, 0);
        let left: Vec<Reflection> = draw_reflections(&mut generator, examples, count);
        let right: Vec<Reflection> = draw_reflections(&mut generator, features, count);

        // λ = 2s²/n.
        let singular_value = |eigenvalue: f64| (eigenvalue * examples as f64 / 2.0).sqrt();
        let values = self.eigenvalues().map(singular_value);
        let diagonal: Vec<f64> = values.zip(left.iter().zip(&right)).map(|(s, (left, right))| left.sign * right.sign * s).collect();
        let mut x = vec![0.0; examples * features];
        let parallel = 2.0 * count as f64 * x.len() as f64 >= WORTH_THREADS;
        let column_blocks = reflect_columns(&diagonal, &left, examples, parallel);
        let row_block = |(block, rows): (usize, &mut [f64])| {
            for (row, values) in rows.chunks_exact_mut(features).enumerate() {
                let row = block * ROWS + row;
                for (columns, part) in values.chunks_mut(COLUMNS).zip(&column_blocks) {
                    let width = part.len() / examples;
                    columns[..width].copy_from_slice(&part[row * width..][..width]);
                }
            }
            for (index, reflection) in right.iter().enumerate().rev() {
                for row in rows.chunks_exact_mut(features) {
                    reflection.apply(&mut row[index..]);
                }
            }
        };
        if parallel {
            x.par_chunks_mut(ROWS * features).enumerate().for_each(row_block);
        } else {
            x.chunks_mut(ROWS * features).enumerate().for_each(row_block);
        }

        let true_weights: Vec<f64> = (0..features).map(|_| generator.normal()).collect();
        let t = x.chunks_exact(features).map(|row| dot(row, &true_weights) + self.noise * generator.normal()).collect();
        Ok((Problem::new(x, t, features)?, true_weights))
    }
}

/// `U·diag(diagonal)`, row-major in blocks of [`COLUMNS`] columns; the last may be narrower.
fn reflect_columns(diagonal: &[f64], left: &[Reflection], examples: usize, parallel: bool) -> Vec<Vec<f64>> {
    let block = |first: usize| {
        let width = COLUMNS.min(diagonal.len() - first);
        let mut columns = vec![0.0; examples * width];
        for (offset, value) in diagonal[first..][..width].iter().enumerate() {
            columns[(first + offset) * width + offset] = *value;
        }
        let mut sums = [0.0; COLUMNS];
        // Before reflection `index`, rows from `index` on hold nothing but zeros left of column
        // `index`.
        for (index, reflection) in left[..first + width].iter().enumerate().rev() {
            reflection.apply_to_columns(&mut columns[index * width..], width, index.saturating_sub(first), &mut sums[..width]);
        }
        columns
    };
    let blocks = diagonal.len().div_ceil(COLUMNS);
    if parallel {
        (0..blocks).into_par_iter().map(|index| block(index * COLUMNS)).collect()
    } else {
        (0..blocks).map(|index| block(index * COLUMNS)).collect()
    }
}

/// The Householder reflection `I − 2vvᵀ` (‖v‖ = 1) that takes a Gaussian vector to a multiple of
/// the first axis, and the sign of that multiple: the sign of R's diagonal element, which Q's
/// column takes over when the diagonal is made positive.
struct Reflection {
    v: Vec<f64>,
    sign: f64,
}

/// The reflections of the QR factorization of a `length`×`count` Gaussian matrix; the i-th acts on
/// coordinates `i..length`.
fn draw_reflections(generator: &mut Generator, length: usize, count: usize) -> Vec<Reflection> {
    (0..count)
        .map(|index| {
            let mut v: Vec<f64> = (index..length).map(|_| generator.normal()).collect();
            let away = 1.0_f64.copysign(v[0]);
            v[0] += away * norm(&v);
            let scale = 1.0 / norm(&v);
            v.iter_mut().for_each(|value| *value *= scale);
            Reflection { v, sign: -away }
        })
        .collect()
}

impl Reflection {
    /// `a ← (I − 2vvᵀ)a`.
    fn apply(&self, a: &mut [f64]) {
        let projection = dot(a, &self.v);
        add_scaled(a, -2.0 * projection, &self.v);
    }

    /// `A ← (I − 2vvᵀ)A` for a row-major A with as many rows as v has elements, whose columns
    /// before `first_column` are zero.
    fn apply_to_columns(&self, a: &mut [f64], columns: usize, first_column: usize, sums: &mut [f64]) {
        let sums = &mut sums[first_column..];
        sums.fill(0.0);
        for (row, v) in a.chunks_exact(columns).zip(&self.v) {
            add_scaled(sums, *v, &row[first_column..]);
        }
        for (row, v) in a.chunks_exact_mut(columns).zip(&self.v) {
            add_scaled(&mut row[first_column..], -2.0 * v, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spectrum;
    use super::*;

    fn made(examples: usize, features: usize, condition: f64) -> SyntheticProblem {
        SyntheticProblem { examples, features, condition, noise: 0.0, seed: 9 }
    }

    #[test]
    fn the_spectrum_is_the_prescribed_one_for_tall_square_and_wide_problems() {
        for (examples, features, condition) in
            [(50, 10, 20.0), (10, 50, 20.0), (12, 12, 1e6), (2, 1, 1.0), (1, 7, 1.0), (40, 2, 3.0), (64, 64, 1.0)]
        {
            let definition = made(examples, features, condition);
            let (problem, _) = definition.generate().unwrap();
            let spectrum = Spectrum::of(&problem).unwrap();
            assert_eq!(spectrum.rank(), examples.min(features));
            assert!((spectrum.lambda_max() - 2.0).abs() < 1e-13);
            let ratio = spectrum.condition().unwrap() / condition;
            assert!((ratio - 1.0).abs() < 1e-14 * condition.max(100.0), "{ratio}");
            for (found, wanted) in spectrum.eigenvalues().zip(definition.eigenvalues()) {
                assert!((found - wanted).abs() < 1e-13 * 2.0);
            }
        }
    }

    #[test]
    fn a_problem_is_the_same_bits_in_any_blocks_on_any_number_of_threads() {
        for (examples, features) in [(70, 100), (100, 70), (300, 280)] {
            let definition = SyntheticProblem { noise: 0.1, ..made(examples, features, 50.0) };
            let count = examples.min(features);
            let mut generator = Generator::new(definition.seed, Purpose::Problem, 0);
            let left = draw_reflections(&mut generator, examples, count);
            let right = draw_reflections(&mut generator, features, count);
            // One reflection at a time over the whole matrix.
            let mut x = vec![0.0; examples * features];
            for (index, eigenvalue) in definition.eigenvalues().enumerate() {
                x[index * features + index] = left[index].sign * right[index].sign * (eigenvalue * examples as f64 / 2.0).sqrt();
            }
            let mut sums = vec![0.0; features];
            for (index, reflection) in left.iter().enumerate().rev() {
                reflection.apply_to_columns(&mut x[index * features..], features, index, &mut sums);
            }
            for (index, reflection) in right.iter().enumerate().rev() {
                x.chunks_exact_mut(features).for_each(|row| reflection.apply(&mut row[index..]));
            }
            for threads in [1, 2, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| definition.generate().unwrap().0).x(), x, "{examples}×{features} on {threads}");
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_bits_and_other_seeds_other_problems() {
        let definition = made(6, 4, 5.0);
        let other = SyntheticProblem { seed: 10, ..definition };
        let first = definition.generate().unwrap();
        assert_eq!(first, definition.generate().unwrap());
        assert_ne!(first.0, other.generate().unwrap().0);
    }

    #[test]
    fn the_implicit_factors_are_those_of_the_explicit_qr_factorization() {
        // One example: U is ±1 and V the normalized Gaussian vector, both with the sign that makes
        // R positive.
        let (problem, _) = made(1, 3, 1.0).generate().unwrap();
        let mut generator = Generator::new(9, Purpose::Problem, 0);
        let u = 1.0_f64.copysign(generator.normal());
        let gaussian: Vec<f64> = (0..3).map(|_| generator.normal()).collect();
        for (x, g) in problem.x().iter().zip(&gaussian) {
            assert!((x - u * g / norm(&gaussian)).abs() < 1e-15);
        }
    }

    #[test]
    fn factors_have_no_preferred_direction() {
        // Over many seeds the mean of an entry of a uniform orthonormal frame is 0 and of its
        // square 1/length.
        let (mut sum, mut square) = ([0.0; 16], [0.0; 16]);
        let seeds = 4000;
        for seed in 0..seeds {
            let definition = SyntheticProblem { seed, ..made(4, 4, 1.0) };
            // λ = 2 throughout makes X = √n·UVᵀ, a uniform orthogonal matrix.
            let (problem, _) = definition.generate().unwrap();
            for (index, x) in problem.x().iter().enumerate() {
                sum[index] += x / 2.0;
                square[index] += x * x / 4.0;
            }
        }
        for index in 0..16 {
            let mean: f64 = sum[index] / seeds as f64;
            let variance: f64 = square[index] / seeds as f64;
            assert!(mean.abs() < 5.0 * 0.5 / (seeds as f64).sqrt(), "{mean}");
            assert!((variance - 0.25).abs() < 0.02, "{variance}");
        }
    }

    #[test]
    fn noise_moves_targets_off_the_model_by_its_standard_deviation() {
        let definition = SyntheticProblem { noise: 0.5, ..made(20_000, 3, 2.0) };
        let (problem, true_weights) = definition.generate().unwrap();
        let deviation = problem.loss(&true_weights, 0.0).sqrt();
        assert!((deviation - 0.5).abs() < 0.02, "{deviation}");
        let (exact, true_weights) = made(30, 3, 2.0).generate().unwrap();
        assert_eq!(exact.loss(&true_weights, 0.0), 0.0);
    }

    #[test]
    fn impossible_definitions_are_refused() {
        let refusal = |definition: SyntheticProblem| definition.validate().unwrap_err();
        assert_eq!(refusal(made(1, 5, 2.0)), SyntheticError::SingleEigenvalue(2.0));
        assert_eq!(refusal(made(3, 5, 0.5)), SyntheticError::Condition(0.5));
        assert_eq!(refusal(made(0, 5, 1.0)), ProblemError::Empty.into());
        assert!(matches!(refusal(made(3, 5, f64::NAN)), SyntheticError::Condition(_)));
        assert!(matches!(refusal(made(usize::MAX, 5, 2.0)), SyntheticError::TooLarge { .. }));
        let noisy = SyntheticProblem { noise: -1.0, ..made(3, 3, 2.0) };
        assert_eq!(refusal(noisy), SyntheticError::Noise(-1.0));
    }
}
