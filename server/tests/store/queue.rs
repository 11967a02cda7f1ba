//! The order of the queue, waiting for it, and many workers at it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use trainyard_server::store::{NewJob, NewRun, WorkerError};
use trainyard_wire::queue::WaitsFor;
use trainyard_wire::worker::ClaimedRun;
use trainyard_wire::{Attempt, RunId, RunState, Spec, WorkerId};

use crate::world::{TOKEN, World, job, new_run, register};

#[tokio::test]
async fn higher_priority_goes_first_then_age() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for priority in [0, 5, -5, 5, 0] {
        ids.push(world.store.submit(NewJob { priority, ..job(1) }).await.unwrap().accepted.run_ids[0]);
    }
    let mut claimed = Vec::new();
    while let Some(run) = world.try_claim(1).await.pop() {
        claimed.push(run.run_id);
    }
    assert_eq!(claimed, [ids[1], ids[3], ids[0], ids[4], ids[2]]);
}

#[tokio::test]
async fn a_run_that_cannot_be_read_fails_and_holds_up_no_other() {
    let world = World::new().await;
    let runs = world.submit_many(3).await.run_ids;
    let file = SqliteConnectOptions::new().filename(world.folder.path().join("trainyard.db"));
    let mut conn = file.connect().await.unwrap();
    for id in [runs[0], runs[2]] {
        sqlx::query("UPDATE runs SET spec = '{}' WHERE id = ?").bind(id.0).execute(&mut conn).await.unwrap();
    }
    assert_eq!(world.claim().await.run_id, runs[1]);
    assert!(world.try_claim(1).await.is_empty());
    let counts = world.store.run_counts().await.unwrap();
    assert_eq!((counts[&RunState::Failed], counts[&RunState::Running]), (2, 1));
    assert_eq!(world.events(runs[0]).await, ["queued", "claimed", "failed"]);
    // What failed is no longer held: there is no lease left to expire but that of the readable run.
    assert_eq!(world.expire().await, 1);
}

#[tokio::test]
async fn a_claim_takes_several_runs_only_while_all_are_small() {
    let world = World::new().await;
    let small = |small| NewRun { small, ..new_run() };
    let runs = [true, true, false, true, true, true].map(small).to_vec();
    let ids = world.store.submit(NewJob { runs, ..job(0) }).await.unwrap().accepted.run_ids;
    let taken = |claims: Vec<ClaimedRun>| claims.into_iter().map(|run| run.run_id).collect::<Vec<_>>();
    assert_eq!(taken(world.try_claim(10).await), ids[..2]);
    assert_eq!(taken(world.try_claim(10).await), ids[2..3]);
    assert_eq!(taken(world.try_claim(2).await), ids[3..5]);
    assert_eq!(taken(world.try_claim(2).await), ids[5..]);
    assert_eq!(taken(world.try_claim(2).await), []);
}

#[tokio::test]
async fn a_worker_that_still_trains_gets_the_small_runs_at_the_head_of_the_queue_and_no_others() {
    let world = World::new().await;
    let small = |small| NewRun { small, ..new_run() };
    let runs = [true, true, true, false, true].map(small).to_vec();
    let ids = world.store.submit(NewJob { runs, ..job(0) }).await.unwrap().accepted.run_ids;
    let taken = |claims: Vec<ClaimedRun>| claims.into_iter().map(|run| run.run_id).collect::<Vec<_>>();
    assert_eq!(taken(world.store.claim_small(TOKEN, world.worker, 2).await.unwrap()), ids[..2]);
    assert_eq!(taken(world.store.claim_small(TOKEN, world.worker, 2).await.unwrap()), ids[2..3]);
    // A large run is waiting for its turn: no small one overtakes it.
    assert_eq!(taken(world.store.claim_small(TOKEN, world.worker, 2).await.unwrap()), []);
    assert_eq!(taken(world.try_claim(2).await), ids[3..4]);
    assert_eq!(taken(world.store.claim_small(TOKEN, world.worker, 2).await.unwrap()), ids[4..]);
    assert!(matches!(world.store.claim_small(TOKEN, WorkerId(99), 1).await, Err(WorkerError::UnknownWorker)));
    world.submit_many(1).await;
    world.store.begin_drain();
    assert_eq!(taken(world.store.claim_small(TOKEN, world.worker, 2).await.unwrap()), []);
}

#[tokio::test]
async fn runs_of_one_claim_bring_the_numbers_of_their_problem_once() {
    let world = World::new().await;
    let spec = |x: f64| {
        let spec = json!({"kind": "regression", "problem": {"source": "inline", "x": [[x]], "t": [1]},
            "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10});
        Spec::from_value(spec, "").unwrap()
    };
    let run = |x| NewRun { spec: spec(x), small: true, ..new_run() };
    world.store.submit(NewJob { runs: [1.0, 1.0, 2.0, 1.0, 2.0].map(run).to_vec(), ..job(0) }).await.unwrap();
    let numbers = |claims: Vec<ClaimedRun>| -> Vec<_> {
        let x = |run: ClaimedRun| run.spec.problem().unwrap().x.as_ref().map(|x| x[0][0]);
        claims.into_iter().map(x).collect()
    };
    assert_eq!(numbers(world.try_claim(4).await), [Some(1.0), None, Some(2.0), None]);
    assert_eq!(numbers(world.try_claim(4).await), [Some(2.0)]);
}

#[tokio::test]
async fn a_claimed_run_is_running_under_its_first_attempt() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    assert_eq!(claimed.attempt, Attempt(1));
    assert_eq!(claimed.spec, crate::world::spec());
    let run = world.run(claimed.run_id).await;
    assert_eq!((run.state, run.attempt, run.worker_id), (RunState::Running, Attempt(1), Some(world.worker)));
    assert!(run.started_at.is_some());
    assert_eq!(world.events(claimed.run_id).await, ["queued", "claimed"]);
    let workers = world.store.workers().await.unwrap();
    assert_eq!(workers.iter().map(|worker| (worker.id, worker.run_id)).collect::<Vec<_>>(), [(world.worker, Some(claimed.run_id))]);
}

#[tokio::test]
async fn a_waiting_claim_is_woken_by_a_submit() {
    let world = World::new().await;
    let (store, worker) = (world.store.clone(), world.worker);
    let waiting = tokio::spawn(async move { store.claim(TOKEN, worker, 1, Duration::from_secs(600)).await });
    let id = world.submit().await;
    let claimed = tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("woken long before its wait runs out");
    assert_eq!(claimed.unwrap().unwrap()[0].run_id, id);
}

#[tokio::test]
async fn a_waiting_claim_ends_empty_when_the_server_drains() {
    let world = World::new().await;
    let (store, worker) = (world.store.clone(), world.worker);
    let waiting = tokio::spawn(async move { store.claim(TOKEN, worker, 1, Duration::from_secs(600)).await });
    world.store.begin_drain();
    let claimed = tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("woken long before its wait runs out");
    assert_eq!(claimed.unwrap().unwrap(), []);
    world.submit().await;
    assert_eq!(world.try_claim(1).await, []);
}

#[tokio::test]
async fn an_unknown_worker_gets_nothing() {
    let world = World::new().await;
    world.submit().await;
    let refused = world.store.claim(TOKEN, WorkerId(99), 1, Duration::ZERO).await;
    assert!(matches!(refused, Err(WorkerError::UnknownWorker)));
    assert_eq!(world.try_claim(1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_never_get_the_same_run_twice() {
    const RUNS: usize = 200;
    let world = World::new().await;
    let submitted: BTreeSet<_> = world.submit_many(RUNS).await.run_ids.into_iter().collect();
    let claims = (0..16).map(|_| {
        let store = world.store.clone();
        tokio::spawn(async move {
            let worker = register(&store).await;
            let mut mine = Vec::new();
            while let Some(run) = store.claim(TOKEN, worker, 1, Duration::ZERO).await.unwrap().pop() {
                assert_eq!(run.attempt, Attempt(1));
                mine.push(run.run_id);
            }
            mine
        })
    });
    let mut claimed = Vec::new();
    for claims in claims.collect::<Vec<_>>() {
        claimed.extend(claims.await.unwrap());
    }
    assert_eq!(claimed.len(), RUNS);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>(), submitted);
}

#[tokio::test]
async fn a_run_knows_its_place_in_the_queue_by_priority_then_age_and_has_none_outside_it() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for priority in [0, 5, -5, 5, 0] {
        ids.push(world.store.submit(NewJob { priority, ..job(1) }).await.unwrap().accepted.run_ids[0]);
    }
    let mut ahead = Vec::new();
    for id in &ids {
        ahead.push(world.store.queue_position(*id).await.unwrap().unwrap().ahead);
    }
    assert_eq!(ahead, [2, 0, 4, 1, 3].map(Some));

    let first = world.claim().await;
    let position = world.store.queue_position(first.run_id).await.unwrap().unwrap();
    assert_eq!((position.state, position.ahead, position.waits_for), (RunState::Running, None, None));
    let next = world.store.queue_position(ids[3]).await.unwrap().unwrap();
    assert_eq!((next.ahead, next.waits_for, next.workers, next.busy_workers), (Some(0), Some(WaitsFor::Turn), 1, 1));
    assert_eq!(world.store.queue_position(RunId(99)).await.unwrap(), None);
}
