//! The spec of a hypergradient run: the learning rate of `k` unrolled steps of gradient descent, learned by the derivative of the loss
//! that they end at.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Checker;
use super::regression::{InitialWeights, ProblemSpec};
use crate::state::words;

/// Most unrolled steps. Candle walks the graph of all of them by recursion, and every run compares its method with the others.
pub const MOST_INNER_STEPS: u64 = 1000;
/// The rate of gradient descent on the learning rate, where the spec has none.
pub const DEFAULT_OUTER_LEARNING_RATE: f64 = 0.5;
/// Most steps of the outer loop.
pub const MOST_OUTER_STEPS: u64 = 100_000;

/// What a hypergradient run does: it unrolls `inner_steps` steps of gradient descent on `L̃(w) = L(w) + λ̃‖w‖²` and follows
/// `dL̃(w_k)/dη` to the rate η that makes the loss after them least.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HypergradientSpec {
    pub problem: ProblemSpec,
    /// Where every unrolled path starts: `"zeros"` (the default), `"normal"` (N(0, 1), drawn from the seed) or the numbers themselves.
    #[serde(default)]
    pub initial_weights: InitialWeights,
    /// λ̃ of `L̃(w) = L(w) + λ̃‖w‖²`.
    #[serde(default)]
    pub l2: f64,
    /// k, the unrolled steps of gradient descent: 1 to 1000, as candle's backward recurses through them.
    pub inner_steps: u64,
    /// The rate η that the outer loop starts with.
    pub learning_rate: f64,
    #[serde(default = "forward")]
    pub method: Method,
    /// Most updates of the learning rate (200). The run ends as `converged` once the rate has settled.
    #[serde(default = "outer_steps")]
    pub outer_steps: u64,
    #[serde(default = "secant")]
    pub outer_optimizer: OuterOptimizer,
    /// `gradient_descent`: ρ of `log η ← log η − (ρ/L̃(w_0))·dL̃(w_k)/d log η` (0.5).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer_learning_rate: Option<f64>,
    #[serde(default)]
    pub seed: u64,
}

words!(
    /// How `dL̃(w_k)/dη` is computed.
    Method {
        /// The derivative of the weights goes along with them; memory does not grow with k.
        Forward = "forward",
        /// The weights of all steps are kept, and an adjoint goes back through them.
        Reverse = "reverse",
        /// Candle records the steps as a graph and goes back through it.
        #[serde(alias = "candle-autograd")]
        Autograd = "autograd",
    }
);

words!(
    /// How the learning rate follows its hypergradient.
    OuterOptimizer {
        /// Finds the root of the hypergradient, by secants that are kept inside a bracket.
        Secant = "secant",
        /// Gradient descent on log η, at a rate of its own.
        GradientDescent = "gradient_descent",
    }
);

fn forward() -> Method {
    Method::Forward
}
fn outer_steps() -> u64 {
    200
}
fn secant() -> OuterOptimizer {
    OuterOptimizer::Secant
}

impl HypergradientSpec {
    pub(crate) fn normalize(&mut self, checker: &mut Checker) {
        self.problem.normalize(checker, "/problem");
        if let (InitialWeights::Given(weights), Some(d)) = (&self.initial_weights, self.problem.d) {
            let given = weights.len();
            checker.check(d == given as u64, "/initial_weights", || format!("must have the problem's {d} numbers, has {given}"));
        }
        checker.range("/l2", self.l2, 0.0, 1e12);
        checker.check((1..=MOST_INNER_STEPS).contains(&self.inner_steps), "/inner_steps", || {
            format!(
                "must be from 1 to {MOST_INNER_STEPS}, as candle's backward recurses through the unrolled steps, is {}",
                self.inner_steps
            )
        });
        checker.positive("/learning_rate", self.learning_rate, 1e6);
        checker.range("/outer_steps", self.outer_steps, 1, MOST_OUTER_STEPS);
        match self.outer_optimizer {
            OuterOptimizer::Secant => checker.absent("/outer_learning_rate", &self.outer_learning_rate, "outer_optimizer secant"),
            OuterOptimizer::GradientDescent => {
                let rate = *self.outer_learning_rate.get_or_insert(DEFAULT_OUTER_LEARNING_RATE);
                checker.positive("/outer_learning_rate", rate, 1e6);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{HypergradientSpec, Method, OuterOptimizer};
    use crate::Spec;

    /// A small spec that is changed by `change`, or where its errors point.
    fn parse(change: impl FnOnce(&mut Value)) -> Result<HypergradientSpec, Vec<String>> {
        let mut spec = json!({"kind": "hypergradient", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
            "inner_steps": 10, "learning_rate": 0.01});
        change(&mut spec);
        match Spec::from_value(spec, "") {
            Ok(Spec::Hypergradient(spec)) => Ok(spec),
            Ok(other) => panic!("{other:?}"),
            Err(errors) => Err(errors.into_iter().map(|error| error.pointer).collect()),
        }
    }

    #[test]
    fn defaults_are_written_out_and_parse_again_to_themselves() {
        let spec = parse(|_| ()).unwrap();
        assert_eq!((spec.l2, spec.method, spec.outer_steps, spec.seed), (0.0, Method::Forward, 200, 0));
        assert_eq!((spec.outer_optimizer, spec.outer_learning_rate), (OuterOptimizer::Secant, None));
        let spec = parse(|spec| spec["outer_optimizer"] = json!("gradient_descent")).unwrap();
        assert_eq!(spec.outer_learning_rate, Some(0.5));
        let spec = Spec::Hypergradient(spec);
        assert_eq!(Spec::from_value(serde_json::to_value(&spec).unwrap(), "").unwrap(), spec);
    }

    #[test]
    fn what_such_a_run_cannot_have_is_pointed_at() {
        for (field, value) in [
            ("inner_steps", json!(0)),
            ("inner_steps", json!(1001)),
            ("inner_steps", json!(2.5)),
            ("learning_rate", json!(0)),
            ("learning_rate", json!(-0.1)),
            ("method", json!("backward")),
            ("outer_steps", json!(0)),
            ("outer_steps", json!(1_000_000)),
            ("outer_optimizer", json!("newton")),
            ("outer_learning_rate", json!(0.1)),
            ("l2", json!(-1)),
            ("initial_weights", json!([1, 2, 3])),
            ("optimizer", json!({"name": "gd", "learning_rate": 0.1})),
            ("steps", json!(10)),
        ] {
            assert_eq!(parse(|spec| spec[field] = value.clone()).unwrap_err(), [format!("/{field}")], "for {value}");
        }
        let slow = |spec: &mut Value| {
            spec["outer_optimizer"] = json!("gradient_descent");
            spec["outer_learning_rate"] = json!(0);
        };
        assert_eq!(parse(slow).unwrap_err(), ["/outer_learning_rate"]);
    }

    #[test]
    fn the_method_that_is_candles_goes_by_its_long_name_too() {
        for word in ["autograd", "candle-autograd"] {
            assert_eq!(parse(|spec| spec["method"] = json!(word)).unwrap().method, Method::Autograd);
        }
        assert_eq!(serde_json::to_value(Method::Autograd).unwrap(), json!("autograd"));
    }
}
