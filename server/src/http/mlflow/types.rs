//! What crosses HTTP in MLflow's words. Its 64-bit integers may come as texts, its ids always do.

use serde::{Deserialize, Deserializer, Serialize, de};
use trainyard_wire::Number;
use utoipa::ToSchema;

/// A 64-bit integer, as a number or as a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = i64)]
pub(crate) struct Int(pub(crate) i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Int;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a 64-bit integer")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Int, E> {
                Ok(Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Int, E> {
                i64::try_from(value).map(Int).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Int, E> {
                value.parse().map(Int).map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A parameter or a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MlflowPair {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// A point of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct MlflowMetric {
    pub(crate) key: String,
    pub(crate) value: Number,
    /// Milliseconds since the Unix epoch.
    #[serde(default)]
    pub(crate) timestamp: Option<Int>,
    #[serde(default)]
    pub(crate) step: Int,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct MlflowExperiment {
    pub(crate) experiment_id: String,
    pub(crate) name: String,
    pub(crate) artifact_location: String,
    /// `active` or `deleted`.
    pub(crate) lifecycle_stage: &'static str,
    pub(crate) creation_time: i64,
    pub(crate) last_update_time: i64,
    pub(crate) tags: Vec<MlflowPair>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct MlflowRunInfo {
    pub(crate) run_id: String,
    /// The same, by its earlier name.
    pub(crate) run_uuid: String,
    pub(crate) run_name: String,
    pub(crate) experiment_id: String,
    pub(crate) user_id: String,
    /// `SCHEDULED` (queued or paused), `RUNNING`, `FINISHED` (succeeded), `FAILED`, `KILLED` (cancelled).
    pub(crate) status: &'static str,
    pub(crate) start_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end_time: Option<i64>,
    pub(crate) artifact_uri: String,
    pub(crate) lifecycle_stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct MlflowRunData {
    /// The last point of each metric.
    pub(crate) metrics: Vec<MlflowMetric>,
    pub(crate) params: Vec<MlflowPair>,
    pub(crate) tags: Vec<MlflowPair>,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct MlflowRun {
    pub(crate) info: MlflowRunInfo,
    pub(crate) data: MlflowRunData,
}

/// The answer that holds one run.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct MlflowRunAnswer {
    pub(crate) run: MlflowRun,
}

/// Which of the deleted are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum MlflowViewType {
    #[default]
    ActiveOnly,
    DeletedOnly,
    All,
}

impl MlflowViewType {
    pub(crate) fn shows(self, deleted: bool) -> bool {
        match self {
            Self::ActiveOnly => !deleted,
            Self::DeletedOnly => deleted,
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Int, MlflowMetric};

    #[test]
    fn integers_come_as_numbers_and_as_texts() {
        let metric: MlflowMetric = serde_json::from_value(json!({"key": "a", "value": "NaN", "timestamp": "17", "step": 3})).unwrap();
        assert_eq!((metric.timestamp, metric.step), (Some(Int(17)), Int(3)));
        assert!(metric.value.0.is_nan());
        for wrong in [json!(1.5), json!("x"), json!(u64::MAX), json!(null)] {
            assert!(serde_json::from_value::<Int>(wrong).is_err());
        }
    }
}
