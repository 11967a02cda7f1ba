//! Which files of finished runs go, and which stay.

use trainyard_server::store::Action;
use trainyard_wire::retention::{Pruned, RetentionPolicy};
use trainyard_wire::worker::{ClaimedRun, Outcome};
use trainyard_wire::{RunId, RunState, Timestamp};

use crate::world::{TOKEN, World, batch, job, report};

const DAY: i64 = 86_400_000;

/// Keeps nothing.
const NOTHING: RetentionPolicy = RetentionPolicy { older_than_seconds: Some(0), keep: None, max_bytes: None };

impl World {
    /// A run that ended with a checkpoint of 100 bytes and a model of 10, both unlike all others.
    async fn finished(&self) -> RunId {
        let claimed = self.submit_and_claim().await;
        self.end(&claimed, Outcome::Succeeded).await;
        claimed.run_id
    }

    async fn end(&self, claimed: &ClaimedRun, outcome: Outcome) {
        let id = claimed.run_id;
        self.put(claimed, "checkpoint.safetensors", format!("{id:0>100}").as_bytes(), Some(5)).await.unwrap();
        self.put(claimed, "model.safetensors", format!("{id:0>10}").as_bytes(), None).await.unwrap();
        self.finish(claimed, outcome).await;
    }

    async fn prune(&self, policy: RetentionPolicy) -> Pruned {
        self.store.prune(policy, false, Timestamp::now()).await.unwrap()
    }

    async fn files(&self, id: RunId) -> Vec<String> {
        let artifacts = self.store.artifacts(id).await.unwrap().unwrap().artifacts;
        artifacts.into_iter().map(|artifact| artifact.name).collect()
    }
}

const BOTH: [&str; 2] = ["checkpoint.safetensors", "model.safetensors"];

#[tokio::test]
async fn a_pruned_run_loses_its_files_and_nothing_else() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let told = trainyard_wire::worker::Report { metrics: vec![batch("loss", &[(1, 0.5)])], ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, told).await.unwrap();
    world.end(&claimed, Outcome::Succeeded).await;
    let before = world.run(claimed.run_id).await;

    let pruned = world.prune(NOTHING).await;
    assert_eq!((pruned.run_count, pruned.artifact_count, pruned.bytes, pruned.remaining_bytes), (1, 2, 110, 0));
    assert_eq!(pruned.runs[0].artifacts, BOTH);
    assert!(world.files(claimed.run_id).await.is_empty());
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0, "they were swept at once");
    let after = world.run(claimed.run_id).await;
    assert!(after.revision > before.revision);
    assert_eq!(after, trainyard_wire::run::Run { revision: after.revision, ..before });
    assert_eq!(world.events(claimed.run_id).await, ["queued", "claimed", "checkpoint", "succeeded", "pruned"]);
    assert_eq!(world.prune(NOTHING).await, Pruned::default());
}

#[tokio::test]
async fn runs_that_have_not_finished_or_are_tagged_lose_nothing() {
    let world = World::new().await;
    let mut tagged = job(1);
    tagged.tags = [("keep".to_owned(), "the best one".to_owned())].into();
    world.store.submit(tagged).await.unwrap();
    let tagged = world.claim().await;
    world.end(&tagged, Outcome::Succeeded).await;
    let running = world.submit_and_claim().await;
    world.checkpoint(&running, 1).await;
    let released = world.submit_and_claim().await;
    world.end(&released, Outcome::Released).await;

    assert_eq!(world.prune(NOTHING).await.artifact_count, 0);
    assert_eq!(world.prune(RetentionPolicy { max_bytes: Some(1), ..NOTHING }).await.artifact_count, 0);
    assert_eq!(world.files(tagged.run_id).await, BOTH);
    assert_eq!(world.files(released.run_id).await, BOTH);
    assert_eq!(world.files(running.run_id).await, ["checkpoint.safetensors"]);
    let again = world.claim().await;
    assert!(again.checkpoint.is_some());
}

#[tokio::test]
async fn age_and_rank_both_protect() {
    let world = World::new().await;
    let runs = [world.finished().await, world.finished().await, world.finished().await];
    let week = RetentionPolicy { older_than_seconds: Some(7 * 86_400), keep: Some(1), max_bytes: None };
    let at = |days: i64| Timestamp(Timestamp::now().0 + days * DAY);
    assert_eq!(world.store.prune(week, false, at(6)).await.unwrap().run_count, 0);
    let pruned = world.store.prune(week, false, at(8)).await.unwrap();
    assert_eq!(pruned.runs.iter().map(|run| run.run_id).collect::<Vec<_>>(), runs[..2]);
    assert_eq!(world.files(runs[2]).await, BOTH);
    assert_eq!(world.prune(RetentionPolicy { keep: Some(1), ..RetentionPolicy::default() }).await.run_count, 0);
}

#[tokio::test]
async fn a_size_is_reached_by_checkpoints_first_and_then_by_the_oldest_runs() {
    let world = World::new().await;
    let runs = [world.finished().await, world.finished().await, world.finished().await];
    let most = |bytes| RetentionPolicy { max_bytes: Some(bytes), ..RetentionPolicy::default() };
    assert_eq!(world.prune(most(330)).await, Pruned { remaining_bytes: 330, ..Pruned::default() });

    let pruned = world.prune(most(200)).await;
    assert_eq!((pruned.bytes, pruned.remaining_bytes, pruned.run_count), (200, 130, 2));
    assert_eq!(world.files(runs[0]).await, ["model.safetensors"]);
    assert_eq!(world.files(runs[1]).await, ["model.safetensors"]);
    assert_eq!(world.files(runs[2]).await, BOTH);

    // The last checkpoint goes before the first model.
    let pruned = world.prune(most(20)).await;
    assert_eq!((pruned.bytes, pruned.remaining_bytes, pruned.run_count, pruned.artifact_count), (110, 20, 2, 2));
    assert!(world.files(runs[0]).await.is_empty());
    assert_eq!(world.files(runs[1]).await, ["model.safetensors"]);
    assert_eq!(world.files(runs[2]).await, ["model.safetensors"]);

    // What is protected stays, and so the size is not reached.
    let pruned = world.prune(RetentionPolicy { keep: Some(1), ..most(1) }).await;
    assert_eq!((pruned.remaining_bytes, world.files(runs[2]).await.len()), (10, 1));
}

#[tokio::test]
async fn a_dry_run_tells_what_then_goes_and_changes_nothing() {
    let world = World::new().await;
    for _ in 0..3 {
        world.finished().await;
    }
    let policy = RetentionPolicy { keep: Some(1), max_bytes: Some(115), ..RetentionPolicy::default() };
    let revision = world.store.revision();
    let planned = world.store.prune(policy, true, Timestamp::now()).await.unwrap();
    assert_eq!(world.store.revision(), revision);
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 0);
    assert_eq!(world.files(RunId(1)).await, BOTH);
    assert!(planned.dry_run && planned.artifact_count == 4);
    assert_eq!(world.prune(policy).await, Pruned { dry_run: false, ..planned });
}

#[tokio::test]
async fn a_content_that_a_kept_run_needs_too_stays() {
    let world = World::new().await;
    let first = world.submit_and_claim().await;
    world.put(&first, "model.safetensors", b"the same", None).await.unwrap();
    world.finish(&first, Outcome::Succeeded).await;
    let second = world.submit_and_claim().await;
    world.put(&second, "model.safetensors", b"the same", None).await.unwrap();
    world.finish(&second, Outcome::Succeeded).await;
    let pruned = world.prune(RetentionPolicy { keep: Some(1), ..RetentionPolicy::default() }).await;
    assert_eq!((pruned.artifact_count, pruned.bytes, pruned.remaining_bytes), (1, 0, 8));
    assert!(world.store.artifact(second.run_id, "model.safetensors").await.unwrap().is_some());
}

#[tokio::test]
async fn more_runs_than_one_transaction_takes_are_all_pruned() {
    let world = World::new().await;
    let mut many = job(205);
    many.runs.iter_mut().for_each(|run| run.small = true);
    world.store.submit(many).await.unwrap();
    for claimed in world.try_claim(205).await {
        world.put(&claimed, "model.safetensors", format!("{:0>10}", claimed.run_id).as_bytes(), None).await.unwrap();
        world.finish(&claimed, Outcome::Failed).await;
    }
    let planned = world.store.prune(NOTHING, true, Timestamp::now()).await.unwrap();
    let pruned = world.prune(NOTHING).await;
    assert_eq!((planned.run_count, pruned.run_count, pruned.bytes), (205, 205, 2050));
    assert!(world.files(RunId(205)).await.is_empty());
}

#[tokio::test]
async fn a_run_that_is_retried_after_its_checkpoint_went_begins_anew() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.end(&claimed, Outcome::Failed).await;
    world.prune(NOTHING).await;
    world.store.run_action(claimed.run_id, Action::Retry).await.unwrap();
    assert_eq!(world.state(claimed.run_id).await, RunState::Queued);
    assert_eq!(world.claim().await.checkpoint, None);
}
