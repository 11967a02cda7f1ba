//! Runs that are executed again, by real workers: the same bits, or the place at which they part.
#![allow(clippy::unwrap_used)]

mod support;

use nix::sys::signal::Signal;
use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;
use support::{Yard, eventually, jobs, process};
use trainyard_wire::client::RunQuery;
use trainyard_wire::verification::{DeterminismClass, Verdict, Verification};
use trainyard_wire::{Attempt, RunId, RunState};

async fn concluded(yard: &Yard, id: RunId) -> Verification {
    eventually(&format!("a verdict on run {id}"), async || {
        let verification = yard.client.verification(id).await.unwrap();
        verification.verdict.is_some().then_some(verification)
    })
    .await
}

#[tokio::test]
async fn runs_of_every_kind_come_to_the_same_bits_again_also_one_whose_worker_was_killed() {
    let yard = Yard::up(&["--workers", "1", "--threads", "1", "--lease-seconds", "2"]).await;
    let killed = yard.submit(&jobs::long_colourization()).await;
    yard.until_epoch(killed, 3).await;
    process::send(yard.worker_of(killed).await.pid, Signal::SIGKILL);
    let mut runs = vec![killed];
    for job in [jobs::quick(), jobs::hypergradient(), jobs::regularization_pair(json!({"name": "adam", "learning_rate": 0.01}))] {
        runs.push(yard.submit(&job).await);
    }
    for id in &runs {
        yard.until(*id, RunState::Succeeded).await;
        yard.client.verify(*id, false).await.unwrap();
    }
    assert_eq!(yard.run(killed).await.attempt, Attempt(2));
    for id in &runs {
        let found = concluded(&yard, *id).await;
        assert_eq!(found.verdict, Some(Verdict::SameBits), "{found:?}");
        let determinism = found.determinism.unwrap();
        assert_eq!(determinism.class, Some(DeterminismClass::SameOnThis));
        assert!(
            determinism.original[0].build.starts_with(env!("CARGO_PKG_VERSION")) && determinism.original[0].device.starts_with("cpu (")
        );
        let compared = found.compared.unwrap();
        assert!(compared.metrics > 0 && compared.points > 0, "{compared:?}");
    }
    let told = yard.cli(&["verify", &killed.to_string()]).await.success();
    assert!(told.contains("same bits on this build and device"), "{told}");
    let listed = yard.client.runs(&RunQuery::default()).await.unwrap().items;
    assert_eq!(listed.len(), runs.len(), "second executions are in no list");
}

#[tokio::test]
async fn a_metric_that_was_changed_in_the_store_is_named() {
    let mut yard = Yard::server(&[]).await;
    let worker = yard.worker("worker");
    let id = yard.submit(&jobs::quick()).await;
    yard.until(id, RunState::Succeeded).await;
    yard.client.verify(id, false).await.unwrap();
    assert_eq!(concluded(&yard, id).await.verdict, Some(Verdict::SameBits));
    drop(worker);

    yard.process.signal(Signal::SIGTERM);
    yard.process.wait().await;
    let database = SqliteConnectOptions::new().filename(yard.data_dir().join("trainyard.db"));
    let mut conn = sqlx::SqliteConnection::connect_with(&database).await.unwrap();
    let change = "UPDATE metrics SET value = value + 1e-12
         WHERE step = 7 AND series_id = (SELECT id FROM series WHERE run_id = ? AND name = 'loss')";
    assert_eq!(sqlx::query(change).bind(id.0).execute(&mut conn).await.unwrap().rows_affected(), 1);
    conn.close().await.unwrap();

    yard.restart_server(&[]).await;
    let _worker = yard.worker("worker");
    let told = yard.cli(&["verify", &id.to_string(), "--anew"]).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("first loss at step 7"), "{told:?}");
    let difference = yard.client.verification(id).await.unwrap().first_difference.unwrap();
    assert_eq!((difference.metric.as_deref(), difference.step), (Some("loss"), Some(7)));
    assert_ne!(difference.original, difference.again);
}
