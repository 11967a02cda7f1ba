//! What pollers rely on: pages, entity tags, long polls, metric histories.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{LogLevel, LogLine};
use trainyard_wire::worker::Report;
use trainyard_wire::{Attempt, Number, RunId, Timestamp};

use super::worker_protocol::{Worker, report, series};
use super::world::{Answer, World, regression, with};

/// The path in `Link: <…>; rel="next"`.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.headers.get("link")?.to_str().unwrap();
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

#[tokio::test]
async fn pages_hold_everything_once_even_while_more_is_queued() {
    let world = World::start().await;
    world.post("/v1/jobs", &with(regression(), "/sweep", json!({"seed": (0..25).collect::<Vec<_>>()}))).await.expect(StatusCode::CREATED);
    let mut seen = Vec::new();
    let mut path = Some("/v1/runs?limit=10&state=queued".to_owned());
    while let Some(current) = path {
        let answer = world.get(&current).await;
        path = next(&answer);
        let items = answer.expect(StatusCode::OK)["items"].as_array().unwrap().clone();
        assert!(items.len() <= 10);
        seen.extend(items.iter().map(|run| run["id"].as_i64().unwrap()));
        world.submit_run().await;
    }
    assert_eq!(seen.len(), 25);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 25);
    assert!(seen.is_sorted_by(|newer, older| newer > older));
    let none = world.get("/v1/runs?kind=colourization").await.expect(StatusCode::OK);
    assert_eq!(none["items"], json!([]));
    let of_job = world.get("/v1/runs?job=1&limit=1000").await.expect(StatusCode::OK);
    assert_eq!(of_job["items"].as_array().unwrap().len(), 25);
}

#[tokio::test]
async fn what_did_not_change_is_304() {
    let world = World::start().await;
    let id = world.submit_run().await;
    let paths =
        [format!("/v1/runs/{id}"), "/v1/runs".to_owned(), "/v1/jobs".to_owned(), "/v1/jobs/1".to_owned(), format!("/v1/runs/{id}/metrics")];
    let mut tags = Vec::new();
    for path in &paths {
        let first = world.get(path).await;
        tags.push(first.header("etag").to_owned());
        let again = Answer::of(world.request(Method::GET, path).header("if-none-match", first.header("etag"))).await;
        assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
        assert_eq!(again.header("etag"), first.header("etag"), "{path}");
    }
    Answer::of(world.request(Method::POST, &format!("/v1/runs/{id}/cancel"))).await.expect(StatusCode::OK);
    for (path, tag) in paths.iter().zip(tags) {
        let changed = Answer::of(world.request(Method::GET, path).header("if-none-match", tag)).await;
        assert_eq!(changed.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn answers_that_many_share_are_never_older_than_what_was_acknowledged() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    let (metrics, chart) = (format!("/v1/runs/{id}/metrics?limit=10000"), format!("/v1/runs/{id}/charts/loss.json"));
    for count in 1..=30_u64 {
        let told = SeriesBatch { steps: vec![count], values: vec![Number(0.5)], times: vec![0], name: "loss".to_owned() };
        worker.client.report(id, &Report { metrics: vec![told], ..report(Attempt(1)) }).await.unwrap();
        let asked =
            (0..8).map(async |_| (world.get(&metrics).await.expect(StatusCode::OK), world.get(&chart).await.expect(StatusCode::OK)));
        for (history, figure) in futures::future::join_all(asked).await {
            assert_eq!(history["series"][0]["points"].as_array().unwrap().len() as u64, count);
            assert_eq!(figure["facts"]["series"][0]["points"], count);
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_shared_is_told_to_nobody_who_may_not_read() {
    let world = World::start().await;
    let path = format!("/v1/runs/{}", world.submit_run().await);
    world.get(&path).await.expect(StatusCode::OK);
    let worker = world.token(&["worker"]).await;
    let refused = Answer::of(world.bare(Method::GET, &path).bearer_auth(worker)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(Answer::of(world.bare(Method::GET, &path)).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(world.get(&format!("{path}?surprise=1")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn files_certificates_and_logs_that_are_as_they_were_are_304_while_metrics_come() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    let paths = ["artifacts", "certificates", "logs?limit=1000"].map(|name| format!("/v1/runs/{id}/{name}"));
    let mut tags = Vec::new();
    for path in &paths {
        tags.push(world.get(path).await.header("etag").to_owned());
    }
    let again = async |path: &str, tag: &str| Answer::of(world.request(Method::GET, path).header("if-none-match", tag)).await;
    let more = |values: &[f64]| Report { metrics: vec![series("more", values)], ..report(Attempt(1)) };
    worker.client.report(id, &more(&[0.5])).await.unwrap();
    for (path, tag) in paths.iter().zip(&tags) {
        assert_eq!(again(path, tag).await.status, StatusCode::NOT_MODIFIED, "{path}");
    }
    let line = LogLine { time: Timestamp(0), level: LogLevel::Info, message: "news".to_owned() };
    worker.client.report(id, &Report { logs: vec![line], ..report(Attempt(1)) }).await.unwrap();
    let statuses = [again(&paths[0], &tags[0]).await.status, again(&paths[2], &tags[2]).await.status];
    assert_eq!(statuses, [StatusCode::NOT_MODIFIED, StatusCode::OK]);
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_the_run_changes() {
    let world = World::start().await;
    let id = world.submit_run().await;
    let path = format!("/v1/runs/{id}");
    let poll = || Answer::of(world.request(Method::GET, &path).header("prefer", "wait=30"));
    let start = Instant::now();
    let (answer, ()) = tokio::join!(poll(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Answer::of(world.request(Method::POST, &format!("{path}/cancel"))).await.expect(StatusCode::OK);
    });
    assert_eq!(answer.header("preference-applied"), "wait");
    assert_eq!(answer.expect(StatusCode::OK)["state"], "cancelled");
    // A finished run is answered at once.
    assert_eq!(poll().await.expect(StatusCode::OK)["state"], "cancelled");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_long_poll_ends_with_its_wait_and_skips_it_for_news() {
    let world = World::start().await;
    let id = world.submit_run().await;
    let path = format!("/v1/runs/{id}");
    let old = world.get(&path).await.header("etag").to_owned();
    let poll =
        async |tag: &str| Answer::of(world.request(Method::GET, &path).header("prefer", "wait=1").header("if-none-match", tag)).await;
    let start = Instant::now();
    assert_eq!(poll(&old).await.status, StatusCode::NOT_MODIFIED);
    assert!(start.elapsed() >= Duration::from_millis(900));
    Answer::of(world.request(Method::POST, &format!("{path}/pause"))).await.expect(StatusCode::OK);
    let start = Instant::now();
    assert_eq!(poll(&old).await.expect(StatusCode::OK)["state"], "paused");
    assert!(start.elapsed() < Duration::from_millis(900));
}

pub(super) async fn run_with_metrics(world: &World) -> RunId {
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(world).await;
    worker.claim(0.0).await;
    let values: Vec<f64> = (1..=100).map(f64::from).collect();
    let told = Report { metrics: vec![series("loss", &values), series("gradient_norm", &[f64::INFINITY, 0.5])], ..report(Attempt(1)) };
    worker.client.report(id, &told).await.unwrap();
    id
}

#[tokio::test]
async fn a_history_is_read_by_name_by_step_and_in_pages() {
    let world = World::start().await;
    let id = run_with_metrics(&world).await;
    let history = world.get(&format!("/v1/runs/{id}/metrics?names=loss&from=10&to=12")).await.expect(StatusCode::OK);
    assert_eq!(history["series"].as_array().unwrap().len(), 1);
    let steps: Vec<&Value> = history["series"][0]["points"].as_array().unwrap().iter().map(|point| &point["step"]).collect();
    assert_eq!(steps, [10, 11, 12]);

    let mut points = 0;
    let mut path = Some(format!("/v1/runs/{id}/metrics?limit=30"));
    while let Some(current) = path {
        let answer = world.get(&current).await;
        path = next(&answer);
        let series = answer.expect(StatusCode::OK)["series"].as_array().unwrap().clone();
        let page: usize = series.iter().map(|series| series["points"].as_array().unwrap().len()).sum();
        assert!(page <= 30);
        points += page;
    }
    assert_eq!(points, 102);

    let revision = history["revision"].as_i64().unwrap();
    let newer = world.get(&format!("/v1/runs/{id}/metrics?after_revision={revision}")).await.expect(StatusCode::OK);
    assert_eq!(newer["series"], json!([]));
}

#[tokio::test]
async fn a_history_comes_as_csv_ndjson_or_buckets() {
    let world = World::start().await;
    let id = run_with_metrics(&world).await;
    let csv = world.get(&format!("/v1/runs/{id}/metrics?names=gradient_norm&format=csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        csv.text(),
        "name,step,value,time\ngradient_norm,1,Infinity,2023-11-14T22:13:20Z\ngradient_norm,2,0.5,2023-11-14T22:13:20Z\n"
    );
    let lines = world.request(Method::GET, &format!("/v1/runs/{id}/metrics?names=gradient_norm")).header("accept", "application/x-ndjson");
    let lines = Answer::of(lines).await;
    let first: Value = serde_json::from_str(lines.text().lines().next().unwrap()).unwrap();
    assert_eq!(first, json!({"name": "gradient_norm", "step": 1, "value": "Infinity", "time": "2023-11-14T22:13:20Z"}));

    let buckets = world.get(&format!("/v1/runs/{id}/metrics?names=loss&buckets=10")).await.expect(StatusCode::OK);
    let buckets = buckets["series"][0]["buckets"].as_array().unwrap().clone();
    assert_eq!(buckets.len(), 10);
    assert_eq!(buckets.iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum::<u64>(), 100);
    assert_eq!((&buckets[0]["min"], &buckets[9]["max"], &buckets[9]["last"]), (&json!(1.0), &json!(100.0), &json!(100.0)));
}

#[tokio::test]
async fn runs_are_compared_side_by_side() {
    let world = World::start().await;
    let first = run_with_metrics(&world).await;
    let other = with(regression(), "/spec/optimizer/learning_rate", json!(0.1));
    let second = world.post("/v1/jobs", &other).await.expect(StatusCode::CREATED)["run_ids"][0].clone();
    let compared = world.get(&format!("/v1/compare?runs={second},{first}")).await.expect(StatusCode::OK);
    assert_eq!((&compared["runs"][0]["id"], &compared["runs"][1]["state"]), (&second, &json!("running")));
    assert_eq!(compared["differences"], json!([{"path": "optimizer.learning_rate", "values": [0.1, 0.01]}]));
    assert_eq!((&compared["metrics"]["loss"][0], &compared["metrics"]["loss"][1]["min"]), (&Value::Null, &json!(1.0)));
}
