//! Removing deleted runs for good.

use std::time::Duration;

use trainyard_server::store::{Action, MetricQuery};
use trainyard_wire::annotation::RunPatch;
use trainyard_wire::retention::RetentionPolicy;
use trainyard_wire::worker::{Outcome, Report};
use trainyard_wire::{RunId, RunState, Timestamp};

use crate::world::{TOKEN, World, batch, finish, report};

const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

fn later() -> Timestamp {
    Timestamp(Timestamp::now().0 + i64::try_from(KEPT.as_millis()).unwrap() + 60_000)
}

/// A run that has succeeded with metrics and a file.
async fn succeeded(world: &World) -> RunId {
    let claimed = world.submit_and_claim().await;
    world.put(&claimed, "model.json", format!("model of run {}", claimed.run_id).as_bytes(), None).await.unwrap();
    let points: Vec<(u64, f64)> = (0..45_000).map(|step| (step, step as f64)).collect();
    let told = Report { metrics: vec![batch("loss", &points)], ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, told).await.unwrap();
    world.store.report(TOKEN, claimed.run_id, finish(claimed.attempt, Outcome::Succeeded)).await.unwrap();
    claimed.run_id
}

#[tokio::test]
async fn a_deleted_run_goes_for_good_after_its_time_with_all_that_is_its_own() {
    let world = World::new().await;
    let (deleted, kept) = (succeeded(&world).await, succeeded(&world).await);
    let job = world.run(deleted).await.job_id;
    world.store.delete_run(deleted).await.unwrap();
    assert_eq!(world.store.remove_deleted_runs(KEPT, Timestamp::now()).await.unwrap(), 0);
    world.store.restore_run(deleted).await.unwrap();
    world.store.delete_run(deleted).await.unwrap();

    assert_eq!(world.store.remove_deleted_runs(KEPT, later()).await.unwrap(), 1);
    assert!(world.store.restore_run(deleted).await.is_err());
    assert!(world.store.job(job).await.unwrap().is_none());
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 1);
    let points = world.store.metrics(kept, MetricQuery { limit: 10, ..MetricQuery::default() }).await.unwrap().unwrap();
    assert!(!points.history.series.is_empty());
    // Nothing refers to what is gone, and the number is not given again.
    let next = world.submit().await;
    assert!(next > kept);
    let World { folder, store, .. } = world;
    store.close().await.unwrap();
    let findings = trainyard_server::check::check(folder.path()).await.unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn the_newest_run_stays_until_there_is_a_newer_one() {
    let world = World::new().await;
    let id = world.submit().await;
    world.store.run_action(id, Action::Cancel).await.unwrap();
    world.store.delete_run(id).await.unwrap();
    assert_eq!(world.store.remove_deleted_runs(KEPT, later()).await.unwrap(), 0);
    assert_eq!(world.submit().await, RunId(id.0 + 1));
    assert_eq!(world.store.remove_deleted_runs(KEPT, later()).await.unwrap(), 1);
}

#[tokio::test]
async fn what_executes_a_removed_run_again_goes_with_it() {
    let world = World::new().await;
    let original = succeeded(&world).await;
    world.store.verify(original, false).await.unwrap();
    world.submit().await;
    world.store.delete_run(original).await.unwrap();
    assert!(world.store.verification(original).await.unwrap().is_none());
    world.store.conclude_verifications().await.unwrap();
    let again = RunId(original.0 + 1);
    assert_eq!(world.run(again).await.state, RunState::Queued);
    // At that time both are due: the one because of the other.
    assert_eq!(world.store.remove_deleted_runs(KEPT, later()).await.unwrap(), 2);
    assert!(world.store.run(again).await.unwrap().is_none());
}

#[tokio::test]
async fn a_tag_of_the_runs_own_protects_its_files_and_can_be_taken_away() {
    let world = World::new().await;
    let id = succeeded(&world).await;
    let tag = |value: Option<&str>| RunPatch { tags: Some([("keep".to_owned(), value.map(str::to_owned))].into()), ..RunPatch::default() };
    let policy = RetentionPolicy { older_than_seconds: Some(0), ..RetentionPolicy::default() };
    world.store.annotate(id, tag(Some(""))).await.unwrap();
    assert_eq!(world.store.prune(policy, true, later()).await.unwrap().run_count, 0);
    world.store.annotate(id, tag(None)).await.unwrap();
    assert_eq!(world.store.prune(policy, true, later()).await.unwrap().run_count, 1);
}
