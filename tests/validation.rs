//! What is refused at submit, and how: a problem body that points at the value, and nothing in the queue.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use serde_json::{Value, json};
use support::{Yard, jobs};
use trainyard_wire::client::RunQuery;
use trainyard_wire::problem::{CONTENT_TYPE, Problem};

fn synthetic() -> Value {
    json!({"spec": {
        "kind": "regression",
        "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1, "seed": 0},
        "optimizer": {"name": "gd", "learning_rate": 0.1},
        "steps": 100
    }})
}

async fn submit(yard: &Yard, body: String) -> (u16, String, Vec<u8>) {
    let answer = yard.request(Method::POST, "/v1/jobs").header("content-type", "application/json").body(body).send().await.unwrap();
    let content_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), content_type, answer.bytes().await.unwrap().to_vec())
}

#[tokio::test]
async fn a_wrong_value_is_named_by_its_pointer_and_the_mended_job_is_accepted() {
    let yard = Yard::server(&[]).await;
    let momentum = jobs::two_unknowns(json!({"name": "momentum", "learning_rate": 0.01}));
    let cases: [(Value, &str, Value); 9] = [
        (momentum.clone(), "/spec/optimizer/learning_rte", json!(0.1)),
        (momentum.clone(), "/unknown", json!(1)),
        (momentum, "/spec/optimizer/learning_rate", json!(-0.1)),
        (jobs::colourization(1), "/spec/batch_size", json!(1_000_000_000)),
        (synthetic(), "/spec/problem/d", json!(10_000_000)),
        (jobs::hypergradient(), "/spec/inner_steps", json!(100_000)),
        (jobs::hypergradient(), "/spec/method", json!("backward")),
        (jobs::colourization(1), "/spec/network/kernel", json!(0)),
        (jobs::colourization(1), "/spec/network/kernel", json!(8)),
    ];
    for (right, pointer, value) in &cases {
        let mut wrong = right.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap()[field] = value.clone();
        let (status, content_type, body) = submit(&yard, wrong.to_string()).await;
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, content_type.as_str()), (422, CONTENT_TYPE), "{problem:?}");
        assert_eq!(problem.status, status);
        assert_eq!(problem.errors[0].pointer, *pointer, "{problem:?}");
        assert!(!problem.request_id.is_empty());
    }
    assert!(yard.client.runs(&RunQuery::default()).await.unwrap().items.is_empty(), "nothing was queued");
    assert!(yard.client.jobs(10).await.unwrap().items.is_empty());

    for (right, pointer, _) in cases {
        let (status, _, body) = submit(&yard, right.to_string()).await;
        assert_eq!(status, 201, "{pointer}: {}", String::from_utf8_lossy(&body));
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_a_problem_too() {
    let yard = Yard::server(&[]).await;
    let (status, content_type, _) = submit(&yard, "{\"spec\": ".to_owned()).await;
    assert_eq!((status, content_type.as_str()), (400, CONTENT_TYPE));
}

#[tokio::test]
async fn the_command_line_shows_the_pointers_and_tells_failure_from_wrong_usage() {
    let yard = Yard::server(&[]).await;
    let mut job = jobs::colourization(1);
    job["spec"]["network"]["kernel"] = json!(0);
    std::fs::write(yard.folder.path().join("job.json"), job.to_string()).unwrap();
    let refused = yard.cli(&["submit", "job.json"]).await;
    assert_eq!(refused.code, Some(4));
    assert!(refused.stderr.contains("/spec/network/kernel"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");

    assert_eq!(yard.cli(&["submit"]).await.code, Some(2));
    assert_eq!(yard.cli(&["runs", "--state", "sleeping"]).await.code, Some(2));
    assert_eq!(yard.cli(&["submit", "missing.json"]).await.code, Some(1));
    assert_eq!(yard.cli(&["show", "999"]).await.code, Some(4));
}
