//! The spec of an external run: what a program outside of Trainyard says of itself. Nothing of it is trained here.

use std::fmt;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::Checker;
use super::strict;

/// Most parameters of a run.
pub const MOST_PARAMS: usize = 2000;
/// Most bytes of a run's parameters, names and values together.
pub const MOST_PARAM_BYTES: usize = 1 << 20;
/// Longest name of a parameter, in characters.
pub const LONGEST_PARAM_NAME: usize = 250;
/// Longest text of a parameter, in characters.
pub const LONGEST_PARAM: usize = 8000;

/// Parameters by name, in the order in which they were told.
pub type Params = IndexMap<String, ParamValue>;

/// A run of a program outside of Trainyard, which logs metrics and files to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalSpec {
    /// What the run depends on, such as its learning rate.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, ParamValue>)]
    pub params: Params,
    /// The machine it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<String>,
    /// The command that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// A text, a number or a truth value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParamValue {
    Boolean(bool),
    Number(serde_json::Number),
    Text(String),
}

impl utoipa::PartialSchema for ParamValue {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
        let kinds = [Type::Boolean, Type::Number, Type::String].map(|kind| ObjectBuilder::new().schema_type(kind));
        kinds.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item).into()
    }
}

impl ToSchema for ParamValue {
    fn name() -> std::borrow::Cow<'static, str> {
        "ParamValue".into()
    }
}

impl fmt::Display for ParamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

impl From<&str> for ParamValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl ExternalSpec {
    /// Checks the lengths; the pointers of the errors are relative to the spec.
    pub fn check(&self, checker: &mut Checker) {
        check_params(&self.params, checker, "/params");
        for (pointer, text) in [("/host", &self.host), ("/git_commit", &self.git_commit), ("/command", &self.command)] {
            let length = text.as_ref().map_or(1, |text| text.chars().count());
            checker.check((1..=LONGEST_PARAM).contains(&length), pointer, || format!("must have 1 to {LONGEST_PARAM} characters"));
        }
    }
}

/// Checks parameters that stand at `base`.
pub fn check_params(params: &Params, checker: &mut Checker, base: &str) {
    checker.check(params.len() <= MOST_PARAMS, base, || format!("must be at most {MOST_PARAMS}, are {}", params.len()));
    let bytes: usize = params.iter().map(|(name, value)| name.len() + value.to_string().len()).sum();
    checker.check(bytes <= MOST_PARAM_BYTES, base, || format!("must have at most {MOST_PARAM_BYTES} bytes, have {bytes}"));
    for (name, value) in params {
        let long = matches!(value, ParamValue::Text(text) if text.chars().count() > LONGEST_PARAM);
        let named = (1..=LONGEST_PARAM_NAME).contains(&name.chars().count());
        checker.check(named && !long, &format!("{base}/{}", strict::escape(name)), || {
            format!("must be a name of 1 to {LONGEST_PARAM_NAME} characters and a value of at most {LONGEST_PARAM}")
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ParamValue;
    use crate::Spec;

    #[test]
    fn values_keep_their_type_and_their_digits() {
        let spec = json!({"kind": "external", "params": {"rate": 0.1, "steps": 10, "name": "x", "fast": true, "tiny": 1e-8}});
        let parsed: Spec = serde_json::from_value(spec.clone()).unwrap();
        assert_eq!(serde_json::to_value(&parsed).unwrap(), spec);
        let Spec::External(spec) = parsed else { panic!() };
        let texts: Vec<String> = spec.params.values().map(ParamValue::to_string).collect();
        assert_eq!(texts, ["0.1", "10", "x", "true", "1e-8"]);
        assert!(serde_json::from_value::<ParamValue>(json!([1])).is_err());
    }

    #[test]
    fn an_external_run_cannot_be_submitted() {
        let errors = Spec::from_value(json!({"kind": "external", "params": {}}), "/spec").unwrap_err();
        assert_eq!(errors[0].pointer, "/spec/kind");
    }
}
