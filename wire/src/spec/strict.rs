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
        .map_err(|error| vec![FieldError { pointer: pointer(base, error.path()), detail: in_json_words(error.inner()) }])
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
            BodyError::Invalid(FieldError { pointer: pointer("", error.path()), detail: in_json_words(error.inner()) })
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

/// What serde says, with JSON's words for the types of numbers instead of Rust's.
fn in_json_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let Some((said, expected)) = text.rsplit_once(", expected ") else { return text };
    // A value that is read from text has its place behind it.
    let (rust, place) =
        expected.split_once(" at line ").map_or((expected, String::new()), |(rust, place)| (rust, format!(" at line {place}")));
    let json = match rust {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" => "a whole number",
        _ => return text,
    };
    format!("{said}, expected {json}{place}")
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
    fn a_number_that_is_none_is_told_in_jsons_words() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only its errors are looked at")]
        struct Numbers {
            rate: f64,
            steps: u32,
        }
        for (body, detail) in [
            (r#"{"rate": "0.1", "steps": 1}"#, r#"invalid type: string "0.1", expected a number"#),
            (r#"{"rate": 0.1, "steps": -1}"#, "invalid value: integer `-1`, expected a whole number, 0 or more"),
        ] {
            let Err(BodyError::Invalid(error)) = from_slice::<Numbers>(body.as_bytes()) else { panic!("{body} was read") };
            assert!(error.detail.starts_with(detail), "{} for {body}", error.detail);
        }
    }

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
