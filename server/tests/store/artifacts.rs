//! Files of runs, and the sweep of what nothing refers to.

use std::path::Path;

use tokio::io::AsyncReadExt as _;
use trainyard_server::store::{Action, ArtifactFile, WorkerError};
use trainyard_wire::worker::{ClaimedRun, Finish, Outcome, Report};
use trainyard_wire::{RunId, StopReason};

use crate::world::{TOKEN, World, finish, report};

async fn text(file: Option<ArtifactFile>) -> String {
    let mut text = String::new();
    file.unwrap().file.read_to_string(&mut text).await.unwrap();
    text
}

/// Contents in the folder of blobs.
fn blobs(folder: &Path) -> usize {
    let folders = std::fs::read_dir(folder.join("blobs")).unwrap();
    folders.map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap().count()).sum()
}

#[tokio::test]
async fn an_artifact_is_listed_and_read() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.put(&claimed, "samples/epoch-001.png", b"a picture", None).await.unwrap();
    let artifacts = world.store.artifacts(claimed.run_id).await.unwrap().unwrap().artifacts;
    assert_eq!((artifacts[0].name.as_str(), artifacts[0].size), ("samples/epoch-001.png", 9));
    assert_eq!(text(world.store.artifact(claimed.run_id, "samples/epoch-001.png").await.unwrap()).await, "a picture");
    assert_eq!(
        text(world.store.held_artifact(TOKEN, claimed.run_id, claimed.attempt, "samples/epoch-001.png").await.unwrap()).await,
        "a picture"
    );
    assert!(world.store.artifact(claimed.run_id, "samples").await.unwrap().is_none());
}

#[tokio::test]
async fn a_repeated_put_changes_nothing_even_after_the_attempt_has_ended() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.put(&claimed, "checkpoint.safetensors", b"weights", Some(5)).await.unwrap();
    let revision = world.store.revision();
    world.put(&claimed, "checkpoint.safetensors", b"weights", Some(5)).await.unwrap();
    assert_eq!(world.store.revision(), revision);
    world.store.report(TOKEN, claimed.run_id, finish(claimed.attempt, Outcome::Released)).await.unwrap();
    let revision = world.store.revision();
    world.put(&claimed, "checkpoint.safetensors", b"weights", Some(5)).await.unwrap();
    let other = world.put(&claimed, "checkpoint.safetensors", b"other weights", Some(6)).await;
    assert!(matches!(other, Err(WorkerError::Stale)));
    assert_eq!(world.store.revision(), revision);
    assert_eq!(world.events(claimed.run_id).await, ["queued", "claimed", "checkpoint", "released"]);
}

#[tokio::test]
async fn a_checkpoint_that_comes_again_late_does_not_bring_an_older_one_back() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    world.checkpoint(&claimed, 2).await;
    world.checkpoint(&claimed, 1).await;
    assert_eq!(text(world.store.artifact(claimed.run_id, "checkpoint.safetensors").await.unwrap()).await, "weights at step 2");
    assert_eq!(world.events(claimed.run_id).await, ["queued", "claimed", "checkpoint", "checkpoint"]);

    // A later attempt that could not read it begins anew, and its checkpoints stand.
    world.expire().await;
    let again = world.claim().await;
    world.checkpoint(&again, 1).await;
    assert_eq!(text(world.store.artifact(claimed.run_id, "checkpoint.safetensors").await.unwrap()).await, "weights at step 1");
}

#[tokio::test]
async fn a_name_that_could_be_a_path_elsewhere_is_refused() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let refused = world.put(&claimed, "../../etc/passwd", b"", None).await;
    assert!(matches!(refused, Err(WorkerError::ArtifactName)));
}

#[tokio::test]
async fn a_replaced_checkpoint_is_swept_and_what_is_referred_to_stays() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    for step in 1..=4 {
        world.checkpoint(&claimed, step).await;
    }
    world.put(&claimed, "copy.safetensors", b"weights at step 2", None).await.unwrap();
    assert_eq!(blobs(world.folder.path()), 4);
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 2);
    assert_eq!(blobs(world.folder.path()), 2);
    assert_eq!(text(world.store.artifact(claimed.run_id, "copy.safetensors").await.unwrap()).await, "weights at step 2");
    assert_eq!(text(world.store.artifact(claimed.run_id, "checkpoint.safetensors").await.unwrap()).await, "weights at step 4");
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0);
}

#[tokio::test]
async fn a_refused_put_leaves_nothing_behind() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.finish(&claimed, Outcome::Released).await;
    let stale = world.put(&claimed, "model.safetensors", b"too late", None).await;
    assert!(matches!(stale, Err(WorkerError::Stale)));
    let nowhere = ClaimedRun { run_id: RunId(99), ..claimed };
    let unknown = world.put(&nowhere, "model.safetensors", b"for no run", None).await;
    assert!(matches!(unknown, Err(WorkerError::UnknownRun)));
    assert_eq!(blobs(world.folder.path()), 0);
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_file_of_a_put_that_is_refused_at_the_last_moment_is_swept() {
    let (world, mut kept) = (World::new().await, 0);
    for round in 0..20 {
        let claimed = world.submit_and_claim().await;
        let bytes = format!("round {round}");
        let cancelled = world.finish(&claimed, Outcome::Cancelled);
        let (put, ()) = tokio::join!(world.put(&claimed, "latest", bytes.as_bytes(), None), cancelled);
        assert!(matches!(put, Ok(()) | Err(WorkerError::Stale)));
        kept += usize::from(put.is_ok());
        world.store.sweep_blobs().await.unwrap();
        assert_eq!(blobs(world.folder.path()), kept);
    }
}

#[tokio::test]
async fn what_a_retry_drops_is_swept() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    let diverged = Finish { outcome: Outcome::Failed, stop_reason: Some(StopReason::Diverged), error: None, result: None };
    world.store.report(TOKEN, claimed.run_id, Report { finish: Some(diverged), ..report(claimed.attempt) }).await.unwrap();
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0);
    world.store.run_action(claimed.run_id, Action::Retry).await.unwrap();
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 1);
    assert_eq!(blobs(world.folder.path()), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sweep_beside_puts_of_the_same_content_never_loses_it() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let sweeper = {
        let store = world.store.clone();
        tokio::spawn(async move {
            loop {
                store.sweep_blobs().await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    // Each round lets go of one content and takes up the other again, which the sweep may be deleting at this moment.
    for round in 0..60 {
        let bytes: &[u8] = if round % 2 == 0 { b"even" } else { b"odd" };
        world.put(&claimed, "latest", bytes, None).await.unwrap();
        let read = text(world.store.artifact(claimed.run_id, "latest").await.unwrap()).await;
        assert_eq!(read.as_bytes(), bytes);
    }
    sweeper.abort();
}
