//! A wall clock that jumps while the server runs: leases, keys and lists do not follow it.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Yard, jobs};
use trainyard_wire::client::RunQuery;
use trainyard_wire::{Attempt, RunState};

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;

#[tokio::test]
async fn no_lease_expires_and_no_key_is_forgotten_when_the_wall_clock_jumps() {
    let (yard, faults) = Yard::server_with_faults(&["--lease-seconds", "3"]).await;
    let _worker = yard.worker("worker");
    let body = serde_json::to_vec(&jobs::long_colourization()).unwrap();
    let first = yard.client.submit(body.clone(), Some("once")).await.unwrap();
    let run = first.run_ids[0];
    yard.until_epoch(run, 1).await;
    let mut ids = vec![run];
    for (round, jump) in [HOUR, -HOUR, YEAR, -YEAR, 0].into_iter().enumerate() {
        faults.clock(jump);
        let epoch = yard.run(run).await.progress.epoch.unwrap_or(0);
        let before = yard.run(run).await;
        if !before.state.is_finished() {
            assert_eq!((before.attempt, before.state), (Attempt(1), RunState::Running), "jump {jump}");
        }
        // A job that is queued, trained and ended under this clock.
        let quick = yard.submit(&jobs::quick()).await;
        ids.push(quick);
        let listed = yard.client.runs(&RunQuery::default()).await.unwrap().items;
        assert!(listed.iter().map(|run| run.id).eq(ids.iter().rev().copied()), "jump {jump}: lists are by age whatever the clock says");
        let again = yard.client.submit(body.clone(), Some("once")).await.unwrap();
        assert_eq!(again.run_ids, first.run_ids, "jump {jump}");
        if !before.state.is_finished() && round < 4 {
            // The run goes on: heartbeats came through, although more than a lease passed by the wall clock.
            support::eventually("the run to go on", async || {
                let now = yard.run(run).await;
                (now.state.is_finished() || now.progress.epoch.unwrap_or(0) > epoch).then_some(())
            })
            .await;
        }
    }
    for id in ids {
        let done = yard.until(id, RunState::Succeeded).await;
        assert_eq!(done.attempt, Attempt(1), "run {id}");
        assert_eq!(yard.count_events(id, "lease_expired").await, 0, "run {id}");
        // Times by which nobody could live are told all the same, also to those who read tables.
        let shown = yard.cli(&["show", &id.to_string()]).await.success();
        assert!(shown.contains("succeeded"), "{shown}");
    }
    assert!(yard.cli(&["runs"]).await.success().contains("succeeded"));
}

#[tokio::test]
async fn a_retention_policy_takes_nothing_for_old_because_the_clock_has_jumped() {
    let (yard, faults) = Yard::server_with_faults(&[]).await;
    let _worker = yard.worker("worker");
    let run = yard.submit(&jobs::colourization(1)).await;
    yard.until(run, RunState::Succeeded).await;
    let files = yard.artifact_names(run).await;
    assert!(!files.is_empty());
    for jump in [YEAR, -YEAR] {
        faults.clock(jump);
        yard.cli(&["prune", "--older-than", "30d"]).await.success();
        assert_eq!(yard.artifact_names(run).await, files, "jump {jump}");
    }
}
