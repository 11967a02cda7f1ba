//! Verifying a finished run: it is executed again, and the two are compared.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::run::LeftOut;
use crate::state::words;
use crate::{RunId, RunState, Timestamp};

words!(
    /// What a verification came to.
    Verdict {
        /// Metrics, results and files are equal to the last bit.
        SameBits = "same bits",
        Differs = "differs",
        /// The run could not be executed again to its end.
        Inconclusive = "inconclusive",
    }
);

words!(
    /// What the two executions show of how far results can be repeated.
    DeterminismClass {
        SameOnThis = "same bits on this build and device",
        SameAcross = "same bits across builds or devices",
        DifferentOnThis = "different bits on this build and device",
        DifferentAcross = "different bits across builds or devices",
    }
);

/// What computed an attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Platform {
    /// The version, and a hash of the program that ran.
    pub build: String,
    /// `cpu` with the instructions that the kernels use, or the accelerator's name.
    pub device: String,
}

/// How far the result can be repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Determinism {
    /// Null where it is not known what computed the original.
    pub class: Option<DeterminismClass>,
    /// Of all attempts of the original.
    pub original: Vec<Platform>,
    /// Of all attempts of the execution that followed.
    pub again: Vec<Platform>,
}

/// Where the two executions part: one of `metric` (with `step`), `result` and `artifact` is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FirstDifference {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// The JSON pointer into the run's result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The value, or the file's sha256; null where it is missing.
    pub original: Value,
    pub again: Value,
}

/// How much was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compared {
    pub metrics: u64,
    /// Of these metrics, in the original.
    pub points: u64,
    pub artifacts: u64,
}

/// What the comparison found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Findings {
    pub verdict: Verdict,
    /// The least step at which a metric differs, and of several the first by name; else the result; else the first file by name.
    pub first_difference: Option<FirstDifference>,
    pub determinism: Determinism,
    pub compared: Compared,
    /// What was not compared, and why.
    pub left_out: Vec<LeftOut>,
    /// Why there is nothing to compare.
    pub error: Option<String>,
}

/// The answer of `POST` and `GET /v1/runs/{id}/verify`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    pub run_id: RunId,
    /// The run that executes it again.
    pub verification_run_id: RunId,
    /// Of that run.
    pub state: RunState,
    pub requested_at: Timestamp,
    /// Null until the run has ended and was compared.
    pub verdict: Option<Verdict>,
    pub compared_at: Option<Timestamp>,
    pub first_difference: Option<FirstDifference>,
    pub determinism: Option<Determinism>,
    pub compared: Option<Compared>,
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::FirstDifference;

    #[test]
    fn a_difference_says_only_where_it_is() {
        let difference =
            FirstDifference { metric: Some("loss".to_owned()), step: Some(5), original: json!(0.5), ..FirstDifference::default() };
        assert_eq!(serde_json::to_value(difference).unwrap(), json!({"metric": "loss", "step": 5, "original": 0.5, "again": null}));
    }
}
