//! Charts as figures, and comparisons of many runs.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use trainyard_wire::worker::Report;
use trainyard_wire::{Attempt, RunId};

use super::polling::run_with_metrics;
use super::worker_protocol::{Worker, report, series};
use super::world::{Answer, World, colourization, regression, with};

/// The traces of a figure by what they are.
fn traces(figure: &Value) -> Vec<(&str, &Value)> {
    figure["data"].as_array().unwrap().iter().map(|trace| (trace["meta"].as_str().unwrap(), trace)).collect()
}

#[tokio::test]
async fn a_run_has_the_charts_of_its_kind_and_one_for_each_other_metric() {
    let world = World::start().await;
    let id = run_with_metrics(&world).await;
    let charts = world.get(&format!("/v1/runs/{id}/charts")).await.expect(StatusCode::OK);
    let names: Vec<_> = charts["charts"].as_array().unwrap().iter().map(|chart| (&chart["name"], &chart["standing"])).collect();
    assert_eq!(names, [(&json!("loss"), &json!(true)), (&json!("gradient_norm"), &json!(true))]);
    assert_eq!((&charts["charts"][0]["x"], &charts["charts"][0]["y"]), (&json!("log"), &json!("log")));

    let figure = world.get(&format!("/v1/runs/{id}/charts/loss.json?smooth=0.5&from=11&to=30")).await.expect(StatusCode::OK);
    let drawn = traces(&figure);
    assert_eq!(drawn.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["raw:0", "smooth:0"]);
    assert_eq!((drawn[0].1["x"].as_array().unwrap().len(), &drawn[0].1["y"][0]), (20, &json!(11.0)));
    assert_eq!((&figure["layout"]["xaxis"]["type"], &figure["layout"]["yaxis"]["type"]), (&json!("log"), &json!("log")));
    let infinite = world.get(&format!("/v1/runs/{id}/charts/gradient_norm.json")).await.expect(StatusCode::OK);
    assert_eq!((traces(&infinite)[1].0, &traces(&infinite)[1].1["text"]), ("mark:0", &json!(["∞"])));
    assert_eq!(infinite["facts"]["series"][0]["not_finite"], 1);
}

#[tokio::test]
async fn what_a_run_took_of_its_machine_stands_in_a_section_of_its_own() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    let id = RunId(world.submit_run().await);
    worker.claim(0.0).await;
    let mut metrics = Vec::new();
    for name in ["gpu_utilization", "memory_bytes", "step_ms", "cpu_utilization", "system/disk_usage"] {
        metrics.push(series(name, &[0.5, 0.75]));
    }
    worker.client.report(id, &Report { metrics, ..report(Attempt(1)) }).await.unwrap();
    let charts = world.get(&format!("/v1/runs/{id}/charts")).await.expect(StatusCode::OK);
    let of = |section: Value| -> Vec<String> {
        let charts = charts["charts"].as_array().unwrap().iter();
        charts.filter(|chart| chart["section"] == section).map(|chart| chart["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(of(json!("machine")), ["cpu_utilization", "memory_bytes", "gpu_utilization", "system/disk_usage"]);
    assert_eq!(of(Value::Null), ["loss", "gradient_norm", "step_ms"]);
    let figure = world.get(&format!("/v1/runs/{id}/charts/cpu_utilization.json")).await.expect(StatusCode::OK);
    assert_eq!(traces(&figure)[0].1["y"], json!([0.5, 0.75]));
}

#[tokio::test]
async fn a_long_curve_comes_in_buckets_with_a_band_and_in_points_once_few_are_in_sight() {
    let world = World::start().await;
    let id = run_with_metrics(&world).await;
    let coarse = world.get(&format!("/v1/runs/{id}/charts/loss.json?buckets=10")).await.expect(StatusCode::OK);
    let drawn = traces(&coarse);
    assert_eq!(drawn.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["edge:0", "band:0", "raw:0"]);
    assert_eq!((&drawn[0].1["y"][0], &drawn[1].1["y"][0]), (&json!(1.0), &json!(10.0)));
    assert_eq!((&coarse["facts"]["series"][0]["bucketed"], &coarse["facts"]["series"][0]["points"]), (&json!(true), &json!(100)));
    let fine = world.get(&format!("/v1/runs/{id}/charts/loss.json?buckets=10&from=20&to=59")).await.expect(StatusCode::OK);
    assert_eq!(traces(&fine)[0].1["y"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn a_chart_that_did_not_change_is_304_and_one_that_is_none_is_404() {
    let world = World::start().await;
    let id = run_with_metrics(&world).await;
    for path in [
        format!("/v1/runs/{id}/charts"),
        format!("/v1/runs/{id}/charts/loss.json"),
        format!("/v1/compare?runs={id}"),
        format!("/v1/compare/charts/curves.json?runs={id}"),
        "/v1/compare/charts/parallel.json?job=1&metric=loss".to_owned(),
        format!("/v1/compare/charts/scatter.json?runs={id}"),
    ] {
        let first = world.get(&path).await;
        assert_eq!(first.status, StatusCode::OK, "{path}: {}", first.text());
        let again = Answer::of(world.request(Method::GET, &path).header("if-none-match", first.header("etag"))).await;
        assert_eq!((again.status, again.bytes.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
    }
    for (path, status) in [
        (format!("/v1/runs/{id}/charts/loss"), 404),
        (format!("/v1/runs/{id}/charts/nothing.json"), 404),
        ("/v1/runs/77/charts/loss.json".to_owned(), 404),
        (format!("/v1/runs/{id}/charts/loss.json?smooth=1"), 400),
        (format!("/v1/runs/{id}/charts/loss.json?buckets=0"), 400),
        (format!("/v1/compare/charts/pie.json?runs={id}"), 404),
        ("/v1/compare/charts/curves.json?runs=1,77".to_owned(), 404),
        ("/v1/compare/charts/curves.json?job=77".to_owned(), 404),
        ("/v1/compare?runs=1&job=1".to_owned(), 400),
        (format!("/v1/compare/charts/scatter.json?job=1&x=optimizer.nothing&runs={id}"), 400),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        answer.problem();
    }
    // Before its first points a chart of the run's kind is empty.
    let queued = world.post("/v1/jobs", &colourization()).await.expect(StatusCode::CREATED)["run_ids"][0].clone();
    let empty = world.get(&format!("/v1/runs/{queued}/charts/val_accuracy.json")).await.expect(StatusCode::OK);
    assert_eq!((&empty["data"], &empty["layout"]["yaxis"]["type"]), (&json!([]), &json!("linear")));
}

/// Runs a sweep of rates and seeds whose loss is the rate, and a bit of the seed; answers the job.
async fn swept(world: &World, rates: &[f64], seeds: u64) -> i64 {
    let sweep = json!({"optimizer.learning_rate": rates, "seed": (0..seeds).collect::<Vec<_>>()});
    let accepted = world.post("/v1/jobs", &with(regression(), "/sweep", sweep)).await.expect(StatusCode::CREATED);
    let worker = Worker::register(world).await;
    for id in accepted["run_ids"].as_array().unwrap() {
        worker.claim(0.0).await;
        let id = RunId(id.as_i64().unwrap());
        let run = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
        let rate = run["spec"]["optimizer"]["learning_rate"].as_f64().unwrap();
        let last = rate + 0.0001 * run["spec"]["seed"].as_f64().unwrap();
        let told = Report { metrics: vec![series("loss", &[10.0 * last, 2.0 * last, last])], ..report(Attempt(1)) };
        worker.client.report(id, &told).await.unwrap();
    }
    accepted["id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_sweep_over_seeds_is_compared_by_groups_and_says_what_is_noise() {
    let world = World::start().await;
    let job = swept(&world, &[0.1, 0.01, 0.1001], 3).await;
    let compared = world.get(&format!("/v1/compare?job={job}")).await.expect(StatusCode::OK);
    assert_eq!(compared["groups"].as_array().unwrap().len(), 3);
    assert_eq!(compared["groups"][1]["settings"], json!({"optimizer.learning_rate": 0.01}));
    assert_eq!(compared["groups"][1]["metrics"]["loss"]["n"], 3);
    let noise = &compared["seed_noise"];
    let verdicts: Vec<_> = noise["pairs"].as_array().unwrap().iter().map(|pair| (&pair["groups"], &pair["within_noise"])).collect();
    assert_eq!(verdicts, [(&json!([0, 1]), &json!(false)), (&json!([0, 2]), &json!(true)), (&json!([1, 2]), &json!(false))]);
    assert!(noise["test"].as_str().unwrap().starts_with("Welch"));

    let curves = world.get(&format!("/v1/compare/charts/curves.json?job={job}&y=log")).await.expect(StatusCode::OK);
    let best: Vec<_> = traces(&curves).into_iter().filter(|(what, _)| what.ends_with(":0")).collect();
    assert_eq!(best.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["edge:0", "band:0", "faint:0", "raw:0"]);
    assert_eq!(best[3].1["name"], "learning_rate 0.01");
    let (low, mean, high) = (&best[0].1["y"][2], &best[3].1["y"][2], &best[1].1["y"][2]);
    assert!(0.0 < low.as_f64().unwrap() && low.as_f64() < mean.as_f64() && mean.as_f64() < high.as_f64(), "{low} {mean} {high}");

    let scatter = world.get(&format!("/v1/compare/charts/scatter.json?job={job}")).await.expect(StatusCode::OK);
    let drawn = traces(&scatter);
    assert_eq!((drawn[0].0, drawn[0].1["x"].as_array().unwrap().len()), ("point:0", 9));
    assert_eq!((drawn[1].0, drawn[1].1["error_y"]["array"].as_array().unwrap().len()), ("mean:1", 3));
    let parallel = world.get(&format!("/v1/compare/charts/parallel.json?job={job}")).await.expect(StatusCode::OK);
    assert_eq!(parallel["layout"]["xaxis"]["ticktext"], json!(["optimizer.learning_rate", "seed", "loss"]));
    assert_eq!(parallel["facts"]["axes"][0], json!({"name": "optimizer.learning_rate", "scale": "linear", "least": 0.01, "most": 0.1001}));
}

#[tokio::test]
async fn a_sweep_of_a_thousand_runs_is_compared_whole() {
    let world = World::start().await;
    let rates: Vec<f64> = (1..=200).map(|i| f64::from(i) / 1000.0).collect();
    let sweep = json!({"optimizer.learning_rate": rates, "seed": [0, 1, 2, 3, 4]});
    let job = world.post("/v1/jobs", &with(regression(), "/sweep", sweep)).await.expect(StatusCode::CREATED)["id"].clone();
    let start = Instant::now();
    let compared = world.get(&format!("/v1/compare?job={job}")).await.expect(StatusCode::OK);
    println!("a thousand runs were compared in {:?}", start.elapsed());
    assert_eq!((compared["runs"].as_array().unwrap().len(), compared["groups"].as_array().unwrap().len()), (1000, 200));
    assert_eq!(compared["differences"].as_array().unwrap().len(), 2);
}
