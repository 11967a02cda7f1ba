//! Backups of a store that goes on.

use std::path::Path;

use tokio::io::AsyncReadExt as _;
use trainyard_server::check::check;
use trainyard_server::store::{Backup, Store};
use trainyard_wire::worker::Outcome;
use trainyard_wire::{Attempt, RunState};

use crate::world::{World, options};

/// Writes a backup out as a data folder.
async fn unpack(mut backup: Backup, folder: &Path) {
    while let Some(mut file) = backup.next_file().await.unwrap() {
        let mut bytes = Vec::new();
        file.file.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(bytes.len() as u64, file.size, "{}", file.name);
        let path = folder.join(&file.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

async fn text(store: &Store, id: trainyard_wire::RunId, name: &str) -> String {
    let mut text = String::new();
    store.artifact(id, name).await.unwrap().unwrap().file.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_backup_is_the_store_at_one_moment_whatever_is_written_while_it_is_read() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let waiting = world.submit().await;
    world.checkpoint(&claimed, 1).await;
    let then = world.run(claimed.run_id).await;

    let backup = world.store.backup().await.unwrap();
    world.checkpoint(&claimed, 2).await;
    world.put(&claimed, "model.safetensors", b"weights", None).await.unwrap();
    world.finish(&claimed, Outcome::Succeeded).await;
    let later = world.submit().await;
    // The checkpoint of step 1 is referred to by the backup alone.
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0);
    let folder = tempfile::tempdir().unwrap();
    unpack(backup, folder.path()).await;
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 1);

    let report = check(folder.path()).await.unwrap();
    assert!(report.ok, "{report:?}");
    assert_eq!((report.contents, report.unreferenced.len()), (1, 0));
    let restored = Store::open(folder.path(), options()).await.unwrap();
    assert_eq!(restored.run(claimed.run_id).await.unwrap().unwrap(), then);
    assert_eq!(restored.run(waiting).await.unwrap().unwrap().state, RunState::Queued);
    assert!(restored.run(later).await.unwrap().is_none());
    assert_eq!(text(&restored, claimed.run_id, "checkpoint.safetensors").await, "weights at step 1");
    assert_eq!(text(&world.store, claimed.run_id, "checkpoint.safetensors").await, "weights at step 2");
}

#[tokio::test]
async fn a_restored_run_goes_on_from_its_checkpoint_under_the_next_attempt() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    let folder = tempfile::tempdir().unwrap();
    unpack(world.store.backup().await.unwrap(), folder.path()).await;

    let store = Store::open(folder.path(), options()).await.unwrap();
    let restored = World { worker: crate::world::register(&store).await, store, folder };
    assert_eq!(restored.expire().await, 1);
    let again = restored.claim().await;
    assert_eq!((again.run_id, again.attempt), (claimed.run_id, Attempt(2)));
    assert!(again.checkpoint.is_some());
}

#[tokio::test]
async fn a_backup_that_is_given_up_leaves_nothing_behind() {
    let world = World::new().await;
    drop(world.store.backup().await.unwrap());
    assert_eq!(std::fs::read_dir(world.folder.path().join("blobs/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_backup_of_a_store_that_lost_a_content_fails() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.checkpoint(&claimed, 1).await;
    let sha256 = world.store.artifacts(claimed.run_id).await.unwrap().unwrap().artifacts.remove(0).sha256;
    let path = world.folder.path().join("blobs").join(&sha256[..2]).join(&sha256);
    std::fs::write(&path, "short").unwrap();
    let mut backup = world.store.backup().await.unwrap();
    assert_eq!(backup.next_file().await.unwrap().unwrap().name, "trainyard.db");
    assert!(backup.next_file().await.unwrap_err().to_string().contains(&sha256));
    std::fs::remove_file(&path).unwrap();
    let mut backup = world.store.backup().await.unwrap();
    backup.next_file().await.unwrap();
    assert!(backup.next_file().await.is_err());
}
