//! Submits that are repeated.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Yard, jobs};
use trainyard_wire::client::RunQuery;

#[tokio::test]
async fn two_submits_with_one_key_make_one_job() {
    let yard = Yard::server(&[]).await;
    let body = serde_json::to_vec(&jobs::quick()).unwrap();
    let first = yard.client.submit(body.clone(), Some("key-1")).await.unwrap();
    let second = yard.client.submit(body.clone(), Some("key-1")).await.unwrap();
    assert_eq!(first, second);
    let other = yard.client.submit(body, Some("key-2")).await.unwrap();
    assert_ne!(other.id, first.id);
    assert_eq!(yard.client.runs(&RunQuery::default()).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn submits_with_one_key_at_the_same_time_make_one_job() {
    let yard = Yard::server(&[]).await;
    let body = serde_json::to_vec(&jobs::quick()).unwrap();
    let submits = (0..8).map(|_| yard.client.submit(body.clone(), Some("key")));
    let answers: Vec<_> = futures::future::join_all(submits).await;
    let mut jobs: Vec<_> = answers.into_iter().map(|accepted| accepted.unwrap().id).collect();
    jobs.dedup();
    assert_eq!(jobs.len(), 1);
    assert_eq!(yard.client.jobs(10).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_key_that_is_used_again_with_another_body_is_refused() {
    let mut yard = Yard::server(&[]).await;
    let quick = serde_json::to_vec(&jobs::quick()).unwrap();
    let accepted = yard.client.submit(quick.clone(), Some("key")).await.unwrap();
    let other = serde_json::to_vec(&jobs::colourization(1)).unwrap();
    let refused = yard.client.submit(other, Some("key")).await.unwrap_err();
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(422));

    // The key outlives the server.
    yard.process.signal(nix::sys::signal::Signal::SIGKILL);
    yard.restart_server(&[]).await;
    assert_eq!(yard.client.submit(quick, Some("key")).await.unwrap(), accepted);
    assert_eq!(yard.client.jobs(10).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn the_command_line_passes_the_key_on() {
    let yard = Yard::server(&[]).await;
    std::fs::write(yard.folder.path().join("job.json"), jobs::quick().to_string()).unwrap();
    let submit = ["submit", "job.json", "--idempotency-key", "once", "--json"];
    assert_eq!(yard.cli(&submit).await.success(), yard.cli(&submit).await.success());
    assert_eq!(yard.client.jobs(10).await.unwrap().items.len(), 1);
}
