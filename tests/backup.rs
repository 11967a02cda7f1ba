//! Backups of a server under load, what is restored from them, and what a check of a data folder finds.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{Yard, jobs, process};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use trainyard_wire::client::{Client, RunQuery};
use trainyard_wire::metric::{MACHINE, MetricHistory, TIMES};
use trainyard_wire::run::Run;
use trainyard_wire::{RunId, RunState};

/// Rounds unless `TRAINYARD_BACKUP_ROUNDS` says how many.
const ROUNDS: u64 = 3;

/// Submits quick runs until it is told to stop; answers the acknowledged ones.
async fn submit_on_and_on(client: Client, stop: CancellationToken) -> Vec<RunId> {
    let body = serde_json::to_vec(&jobs::quick()).unwrap();
    let mut acknowledged = Vec::new();
    while stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(20))).await.is_some() {
        acknowledged.extend(client.submit(body.clone(), None).await.unwrap().run_ids);
    }
    acknowledged
}

async fn runs(client: &Client) -> BTreeMap<RunId, Run> {
    let query = RunQuery { limit: Some(1000), ..RunQuery::default() };
    client.runs(&query).await.unwrap().items.into_iter().map(|run| (run.id, run)).collect()
}

/// The points of every metric that does not tell the time something took, as bits.
fn points(history: MetricHistory) -> Vec<(String, u64, u64)> {
    let lasting = history.series.into_iter().filter(|series| ![&TIMES[..], &MACHINE].concat().contains(&series.name.as_str()));
    lasting
        .flat_map(|series| series.points.into_iter().map(move |point| (series.name.clone(), point.step, point.value.0.to_bits())))
        .collect()
}

async fn history(yard: &Yard, id: RunId) -> Vec<(String, u64, u64)> {
    points(yard.client.metrics(id, None).await.unwrap())
}

/// The metrics of every epoch. Which batches' losses are told depends on when the reporter came to ask.
fn curves(points: &[(String, u64, u64)]) -> Vec<&(String, u64, u64)> {
    points.iter().filter(|(name, ..)| ["train_loss", "val_loss", "val_accuracy"].contains(&name.as_str())).collect()
}

fn unpack(archive: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let status = std::process::Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(&data).status().unwrap();
    assert!(status.success());
    folder
}

async fn check(folder: &Path) -> (Option<i32>, Value) {
    let output = process::run(folder, &["check", "--data-dir", "data", "--json"], &[]).await;
    let report = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.code, report)
}

/// Backs up while workers train and a client submits, restores, compares, and lets the restored one finish.
async fn round(number: u64) {
    let yard = Yard::up(&["--workers", "2", "--threads", "1"]).await;
    let stop = CancellationToken::new();
    let client = tokio::spawn(submit_on_and_on(yard.client.clone(), stop.clone()));
    let long = yard.submit(&jobs::long_colourization()).await;
    // Each round at another point of the training.
    yard.until_epoch(long, 1 + number % 7).await;

    let before = runs(&yard.client).await;
    let archive = yard.folder.path().join("backup.tar");
    yard.cli(&["backup", "-o", "backup.tar"]).await.success();
    let after = runs(&yard.client).await;
    stop.cancel();
    let acknowledged = client.await.unwrap();
    assert!(before.values().any(|run| run.state == RunState::Succeeded), "nothing had finished before the backup");

    let folder = unpack(&archive);
    let (code, report) = check(folder.path()).await;
    assert_eq!((code, &report["ok"]), (Some(0), &Value::Bool(true)), "{report}");

    let restored = Yard::start_in(folder, "server", &["--lease-seconds", "2"]).await;
    assert_ne!(restored.token, yard.token, "secrets are not in a backup");
    // The tokens of then are good as before.
    let old_token = Client::new(&restored.url, Some(yard.token.clone())).unwrap();
    let found = runs(&old_token).await;
    for (id, run) in &before {
        let restored_run = found.get(id).unwrap_or_else(|| panic!("run {id} was acknowledged before the backup and is not in it"));
        assert_eq!(restored_run.spec, run.spec);
        if !run.state.is_finished() {
            continue;
        }
        assert_eq!(restored_run, run);
        assert_eq!(history(&restored, *id).await, history(&yard, *id).await);
        assert_eq!(restored.client.artifacts(*id).await.unwrap(), yard.client.artifacts(*id).await.unwrap());
    }
    for id in found.keys() {
        assert!(after.contains_key(id) || acknowledged.contains(id), "run {id} came from nowhere");
    }
    assert!(found.len() <= after.len());
    let known = history(&restored, long).await;
    assert!(!known.is_empty());

    // Both go on from there, each by itself, to the same bits.
    let _worker = restored.worker("worker");
    let (one, other) = tokio::join!(yard.until(long, RunState::Succeeded), restored.until(long, RunState::Succeeded));
    assert_eq!((one.attempt.0, other.attempt.0), (1, 2));
    let original = history(&yard, long).await;
    assert!(known.iter().all(|point| original.contains(point)));
    assert_eq!(curves(&history(&restored, long).await), curves(&original));
    assert!(restored.artifact(long, "model.safetensors").await == yard.artifact(long, "model.safetensors").await, "the models differ");
    for id in found.keys() {
        restored.until(*id, RunState::Succeeded).await;
    }
}

#[tokio::test]
async fn what_is_restored_from_a_backup_under_load_is_the_server_at_one_moment() {
    let rounds = std::env::var("TRAINYARD_BACKUP_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    for number in 0..rounds {
        round(number).await;
        println!("{} of {rounds} backups restored", number + 1);
    }
}

#[tokio::test]
async fn a_check_tells_damage_by_its_exit_code() {
    let mut yard = Yard::server(&[]).await;
    let rows: String = (0..500).map(|i| format!("{i},{}\n", i * 2)).collect();
    std::fs::write(yard.folder.path().join("table.csv"), format!("a,b\n{rows}")).unwrap();
    yard.cli(&["datasets", "add", "table", "--csv", "table.csv"]).await.success();
    yard.submit(&jobs::quick()).await;
    let folder = yard.folder.path().to_owned();
    let running = process::run(&folder, &["check", "--data-dir", "data"], &[]).await;
    assert_eq!(running.code, Some(1));
    assert!(running.stderr.contains("stop it first"), "{}", running.stderr);
    yard.cli(&["backup", "-o", "whole.tar"]).await.success();
    yard.process.signal(Signal::SIGKILL);
    yard.process.wait().await;
    let (code, report) = check(&folder).await;
    assert_eq!((code, &report["contents"]), (Some(0), &Value::from(1)), "{report}");

    // Left by a server that went on until it was asked to stop: the log is in the database.
    yard.restart_server(&[]).await;
    yard.process.signal(Signal::SIGTERM);
    yard.process.wait().await;
    let sha256 = yard_content(&folder);
    let content = folder.join("data/blobs").join(&sha256[..2]).join(&sha256);
    let whole = std::fs::read(&content).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 3] ^= 4;
    std::fs::write(&content, flipped).unwrap();
    let (code, report) = check(&folder).await;
    assert_eq!((code, report["findings"][0]["kind"].as_str()), (Some(1), Some("damaged_content")));
    assert_eq!(report["findings"][0]["used_by"][0], "file table.csv of dataset table");

    // A backup of it tells as well, and is there nonetheless.
    yard.restart_server(&[]).await;
    let backup = yard.cli(&["backup", "-o", "damaged.tar"]).await;
    assert!(backup.code == Some(1) && backup.stderr.contains(&sha256), "{backup:?}");
    assert!(folder.join("damaged.tar").exists());
    yard.process.signal(Signal::SIGTERM);
    yard.process.wait().await;

    std::fs::remove_file(&content).unwrap();
    let (code, report) = check(&folder).await;
    assert_eq!((code, report["findings"][0]["kind"].as_str()), (Some(1), Some("missing_content")));
    std::fs::write(&content, whole).unwrap();
    assert_eq!(check(&folder).await.0, Some(0));

    let database = folder.join("data/trainyard.db");
    let mut damaged = std::fs::read(&database).unwrap();
    damaged[5 * 4096..6 * 4096].fill(0x55);
    std::fs::write(&database, damaged).unwrap();
    let (code, report) = check(&folder).await;
    assert_eq!((code, report["findings"][0]["kind"].as_str()), (Some(1), Some("database")));
}

/// The only content there is.
fn yard_content(folder: &Path) -> String {
    let folders = std::fs::read_dir(folder.join("data/blobs")).unwrap();
    let mut files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    let name = files.next().unwrap().unwrap().file_name().into_string().unwrap();
    assert!(files.next().is_none());
    name
}

#[tokio::test]
async fn files_of_finished_runs_are_pruned_by_hand() {
    let yard = Yard::up(&["--workers", "1", "--threads", "1"]).await;
    let id = yard.submit(&jobs::colourization(1)).await;
    yard.until(id, RunState::Succeeded).await;
    let model = yard.artifact_names(id).await;
    assert!(model.iter().any(|name| name == "model.safetensors"));
    assert_eq!(yard.cli(&["prune"]).await.code, Some(2));
    let kept = yard.cli(&["prune", "--older-than", "1h"]).await.success();
    assert!(kept.starts_with("0 files of 0 runs went"), "{kept}");
    let planned = yard.cli(&["prune", "--keep", "0", "--dry-run"]).await.success();
    assert!(planned.contains("would go"), "{planned}");
    assert_eq!(yard.artifact_names(id).await, model);
    let pruned: Value = serde_json::from_str(&yard.cli(&["prune", "--max-bytes", "1B", "--json"]).await.success()).unwrap();
    assert_eq!((&pruned["artifact_count"], &pruned["remaining_bytes"]), (&Value::from(model.len()), &Value::from(0)));
    assert!(yard.artifact_names(id).await.is_empty());
    assert!(yard.count_events(id, "pruned").await > 0);
    assert!(!history(&yard, id).await.is_empty());
}

#[tokio::test]
async fn a_server_with_a_policy_prunes_by_itself() {
    let mut yard = Yard::up(&["--workers", "1", "--threads", "1"]).await;
    let mut job = jobs::colourization(1);
    let first = yard.submit(&job).await;
    job["tags"] = json!({"keep": "for the paper"});
    let tagged = yard.submit(&job).await;
    let last = yard.submit(&jobs::colourization(1)).await;
    for id in [first, tagged, last] {
        yard.until(id, RunState::Succeeded).await;
    }
    // Small runs are trained one beside the other, so the second may have ended first.
    let (first, last) = (yard.run(first).await, yard.run(last).await);
    let swapped = (first.finished_at, first.id) > (last.finished_at, last.id);
    let (older, newer) = if swapped { (last.id, first.id) } else { (first.id, last.id) };
    yard.process.signal(Signal::SIGTERM);
    yard.restart_server(&["--prune-keep", "1"]).await;
    yard.until_event(older, "pruned").await;
    assert!(yard.artifact_names(older).await.is_empty());
    for id in [tagged, newer] {
        assert!(!yard.artifact_names(id).await.is_empty());
    }
}
