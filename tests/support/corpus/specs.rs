//! Bodies of `POST /v1/jobs` that are no jobs.

use serde_json::{Value, json};

use super::Dice;
use crate::support::jobs;

/// A body, and what was done to it.
pub struct Body {
    pub what: String,
    pub bytes: Vec<u8>,
    /// It may be a job by chance: a number that is replaced by another one of its range.
    pub may_be_valid: bool,
}

/// Valid jobs of every kind.
fn valid() -> Vec<Value> {
    vec![
        jobs::quick(),
        jobs::two_unknowns(json!({"name": "rmsprop", "learning_rate": 0.01, "beta": 0.9, "epsilon": 1e-8, "schedule": "cosine"})),
        jobs::colourization(3),
        jobs::hypergradient(),
        json!({"name": "swept", "tags": {"a": "b"}, "priority": 3, "sweep": {"optimizer.learning_rate": [0.1, 0.2]},
            "spec": {"kind": "regularization_pair", "problem": {"source": "synthetic", "n": 10, "d": 3, "condition": 2.0},
                "optimizer": {"name": "adam", "learning_rate": 0.1, "batch_size": 5}, "decay": 0.1, "steps": 10, "seed": 1}}),
    ]
}

/// What a value is replaced by, as JSON text: serde_json cannot write most of it.
fn replacements() -> Vec<(&'static str, String)> {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    [
        ("NaN", "NaN"),
        ("the text NaN", "\"NaN\""),
        ("Infinity", "Infinity"),
        ("the text -Infinity", "\"-Infinity\""),
        ("a number over every double", "1e999"),
        ("a number under every double", "-1e999"),
        ("the largest double", "1.7976931348623157e308"),
        ("the smallest double", "5e-324"),
        ("minus zero", "-0.0"),
        ("-1", "-1"),
        ("a half", "0.5"),
        ("2^31", "2147483648"),
        ("2^53 + 1", "9007199254740993"),
        ("2^63", "9223372036854775808"),
        ("2^64", "18446744073709551616"),
        ("-2^63 - 1", "-9223372036854775809"),
        ("null", "null"),
        ("true", "true"),
        ("an empty text", "\"\""),
        ("an empty array", "[]"),
        ("an empty object", "{}"),
        ("an array of itself", "[[[1]]]"),
        ("half of a pair of surrogates", "\"\\ud800\""),
        ("a text with NUL", "\"a\\u0000b\""),
        ("hexadecimal", "0x10"),
        ("a leading zero", "010"),
        ("a comment", "/* 1 */ 1"),
    ]
    .into_iter()
    .map(|(what, text)| (what, text.to_owned()))
    .chain([
        ("a number of 5000 digits", "9".repeat(5000)),
        ("a fraction of 5000 digits", format!("0.{}", "1".repeat(5000))),
        ("100 arrays in each other", nested(100)),
        ("10000 arrays in each other", nested(10_000)),
        ("5000 objects in each other", objects(5000)),
        ("a text of 200 kB", format!("\"{}\"", "x".repeat(200_000))),
        ("20000 numbers", format!("[{}1]", "1,".repeat(19_999))),
    ])
    .collect()
}

/// Where the values of `value` stand.
fn pointers(value: &Value, base: &str, found: &mut Vec<String>) {
    if !base.is_empty() {
        found.push(base.to_owned());
    }
    match value {
        Value::Object(object) => {
            object.iter().for_each(|(key, value)| pointers(value, &format!("{base}/{}", key.replace('/', "~1")), found))
        }
        Value::Array(array) => {
            array.iter().take(2).enumerate().for_each(|(index, value)| pointers(value, &format!("{base}/{index}"), found))
        }
        _ => {}
    }
}

/// `job` with the text `replacement` where `pointer` points.
fn replaced(job: &Value, pointer: &str, replacement: &str) -> Vec<u8> {
    const MARK: &str = "the-place-that-is-replaced";
    let mut job = job.clone();
    *job.pointer_mut(pointer).unwrap() = json!(MARK);
    job.to_string().replace(&format!("\"{MARK}\""), replacement).into_bytes()
}

/// At least 2000 bodies of which hardly any is a job.
pub fn hostile() -> Vec<Body> {
    let mut bodies = Vec::new();
    let mut add = |what: String, bytes: Vec<u8>, may_be_valid| bodies.push(Body { what, bytes, may_be_valid });
    let mut dice = Dice::new(11);
    for job in valid() {
        let mut places = Vec::new();
        pointers(&job, "", &mut places);
        for place in &places {
            for (what, text) in replacements() {
                add(format!("{what} at {place}"), replaced(&job, place, &text), true);
            }
        }
        let text = job.to_string();
        for end in (0..text.len()).step_by(7) {
            add(format!("cut off after {end} bytes"), text.as_bytes()[..end].to_vec(), false);
        }
        for _ in 0..100 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=dice.roll(3) {
                let at = dice.roll(bytes.len());
                bytes[at] = dice.roll(256) as u8;
            }
            add("bytes changed".to_owned(), bytes, true);
        }
        for place in ["", "/spec", "/spec/problem", "/spec/optimizer"] {
            let mut extended = job.clone();
            if let Some(object) = extended.pointer_mut(place).and_then(Value::as_object_mut) {
                object.insert("colour".to_owned(), json!(1));
                add(format!("an unknown field at {place}"), extended.to_string().into_bytes(), false);
            }
        }
        add("twice the same field".to_owned(), text.replacen("\"spec\"", "\"spec\":{},\"spec\"", 1).into_bytes(), true);
        add("something after the body".to_owned(), format!("{text}{text}").into_bytes(), false);
        add("a byte order mark".to_owned(), format!("\u{feff}{text}").into_bytes(), false);
        add("UTF-16".to_owned(), text.encode_utf16().flat_map(u16::to_le_bytes).collect(), false);
    }
    bodies
}

/// Bodies as large as they may be, and larger, that are no jobs.
pub fn huge() -> Vec<Body> {
    const MOST: usize = 8 << 20;
    let filled = |what: &str, before: &str, piece: &str, after: &str| {
        let count = (MOST - before.len() - after.len()) / piece.len();
        Body { what: what.to_owned(), bytes: format!("{before}{}{after}", piece.repeat(count)).into_bytes(), may_be_valid: false }
    };
    let problem = "{\"spec\":{\"kind\":\"regression\",\"optimizer\":{\"name\":\"gd\",\"learning_rate\":0.1},\"steps\":1,\"problem\":{\"source\":\"inline\",";
    vec![
        filled("8 MiB of arrays that open", "", "[", ""),
        filled("8 MiB of objects that open", "", "{\"a\":", ""),
        filled("8 MiB of digits", "{\"spec\":", "9", "}"),
        filled("8 MiB of text", "{\"name\":\"", "x", "\"}"),
        filled("8 MiB of numbers in a row", &format!("{problem}\"t\":[1],\"x\":[["), "1,", "1]]}}}"),
        filled("8 MiB of rows of a number", &format!("{problem}\"t\":[1],\"x\":["), "[1],", "[]]}}}"),
        filled("8 MiB of empty rows", &format!("{problem}\"t\":[1],\"x\":["), "[],", "[]]}}}"),
        filled("8 MiB of empty objects", "{\"spec\":{\"kind\":[", "{},", "{}]}}"),
        filled("8 MiB of fields", "{\"tags\":{", "\"\":\"\",", "\"a\":1}}"),
        filled("8 MiB of nulls", "[", "null,", "null]"),
        filled("8 MiB of targets", &format!("{problem}\"x\":[[1]],\"t\":["), "1,", "1]}}}"),
        filled("a sweep of 8 MiB", "{\"spec\":{},\"sweep\":{\"steps\":[", "1,", "1]}}"),
        filled("8 MiB of escapes", "{\"name\":\"", "\\u0041", "\"}"),
        Body { what: "a byte over 8 MiB".to_owned(), bytes: vec![b' '; MOST + 1], may_be_valid: false },
        Body { what: "32 MiB".to_owned(), bytes: vec![b'['; 4 * MOST], may_be_valid: false },
    ]
}

/// A sweep of ten thousand points over a spec with numbers, wrong in its last point.
pub fn wide_sweep() -> Body {
    let row: Vec<f64> = (0..500).map(f64::from).collect();
    let mut rates: Vec<Value> = (1..10_000).map(|index| json!(1e-9 * f64::from(index))).collect();
    rates.push(json!(-1));
    let job = json!({"spec": {"kind": "regression", "problem": {"source": "inline", "x": [row], "t": [1]},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 1}, "sweep": {"optimizer.learning_rate": rates}});
    Body { what: "a wide sweep".to_owned(), bytes: job.to_string().into_bytes(), may_be_valid: false }
}
