//! Backups and retention over HTTP.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use trainyard_wire::RunId;
use trainyard_wire::worker::{Finish, Outcome, Report};

use super::worker_protocol::{Worker, report};
use super::world::{Answer, World};

/// A finished run with one file of so many bytes.
async fn finished_run(world: &World, size: usize) -> RunId {
    world.submit_run().await;
    let worker = Worker::register(world).await;
    let run = worker.claim(0.0).await.remove(0);
    let bytes = Bytes::from(vec![7; size]);
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    worker.client.put_artifact(run.run_id, run.attempt, "model.safetensors", &sha256, None, bytes).await.unwrap();
    let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result: None };
    worker.client.report(run.run_id, &Report { finish: Some(finish), ..report(run.attempt) }).await.unwrap();
    run.run_id
}

#[tokio::test]
async fn a_backup_is_a_tar_archive_of_a_data_folder_without_secrets() {
    let world = World::start().await;
    finished_run(&world, 1000).await;
    let answer = Answer::of(world.request(Method::POST, "/v1/backups")).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/x-tar"));
    let mut archive = tar::Archive::new(answer.bytes.as_slice());
    let files: Vec<(String, Vec<u8>)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        })
        .collect();
    assert_eq!(files.len(), 2);
    assert_eq!(files[0].0, "trainyard.db");
    let sha256: String = Sha256::digest(vec![7; 1000]).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(files[1], (format!("blobs/{}/{sha256}", &sha256[..2]), vec![7; 1000]));
    let secret = world.admin().as_bytes();
    assert!(!answer.bytes.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test]
async fn one_backup_is_made_at_a_time_and_a_client_that_takes_nothing_is_given_up() {
    let world = World::start_with(|config| config.limits.patience = Duration::from_millis(300)).await;
    // More than the sockets between hold.
    finished_run(&world, 32 << 20).await;
    let mut stalled = world.request(Method::POST, "/v1/backups").send().await.unwrap();
    assert_eq!(stalled.status(), StatusCode::OK);
    let refused = Answer::of(world.request(Method::POST, "/v1/backups")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    refused.problem();

    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let whole = loop {
        let answer = Answer::of(world.request(Method::POST, "/v1/backups")).await;
        if answer.status == StatusCode::OK {
            break answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "the stalled backup was never given up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(whole.bytes.len() > 32 << 20);
    // The one that was given up ends in an error and not as a shorter archive.
    let broken = loop {
        match stalled.chunk().await {
            Ok(Some(_)) => {}
            ended => break ended,
        }
    };
    assert!(broken.is_err());
}

#[tokio::test]
async fn a_policy_is_tried_and_applied() {
    let world = World::start().await;
    let id = finished_run(&world, 1000).await;
    let policy = json!({"keep": 0});
    let planned = world.post("/v1/retention?dry_run=true", &policy).await.expect(StatusCode::OK);
    assert_eq!(planned["runs"], json!([{"run_id": id, "artifacts": ["model.safetensors"], "bytes": 1000}]));
    let artifacts = format!("/v1/runs/{id}/artifacts");
    assert_eq!(world.get(&artifacts).await.json()["artifacts"].as_array().unwrap().len(), 1);
    let pruned = world.post("/v1/retention", &policy).await.expect(StatusCode::OK);
    assert_eq!((&pruned["dry_run"], &pruned["remaining_bytes"]), (&json!(false), &json!(0)));
    assert_eq!(world.get(&artifacts).await.json()["artifacts"], json!([]));
    assert_eq!(world.get(&format!("{artifacts}/model.safetensors")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_policy_that_protects_nothing_and_one_with_unknown_fields_are_refused() {
    let world = World::start().await;
    for (body, pointer) in [(json!({}), ""), (json!({"keep": -1}), "/keep"), (json!({"keep": 1, "colour": 1}), "/colour")] {
        let answer = world.post("/v1/retention", &body).await;
        assert_eq!((answer.status, answer.pointer().as_str()), (StatusCode::UNPROCESSABLE_ENTITY, pointer));
    }
}
