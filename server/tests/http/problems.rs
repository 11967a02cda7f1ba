//! Every error is a problem body.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use trainyard_wire::worker::Report;

use super::worker_protocol::{Worker, report, series};
use super::world::{Answer, World, regression, with};

#[tokio::test]
async fn what_does_not_exist_is_404() {
    let world = World::start().await;
    for path in [
        "/v1/nothing",
        "/v1/runs/999",
        "/v1/runs/abc",
        "/v1/jobs/999",
        "/v1/runs/999/metrics",
        "/v1/runs/999/events",
        "/v1/runs/999/logs",
        "/v1/runs/999/artifacts",
        "/v1/runs/999/artifacts/model.safetensors",
        "/v1/runs/999/certificates",
        "/v1/datasets/nothing",
        "/v1/compare?runs=998,999",
        "/assets/nothing.js",
        "/docs/nothing.js",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        answer.problem();
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_with_the_allowed_ones() {
    let world = World::start().await;
    for (method, path, allowed) in [
        (Method::PUT, "/v1/runs/1", "PATCH"),
        (Method::PUT, "/v1/jobs", "POST"),
        (Method::GET, "/v1/worker/claims", "POST"),
        (Method::POST, "/", "GET"),
    ] {
        let answer = Answer::of(world.request(method, path)).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert!(answer.header("allow").contains(allowed), "{path}: {}", answer.header("allow"));
        answer.problem();
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_and_one_of_another_type_are_told_apart() {
    let world = World::start().await;
    let post = |media: &'static str, body: &'static str| {
        let request = world.request(Method::POST, "/v1/tools/network").header("content-type", media).body(body);
        async { Answer::of(request).await }
    };
    let answer = post("application/json", "{\"name\": ").await;
    assert_eq!((answer.status, answer.problem().r#type.as_str()), (StatusCode::BAD_REQUEST, "/problems/malformed-request"));
    let answer = post("text/plain", "{}").await;
    assert_eq!((answer.status, answer.problem().r#type.as_str()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "/problems/media-type"));
    let answer = post("application/json; charset=utf-8", "{\"name\": \"unet\", \"colour\": 1}").await;
    assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "/colour"));
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_and_named() {
    let world = World::start().await;
    let run = world.submit_run().await;
    for (path, pointer) in [
        ("/v1/runs?colour=red".to_owned(), "?colour"),
        ("/v1/jobs?dry_run=true".to_owned(), "?dry_run"),
        ("/v1/workers?limit=1".to_owned(), "?limit"),
        (format!("/v1/runs/{run}?verbose"), "?verbose"),
        (format!("/v1/runs/{run}/metrics?name=loss"), "?name"),
        ("/v1/runs?limit=0".to_owned(), "?limit"),
        ("/v1/runs?limit=1001".to_owned(), "?limit"),
        ("/v1/runs?limit=many".to_owned(), "?limit"),
        ("/v1/runs?state=asleep".to_owned(), "?state"),
        ("/v1/runs?cursor=nonsense".to_owned(), "?cursor"),
        (format!("/v1/runs/{run}/metrics?buckets=0"), "?buckets"),
        (format!("/v1/runs/{run}/metrics?buckets=10&limit=5"), "?limit"),
        ("/v1/compare?runs=one".to_owned(), "?runs"),
    ] {
        let answer = world.get(&path).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::BAD_REQUEST, pointer), "{path}");
    }
    let answer = world.post("/v1/jobs?dryrun=true", &regression()).await;
    assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::BAD_REQUEST, "?dryrun"));
    assert_eq!(world.jobs().await, 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_announced_or_not() {
    let world = World::start_with(|config| config.limits.json_body_bytes = 1000).await;
    let large = with(regression(), "/name", json!("x".repeat(2000)));
    let announced = world.post("/v1/jobs", &large).await;
    assert_eq!(announced.status, StatusCode::PAYLOAD_TOO_LARGE);
    announced.problem();
    let text = large.to_string();
    let pieces =
        futures::stream::iter(text.into_bytes().chunks(100).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>());
    let streamed = world.request(Method::POST, "/v1/jobs").header("content-type", "application/json");
    let streamed = Answer::of(streamed.body(reqwest::Body::wrap_stream(pieces))).await;
    assert_eq!(streamed.status, StatusCode::PAYLOAD_TOO_LARGE);
    streamed.problem();
    assert_eq!(world.jobs().await, 0);
}

/// Sends raw bytes and reads until the server closes the connection.
async fn raw(world: &World, request: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(world.server().address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_body_gets_408() {
    let world = World::start_with(|config| config.limits.patience = Duration::from_millis(200)).await;
    let head = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\nConnection: close\r\n\r\n",
        world.admin()
    );
    let answer = raw(&world, &format!("{head}{{\"spec\"")).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("application/problem+json"), "{answer}");
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_cut_off() {
    let world = World::start_with(|config| config.limits.header_timeout = Duration::from_millis(200)).await;
    let answer = raw(&world, "GET /healthz HTTP/1.1\r\nHost: local").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert_eq!(world.get("/healthz").await.status, StatusCode::OK);
}

/// The value of a figure; 0 where it is not told yet.
pub(super) fn figure(text: &str, name: &str) -> f64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn what_the_queue_and_the_store_do_shows_in_the_figures() {
    let world = World::start().await;
    world.submit_run().await;
    world.submit_run().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let before = world.get("/metrics").await;
    assert!(figure(before.text(), "trainyard_queue_oldest_seconds") >= 0.02, "{}", before.text());

    let worker = Worker::register(&world).await;
    let run = worker.claim(0.0).await.remove(0);
    let series = series("images_per_second", &[100.0, 250.0]);
    worker.client.report(run.run_id, &Report { metrics: vec![series], ..report(run.attempt) }).await.unwrap();
    let after = world.get("/metrics").await;
    assert_eq!(figure(after.text(), "trainyard_images_per_second"), 250.0);
    assert_eq!(figure(after.text(), "trainyard_runs{state=\"queued\"}"), 1.0);
    // Other tests of the process count too.
    for grown in ["trainyard_claim_seconds_count", "trainyard_commit_seconds_count", "trainyard_commit_writes_count"] {
        assert!(figure(after.text(), grown) > figure(before.text(), grown), "{grown} has not grown");
    }
    for described in ["trainyard_leases_lost_total", "trainyard_commit_writes", "trainyard_queue_oldest_seconds"] {
        assert!(after.text().contains(&format!("# HELP {described} ")), "{described} is not described");
    }
    assert!(after.text().contains("trainyard_commit_writes_bucket{le=\"256\"}"), "{}", after.text());
}

#[tokio::test]
async fn figures_for_prometheus_are_given() {
    let world = World::start().await;
    world.submit_run().await;
    let answer = world.get("/metrics").await;
    assert_eq!(answer.status, StatusCode::OK);
    for figure in ["trainyard_runs{state=\"queued\"} 1", "trainyard_http_requests_total{", "trainyard_workers "] {
        assert!(answer.text().contains(figure), "no {figure} in {}", answer.text());
    }
    assert!(answer.text().contains("route=\"/v1/jobs\""), "{}", answer.text());
}
