//! A store in a temporary folder, with a worker and shorthands for what tests do over and over.

use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use trainyard_server::store::{NewArtifact, NewJob, NewRun, Store, StoreOptions, WorkerError};
use trainyard_wire::job::{JobAccepted, SweepPoint};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::Run;
use trainyard_wire::state::Kind;
use trainyard_wire::worker::{ClaimedRun, Finish, Outcome, Register, Report};
use trainyard_wire::{Attempt, Number, Revision, RunId, RunState, Spec, TokenId, WorkerId};

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    pub(crate) worker: WorkerId,
}

/// Speaks for the workers of a world.
pub(crate) const TOKEN: TokenId = TokenId(1);
pub(crate) const LEASE: Duration = Duration::from_secs(20);

pub(crate) fn options() -> StoreOptions {
    StoreOptions { lease: LEASE, upkeep: false, ..StoreOptions::default() }
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), options()).await.unwrap();
        let worker = register(&store).await;
        Self { folder, store, worker }
    }

    /// Closes the store and opens it again.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, store, worker } = self;
        store.close().await.unwrap();
        let store = Store::open(folder.path(), options()).await.unwrap();
        Self { folder, store, worker }
    }

    /// Queues one run; answers its id.
    pub(crate) async fn submit(&self) -> RunId {
        self.store.submit(job(1)).await.unwrap().accepted.run_ids[0]
    }

    pub(crate) async fn submit_many(&self, runs: usize) -> JobAccepted {
        self.store.submit(job(runs)).await.unwrap().accepted
    }

    /// Takes the first run of the queue.
    pub(crate) async fn claim(&self) -> ClaimedRun {
        self.try_claim(1).await.pop().expect("something is queued")
    }

    pub(crate) async fn try_claim(&self, max: u32) -> Vec<ClaimedRun> {
        self.store.claim(TOKEN, self.worker, max, Duration::ZERO).await.unwrap()
    }

    /// Queues one run and takes it.
    pub(crate) async fn submit_and_claim(&self) -> ClaimedRun {
        let id = self.submit().await;
        let claimed = self.claim().await;
        assert_eq!(claimed.run_id, id);
        claimed
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.store.run(id).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self, id: RunId) -> RunState {
        self.run(id).await.state
    }

    pub(crate) async fn finish(&self, claimed: &ClaimedRun, outcome: Outcome) {
        self.store.report(TOKEN, claimed.run_id, finish(claimed.attempt, outcome)).await.unwrap();
    }

    /// Lets every lease expire.
    pub(crate) async fn expire(&self) -> u64 {
        self.store.expire_leases(Instant::now() + LEASE).await.unwrap()
    }

    pub(crate) async fn put(
        &self,
        claimed: &ClaimedRun,
        name: &str,
        bytes: &[u8],
        checkpoint_step: Option<u64>,
    ) -> Result<(), WorkerError> {
        let mut staging = self.store.stage().await.unwrap();
        staging.write(bytes).await.unwrap();
        let blob = staging.finish().await.unwrap();
        let content_type = "application/octet-stream".to_owned();
        let artifact = NewArtifact { attempt: claimed.attempt, name: name.to_owned(), content_type, blob, checkpoint_step };
        self.store.put_artifact(TOKEN, claimed.run_id, artifact).await
    }

    pub(crate) async fn checkpoint(&self, claimed: &ClaimedRun, step: u64) {
        let bytes = format!("weights at step {step}");
        self.put(claimed, "checkpoint.safetensors", bytes.as_bytes(), Some(step)).await.unwrap();
    }

    /// The kinds of a run's events, oldest first.
    pub(crate) async fn events(&self, id: RunId) -> Vec<String> {
        let events = self.store.events(id, Revision(0), 1000).await.unwrap().unwrap();
        assert!(events.items.is_sorted_by_key(|event| event.revision));
        events.items.into_iter().map(|event| event.kind).collect()
    }
}

pub(crate) async fn register(store: &Store) -> WorkerId {
    let register = Register { build: "0+test".to_owned(), ..Register::cpu("here") };
    store.register(TOKEN, register).await.unwrap().worker_id
}

pub(crate) fn spec() -> Spec {
    let spec = json!({
        "kind": "regression", "problem": {"source": "synthetic", "n": 5, "d": 2, "condition": 3.0},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 10,
    });
    Spec::from_value(spec, "/spec").unwrap()
}

pub(crate) fn new_run() -> NewRun {
    NewRun { spec: spec(), sweep_point: SweepPoint::new(), total_steps: 10, small: false, memory_bytes: 0 }
}

pub(crate) fn job(runs: usize) -> NewJob {
    NewJob {
        name: None,
        tags: [].into(),
        project: None,
        priority: 0,
        kind: Kind::Regression,
        sweep: Default::default(),
        runs: vec![new_run(); runs],
        warnings: Vec::new(),
        theory: Vec::new(),
        idempotency: None,
    }
}

pub(crate) fn report(attempt: Attempt) -> Report {
    Report { attempt, metrics: Vec::new(), progress: None, logs: Vec::new(), certificates: Vec::new(), left_out: Vec::new(), finish: None }
}

pub(crate) fn finish(attempt: Attempt, outcome: Outcome) -> Report {
    Report { finish: Some(Finish { outcome, stop_reason: None, error: None, result: None }), ..report(attempt) }
}

/// Points of one metric at these steps.
pub(crate) fn batch(name: &str, points: &[(u64, f64)]) -> SeriesBatch {
    SeriesBatch {
        name: name.to_owned(),
        steps: points.iter().map(|(step, _)| *step).collect(),
        values: points.iter().map(|(_, value)| Number(*value)).collect(),
        times: points.iter().map(|(step, _)| 1_700_000_000_000 + *step as i64).collect(),
    }
}
