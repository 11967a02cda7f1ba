//! Early stopping, and which epoch was the best.

use serde::{Deserialize, Serialize};
use trainyard_wire::spec::colourization::{EarlyStopping, WatchedMetric};

use super::position::Validation;

/// How long the watched metric has not improved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Patience {
    /// The value that has to be improved on.
    reference: Option<f64>,
    waited: u64,
}

impl Patience {
    /// Epochs since the last improvement.
    pub(super) fn waited(&self) -> u64 {
        self.waited
    }

    /// Takes one epoch's validation into account.
    pub(super) fn observe(&mut self, rule: &EarlyStopping, validation: Validation) {
        let value = cost(Some(rule), validation);
        // The first value has to be finite: a NaN could never be improved on, nor be stored.
        let improved = self.reference.map_or(value.is_finite(), |reference| value < reference - rule.min_delta);
        if improved {
            *self = Self { reference: Some(value), waited: 0 };
        } else {
            self.waited += 1;
        }
    }
}

/// Whether `validation` is better than `best` in the watched metric, which is the validation loss where no rule says otherwise.
pub(super) fn is_better(rule: Option<&EarlyStopping>, validation: Validation, best: Validation) -> bool {
    cost(rule, validation) < cost(rule, best)
}

/// The watched metric, turned so that less is better.
fn cost(rule: Option<&EarlyStopping>, validation: Validation) -> f64 {
    match rule.map(|rule| rule.metric) {
        None | Some(WatchedMetric::ValLoss) => validation.loss,
        Some(WatchedMetric::ValAccuracy) => -validation.accuracy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(metric: WatchedMetric, min_delta: f64, values: &[f64]) -> Vec<u64> {
        let rule = EarlyStopping { metric, patience: 2, min_delta };
        let mut patience = Patience::default();
        let observe = |value: &f64| {
            patience.observe(&rule, Validation { loss: *value, accuracy: *value });
            patience.waited()
        };
        values.iter().map(observe).collect()
    }

    #[test]
    fn less_loss_and_more_accuracy_are_improvements() {
        assert_eq!(waits(WatchedMetric::ValLoss, 0.0, &[3.0, 2.0, 2.0, 2.5, 1.0]), [0, 0, 1, 2, 0]);
        assert_eq!(waits(WatchedMetric::ValAccuracy, 0.0, &[0.3, 0.2, 0.3, 0.4]), [0, 1, 2, 0]);
    }

    #[test]
    fn small_steps_are_no_improvement_but_add_up_to_one() {
        assert_eq!(waits(WatchedMetric::ValLoss, 0.125, &[1.0, 0.9375, 0.875, 0.75]), [0, 1, 2, 0]);
    }

    #[test]
    fn the_best_epoch_is_the_watched_metrics() {
        let (a, b) = (Validation { loss: 1.0, accuracy: 0.5 }, Validation { loss: 1.1, accuracy: 0.6 });
        assert!(is_better(None, a, b));
        let rule = EarlyStopping { metric: WatchedMetric::ValAccuracy, patience: 1, min_delta: 0.0 };
        assert!(is_better(Some(&rule), b, a) && !is_better(Some(&rule), a, b));
    }
}
