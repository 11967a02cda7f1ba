//! The spec of a regression run: `f(x) = wᵀx` fitted by one optimizer, in f64.

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::check::Checker;
use super::is_false;
use super::optimizer::{OptimizerName, OptimizerSpec};
use crate::state::words;

/// Most rows of a problem.
pub const MOST_ROWS: u64 = 1_000_000;
/// Most columns of a problem.
pub const MOST_COLUMNS: u64 = 100_000;
/// Most steps of a run.
pub const MOST_STEPS: u64 = 100_000_000;
/// Most steps of a run that records them all.
pub const MOST_RECORDED: u64 = 1_000_000;

/// What a regression run trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegressionSpec {
    pub problem: ProblemSpec,
    /// `"zeros"` (the default), `"normal"` (N(0, 1), drawn from the seed) or the numbers themselves.
    #[serde(default)]
    pub initial_weights: InitialWeights,
    pub optimizer: OptimizerSpec,
    /// λ̃ of `L̃(w) = L(w) + λ̃‖w‖²`.
    #[serde(default)]
    pub l2: f64,
    /// Optimizer steps.
    pub steps: u64,
    /// Stop as `converged` once `‖∇L̃(w)‖` is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient_tolerance: Option<f64>,
    #[serde(default = "logarithmic")]
    pub record: Record,
    #[serde(default)]
    pub seed: u64,
}

words!(
    /// Which steps have their metrics recorded; the first and the last always have.
    Record {
        /// Every step at first, then a fixed number a decade.
        Logarithmic = "logarithmic",
        /// All of them.
        Every = "every",
    }
);

fn logarithmic() -> Record {
    Record::Logarithmic
}

words!(
    /// Where a problem comes from.
    ProblemSource {
        Inline = "inline",
        Synthetic = "synthetic",
        Dataset = "dataset",
    }
);

/// A problem `(X, t)` or where to get it. After normalizing, `n` and `d` are present wherever the spec alone tells them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProblemSpec {
    pub source: ProblemSource,
    /// `inline`: X, a row after the other. Left out where `sha256` names a stored problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<Vec<Vec<f64>>>,
    /// `inline`: t, as long as X has rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<Vec<f64>>,
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub d: Option<u64>,
    /// `synthetic`: λ_max/λ_min⁺ of the Hessian.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<f64>,
    /// `synthetic`: standard deviation of the noise in t (0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
    /// `synthetic`: the seed of the problem, apart from the run's (0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// `dataset`: the name of an uploaded table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `dataset`: the column to predict; all others are inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// `dataset`: shift and scale each input column to mean 0 and standard deviation 1.
    #[serde(default, skip_serializing_if = "is_false")]
    pub standardize: bool,
    /// `dataset`: add a last column of ones.
    #[serde(default, skip_serializing_if = "is_false")]
    pub intercept: bool,
    /// `inline`: the hash under which the numbers are stored. `dataset`: the dataset's hash. Written by the server at submit; a
    /// submit that has it is refused unless the bytes are those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Where the weights start.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum InitialWeights {
    #[default]
    Zeros,
    Normal,
    Given(Vec<f64>),
}

impl utoipa::PartialSchema for InitialWeights {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
        OneOfBuilder::new()
            .item(ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["zeros", "normal"])))
            .item(ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::Number)))
            .into()
    }
}

impl ToSchema for InitialWeights {
    fn name() -> std::borrow::Cow<'static, str> {
        "InitialWeights".into()
    }
}

impl Serialize for InitialWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Zeros => serializer.serialize_str("zeros"),
            Self::Normal => serializer.serialize_str("normal"),
            Self::Given(weights) => weights.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for InitialWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InitialWeightsVisitor;

        impl<'de> Visitor<'de> for InitialWeightsVisitor {
            type Value = InitialWeights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"zeros\", \"normal\" or an array of numbers")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<InitialWeights, E> {
                match word {
                    "zeros" => Ok(InitialWeights::Zeros),
                    "normal" => Ok(InitialWeights::Normal),
                    other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<InitialWeights, A::Error> {
                let mut weights = Vec::new();
                while let Some(weight) = seq.next_element()? {
                    weights.push(weight);
                }
                Ok(InitialWeights::Given(weights))
            }
        }

        deserializer.deserialize_any(InitialWeightsVisitor)
    }
}

impl RegressionSpec {
    pub(crate) fn normalize(&mut self, checker: &mut Checker) {
        normalize_descent(&mut self.problem, &mut self.optimizer, &self.initial_weights, checker);
        checker.range("/l2", self.l2, 0.0, 1e12);
        check_steps(self.steps, self.record, checker);
        if let Some(tolerance) = self.gradient_tolerance {
            checker.range("/gradient_tolerance", tolerance, 0.0, 1e12);
        }
    }
}

/// Normalizes the parts of every run that an optimizer makes on a problem, and checks that they fit each other.
pub(crate) fn normalize_descent(problem: &mut ProblemSpec, optimizer: &mut OptimizerSpec, initial: &InitialWeights, checker: &mut Checker) {
    problem.normalize(checker, "/problem");
    optimizer.normalize(checker, "/optimizer");
    if optimizer.name == OptimizerName::Sgd {
        checker.present("/optimizer/batch_size", &optimizer.batch_size, "optimizer sgd");
    }
    if let (Some(size), Some(n)) = (optimizer.batch_size, problem.n) {
        checker.check(size <= n, "/optimizer/batch_size", || format!("must be at most the problem's {n} rows, is {size}"));
    }
    if let InitialWeights::Given(weights) = initial {
        let d = problem.d;
        checker.check(d.is_none_or(|d| d == weights.len() as u64), "/initial_weights", || {
            format!("must have the problem's {} numbers, has {}", d.unwrap_or_default(), weights.len())
        });
    }
}

/// Checks how many steps there are, and that not too many of them are recorded.
pub(crate) fn check_steps(steps: u64, record: Record, checker: &mut Checker) {
    checker.range("/steps", steps, 1, MOST_STEPS);
    if record == Record::Every {
        checker.check(steps <= MOST_RECORDED, "/record", || {
            format!("at most {MOST_RECORDED} steps can all be recorded; `logarithmic` thins them out")
        });
    }
}

impl ProblemSpec {
    pub(crate) fn normalize(&mut self, checker: &mut Checker, at: &str) {
        use ProblemSource::{Dataset, Inline, Synthetic};
        let (source, choice) = (self.source, format!("problem source {}", self.source));
        let pointer = |field: &str| format!("{at}/{field}");
        if source != Inline {
            checker.absent(&pointer("x"), &self.x, &choice);
            checker.absent(&pointer("t"), &self.t, &choice);
        }
        if source != Synthetic {
            checker.absent(&pointer("condition"), &self.condition, &choice);
            checker.absent(&pointer("noise"), &self.noise, &choice);
            checker.absent(&pointer("seed"), &self.seed, &choice);
        }
        if source != Dataset {
            checker.absent(&pointer("name"), &self.name, &choice);
            checker.absent(&pointer("target"), &self.target, &choice);
            checker.check(!self.standardize, &pointer("standardize"), || format!("is not a setting of {choice}"));
            checker.check(!self.intercept, &pointer("intercept"), || format!("is not a setting of {choice}"));
        }
        match source {
            Inline => self.normalize_inline(checker, at),
            Synthetic => {
                for (field, value) in [("n", self.n), ("d", self.d)] {
                    checker.present(&pointer(field), &value, &choice);
                }
                checker.present(&pointer("condition"), &self.condition, &choice);
                checker.absent(&pointer("sha256"), &self.sha256, &choice);
                self.noise.get_or_insert(0.0);
                self.seed.get_or_insert(0);
                if let Some(condition) = self.condition {
                    checker.range(&pointer("condition"), condition, 1.0, 1e15);
                    let only_one = self.n.is_some_and(|n| n == 1) || self.d.is_some_and(|d| d == 1);
                    checker.check(!only_one || condition == 1.0, &pointer("condition"), || {
                        format!("must be 1 for a problem of rank 1, is {condition}")
                    });
                }
                if let Some(noise) = self.noise {
                    checker.range(&pointer("noise"), noise, 0.0, 1e12);
                }
            }
            Dataset => {
                checker.present(&pointer("name"), &self.name, &choice);
                checker.present(&pointer("target"), &self.target, &choice);
            }
        }
        for (field, value, most) in [("n", self.n, MOST_ROWS), ("d", self.d, MOST_COLUMNS)] {
            if let Some(value) = value {
                checker.range(&pointer(field), value, 1, most);
            }
        }
    }

    fn normalize_inline(&mut self, checker: &mut Checker, at: &str) {
        let (Some(x), Some(t)) = (&self.x, &self.t) else {
            let whole_or_hash = self.sha256.is_some() && self.x.is_none() && self.t.is_none();
            if !whole_or_hash {
                checker.present(&format!("{at}/x"), &self.x, "problem source inline");
                checker.present(&format!("{at}/t"), &self.t, "problem source inline");
            }
            return;
        };
        let n = x.len() as u64;
        let d = x.first().map_or(0, |row| row.len() as u64);
        checker.check(n > 0, &format!("{at}/x"), || "must have at least one row".to_owned());
        checker.check(n == 0 || d > 0, &format!("{at}/x/0"), || "must have at least one column".to_owned());
        checker
            .check(t.len() as u64 == n, &format!("{at}/t"), || format!("must have as many numbers as x has rows ({n}), has {}", t.len()));
        if let Some(ragged) = x.iter().position(|row| row.len() as u64 != d) {
            checker.error(&format!("{at}/x/{ragged}"), format!("must have the first row's {d} columns, has {}", x[ragged].len()));
        }
        for (field, given, counted) in [("n", self.n, n), ("d", self.d, d)] {
            checker.check(given.is_none_or(|given| given == counted), &format!("{at}/{field}"), || {
                format!("must be {counted}, as in x, or be left out")
            });
        }
        (self.n, self.d) = (Some(n), Some(d));
    }
}
