//! Linear least squares: `X ∈ R^{n×d}`, `t ∈ R^n`, the model `x ↦ wᵀx` without bias, all in f64.
//!
//! ```text
//! L(w)  = (1/n)·‖Xw − t‖²                 (no factor ½)
//! ∇L(w) = (2/n)·Xᵀ(Xw − t)        H = (2/n)·XᵀX
//! L̃(w)  = L(w) + λ̃·‖w‖²           ∇L̃ = ∇L + 2λ̃w       H̃ = H + 2λ̃I
//! ```
//!
//! `l2` is λ̃ in every signature. [`Problem`] has the sums that a training step needs, made for
//! half a million calls: no allocation, fixed order. [`SyntheticProblem`] makes problems with a
//! prescribed spectrum. [`Spectrum`] knows what theory says about a problem, from one singular
//! value decomposition; [`DescentPath`] is the exact loss of gradient descent at any step, [`limits`]
//! are the rates up to which optimizers are stable. [`problem_of_table`] makes a problem of a
//! table's columns.

pub mod limits;
mod path;
mod problem;
mod spectrum;
mod synthetic;
mod table;
pub mod vector;

pub use path::DescentPath;
pub use problem::{Problem, ProblemError};
pub use spectrum::{Spectrum, SpectrumError, SpectrumSummary, spectrum_cost};
pub use synthetic::{SyntheticError, SyntheticProblem};
pub use table::problem_of_table;

use crate::random::{Generator, Purpose};

/// `w_0` with independent standard normal entries, drawn from the stream (seed,
/// [`Purpose::InitialWeights`], 0).
pub fn normal_start(seed: u64, features: usize) -> Vec<f64> {
    let mut generator = Generator::new(seed, Purpose::InitialWeights, 0);
    (0..features).map(|_| generator.normal()).collect()
}

/// Whether a run has diverged: its loss is NaN or infinite, or over 10⁸ times its first one.
///
/// A run that starts at a loss of exactly 0 diverges with the first loss above 0.
pub fn diverged(loss: f64, first_loss: f64) -> bool {
    !loss.is_finite() || loss > 1e8 * first_loss
}
