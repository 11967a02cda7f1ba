//! A transaction that fails once it may be committed: the one connection that writes goes on, and nothing that the commit means is lost.
//!
//! One test, because what fails fails in the whole process.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;
use trainyard_faults::{Place, clear, set};
use trainyard_server::store::{NewJob, NewRun, Store, StoreOptions};
use trainyard_wire::state::Kind;
use trainyard_wire::worker::Register;
use trainyard_wire::{Attempt, RunId, RunState, Spec, TokenId};

const LEASE: Duration = Duration::from_secs(3600);
/// Speaks for all workers.
const TOKEN: TokenId = TokenId(1);

fn job() -> NewJob {
    let spec = json!({
        "kind": "regression", "problem": {"source": "synthetic", "n": 5, "d": 2, "condition": 3.0},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10,
    });
    let spec = Spec::from_value(spec, "/spec").unwrap();
    NewJob {
        name: None,
        tags: BTreeMap::new(),
        project: None,
        priority: 0,
        kind: Kind::Regression,
        sweep: Default::default(),
        runs: vec![NewRun { spec, sweep_point: Default::default(), total_steps: 10, small: false, memory_bytes: 0 }],
        warnings: Vec::new(),
        theory: Vec::new(),
        idempotency: None,
    }
}

#[tokio::test]
async fn a_commit_that_fails_or_panics_is_settled_and_the_writer_goes_on() {
    let places = [(Place::CommitBefore, false), (Place::CommitAfter, true), (Place::AnswerBefore, true)];
    for ((place, committed), kind) in places.into_iter().flat_map(|place| [(place, "error"), (place, "panic")]) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions { lease: LEASE, upkeep: false, ..StoreOptions::default() }).await.unwrap();
        let register = Register::cpu("here");
        let worker = store.register(TOKEN, register).await.unwrap().worker_id;
        store.submit(job()).await.unwrap();

        set(place.name(), &format!("1*return({kind})"));
        let claimed = store.claim(TOKEN, worker, 1, Duration::ZERO).await;
        clear();
        assert!(claimed.is_err(), "{kind} at {}", place.name());

        let run = store.run(RunId(1)).await.unwrap().unwrap();
        let expected = if committed { (RunState::Running, Attempt(1)) } else { (RunState::Queued, Attempt(0)) };
        assert_eq!((run.state, run.attempt), expected, "{kind} at {}", place.name());
        // A run that is running has a lease, so that it comes back if nobody knows that it was given to them.
        assert_eq!(store.expire_leases(Instant::now() + 2 * LEASE).await.unwrap(), u64::from(committed));
        let again = store.claim(TOKEN, worker, 1, Duration::ZERO).await.unwrap();
        assert_eq!(again[0].attempt, Attempt(expected.1.0 + 1));
        store.ping().await.unwrap();
        store.submit(job()).await.unwrap();
        assert_eq!(store.run(RunId(2)).await.unwrap().unwrap().revision, store.revision());
        store.close().await.unwrap();
    }
}
