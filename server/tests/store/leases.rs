//! Lost attempts: what becomes of the run of a worker that falls silent.

use std::time::Instant;

use trainyard_wire::run::RequestedAction;
use trainyard_wire::worker::{Directive, Heartbeat, HeldRun, Outcome};
use trainyard_wire::{Attempt, RunState, StopReason};

use crate::world::{LEASE, TOKEN, World, report};
use trainyard_server::store::Action;

#[tokio::test]
async fn an_expired_lease_puts_the_run_back_for_the_next_attempt() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    assert_eq!(world.store.expire_leases(Instant::now()).await.unwrap(), 0);
    assert_eq!(world.expire().await, 1);
    assert_eq!(world.state(claimed.run_id).await, RunState::Queued);
    assert_eq!(world.events(claimed.run_id).await, ["queued", "claimed", "lease_expired"]);
    assert_eq!(world.claim().await.attempt, Attempt(2));
}

#[tokio::test]
async fn heartbeats_and_reports_keep_a_lease() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let granted = Instant::now();
    let held = vec![HeldRun { run_id: claimed.run_id, attempt: claimed.attempt }];
    let heartbeat = Heartbeat { worker_id: world.worker, runs: held };
    let answer = world.store.heartbeat(TOKEN, &heartbeat).await.unwrap();
    assert_eq!((answer.runs, answer.drain), (vec![Directive::Continue], false));
    // The grant alone would have expired by then.
    assert_eq!(world.store.expire_leases(granted + LEASE).await.unwrap(), 0);
    let heard = Instant::now();
    world.store.report(TOKEN, claimed.run_id, report(claimed.attempt)).await.unwrap();
    assert_eq!(world.store.expire_leases(heard + LEASE).await.unwrap(), 0);
    assert_eq!(world.expire().await, 1);
    assert_eq!(world.store.heartbeat(TOKEN, &heartbeat).await.unwrap().runs, [Directive::Lost]);
}

#[tokio::test]
async fn a_draining_server_says_so_in_heartbeats() {
    let world = World::new().await;
    world.store.begin_drain();
    let heartbeat = Heartbeat { worker_id: world.worker, runs: Vec::new() };
    assert!(world.store.heartbeat(TOKEN, &heartbeat).await.unwrap().drain);
}

#[tokio::test]
async fn three_attempts_lost_in_a_row_fail_the_run() {
    let world = World::new().await;
    let id = world.submit().await;
    for attempt in 1..=3 {
        assert_eq!(world.claim().await.attempt, Attempt(attempt));
        world.expire().await;
    }
    let run = world.run(id).await;
    assert_eq!((run.state, run.stop_reason), (RunState::Failed, Some(StopReason::AttemptsExhausted)));
    assert!(run.error.unwrap().contains("3 attempts in a row were lost"));
    let events = world.events(id).await;
    assert_eq!(events[events.len() - 2..], ["lease_expired", "failed"]);
}

#[tokio::test]
async fn a_new_checkpoint_starts_the_count_anew_and_a_repeated_one_does_not() {
    let world = World::new().await;
    let id = world.submit().await;
    for step in [None, Some(10), Some(10), Some(20), Some(20)] {
        let claimed = world.claim().await;
        if let Some(step) = step {
            world.checkpoint(&claimed, step).await;
        }
        world.expire().await;
        assert_eq!(world.state(id).await, RunState::Queued, "{step:?}");
    }
    let claimed = world.claim().await;
    world.checkpoint(&claimed, 20).await;
    world.expire().await;
    assert_eq!(world.state(id).await, RunState::Failed);
}

#[tokio::test]
async fn a_released_run_is_no_lost_attempt() {
    let world = World::new().await;
    let id = world.submit().await;
    for _ in 0..5 {
        let claimed = world.claim().await;
        world.finish(&claimed, Outcome::Released).await;
    }
    assert_eq!(world.state(id).await, RunState::Queued);
    assert_eq!(world.expire().await, 0);
}

#[tokio::test]
async fn a_lost_run_becomes_what_was_asked_for() {
    let world = World::new().await;
    for (action, requested, state) in
        [(Action::Cancel, RequestedAction::Cancel, RunState::Cancelled), (Action::Pause, RequestedAction::Pause, RunState::Paused)]
    {
        let claimed = world.submit_and_claim().await;
        assert_eq!(world.store.run_action(claimed.run_id, action).await.unwrap().requested, Some(requested));
        world.expire().await;
        let run = world.run(claimed.run_id).await;
        assert_eq!((run.state, run.requested), (state, None));
    }
}

#[tokio::test]
async fn a_run_that_is_over_has_no_lease_left_to_expire() {
    let world = World::new().await;
    for outcome in [Outcome::Succeeded, Outcome::Failed, Outcome::Cancelled] {
        let claimed = world.submit_and_claim().await;
        world.finish(&claimed, outcome).await;
        assert_eq!(world.expire().await, 0);
    }
}
