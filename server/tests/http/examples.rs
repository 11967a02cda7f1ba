//! The examples in the OpenAPI document: every operation has them, the schemas allow them, and a server takes them.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Answer, World};

const WHERE: &str = "examples stand in server/src/http/examples/, a file a family, under \"METHOD /path\"";

async fn document(world: &World) -> Value {
    world.get("/v1/openapi.json").await.expect(StatusCode::OK)
}

/// Each operation with its name.
fn operations(document: &Value) -> impl Iterator<Item = (String, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation))
    })
}

/// What of an operation can have an example: a name for people, and the parameter or the body.
fn places(operation: &Value) -> Vec<(String, &Value)> {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let mut places: Vec<_> = parameters.map(|parameter| (format!("parameter {}", parameter["name"]), parameter)).collect();
    let bodies =
        |content: &'_ Value| -> Vec<String> { content.as_object().into_iter().flatten().map(|(media, _)| media.clone()).collect() };
    for media in bodies(&operation["requestBody"]["content"]) {
        places.push((format!("request {media}"), &operation["requestBody"]["content"][&media]));
    }
    for (status, response) in operation["responses"].as_object().unwrap() {
        if status.starts_with('2') {
            let all = bodies(&response["content"]);
            places.extend(all.into_iter().map(|media| (format!("answer {status} {media}"), &response["content"][&media])));
        }
    }
    places
}

/// Whether it must have one: everything that is JSON or another text to read, and names that a path or query cannot do without.
fn needs_example(place: &str, value: &Value) -> bool {
    let is_text = ["json", "plain", "csv", "event-stream"].iter().any(|end| place.ends_with(end));
    match place.starts_with("parameter") {
        true => value["required"] == true && value["schema"]["type"] == "string",
        false => is_text,
    }
}

#[tokio::test]
async fn every_operation_has_its_examples() {
    let document = document(&World::start().await).await;
    let mut missing = Vec::new();
    for (name, operation) in operations(&document) {
        // The document is no example of itself.
        if name == "GET /v1/openapi.json" {
            continue;
        }
        let without = places(operation).into_iter().filter(|(place, value)| needs_example(place, value) && value["example"].is_null());
        missing.extend(without.map(|(place, _)| format!("{name}: {place}")));
    }
    assert!(missing.is_empty(), "without an example: {missing:#?}; {WHERE}");
}

#[tokio::test]
async fn every_example_belongs_to_an_operation() {
    let document = document(&World::start().await).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/examples");
    let mut lost = Vec::new();
    for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let examples: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for (name, example) in examples.as_object().unwrap() {
            let Some((_, operation)) = operations(&document).find(|(known, _)| known == name) else {
                lost.push(name.clone());
                continue;
            };
            let shown: Vec<(String, &Value)> = places(operation).into_iter().map(|(place, value)| (place, &value["example"])).collect();
            let mut look = |start: String, value: &Value| {
                if !shown.iter().any(|(place, example)| place.starts_with(&start) && *example == value) {
                    lost.push(format!("{name}: {start}"));
                }
            };
            for (parameter, value) in example["parameters"].as_object().into_iter().flatten() {
                look(format!("parameter \"{parameter}\""), value);
            }
            if let Some(request) = example.get("request") {
                look("request".to_owned(), request);
            }
            for (answer, value) in example["responses"].as_object().into_iter().flatten() {
                look(format!("answer {answer}"), value);
            }
        }
    }
    assert!(lost.is_empty(), "nothing in the API has a place for {lost:#?}; {WHERE}");
}

#[tokio::test]
async fn every_example_is_valid_under_its_schema() {
    let document = document(&World::start().await).await;
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, operation) in operations(&document) {
        for (place, value) in places(operation) {
            let Some(example) = value.get("example") else { continue };
            let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"],
                "allOf": [value["schema"]]});
            let validator = jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
            wrong.extend(validator.iter_errors(example).map(|error| format!("{name}: {place}{}: {error}", error.instance_path())));
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}; {WHERE}");
    assert!(checked > 100, "{checked} examples");
}

#[tokio::test]
async fn unsigned_integers_and_messages_of_a_stream_are_described_as_they_are() {
    let document = document(&World::start().await).await;
    let schemas = &document["components"]["schemas"];
    let unsigned = |schema: &Value| (schema["format"].as_str().map(str::to_owned), schema["minimum"].as_u64(), schema["maximum"].as_u64());
    let threads = unsigned(&schemas["Register"]["properties"]["threads"]);
    assert_eq!(threads, (Some("uint32".to_owned()), Some(0), Some(u32::MAX.into())));
    let step = unsigned(&schemas["LoggedPoint"]["properties"]["step"]);
    assert_eq!(step, (Some("uint64".to_owned()), Some(0), Some(u64::MAX)));

    let stream = &document["paths"]["/v1/events"]["get"]["responses"]["200"]["content"]["text/event-stream"];
    let data = &stream["schema"]["properties"]["data"];
    assert_eq!((&data["type"], &data["contentSchema"]["$ref"]), (&json!("string"), &json!("#/components/schemas/News")));
    let news = &stream["example"]["data"];
    serde_json::from_str::<trainyard_wire::run::News>(news.as_str().unwrap()).unwrap();
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own() {
    let document = document(&World::start().await).await;
    let mut known = BTreeSet::new();
    for (name, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(known.insert(id), "{name} is called {id}, and so is another");
    }
    assert!(["get_run", "get_runs", "post_jobs", "post_run_cancel"].iter().all(|id| known.contains(id)), "{known:?}");
}

#[tokio::test]
async fn a_server_takes_every_request_of_the_examples() {
    /// What needs nothing that is there before.
    const ALONE: [&str; 10] = [
        "POST /v1/jobs",
        "POST /v1/runs",
        "PUT /v1/views/{name}",
        "POST /v1/tools/network",
        "POST /v1/tools/convolution",
        "POST /v1/tokens",
        "POST /v1/retention",
        "POST /api/2.0/mlflow/experiments/create",
        "POST /api/2.0/mlflow/experiments/search",
        "POST /api/2.0/mlflow/runs/search",
    ];
    let world = World::start_with(|config| config.webhook_hosts = vec!["hooks.example.org".parse().unwrap()]).await;
    let document = document(&world).await;
    let worker = std::fs::read_to_string(world.server().worker_token_file()).unwrap();
    let mut sent = 0;
    let mut wrong = Vec::new();
    for (name, operation) in operations(&document) {
        let (method, path) = name.split_once(' ').unwrap();
        let Some(body) = operation.pointer("/requestBody/content/application~1json/example") else { continue };
        let mut path = path.to_owned();
        for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|parameter| parameter["in"] == "path") {
            let example = &parameter["example"];
            let value = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
            path = path.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), &value);
        }
        // Both ways of it have an answer of their own.
        let dry = if name == "POST /v1/jobs" { &["", "?dry_run=true"][..] } else { &[""] };
        for query in dry {
            let token = if path.starts_with("/v1/worker/") { worker.trim() } else { world.admin() };
            let method: Method = method.parse().unwrap();
            let answer = Answer::of(world.bare(method, &format!("{path}{query}")).bearer_auth(token).json(body)).await;
            let missing = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) && !ALONE.contains(&name.as_str());
            if !answer.status.is_success() && !missing {
                wrong.push(format!("{name}{query}: {} {}", answer.status, answer.text()));
            }
            sent += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}; {WHERE}");
    assert!(sent > 30, "{sent} requests");
}
