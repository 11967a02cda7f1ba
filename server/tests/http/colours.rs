//! The charts of what a colourization leaves about its colours.

use bytes::Bytes;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use trainyard_wire::worker::Report;
use trainyard_wire::{Attempt, RunId};

use super::worker_protocol::{Worker, report, series};
use super::world::{World, colourization, with};

async fn put(worker: &Worker, run: RunId, name: &str, content: &Value) {
    let bytes = Bytes::from(content.to_string());
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    worker.client.put_artifact(run, Attempt(1), name, &sha256, None, bytes).await.unwrap();
}

fn baselines() -> Value {
    json!({"majority_colour": 1, "majority_accuracy": 0.25, "frequency_loss": 2.5, "palette_floor": 0.04,
        "samples": {"images": 2, "palette_floor": 0.03, "majority_error": 0.4, "checkerboard": 0.002}})
}

/// The names and values of a figure's levels.
fn levels(figure: &Value) -> Vec<(&str, f64)> {
    let traces = figure["data"].as_array().unwrap().iter().filter(|trace| trace["meta"] == "level");
    traces.map(|trace| (trace["name"].as_str().unwrap(), trace["y"][0].as_f64().unwrap())).collect()
}

/// Submits colourizations that differ in this setting, and claims them; answers the runs.
async fn claimed(world: &World, worker: &Worker, setting: &str, values: &[u64]) -> Vec<RunId> {
    let job = with(colourization(), "/sweep", json!({setting: values}));
    let accepted = world.post("/v1/jobs", &job).await.expect(StatusCode::CREATED);
    let mut runs = Vec::new();
    for id in accepted["run_ids"].as_array().unwrap() {
        worker.claim(0.0).await;
        let id = RunId(id.as_i64().unwrap());
        let metrics = ["val_loss", "val_accuracy", "colour_error", "checkerboard"].map(|name| series(name, &[0.5, 0.4])).to_vec();
        worker.client.report(id, &Report { metrics, ..report(Attempt(1)) }).await.unwrap();
        runs.push(id);
    }
    runs
}

#[tokio::test]
async fn charts_of_a_colourization_show_what_it_has_to_beat() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    let id = claimed(&world, &worker, "seed", &[0]).await[0];
    let chart = async |name: &str| world.get(&format!("/v1/runs/{id}/charts/{name}.json")).await.expect(StatusCode::OK);
    assert!(levels(&chart("val_accuracy").await).is_empty());
    put(&worker, id, "baselines.json", &baselines()).await;
    assert_eq!(levels(&chart("val_accuracy").await), [("majority colour", 0.25)]);
    assert_eq!(levels(&chart("loss").await), [("colour frequencies", 2.5)]);
    assert_eq!(levels(&chart("colour_error").await), [("palette floor", 0.03), ("majority colour", 0.4)]);
    let checkerboard = chart("checkerboard").await;
    assert_eq!(levels(&checkerboard), [("truth", 0.002)]);
    assert_eq!(checkerboard["facts"]["notes"][0], "truth: 0.002, the pictures themselves, in the palette's colours.");
    assert_eq!(checkerboard["layout"]["xaxis"]["title"]["text"], "epoch");
    // What is no such file is passed over.
    put(&worker, id, "baselines.json", &json!(["something else"])).await;
    assert!(levels(&chart("loss").await).is_empty());
}

#[tokio::test]
async fn runs_are_compared_with_the_baselines_that_they_share() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    for (setting, values, expected) in [("network.kernel", [3, 5], 1), ("num_colours", [8, 24], 0), ("dataset.size", [32, 64], 0)] {
        let runs = claimed(&world, &worker, setting, &values).await;
        put(&worker, runs[1], "baselines.json", &baselines()).await;
        let figure = world.get(&format!("/v1/compare/charts/curves.json?runs={},{}&metric=val_accuracy", runs[0], runs[1])).await;
        assert_eq!(levels(&figure.expect(StatusCode::OK)).len(), expected, "{setting}");
    }
}

#[tokio::test]
async fn the_confusion_of_a_colourization_is_a_heat_map_with_recall_and_precision() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    let id = claimed(&world, &worker, "seed", &[0]).await[0];
    let address = format!("/v1/runs/{id}/charts/confusion.json");
    assert_eq!(world.get(&address).await.status, StatusCode::NOT_FOUND);
    let confusion = json!({"epoch": 2, "palette": [[0.0, 0.0, 0.0], [0.5, 0.25, 1.0]], "counts": [[3, 1], [2, 4]]});
    put(&worker, id, "confusion.json", &confusion).await;
    let figure = world.get(&address).await.expect(StatusCode::OK);
    assert_eq!((&figure["data"][0]["type"], &figure["data"][0]["z"][0]), (&json!("heatmap"), &json!([0.75, 0.25])));
    let first = json!({"colour": "#000000", "truth": 4, "predicted": 5, "hits": 3, "recall": 0.75, "precision": 0.6});
    assert_eq!(figure["facts"]["colours"][0], first);
    put(&worker, id, "confusion.json", &json!({"epoch": 2, "palette": [[0.0, 0.0, 0.0]], "counts": []})).await;
    assert_eq!(world.get(&address).await.status, StatusCode::NOT_FOUND);
}
