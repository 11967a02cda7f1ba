//! Strict JSON → struct: every error has the JSON pointer (RFC 6901) of the offending value.

use std::fmt::Write as _;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::problem::FieldError;
use crate::state::UnknownWord;

/// Deserializes `value`, which stands at `base` in the request body.
pub fn from_value<T: DeserializeOwned>(value: Value, base: &str) -> Result<T, Vec<FieldError>> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| vec![FieldError { pointer: pointer(base, error.path()), detail: error.inner().to_string() }])
}

/// Why a body is not the struct that was wanted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// 400: not JSON at all.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// 422: JSON, with this value wrong.
    #[error("{}: {}", .0.pointer, .0.detail)]
    Invalid(FieldError),
}

/// Deserializes a whole request body, without the detour over a [`Value`].
pub fn from_slice<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    // Serde would take the fields of a struct from an array too, by their position.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(BodyError::Invalid(FieldError { pointer: String::new(), detail: "must be an object".to_owned() }));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        if error.inner().is_data() {
            BodyError::Invalid(FieldError { pointer: pointer("", error.path()), detail: error.inner().to_string() })
        } else {
            BodyError::Syntax(error.inner().to_string())
        }
    })?;
    deserializer.end().map_err(|error| BodyError::Syntax(error.to_string()))?;
    Ok(value)
}

/// Refuses an array where `value` or one of its `fields` has to be an object: serde would take a struct's fields from it by position.
pub fn objects(value: &Value, base: &str, fields: &[&str]) -> Result<(), Vec<FieldError>> {
    let places = std::iter::once((base.to_owned(), Some(value)));
    let places = places.chain(fields.iter().map(|field| (format!("{base}/{field}"), value.get(field))));
    let errors: Vec<FieldError> = places
        .filter(|(_, value)| value.is_some_and(Value::is_array))
        .map(|(pointer, _)| FieldError { pointer, detail: "must be an object".to_owned() })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Takes the field that says which kind of object this is out of it.
pub fn take_tag<T: FromStr<Err = UnknownWord>>(value: &mut Value, base: &str, tag: &str) -> Result<T, Vec<FieldError>> {
    let error = |pointer: String, detail: String| vec![FieldError { pointer, detail }];
    let Some(object) = value.as_object_mut() else {
        return Err(error(base.to_owned(), "must be an object".to_owned()));
    };
    match object.shift_remove(tag) {
        None => Err(error(base.to_owned(), format!("missing field `{tag}`"))),
        Some(Value::String(word)) => word.parse().map_err(|unknown: UnknownWord| error(format!("{base}/{tag}"), unknown.to_string())),
        Some(_) => Err(error(format!("{base}/{tag}"), "must be a string".to_owned())),
    }
}

/// One reference token of a JSON pointer, escaped.
pub fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn pointer(base: &str, path: &Path) -> String {
    let mut pointer = base.to_owned();
    for segment in path.iter() {
        let written = match segment {
            Segment::Seq { index } => write!(pointer, "/{index}"),
            Segment::Map { key } => write!(pointer, "/{}", escape(key)),
            Segment::Enum { .. } | Segment::Unknown => Ok(()),
        };
        debug_assert!(written.is_ok(), "writing to a string cannot fail");
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::{BodyError, from_slice};
    use crate::token::CreateToken;

    #[test]
    fn a_body_is_read_whole_and_its_errors_are_pointed_at() {
        assert!(from_slice::<CreateToken>(br#"{"name": "ci", "scopes": ["read"]}"#).is_ok());
        for (body, pointer) in [
            (r#"{"name": "ci", "scopes": ["read", "write"]}"#, "/scopes/1"),
            (r#"{"name": "ci", "scopes": [], "colour": 1}"#, "/colour"),
            (r#"{"name": 1, "scopes": []}"#, "/name"),
            ("[1]", ""),
            (r#"["zz", ["read"], 1]"#, ""),
            (r#"{"scopes": []}"#, ""),
        ] {
            let Err(BodyError::Invalid(error)) = from_slice::<CreateToken>(body.as_bytes()) else { panic!("{body} was read") };
            assert_eq!(error.pointer, pointer, "for {body}");
        }
        for body in ["", "{", "{\"name\": \"ci\", \"scopes\": []} x"] {
            assert!(matches!(from_slice::<CreateToken>(body.as_bytes()), Err(BodyError::Syntax(_))), "for {body}");
        }
    }
}
