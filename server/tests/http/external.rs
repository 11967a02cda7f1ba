//! Runs of programs outside, over plain HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::world::{Answer, World};

async fn open(world: &World, body: Value) -> i64 {
    world.post("/v1/runs", &body).await.expect(StatusCode::CREATED)["id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_program_logs_a_run_and_it_is_read_like_any_other() {
    let world = World::start().await;
    let body = json!({"name": "ridge", "tags": {"topic": "baseline"}, "params": {"alpha": 0.1, "solver": "svd", "fast": true},
        "host": "lab-3", "git_commit": "4b825dc", "command": "python fit.py"});
    let answer = world.post("/v1/runs", &body).await;
    assert_eq!(answer.header("location"), "/v1/runs/1");
    let run = answer.expect(StatusCode::CREATED);
    let spec = json!({"kind": "external", "params": {"alpha": 0.1, "solver": "svd", "fast": true}, "host": "lab-3",
        "git_commit": "4b825dc", "command": "python fit.py"});
    assert_eq!(
        (&run["state"], &run["name"], &run["tags"]["topic"], &run["spec"]),
        (&json!("running"), &json!("ridge"), &json!("baseline"), &spec)
    );

    let points = json!({"metrics": [{"name": "loss", "step": 1, "value": 0.5}, {"name": "loss", "step": 2, "value": "NaN"},
        {"name": "accuracy", "step": 2, "value": "-Infinity", "time": "2026-01-01T00:00:00Z"}]});
    let logged = world.post("/v1/runs/1/metrics", &points).await.expect(StatusCode::OK);
    assert_eq!(logged["points"], 3);
    let again = world.post("/v1/runs/1/metrics", &points).await.expect(StatusCode::OK);
    assert_eq!((&again["points"], &again["revision"]), (&json!(0), &logged["revision"]));
    let history = world.get("/v1/runs/1/metrics").await.expect(StatusCode::OK);
    assert_eq!(history["series"][0]["points"][0], json!({"step": 2, "value": "-Infinity", "time": "2026-01-01T00:00:00Z"}));
    assert_eq!(history["series"][1]["points"][1]["value"], "NaN");

    world.post("/v1/runs/1/params", &json!({"params": {"alpha": 0.2, "fitted": 10}})).await.expect(StatusCode::OK);
    let put = world.request(Method::PUT, "/v1/runs/1/artifacts/plots/loss.png").body("not really a picture");
    assert_eq!(Answer::of(put).await.status, StatusCode::NO_CONTENT);
    let picture = world.get("/v1/runs/1/artifacts/plots/loss.png").await;
    assert_eq!((picture.text(), picture.header("content-type")), ("not really a picture", "image/png"));

    let other = open(&world, json!({"params": {"alpha": 0.3}})).await;
    let compared = world.get(&format!("/v1/compare?runs=1,{other}")).await.expect(StatusCode::OK);
    let alpha = compared["differences"].as_array().unwrap().iter().find(|difference| difference["path"] == "params.alpha").unwrap();
    assert_eq!(alpha["values"], json!([0.2, 0.3]));

    let end = json!({"state": "failed", "error": "out of coffee"});
    let run = world.post("/v1/runs/1/finish", &end).await.expect(StatusCode::OK);
    assert_eq!((&run["state"], &run["error"], &run["stop_reason"]), (&json!("failed"), &json!("out of coffee"), &json!("error")));
    world.post("/v1/runs/1/finish", &end).await.expect(StatusCode::OK);
    let listed = world.get("/v1/runs?kind=external&state=failed").await.expect(StatusCode::OK);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let events = world.get("/v1/runs/1/events").await.expect(StatusCode::OK);
    assert_eq!(
        events["items"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect::<Vec<_>>(),
        ["opened", "failed"]
    );
}

#[tokio::test]
async fn a_run_that_is_opened_again_under_the_same_key_is_the_same() {
    let world = World::start().await;
    let open = async |body: Value| Answer::of(world.request(Method::POST, "/v1/runs").header("idempotency-key", "once").json(&body)).await;
    let first = open(json!({"name": "a"})).await.expect(StatusCode::CREATED);
    assert_eq!(open(json!({"name": "a"})).await.expect(StatusCode::CREATED)["id"], first["id"]);
    assert_eq!(open(json!({"name": "b"})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.jobs().await, 1);
}

#[tokio::test]
async fn what_is_wrong_is_pointed_at_and_nothing_is_stored() {
    let world = World::start().await;
    for (body, pointer) in [
        (json!({"name": ""}), "/name"),
        (json!({"tags": {"": "x"}}), "/tags/"),
        (json!({"params": {"a": [1]}}), "/params/a"),
        (json!({"params": {"a": null}}), "/params/a"),
        (json!({"params": {"": 1}}), "/params/"),
        (json!({"host": ""}), "/host"),
        (json!({"colour": 1}), "/colour"),
    ] {
        let answer = world.post("/v1/runs", &body).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer), "{body}");
    }
    assert_eq!(world.jobs().await, 0);
    let id = open(&world, json!({})).await;
    for (metrics, pointer) in [
        (json!([{"name": "a", "step": 1, "value": 1}, {"name": "", "step": 1, "value": 1}]), "/metrics/1"),
        (json!([{"name": "a", "step": -1, "value": 1}]), "/metrics/0/step"),
        (json!([{"name": "a", "step": 1, "value": "nan"}]), "/metrics/0/value"),
        (json!([{"name": "a", "step": 1}]), "/metrics/0"),
        (json!([{"name": "a", "step": 1, "value": 1, "colour": 1}]), "/metrics/0/colour"),
        (json!([{"name": "a", "step": 1u64 << 63, "value": 1}]), "/metrics/0"),
    ] {
        let answer = world.post(&format!("/v1/runs/{id}/metrics"), &json!({"metrics": metrics})).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer), "{metrics}");
    }
    assert_eq!(world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK)["summary"], json!({}));
    let put = Answer::of(world.request(Method::PUT, &format!("/v1/runs/{id}/artifacts/a%20b")).body("x")).await;
    assert_eq!(put.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.post(&format!("/v1/runs/{id}/finish"), &json!({"state": "running"})).await.pointer(), "/state");
}

#[tokio::test]
async fn trained_runs_and_ended_ones_refuse_with_a_reason() {
    let world = World::start().await;
    let trained = world.submit_run().await;
    let point = json!({"metrics": [{"name": "a", "step": 1, "value": 1}]});
    let answer = world.post(&format!("/v1/runs/{trained}/metrics"), &point).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.problem().detail.contains("regression"), "{}", answer.text());
    let put = Answer::of(world.request(Method::PUT, &format!("/v1/runs/{trained}/artifacts/a.txt")).body("x")).await;
    assert_eq!(put.status, StatusCode::CONFLICT);
    assert_eq!(world.post(&format!("/v1/runs/{trained}/params"), &json!({"params": {}})).await.status, StatusCode::CONFLICT);
    assert_eq!(world.post(&format!("/v1/runs/{trained}/finish"), &json!({"state": "failed"})).await.status, StatusCode::CONFLICT);

    let id = open(&world, json!({})).await;
    for action in ["pause", "resume", "retry", "verify"] {
        let refused = world.post(&format!("/v1/runs/{id}/{action}"), &json!({})).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{action}");
    }
    world.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await.expect(StatusCode::OK);
    let answer = world.post(&format!("/v1/runs/{id}/metrics"), &point).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert!(answer.problem().detail.contains("cancelled"));
    let submitted = world.post("/v1/jobs", &json!({"spec": {"kind": "external", "params": {}}})).await;
    assert_eq!((submitted.status, submitted.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/spec/kind"));
}
