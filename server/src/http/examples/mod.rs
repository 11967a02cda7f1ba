//! Examples of all operations, put into the OpenAPI document when it is made.
//!
//! Each file holds those of a family of routes: `"METHOD /path"` as in the document → the values of parameters that a type says too little of,
//! the JSON body of a request, and the answers by status. An answer belongs to its JSON, or to the one media type that it has; `"200 text/csv"`
//! names another. They are what a server answered, shortened; `server/tests/http/examples.rs` holds them
//! to the schemas and to a server.

use serde::Deserialize;
use serde_json::{Map, Value};

/// The files of this folder.
const FAMILIES: [&str; 8] = [
    include_str!("jobs.json"),
    include_str!("runs.json"),
    include_str!("external.json"),
    include_str!("data.json"),
    include_str!("access.json"),
    include_str!("mlflow.json"),
    include_str!("worker.json"),
    include_str!("webhooks.json"),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    #[serde(default)]
    parameters: Map<String, Value>,
    request: Option<Value>,
    #[serde(default)]
    responses: Map<String, Value>,
}

/// Puts the examples into the document, and answers what there is no place for.
pub(super) fn put_into(document: &mut Value) -> Result<Vec<String>, serde_json::Error> {
    let mut lost = Vec::new();
    for family in FAMILIES {
        // In the order of the file, and also those that it has twice.
        let examples: Map<String, Value> = serde_json::from_str(family)?;
        for (operation, example) in examples {
            place(document, &operation, Example::deserialize(example)?, &mut lost);
        }
    }
    Ok(lost)
}

fn place(document: &mut Value, name: &str, example: Example, lost: &mut Vec<String>) {
    let found = name.split_once(' ').and_then(|(method, path)| document["paths"].get_mut(path)?.get_mut(method.to_lowercase()));
    let Some(operation) = found else {
        lost.push(name.to_owned());
        return;
    };
    for (parameter, value) in example.parameters {
        let mut all = operation["parameters"].as_array_mut().into_iter().flatten();
        match all.find(|known| known["name"] == *parameter) {
            Some(known) => known["example"] = value,
            None => lost.push(format!("{name}: the parameter {parameter}")),
        }
    }
    if let Some(request) = example.request {
        let bodies = contents(&mut operation["requestBody"]["content"], "json");
        if bodies.is_empty() {
            lost.push(format!("{name}: the request"));
        }
        for body in bodies {
            body["example"] = request.clone();
        }
    }
    for (answer, value) in example.responses {
        let (status, media) = answer.split_once(' ').unwrap_or((&answer, "json"));
        let content = operation["responses"].get_mut(status).and_then(|response| response.get_mut("content"));
        match content.map(|content| contents(content, media)).and_then(|mut bodies| bodies.pop()) {
            Some(body) => body["example"] = value,
            None => lost.push(format!("{name}: the answer {answer}")),
        }
    }
}

/// The bodies of this media type (its last word will do), or the only one there is.
fn contents<'a>(content: &'a mut Value, media: &str) -> Vec<&'a mut Value> {
    let Some(content) = content.as_object_mut() else { return Vec::new() };
    let only = content.len() == 1;
    content
        .iter_mut()
        .filter(|(name, _)| only || name.split(['/', '+']).next_back() == Some(media) || *name == media)
        .map(|(_, body)| body)
        .collect()
}
