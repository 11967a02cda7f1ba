//! Sweeps of small runs: claimed, trained and reported many at a time, and each a run of its own.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use support::{Yard, sweeps};
use trainyard_wire::RunState;
use trainyard_wire::client::RunQuery;

/// The runs of a sweep that are submitted alone.
const ALONE: [usize; 5] = [0, 7, 19, 33, 39];

#[tokio::test]
async fn the_runs_of_a_sweep_are_stored_whole_and_come_to_the_bits_that_they_come_to_alone() {
    let yard = Yard::server(&[]).await;
    let _worker = yard.worker_with("worker", Some("2"));
    let synthetic = sweeps::job(4, 10, 60, 20, 150);
    // The second problem has more unknowns than equations, and travels as numbers.
    let mut inline = sweeps::job(4, 10, 4, 6, 150);
    let x: Vec<Vec<f64>> = (0..4).map(|row| (0..6).map(|column| f64::from((row * 7 + column * 3) % 5) / 3.0 - 0.5).collect()).collect();
    inline["spec"]["problem"] = json!({"source": "inline", "x": x, "t": [1, -2, 0.5, 0.25]});
    inline["spec"]["optimizer"]["batch_size"] = json!(3);
    for job in [synthetic, inline] {
        let runs = yard.submit_all(&job).await;
        assert_eq!(runs.len(), 40);
        sweeps::until_succeeded(&yard, runs[0], Duration::from_millis(25)).await;
        let mut outcomes = Vec::new();
        for id in &runs {
            outcomes.push(sweeps::outcome(&yard, *id).await);
        }
        sweeps::assert_complete(&outcomes, 150);
        for index in ALONE {
            let spec = yard.run(runs[index]).await.spec;
            let id = yard.submit(&json!({ "spec": spec })).await;
            sweeps::until_succeeded(&yard, id, Duration::from_millis(25)).await;
            outcomes[index].assert_same(&sweeps::outcome(&yard, id).await);
        }
    }
}

#[tokio::test]
async fn a_sweep_whose_worker_and_server_are_killed_on_the_way_misses_nothing() {
    let mut yard = Yard::server(&["--lease-seconds", "2"]).await;
    let first = yard.worker_with("first", Some("2"));
    let runs = yard.submit_all(&sweeps::job(4, 40, 60, 20, 400)).await;
    let some_have = async |state: RunState, many: usize| {
        support::eventually(&format!("{many} runs to be {state}"), async || {
            let found = yard.client.runs(&RunQuery { state: Some(state), limit: Some(1000), ..RunQuery::default() }).await.unwrap();
            (found.items.len() >= many).then_some(found.items)
        })
        .await
    };
    let before = some_have(RunState::Succeeded, 10).await;
    first.signal(Signal::SIGKILL);
    drop(first);
    let _second = yard.worker_with("second", Some("2"));
    some_have(RunState::Succeeded, before.len() + 10).await;
    yard.process.signal(Signal::SIGKILL);
    yard.restart_server(&["--lease-seconds", "2"]).await;
    // What had succeeded is as it was.
    for run in before {
        assert_eq!(yard.run(run.id).await.revision, run.revision);
    }
    sweeps::until_succeeded(&yard, runs[0], Duration::from_millis(25)).await;
    let mut outcomes = Vec::new();
    for id in &runs {
        outcomes.push(sweeps::outcome(&yard, *id).await);
    }
    sweeps::assert_complete(&outcomes, 400);
}
