//! What theory says about a problem, from one singular value decomposition `X = U·diag(s)·Vᵀ`: the
//! eigenvalues of `H = (2/n)·XᵀX` are `λ_i = 2s_i²/n` and zeros, its eigenvectors the columns of V.
//!
//! The decomposition is taken of X itself. The eigenvalues of a Gram matrix would be cheaper, but
//! squaring halves the digits of the small singular values, and the rank and `λ_min⁺` hang on
//! those. Small problems are decomposed on one thread. Large ones are cut into a fixed number of
//! parts, which the threads there are share, so that the bits do not depend on how many those are.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, MatRef, Par, Spec};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::limits;
use super::path::DescentPath;
use super::problem::Problem;
use super::synthetic::SyntheticProblem;
use super::vector::{add_scaled, distance, dot, norm, square_norm};

/// The singular value decomposition failed, or overflowed: finite data can have an infinite norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the singular value decomposition did not converge to finite values")]
pub struct SpectrumError;

/// The floating-point operations that [`Spectrum::of`] takes for an n×d problem, about `6mk² +
/// 20k³` with `k = min(n, d)` and `m = max(n, d)` (Golub and Van Loan, "Matrix Computations", table
/// 8.6.1, for U₁, Σ and V). One core does some 10⁹ to 10¹⁰ a second.
pub fn spectrum_cost(examples: usize, features: usize) -> u64 {
    let short = examples.min(features) as u64;
    let long = examples.max(features) as u64;
    let square = short.saturating_mul(short);
    let tall = square.saturating_mul(long).saturating_mul(6);
    tall.saturating_add(square.saturating_mul(short).saturating_mul(20))
}

/// From this cost on a decomposition is worth more than one thread.
const COST_OF_PARTS: u64 = 2_000_000_000;
/// The parts that a large decomposition is cut into.
const PARTS: usize = 2;

/// The singular values and right singular vectors of a problem, and what follows from them.
#[derive(Clone, Debug)]
pub struct Spectrum {
    examples: usize,
    features: usize,
    /// All `min(n, d)` singular values, falling.
    singular_values: Vec<f64>,
    rank: usize,
    /// The first `rank` right singular vectors one after another: row-major, rank×d.
    right: Vec<f64>,
    /// `u_iᵀt` for the first `rank` left singular vectors.
    target_coordinates: Vec<f64>,
    /// `min L = (1/n)·‖(I − UUᵀ)t‖²`.
    minimum_loss: f64,
    minimum_norm_solution: Vec<f64>,
}

impl Spectrum {
    /// Decomposes X. Costs [`spectrum_cost`] operations and about `2·(n + d)·min(n, d)` numbers of
    /// memory.
    pub fn of(problem: &Problem) -> Result<Self, SpectrumError> {
        let (examples, features) = (problem.examples(), problem.features());
        let count = examples.min(features);
        let x = MatRef::from_row_major_slice(problem.x(), examples, features);
        let mut u = Mat::<f64>::zeros(examples, count);
        let mut v = Mat::<f64>::zeros(features, count);
        let mut s = Diag::<f64>::zeros(count);
        let thin = ComputeSvdVectors::Thin;
        let par = if spectrum_cost(examples, features) < COST_OF_PARTS { Par::Seq } else { Par::rayon(PARTS) };
        let scratch = svd_scratch::<f64>(examples, features, thin, thin, par, Spec::default());
        svd(x, s.as_mut(), Some(u.as_mut()), Some(v.as_mut()), par, MemStack::new(&mut MemBuffer::new(scratch)), Spec::default())
            .map_err(|_| SpectrumError)?;

        let singular_values: Vec<f64> = s.column_vector().iter().copied().collect();
        if singular_values.iter().any(|value| !value.is_finite()) {
            return Err(SpectrumError);
        }
        let tolerance = rank_tolerance(examples, features, singular_values[0]);
        let rank = singular_values.partition_point(|value| *value > tolerance);

        let mut right = Vec::with_capacity(rank * features);
        let mut target_coordinates = Vec::with_capacity(rank);
        let mut unreachable = problem.t().to_vec();
        for index in 0..rank {
            right.extend(v.col(index).iter());
            let left: Vec<f64> = u.col(index).iter().copied().collect();
            let coordinate = dot(&left, problem.t());
            add_scaled(&mut unreachable, -coordinate, &left);
            target_coordinates.push(coordinate);
        }
        let minimum_loss = if rank == examples { 0.0 } else { square_norm(&unreachable) / examples as f64 };
        let mut spectrum =
            Self { examples, features, singular_values, rank, right, target_coordinates, minimum_loss, minimum_norm_solution: Vec::new() };
        spectrum.minimum_norm_solution = spectrum.ridge_solution(0.0);
        Ok(spectrum)
    }

    /// The number of examples, n.
    pub fn examples(&self) -> usize {
        self.examples
    }

    /// The number of features, d.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The number of singular values above [`rank_tolerance`](Self::rank_tolerance).
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// `max(n, d)·2⁻⁵²·s_max`: a singular value up to this cannot be told from 0 (the rule of
    /// LAPACK's users, MATLAB and NumPy).
    pub fn rank_tolerance(&self) -> f64 {
        rank_tolerance(self.examples, self.features, self.singular_values[0])
    }

    /// All `min(n, d)` singular values of X, falling.
    pub fn singular_values(&self) -> &[f64] {
        &self.singular_values
    }

    /// The nonzero eigenvalues `2s_i²/n` of H, falling; as many as the rank.
    pub fn eigenvalues(&self) -> impl Iterator<Item = f64> {
        let scale = 2.0 / self.examples as f64;
        self.singular_values[..self.rank].iter().map(move |s| scale * s * s)
    }

    /// The largest eigenvalue of H; 0 where X = 0.
    pub fn lambda_max(&self) -> f64 {
        self.eigenvalues().next().unwrap_or(0.0)
    }

    /// `λ_min⁺`, the smallest nonzero eigenvalue of H; none where X = 0.
    pub fn lambda_min_positive(&self) -> Option<f64> {
        self.eigenvalues().last()
    }

    /// `λ_max/λ_min⁺`; none where X = 0.
    pub fn condition(&self) -> Option<f64> {
        // Of the singular values: their squares may leave the range of numbers where the ratio does not.
        let (largest, smallest) = (self.singular_values[0], *self.singular_values[..self.rank].last()?);
        Some((largest / smallest) * (largest / smallest))
    }

    /// The figures of this problem with a penalty `l2`.
    pub fn summary(&self, l2: f64) -> SpectrumSummary {
        SpectrumSummary::new(self.rank, self.lambda_max(), self.lambda_min_positive(), l2)
    }

    /// The bound `2/λ_max(H̃)`, `λ_max(H̃) = λ_max + 2·l2`: full-batch gradient descent is stable
    /// iff its rate is below it. ∞ where H̃ = 0.
    pub fn largest_stable_rate(&self, l2: f64) -> f64 {
        limits::descent(self.lambda_max() + 2.0 * l2, 0.0)
    }

    /// The fastest fixed rate of gradient descent from a start in the row space of X:
    /// `2/(λ_max(H̃) + λ_min⁺ + 2·l2)`, which makes the slowest two of the active directions equally
    /// slow. ∞ where H̃ = 0.
    pub fn best_fixed_rate(&self, l2: f64) -> f64 {
        let smallest = self.lambda_min_positive().unwrap_or(0.0);
        2.0 / (self.lambda_max() + smallest + 4.0 * l2)
    }

    /// The bound `2√ε/λ_max(H̃)` on a fixed rate under which RMSProp settles: near a solution its
    /// effective rate is `η/√ε`. ∞ where H̃ = 0.
    pub fn rmsprop_settle_limit(&self, epsilon: f64, l2: f64) -> f64 {
        limits::rmsprop(self.lambda_max() + 2.0 * l2, epsilon)
    }

    /// `v_1ᵀ(w − w*)` with the eigenvector of the largest eigenvalue and the minimizer `w*` of `L̃`;
    /// none where X = 0.
    ///
    /// # Panics
    /// If `weights` has not d elements.
    pub fn steepest_coordinate(&self, weights: &[f64], l2: f64) -> Option<f64> {
        Some(dot(self.right_vectors().next()?, weights) - self.ridge_coordinates(l2).next()?)
    }

    /// `X⁺t`: of all minimizers of L the one of least norm. With full row rank it is `Xᵀ(XXᵀ)⁻¹t`
    /// and interpolates.
    pub fn minimum_norm_solution(&self) -> &[f64] {
        &self.minimum_norm_solution
    }

    /// `min_w L(w) = (1/n)·‖t − XX⁺t‖²`; exactly 0 with full row rank.
    pub fn minimum_loss(&self) -> f64 {
        self.minimum_loss
    }

    /// `min_w L̃(w) = min L + Σ_i l2·(u_iᵀt)²/(s_i² + n·l2)`.
    pub fn minimum_penalized_loss(&self, l2: f64) -> f64 {
        let shrunk = |(s, target): (&f64, &f64)| l2 * target * target / (s * s + self.examples as f64 * l2);
        let active = self.singular_values.iter().zip(&self.target_coordinates);
        self.minimum_loss + active.map(shrunk).sum::<f64>()
    }

    /// The minimizer of `L̃`, `Σ_i v_i·s_i(u_iᵀt)/(s_i² + n·l2) = (XᵀX + n·l2·I)⁻¹Xᵀt`; with `l2 =
    /// 0` it is [`minimum_norm_solution`](Self::minimum_norm_solution).
    pub fn ridge_solution(&self, l2: f64) -> Vec<f64> {
        let mut solution = vec![0.0; self.features];
        for (vector, coordinate) in self.right_vectors().zip(self.ridge_coordinates(l2)) {
            add_scaled(&mut solution, coordinate, vector);
        }
        solution
    }

    /// `‖w − X⁺t‖`.
    ///
    /// # Panics
    /// If `weights` has not d elements.
    pub fn distance_to_minimum_norm(&self, weights: &[f64]) -> f64 {
        distance(weights, &self.minimum_norm_solution)
    }

    /// `‖(I − X⁺X)w‖`, the part of w that X does not see; exactly 0 with full column rank. Takes
    /// 4·rank·d operations.
    ///
    /// # Panics
    /// If `weights` has not d elements.
    pub fn null_space_norm(&self, weights: &[f64]) -> f64 {
        assert_eq!(weights.len(), self.features, "one weight a feature");
        if self.rank == self.features {
            return 0.0;
        }
        let mut rest = weights.to_vec();
        // One vector at a time from what is left (as modified Gram–Schmidt does) cancels the
        // rounding of those before.
        for vector in self.right_vectors() {
            let coordinate = dot(vector, &rest);
            add_scaled(&mut rest, -coordinate, vector);
        }
        norm(&rest)
    }

    /// The exact loss of full-batch gradient descent on `L̃` from `start`, at any step and rate.
    ///
    /// # Panics
    /// If `start` has not d elements.
    pub fn descent_path(&self, start: &[f64], l2: f64) -> DescentPath {
        let modes = self
            .right_vectors()
            .zip(self.ridge_coordinates(l2))
            .zip(self.eigenvalues())
            .map(|((vector, minimizer), eigenvalue)| (eigenvalue + 2.0 * l2, dot(vector, start) - minimizer));
        let null_part = (2.0 * l2, self.null_space_norm(start));
        DescentPath::new(self.minimum_penalized_loss(l2), modes.chain([null_part]).collect())
    }

    fn right_vectors(&self) -> impl Iterator<Item = &[f64]> {
        self.right.chunks_exact(self.features)
    }

    /// `v_iᵀw` of the ridge solution.
    fn ridge_coordinates(&self, l2: f64) -> impl Iterator<Item = f64> {
        let shift = self.examples as f64 * l2;
        self.singular_values
            .iter()
            .zip(&self.target_coordinates)
            // s/(s² + nλ̃), without the square that would underflow for tiny s.
            .map(move |(s, target)| target / (s + shift / s))
    }
}

fn rank_tolerance(examples: usize, features: usize, largest: f64) -> f64 {
    examples.max(features) as f64 * f64::EPSILON * largest
}

/// A problem's figures as they are shown to a user. A rate is absent where nothing bounds it (H̃ =
/// 0).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpectrumSummary {
    pub rank: usize,
    /// Of H, without the penalty.
    pub lambda_max: f64,
    pub lambda_min_positive: Option<f64>,
    /// `λ_max/λ_min⁺` of H.
    pub condition: Option<f64>,
    /// `2/(λ_max + 2·l2)`.
    pub largest_stable_rate: Option<f64>,
    /// `2/(λ_max + λ_min⁺ + 4·l2)`.
    pub best_fixed_rate: Option<f64>,
}

impl SpectrumSummary {
    fn new(rank: usize, lambda_max: f64, lambda_min_positive: Option<f64>, l2: f64) -> Self {
        let smallest = lambda_min_positive.unwrap_or(0.0);
        let finite = |rate: f64| rate.is_finite().then_some(rate);
        Self {
            rank,
            lambda_max,
            lambda_min_positive,
            condition: lambda_min_positive.map(|smallest| lambda_max / smallest),
            largest_stable_rate: finite(2.0 / (lambda_max + 2.0 * l2)),
            best_fixed_rate: finite(2.0 / (lambda_max + smallest + 4.0 * l2)),
        }
    }

    /// The figures of a synthetic problem, known from its definition without making it.
    pub fn of_synthetic(problem: &SyntheticProblem, l2: f64) -> Self {
        Self::new(problem.examples.min(problem.features), 2.0, Some(2.0 / problem.condition), l2)
    }
}

#[cfg(test)]
#[path = "spectrum_tests.rs"]
mod tests;
