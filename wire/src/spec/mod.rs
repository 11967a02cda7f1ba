//! Job specs: what a user types, parsed strictly.
//!
//! Three steps, each in its own module. [`strict`] turns JSON into the structs below; an unknown field, a missing one or a wrong type
//! is an error with its JSON pointer. `normalize` (one per struct) checks the ranges and the fields against each other, again with
//! pointers, and writes every default out, so that the stored spec says all that the run depends on. [`sweep`] expands a sweep into
//! one spec a point. A setting that belongs to one optimizer or problem source only is an `Option`: serde can then point at it, and
//! `normalize` says to which choice it belongs.

pub mod budget;
pub mod check;
pub mod colourization;
pub mod external;
pub mod hypergradient;
pub mod optimizer;
pub mod picture;
pub mod regression;
pub mod regularization_pair;
pub mod strict;
pub mod submit;
pub mod sweep;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::problem::FieldError;
use crate::state::Kind;
use check::Checker;
pub use colourization::ColourizationSpec;
pub use external::ExternalSpec;
pub use hypergradient::HypergradientSpec;
pub use picture::PictureSpec;
pub use regression::{ProblemSpec, RegressionSpec};
pub use regularization_pair::RegularizationPairSpec;

/// One concrete, normalized spec: what a run trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Spec {
    Regression(RegressionSpec),
    RegularizationPair(RegularizationPairSpec),
    Hypergradient(HypergradientSpec),
    Colourization(ColourizationSpec),
    External(ExternalSpec),
    Picture(PictureSpec),
}

impl Spec {
    /// Parses and normalizes one spec. The pointers of the errors begin with `base` (`/spec`).
    pub fn from_value(mut value: Value, base: &str) -> Result<Self, Vec<FieldError>> {
        strict::objects(&value, base, &["problem", "optimizer", "dataset", "network", "early_stopping"])?;
        let kind = strict::take_tag::<Kind>(&mut value, base, "kind")?;
        let mut checker = Checker::new(base);
        let spec = match kind {
            Kind::Regression => {
                let mut spec: RegressionSpec = strict::from_value(value, base)?;
                spec.normalize(&mut checker);
                Self::Regression(spec)
            }
            Kind::RegularizationPair => {
                let mut spec: RegularizationPairSpec = strict::from_value(value, base)?;
                spec.normalize(&mut checker);
                Self::RegularizationPair(spec)
            }
            Kind::Hypergradient => {
                let mut spec: HypergradientSpec = strict::from_value(value, base)?;
                spec.normalize(&mut checker);
                Self::Hypergradient(spec)
            }
            Kind::Colourization => {
                let mut spec: ColourizationSpec = strict::from_value(value, base)?;
                spec.normalize(&mut checker);
                Self::Colourization(spec)
            }
            Kind::External => {
                checker.error("/kind", "an external run is not submitted: POST /v1/runs opens one");
                Self::External(ExternalSpec::default())
            }
            Kind::Picture => {
                checker.error("/kind", "a picture is not submitted: POST /v1/runs/{id}/colourize takes it");
                Self::External(ExternalSpec::default())
            }
        };
        checker.finish().map(|()| spec)
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Regression(_) => Kind::Regression,
            Self::RegularizationPair(_) => Kind::RegularizationPair,
            Self::Hypergradient(_) => Kind::Hypergradient,
            Self::Colourization(_) => Kind::Colourization,
            Self::External(_) => Kind::External,
            Self::Picture(_) => Kind::Picture,
        }
    }

    /// The least-squares problem that the run is about; `None` where it is about images.
    pub fn problem(&self) -> Option<&ProblemSpec> {
        match self {
            Self::Regression(spec) => Some(&spec.problem),
            Self::RegularizationPair(spec) => Some(&spec.problem),
            Self::Hypergradient(spec) => Some(&spec.problem),
            Self::Colourization(_) | Self::External(_) | Self::Picture(_) => None,
        }
    }

    /// As [`Spec::problem`], to be changed.
    pub fn problem_mut(&mut self) -> Option<&mut ProblemSpec> {
        match self {
            Self::Regression(spec) => Some(&mut spec.problem),
            Self::RegularizationPair(spec) => Some(&mut spec.problem),
            Self::Hypergradient(spec) => Some(&mut spec.problem),
            Self::Colourization(_) | Self::External(_) | Self::Picture(_) => None,
        }
    }

    /// The uploaded dataset that the spec names, if it names one.
    pub fn dataset_name(&self) -> Option<&str> {
        match self {
            Self::Colourization(spec) => (!spec.dataset.is_synthetic()).then_some(spec.dataset.name.as_str()),
            other => other.problem()?.name.as_deref(),
        }
    }

    /// The pinned hash of what the spec names, an uploaded dataset or an inline problem.
    pub fn sha256(&self) -> Option<&str> {
        match self {
            Self::Colourization(spec) => spec.dataset.sha256.as_deref(),
            other => other.problem()?.sha256.as_deref(),
        }
    }
}

pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
