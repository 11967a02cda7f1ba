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
