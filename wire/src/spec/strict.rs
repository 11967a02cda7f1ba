//! Strict JSON → struct: every error has the JSON pointer (RFC 6901) of the offending value.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use crate::problem::FieldError;
use crate::state::UnknownWord;

/// Most errors that are told of one value.
const MOST_ERRORS: usize = 20;

/// Deserializes `value`, which stands at `base` in the request body.
///
/// Serde stops at the first error. What it stopped at is taken out and the rest read again, so that somebody who got several fields wrong
/// learns of them at once; only after a field that has to be there and is not, nothing of the same object can be told.
pub fn from_value<T: DeserializeOwned>(mut value: Value, base: &str) -> Result<T, Vec<FieldError>> {
    let (mut errors, mut removed) = (Vec::new(), BTreeSet::new());
    loop {
        let error = match serde_path_to_error::deserialize(&value) {
            Ok(read) if errors.is_empty() => return Ok(read),
            Ok(_) => return Err(errors),
            Err(error) => error,
        };
        let (pointer, detail) = (pointer(base, error.path()), in_json_words(error.inner()));
        // Of what was taken out it is not told that it is missing.
        let missing = detail.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
        if !missing.is_some_and(|field| removed.contains(&format!("{pointer}/{}", escape(field)))) {
            errors.push(FieldError { pointer, detail });
        }
        match remove(&mut value, error.path()) {
            Some(below) if errors.len() < MOST_ERRORS => removed.insert(format!("{base}{below}")),
            _ => return Err(errors),
        };
    }
}

/// Takes the innermost field on the path out of its object; its pointer, or none where the path leads through no field that is there.
fn remove(value: &mut Value, path: &Path) -> Option<String> {
    let segments: Vec<&Segment> = path.iter().collect();
    let last = segments.iter().rposition(|segment| matches!(segment, Segment::Map { .. }))?;
    let (mut place, mut at) = (value, String::new());
    for segment in &segments[..last] {
        place = match segment {
            Segment::Seq { index } => place.get_mut(*index)?,
            Segment::Map { key } => place.get_mut(key)?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        };
        write_segment(&mut at, segment);
    }
    let Segment::Map { key } = segments[last] else { return None };
    place.as_object_mut()?.shift_remove(key)?;
    write_segment(&mut at, segments[last]);
    Some(at)
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
    path.iter().for_each(|segment| write_segment(&mut pointer, segment));
    pointer
}

fn write_segment(pointer: &mut String, segment: &Segment) {
    let written = match segment {
        Segment::Seq { index } => write!(pointer, "/{index}"),
        Segment::Map { key } => write!(pointer, "/{}", escape(key)),
        Segment::Enum { .. } | Segment::Unknown => Ok(()),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{BodyError, from_slice, from_value};
    use crate::spec::RegressionSpec;
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

    fn wrong(change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
        let mut spec = json!({"problem": {"source": "synthetic", "n": 5, "d": 2, "condition": 3.0},
            "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10});
        change(&mut spec);
        let errors = from_value::<RegressionSpec>(spec, "/spec").unwrap_err();
        errors.into_iter().map(|error| (error.pointer, error.detail.split([',', ';']).next().unwrap_or_default().to_owned())).collect()
    }

    #[test]
    fn all_fields_that_are_wrong_are_told_at_once_in_their_order() {
        let errors = wrong(|spec| {
            spec["stepps"] = json!(1);
            spec["seed"] = json!("one");
            spec["optimizer"]["learning_rate"] = json!("fast");
            spec["problem"]["x"] = json!([[1], ["two"]]);
        });
        let pointers: Vec<&str> = errors.iter().map(|(pointer, _)| pointer.as_str()).collect();
        assert_eq!(pointers, ["/spec/problem/x/1/0", "/spec/optimizer/learning_rate", "/spec/stepps", "/spec/seed"], "{errors:#?}");
    }

    #[test]
    fn a_misspelt_field_is_told_with_the_one_that_is_missing_for_it_and_a_wrong_one_is_not_told_as_missing_too() {
        let misspelt = wrong(|spec| {
            spec["optimizer"].as_object_mut().unwrap().shift_remove("learning_rate");
            spec["optimizer"]["learing_rate"] = json!(0.1);
        });
        let expected =
            [("/spec/optimizer/learing_rate", "unknown field `learing_rate`"), ("/spec/optimizer", "missing field `learning_rate`")];
        assert_eq!(misspelt, expected.map(|(pointer, detail)| (pointer.to_owned(), detail.to_owned())));
        let wrong_type = wrong(|spec| spec["steps"] = json!("ten"));
        assert_eq!(wrong_type.len(), 1, "{wrong_type:#?}");
        let absent = wrong(|spec| drop(spec.as_object_mut().unwrap().shift_remove("steps")));
        assert_eq!(absent, [("/spec".to_owned(), "missing field `steps`".to_owned())]);
    }

    #[test]
    fn of_very_many_errors_twenty_are_told() {
        let errors = wrong(|spec| (0..50).for_each(|number| spec[format!("field_{number}")] = json!(number)));
        assert_eq!(errors.len(), 20);
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
