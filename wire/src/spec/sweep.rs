//! Sweeps: dotted paths into the spec, each with the values to try. The points are their product; the last path varies fastest.

use indexmap::IndexMap;
use serde_json::Value;

use super::Spec;
use super::strict::escape;
use crate::job::SweepPoint;
use crate::problem::FieldError;

/// Dotted path into the spec → values.
pub type Sweep = IndexMap<String, Vec<Value>>;

/// One point of a sweep: what it sets, and the spec that comes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    pub sets: SweepPoint,
    pub spec: Spec,
}

/// Expands `sweep` over `spec`. Without a sweep there is one point.
///
/// An error in a value that the sweep set points into the sweep (`/sweep/optimizer.learning_rate/1`), any other into the spec.
pub fn expand(spec: &Value, sweep: &Sweep, most_points: u64) -> Result<Vec<Point>, Vec<FieldError>> {
    let mut count = 1u64;
    for (path, values) in sweep {
        let at = format!("/sweep/{}", escape(path));
        if path == "kind" || path.split('.').any(str::is_empty) {
            return Err(vec![FieldError { pointer: at, detail: "must be a dotted path into the spec, and not `kind`".to_owned() }]);
        }
        if let Some(other) = sweep.keys().find(|other| path.strip_prefix(other.as_str()).is_some_and(|below| below.starts_with('.'))) {
            return Err(vec![FieldError { pointer: at, detail: format!("lies inside `{other}`, which the sweep sets too") }]);
        }
        if values.is_empty() {
            return Err(vec![FieldError { pointer: at, detail: "must have at least one value".to_owned() }]);
        }
        count = count.saturating_mul(values.len() as u64);
    }
    if count > most_points {
        return Err(vec![FieldError {
            pointer: "/sweep".to_owned(),
            detail: format!("has {count} points; at most {most_points} are allowed for a job of this size"),
        }]);
    }
    (0..count).map(|index| point(spec, sweep, index)).collect()
}

fn point(spec: &Value, sweep: &Sweep, index: u64) -> Result<Point, Vec<FieldError>> {
    let mut swept = spec.clone();
    let mut sets = Vec::with_capacity(sweep.len());
    let mut rest = index;
    for (path, values) in sweep.iter().rev() {
        let position = (rest % values.len() as u64) as usize;
        rest /= values.len() as u64;
        sets.push((path, position, &values[position]));
    }
    sets.reverse();
    for (path, position, value) in &sets {
        set(&mut swept, path, (*value).clone())
            .map_err(|detail| vec![FieldError { pointer: format!("/sweep/{}/{position}", escape(path)), detail }])?;
    }
    let spec =
        Spec::from_value(swept, "/spec").map_err(|errors| errors.into_iter().map(|error| into_sweep(error, &sets)).collect::<Vec<_>>())?;
    Ok(Point { sets: sets.into_iter().map(|(path, _, value)| (path.clone(), value.clone())).collect(), spec })
}

/// Sets the value at a dotted path, making the objects on the way that are not there.
fn set(spec: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let mut place = spec;
    for name in path.split('.') {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        let object = place.as_object_mut().ok_or_else(|| format!("`{name}` is not inside an object"))?;
        place = object.entry(name).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

/// Points an error at the value of the sweep that caused it, if one did.
fn into_sweep(mut error: FieldError, sets: &[(&String, usize, &Value)]) -> FieldError {
    for (path, position, _) in sets {
        let place = format!("/spec/{}", path.split('.').map(escape).collect::<Vec<_>>().join("/"));
        if let Some(below) = error.pointer.strip_prefix(&place)
            && (below.is_empty() || below.starts_with('/'))
        {
            error.pointer = format!("/sweep/{}/{position}{below}", escape(path));
            break;
        }
    }
    error
}
