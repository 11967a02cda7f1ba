//! A disk that is full, and one that fails to sync.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use support::{Yard, eventually, jobs};
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::worker::{ClaimRequest, Register, Report};
use trainyard_wire::{Attempt, Number, RunId, RunState};

/// A run, held by a worker that writes of it as the test says.
struct Held {
    worker: Client,
    run: RunId,
    attempt: Attempt,
    steps: u64,
}

impl Held {
    async fn of(yard: &Yard) -> Self {
        let run = yard.submit(&jobs::quick()).await;
        let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap();
        let worker = Client::new(&yard.url, Some(token.trim().to_owned())).unwrap();
        let register = Register::cpu("here");
        let worker_id = worker.register(&register).await.unwrap().worker_id;
        let claims = worker.claim(&ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 0.0 }).await.unwrap();
        assert_eq!(claims.runs[0].run_id, run);
        Self { worker, run, attempt: claims.runs[0].attempt, steps: 0 }
    }

    /// Reports a thousand points.
    async fn report(&mut self) -> Result<(), ClientError> {
        let steps: Vec<u64> = (self.steps..self.steps + 1000).collect();
        let values = steps.iter().map(|step| Number(1.0 / (*step as f64 + 0.7))).collect();
        let metrics = vec![SeriesBatch { name: "loss".to_owned(), times: vec![0; steps.len()], steps, values }];
        let (progress, logs, certificates, left_out, finish) = (None, Vec::new(), Vec::new(), Vec::new(), None);
        let report = Report { attempt: self.attempt, metrics, progress, logs, certificates, left_out, finish };
        self.worker.report(self.run, &report).await?;
        self.steps += 1000;
        Ok(())
    }

    async fn put(&self, content: &'static [u8]) -> Result<(), ClientError> {
        let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        self.worker.put_artifact(self.run, self.attempt, "model.safetensors", &hash, None, Bytes::from_static(content)).await
    }

    /// All that was acknowledged is there.
    async fn check(&self, yard: &Yard) {
        let history = yard.client.metrics(self.run, None).await.unwrap();
        let points: usize = history.series.iter().map(|series| series.points.len()).sum();
        assert_eq!(points as u64, self.steps);
    }
}

fn status(done: &Result<(), ClientError>) -> Option<u16> {
    match done {
        Ok(()) => None,
        Err(ClientError::Problem(problem)) => Some(problem.status),
        Err(error) => panic!("not a problem: {error}"),
    }
}

async fn submit(yard: &Yard) -> Result<(), ClientError> {
    yard.client.submit(serde_json::to_vec(&jobs::quick()).unwrap(), None).await.map(drop)
}

#[tokio::test]
async fn while_the_disk_is_full_writes_are_507_and_reads_go_on_and_once_it_is_freed_all_goes_on() {
    let (mut yard, faults) = Yard::server_with_faults(&[]).await;
    let mut held = Held::of(&yard).await;
    held.report().await.unwrap();
    for cycle in 0..3 {
        faults.full(&yard.data_dir());
        // What still succeeds fits into space that the log has taken before.
        let mut refused = None;
        for _ in 0..100 {
            refused = status(&held.report().await);
            if refused.is_some() {
                break;
            }
        }
        assert_eq!(refused, Some(507), "cycle {cycle}");
        assert_eq!(status(&held.put(b"weights that do not fit").await), Some(507));
        held.check(&yard).await;
        yard.client.ready().await.unwrap();
        assert_eq!(yard.run(held.run).await.state, RunState::Running);
        assert!(yard.client.jobs(10).await.is_ok() && yard.client.events(held.run).await.is_ok());

        faults.none();
        held.report().await.unwrap();
        submit(&yard).await.unwrap();
        held.put(b"weights that fit").await.unwrap();
        held.check(&yard).await;
    }
    assert!(yard.process.is_running());
    assert_eq!(yard.artifact(held.run, "model.safetensors").await, b"weights that fit");
    assert_eq!(yard.client.jobs(10).await.unwrap().items.len(), 4);
    // Nothing of what did not fit is left.
    let mut contents = 0;
    for folder in std::fs::read_dir(yard.data_dir().join("blobs")).unwrap() {
        contents += std::fs::read_dir(folder.unwrap().path()).unwrap().count();
    }
    assert_eq!(contents, 1);
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_is_acknowledged_and_the_server_ends_and_starts_anew_whole() {
    let (mut yard, faults) = Yard::server_with_faults(&[]).await;
    let mut held = Held::of(&yard).await;
    held.report().await.unwrap();
    let body = serde_json::to_vec(&jobs::quick()).unwrap();

    faults.unsynced(&yard.data_dir());
    let refused = yard.client.submit(body.clone(), Some("once")).await;
    assert!(refused.is_err(), "a job was acknowledged whose fsync failed");
    // The disk's next fsync would succeed, and prove nothing.
    faults.none();
    let status = yard.process.wait().await;
    assert_eq!(status.code(), Some(74), "{}", yard.process.stderr());
    assert!(yard.process.stderr().contains("the disk did not take an fsync"), "{}", yard.process.stderr());

    yard.restart_server(&[]).await;
    held.check(&yard).await;
    held.report().await.unwrap();
    held.check(&yard).await;
    // Whether the disk had the job after all is the disk's matter; the client's repeat makes one of it either way.
    yard.client.submit(body, Some("once")).await.unwrap();
    assert_eq!(yard.client.jobs(100).await.unwrap().items.len(), 2);
}

#[tokio::test]
async fn a_content_whose_fsync_fails_is_not_acknowledged_and_ends_the_server() {
    let (mut yard, faults) = Yard::server_with_faults(&[]).await;
    let held = Held::of(&yard).await;
    faults.unsynced(&yard.data_dir().join("blobs"));
    assert!(held.put(b"weights").await.is_err());
    // Until it has ended it refuses all writes, also those that the disk would take.
    let later = submit(&yard).await;
    assert!(later.is_err());
    assert_eq!(yard.process.wait().await.code(), Some(74));

    faults.none();
    yard.restart_server(&[]).await;
    assert!(yard.artifact_names(held.run).await.is_empty());
    held.put(b"weights").await.unwrap();
    assert_eq!(yard.artifact(held.run, "model.safetensors").await, b"weights");
}

#[tokio::test]
async fn a_run_trains_through_a_full_disk_to_its_end() {
    let (yard, faults) = Yard::server_with_faults(&["--lease-seconds", "60"]).await;
    let _worker = yard.worker("worker");
    let run = yard.submit(&jobs::long_colourization()).await;
    yard.until_epoch(run, 2).await;
    faults.full(&yard.data_dir());
    eventually("a write that is refused", async || yard.process.stderr().contains("disk is full").then_some(())).await;
    faults.none();
    let run = yard.until(run, RunState::Succeeded).await;
    assert_eq!(run.attempt, Attempt(1));
    assert_eq!(run.summary["val_loss"].last_step, 60);
}
