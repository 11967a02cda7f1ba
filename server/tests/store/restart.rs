//! What a restart, clean or not, leaves.

use std::path::Path;
use std::time::{Duration, Instant};

use trainyard_server::store::{Action, MetricQuery, OpenError, Store, StoreError, StoreOptions};
use trainyard_wire::run::RequestedAction;
use trainyard_wire::worker::{Directive, Heartbeat, HeldRun, Report};
use trainyard_wire::{RunState, WorkerId};

use crate::world::{LEASE, TOKEN, World, batch, job, options, register, report};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let queued = world.submit().await;
    let points = Report { metrics: vec![batch("loss", &[(0, 1.0), (1, f64::NAN)])], ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, points).await.unwrap();
    world.checkpoint(&claimed, 1).await;
    world.store.run_action(claimed.run_id, Action::Pause).await.unwrap();

    // The files as a killed process leaves them: nothing was closed, the write-ahead log is full.
    let image = tempfile::tempdir().unwrap();
    copy(world.folder.path(), image.path());
    let store = Store::open(image.path(), options()).await.unwrap();
    assert_eq!(store.revision(), world.store.revision());
    for id in [claimed.run_id, queued] {
        let (before, after) = (world.run(id).await, store.run(id).await.unwrap().unwrap());
        // NaN is not equal to itself; its JSON is.
        assert_eq!(serde_json::to_value(after).unwrap(), serde_json::to_value(before).unwrap());
    }
    let query = MetricQuery { limit: 10, ..MetricQuery::default() };
    let history = store.metrics(claimed.run_id, query).await.unwrap().unwrap().history;
    assert_eq!(history.series[0].points.len(), 2);
    assert!(store.artifact(claimed.run_id, "checkpoint.safetensors").await.unwrap().is_some());

    // The worker goes on as if nothing had happened.
    let held = vec![HeldRun { run_id: claimed.run_id, attempt: claimed.attempt }];
    let answer = store.heartbeat(TOKEN, &Heartbeat { worker_id: world.worker, runs: held }).await.unwrap();
    assert_eq!(answer.runs, [Directive::Pause]);
    let answer = store.report(TOKEN, claimed.run_id, report(claimed.attempt)).await.unwrap();
    assert_eq!(answer.directive, Directive::from(Some(RequestedAction::Pause)));
    assert_eq!(store.expire_leases(Instant::now() + LEASE).await.unwrap(), 1);
}

#[tokio::test]
async fn a_running_run_gets_one_fresh_lease() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let world = world.restart().await;
    assert_eq!(world.store.expire_leases(Instant::now()).await.unwrap(), 0);
    assert_eq!(world.state(claimed.run_id).await, RunState::Running);
    // Its worker never comes back.
    assert_eq!(world.expire().await, 1);
    assert_eq!(world.state(claimed.run_id).await, RunState::Queued);
}

#[tokio::test]
async fn revisions_and_ids_go_on_where_they_were() {
    let world = World::new().await;
    let first = world.submit().await;
    let revision = world.store.revision();
    let world = world.restart().await;
    assert_eq!(world.store.revision(), revision);
    let second = world.submit().await;
    assert_eq!((second.0, world.store.revision().0), (first.0 + 1, revision.0 + 1));
    assert!(register(&world.store).await > WorkerId(1));
}

#[tokio::test]
async fn a_closed_store_refuses_everything_and_lets_the_folder_go() {
    let world = World::new().await;
    let store = world.store.clone();
    let world = world.restart().await;
    assert!(matches!(store.ping().await, Err(StoreError::Closed)));
    let refused = store.submit(job(1)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the store is closed");
    world.store.ping().await.unwrap();
}

#[tokio::test]
async fn a_second_server_cannot_use_the_folder() {
    let world = World::new().await;
    let second = Store::open(world.folder.path(), options()).await;
    assert!(matches!(second, Err(OpenError::InUse(_))));
}

#[tokio::test]
async fn the_upkeep_loop_notices_an_expired_lease_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreOptions { lease: Duration::from_millis(40), upkeep: true, ..StoreOptions::default() })
        .await
        .unwrap();
    let worker = register(&store).await;
    let id = store.submit(job(1)).await.unwrap().accepted.run_ids[0];
    assert_eq!(store.claim(TOKEN, worker, 1, Duration::ZERO).await.unwrap().len(), 1);
    // Woken by the upkeep's putting the run back.
    let again =
        tokio::time::timeout(Duration::from_secs(60), store.claim(TOKEN, worker, 1, Duration::from_secs(60))).await.unwrap().unwrap();
    assert_eq!((again[0].run_id, again[0].attempt.0), (id, 2));
    store.close().await.unwrap();
}
