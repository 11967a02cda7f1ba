//! What theory says of a regression before it runs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The figures of a regression's problem, with its penalty, and what follows from them for its optimizer. A figure is null where
/// nothing is to be said (a bound where nothing bounds), or where `left_out` says why it is not known here.
///
/// `H = (2/n)·XᵀX` and `H̃ = H + 2λ̃I`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RegressionTheory {
    /// Singular values of X that can be told from 0.
    pub rank: Option<u64>,
    /// The largest eigenvalue of H.
    pub lambda_max: Option<f64>,
    /// λ_min⁺, the smallest eigenvalue of H that is not 0.
    pub lambda_min_positive: Option<f64>,
    /// λ_max/λ_min⁺.
    pub condition: Option<f64>,
    /// 2/λ_max(H̃): gradient descent is stable below it.
    pub largest_stable_rate: Option<f64>,
    /// 2/(λ_max(H̃) + λ_min⁺ + 2λ̃), the fastest fixed rate of gradient descent from a start in the row space of X.
    pub best_fixed_rate: Option<f64>,
    /// Of gd with a `gradient_tolerance` at a fixed rate: the step at which it converges on its exact path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted_steps: Option<u64>,
    /// Of rmsprop at a fixed rate: 2√ε/λ_max(H̃), below which it settles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmsprop_limit: Option<f64>,
    /// What is left to the worker, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}
