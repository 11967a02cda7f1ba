//! The spec of a pair of runs side by side: an L2 penalty, and the weight decay that it equals under gradient descent.
//!
//! Both twins start at the same weights and see the same batches. At update t, with the rate η_t,
//!
//! ```text
//! L2:            w ← step of the optimizer with ∇L(w) + 2λ̃w
//! weight decay:  w ← (1 − λ_t)w, then the step with ∇L at the weights before,     λ_t = 2η_tλ̃
//! ```
//!
//! λ_t follows the schedule: with a λ that stays what it was at the full rate the two would part under gradient descent too. For `adam`
//! the second line is `adamw` with PyTorch's coefficient 2λ̃, as that is scaled by the rate: `w ← (1 − η_t·2λ̃)w`. So there is one rule
//! for all optimizers, and `adamw` itself is none of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Checker;
use super::optimizer::{OptimizerName, OptimizerSpec};
use super::regression::{InitialWeights, MOST_RECORDED, ProblemSpec, Record, check_steps, normalize_descent};

/// What a pair of runs trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegularizationPairSpec {
    pub problem: ProblemSpec,
    /// `"zeros"` (the default), `"normal"` (N(0, 1), drawn from the seed) or the numbers themselves; the same for both.
    #[serde(default)]
    pub initial_weights: InitialWeights,
    /// `gd`, `sgd`, `momentum`, `rmsprop` or `adam`, without `weight_decay`: that is the second run's, and follows from `l2`.
    pub optimizer: OptimizerSpec,
    /// λ̃ of the first run's penalty λ̃‖w‖². The second decays its weights by λ = 2ηλ̃, which must be under 1.
    pub l2: f64,
    /// Optimizer steps of each.
    pub steps: u64,
    /// Which steps have their metrics recorded: without it all of them, or logarithmically thinned ones where they are over 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    #[serde(default)]
    pub seed: u64,
}

impl RegularizationPairSpec {
    /// Which steps have their metrics recorded.
    pub fn record(&self) -> Record {
        self.record.unwrap_or(if self.steps <= MOST_RECORDED { Record::Every } else { Record::Logarithmic })
    }

    pub(crate) fn normalize(&mut self, checker: &mut Checker) {
        let decay = self.optimizer.weight_decay.take().filter(|decay| *decay != 0.0);
        checker.absent("/optimizer/weight_decay", &decay, "a regularization pair, whose weight decay is λ = 2ηλ̃, from `l2`");
        normalize_descent(&mut self.problem, &mut self.optimizer, &self.initial_weights, checker);
        // The default that was written out.
        self.optimizer.weight_decay = None;
        checker.check(self.optimizer.name != OptimizerName::AdamW, "/optimizer/name", || {
            "adamw is adam's twin with weight decay in a pair: use adam".to_owned()
        });
        checker.positive("/l2", self.l2, 1e12);
        let decay = 2.0 * self.optimizer.learning_rate * self.l2;
        checker.check(decay < 1.0, "/l2", || format!("makes the weight decay λ = 2ηλ̃ = {decay}, which must be under 1"));
        let record = *self.record.insert(self.record());
        check_steps(self.steps, record, checker);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::Spec;
    use crate::spec::regression::Record;

    fn pair(change: impl FnOnce(&mut Value)) -> Result<Spec, Vec<String>> {
        let mut spec = json!({"kind": "regularization_pair", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
            "optimizer": {"name": "gd", "learning_rate": 0.1}, "l2": 0.5, "steps": 100});
        change(&mut spec);
        Spec::from_value(spec, "").map_err(|errors| errors.into_iter().map(|error| error.pointer).collect())
    }

    #[test]
    fn a_pair_is_normalized_and_parses_again_to_itself() {
        let spec = pair(|_| ()).unwrap();
        let Spec::RegularizationPair(normalized) = &spec else { panic!("{spec:?}") };
        assert_eq!((normalized.record, normalized.problem.d), (Some(Record::Every), Some(2)));
        assert_eq!(normalized.optimizer.weight_decay, None);
        assert_eq!(Spec::from_value(serde_json::to_value(&spec).unwrap(), "").unwrap(), spec);
    }

    #[test]
    fn what_a_pair_cannot_have_is_pointed_at() {
        let refused = |pointer: &str, value: Value| {
            pair(|spec| match pointer.strip_prefix("/optimizer/") {
                Some(field) => spec["optimizer"][field] = value,
                None => spec[&pointer[1..]] = value,
            })
            .err()
            .and_then(|pointers| pointers.into_iter().next())
        };
        for (pointer, value) in [
            ("/optimizer/weight_decay", json!(0.1)),
            ("/optimizer/name", json!("adamw")),
            ("/optimizer/name", json!("lion")),
            ("/optimizer/batch_size", json!(1)),
            ("/l2", json!(0)),
            ("/l2", json!(5)),
            ("/steps", json!(0)),
            ("/record", json!("never")),
            ("/gradient_tolerance", json!(1e-6)),
            ("/initial_weights", json!([1])),
        ] {
            assert_eq!(refused(pointer, value.clone()).as_deref(), Some(pointer), "{pointer} {value}");
        }
        let long = |record: Option<&str>| {
            pair(|spec| {
                spec["steps"] = json!(2_000_000);
                if let Some(record) = record {
                    spec["record"] = json!(record);
                }
            })
        };
        assert_eq!(long(Some("every")).unwrap_err(), ["/record"]);
        let Spec::RegularizationPair(thinned) = long(None).unwrap() else { panic!("no pair") };
        assert_eq!(thinned.record, Some(Record::Logarithmic));
        assert_eq!(pair(|spec| spec["optimizer"]["name"] = json!("sgd")).unwrap_err(), ["/optimizer/batch_size"]);
        assert_eq!(pair(|spec| drop(spec.as_object_mut().unwrap().shift_remove("l2"))).unwrap_err(), [""]);
        // A weight decay of 0 is none.
        for name in ["gd", "adam"] {
            assert!(pair(|spec| spec["optimizer"] = json!({"name": name, "learning_rate": 0.1, "weight_decay": 0})).is_ok());
        }
    }
}
