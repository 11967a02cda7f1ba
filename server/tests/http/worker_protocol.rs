//! The worker protocol by hand: claim, report, finish, and what a stale attempt may not do.

use std::time::Duration;

use futures::TryStreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, LogLine, Progress};
use trainyard_wire::worker::{
    ClaimRequest, ClaimedRun, Directive, Finish, Heartbeat, HeldRun, Outcome, Register, Report, Reports, RunReport,
};
use trainyard_wire::{Attempt, Number, RunId, RunState, StopReason, Timestamp, WorkerId};

use super::world::{Answer, World};

/// A worker of the test's own.
pub(crate) struct Worker {
    pub(crate) client: Client,
    pub(crate) id: WorkerId,
}

impl Worker {
    pub(crate) async fn register(world: &World) -> Self {
        let token = std::fs::read_to_string(world.server().worker_token_file()).unwrap();
        Self::register_with(world, token.trim(), None).await
    }

    /// With this token, and so many bytes for a run.
    async fn register_with(world: &World, token: &str, memory_bytes: Option<u64>) -> Self {
        let client = Client::new(&world.url(""), Some(token.to_owned())).unwrap();
        let register = Register { memory_bytes, build: "0+test".to_owned(), ..Register::cpu("test") };
        let id = client.register(&register).await.unwrap().worker_id;
        Self { client, id }
    }

    pub(crate) async fn claim(&self, wait_seconds: f64) -> Vec<ClaimedRun> {
        self.client.claim(&ClaimRequest { worker_id: self.id, max: 1, small: false, wait_seconds }).await.unwrap().runs
    }
}

/// A report that tells nothing yet.
pub(crate) fn report(attempt: Attempt) -> Report {
    Report { attempt, metrics: Vec::new(), progress: None, logs: Vec::new(), certificates: Vec::new(), left_out: Vec::new(), finish: None }
}

/// Points of a metric at steps 1, 2, ….
pub(crate) fn series(name: &str, values: &[f64]) -> SeriesBatch {
    SeriesBatch {
        name: name.to_owned(),
        steps: (1..=values.len() as u64).collect(),
        values: values.iter().copied().map(Number).collect(),
        times: vec![1_700_000_000_000; values.len()],
    }
}

fn finish(outcome: Outcome, stop_reason: Option<StopReason>) -> Option<Finish> {
    Some(Finish { outcome, stop_reason, error: None, result: Some(json!({"loss": 0.0})) })
}

fn is_stale(result: Result<impl Sized, ClientError>) -> bool {
    result.is_err_and(|error| error.status() == Some(StatusCode::CONFLICT))
}

#[tokio::test]
async fn a_run_is_claimed_reported_and_finished() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    let claimed = worker.claim(0.0).await;
    assert_eq!((claimed[0].run_id, claimed[0].attempt, claimed[0].checkpoint.as_deref()), (id, Attempt(1), None));
    let client = world.client();
    assert_eq!(client.run(id).await.unwrap().state, RunState::Running);
    let workers = client.workers().await.unwrap().items;
    assert_eq!((workers[0].id, workers[0].run_id), (worker.id, Some(id)));

    let told = Report {
        metrics: vec![series("loss", &[4.0, f64::NAN, 1.0])],
        progress: Some(Progress { step: 3, total_steps: 10, epoch: None, eta_seconds: Some(1.5) }),
        logs: vec![LogLine { time: Timestamp(0), level: LogLevel::Info, message: "hello".to_owned() }],
        certificates: vec![Certificate {
            claim: "stable".to_owned(),
            formula: "η < 2/λ".to_owned(),
            predicted: Number(f64::INFINITY),
            measured: Number(0.1),
            tolerance: Number(0.0),
            holds: true,
            source: "Polyak".to_owned(),
        }],
        left_out: vec![LeftOut { claim: "exact path".to_owned(), reason: "too large".to_owned() }],
        ..report(Attempt(1))
    };
    // A repeat, as after an answer that got lost, changes nothing.
    for _ in 0..2 {
        assert_eq!(worker.client.report(id, &told).await.unwrap().directive, Directive::Continue);
    }
    let run = client.run(id).await.unwrap();
    assert_eq!((run.progress.step, run.summary["loss"].last, run.summary["loss"].max), (3, Number(1.0), Number(4.0)));
    let history = client.metrics(id, None).await.unwrap();
    assert_eq!(history.series[0].points.len(), 3);
    assert!(history.series[0].points[1].value.0.is_nan());
    assert_eq!(client.logs(id).await.unwrap().items.len(), 1);
    let certified = client.certificates(id).await.unwrap();
    assert_eq!((certified.certificates[0].source.as_str(), certified.certificates.len()), ("Polyak", 1));
    assert_eq!(certified.left_out, told.left_out);

    let bytes = b"weights".as_slice();
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    worker.client.put_artifact(id, Attempt(1), "model.safetensors", &sha256, None, bytes.into()).await.unwrap();
    let listed = client.artifacts(id).await.unwrap().artifacts;
    assert_eq!((listed[0].name.as_str(), listed[0].size, &listed[0].sha256), ("model.safetensors", 7, &sha256));
    let fetched: Vec<_> = client.artifact(id, "model.safetensors").await.unwrap().try_collect().await.unwrap();
    assert_eq!(fetched.concat(), bytes);

    let done = Report { finish: finish(Outcome::Succeeded, Some(StopReason::Completed)), ..report(Attempt(1)) };
    worker.client.report(id, &done).await.unwrap();
    let run = client.run(id).await.unwrap();
    assert_eq!((run.state, run.stop_reason, run.result), (RunState::Succeeded, Some(StopReason::Completed), Some(json!({"loss": 0.0}))));
    let kinds: Vec<String> = client.events(id).await.unwrap().items.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["queued", "claimed", "succeeded"]);
}

#[tokio::test]
async fn a_stale_attempt_changes_nothing() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    worker.client.report(id, &Report { finish: finish(Outcome::Released, None), ..report(Attempt(1)) }).await.unwrap();
    assert_eq!(worker.claim(0.0).await[0].attempt, Attempt(2));
    let before = world.get(&format!("/v1/runs/{id}")).await.json();

    let late = Report { metrics: vec![series("loss", &[1.0])], ..report(Attempt(1)) };
    assert!(is_stale(worker.client.report(id, &late).await));
    let sha256 = Sha256::digest(b"x").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert!(is_stale(worker.client.put_artifact(id, Attempt(1), "model.json", &sha256, None, b"x".as_slice().into()).await));
    assert!(is_stale(worker.client.held_artifact(id, Attempt(1), "model.json").await));
    let held = Heartbeat { worker_id: worker.id, runs: vec![HeldRun { run_id: id, attempt: Attempt(1) }] };
    assert_eq!(worker.client.heartbeat(&held).await.unwrap().runs, [Directive::Lost]);

    assert_eq!(world.get(&format!("/v1/runs/{id}")).await.json(), before);
    assert!(world.client().artifacts(id).await.unwrap().artifacts.is_empty());
}

#[tokio::test]
async fn reports_of_several_runs_are_answered_one_by_one() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(RunId(world.submit_run().await));
        worker.claim(0.0).await;
    }
    worker.client.report(ids[1], &Report { finish: finish(Outcome::Released, None), ..report(Attempt(1)) }).await.unwrap();
    let before = world.get(&format!("/v1/runs/{}", ids[1])).await.json();
    let mut metrics = vec![series("loss", &[1.0])];
    let done = |run_id| {
        let report = Report { metrics: vec![series("loss", &[1.0])], finish: finish(Outcome::Succeeded, None), ..report(Attempt(1)) };
        RunReport { run_id, report }
    };
    metrics[0].times.clear();
    let mut reports = vec![done(ids[0]), done(ids[1]), done(ids[2]), done(RunId(999))];
    let uneven = Report { metrics, ..report(Attempt(1)) };
    reports.insert(0, RunReport { run_id: ids[0], report: uneven });
    let answers = worker.client.report_all(&Reports { reports }).await.unwrap();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.as_ref().err().and_then(ClientError::status)).collect();
    let refused = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::CONFLICT, StatusCode::NOT_FOUND].map(Some);
    assert_eq!(statuses, [refused[0], None, refused[1], None, refused[2]]);
    let Err(ClientError::Problem(problem)) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!((problem.errors[0].pointer.as_str(), problem.request_id.is_empty()), ("/metrics/0", false));
    assert_eq!(world.get(&format!("/v1/runs/{}", ids[1])).await.json(), before);
    for id in [ids[0], ids[2]] {
        assert_eq!(world.client().run(id).await.unwrap().state, RunState::Succeeded);
    }
    let error = worker.client.report_all(&Reports { reports: Vec::new() }).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
}

#[tokio::test]
async fn a_waiting_claim_is_woken_by_a_submit() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    let (claimed, _) = tokio::join!(worker.claim(30.0), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.submit_run().await
    });
    assert_eq!(claimed.len(), 1);
    assert!(worker.claim(0.05).await.is_empty());
}

#[tokio::test]
async fn a_cancel_reaches_the_worker_and_ends_the_run() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    world.client().run_action(id, "cancel").await.unwrap();
    let held = Heartbeat { worker_id: worker.id, runs: vec![HeldRun { run_id: id, attempt: Attempt(1) }] };
    assert_eq!(worker.client.heartbeat(&held).await.unwrap().runs, [Directive::Cancel]);
    let ended = Report { finish: finish(Outcome::Cancelled, Some(StopReason::Cancelled)), ..report(Attempt(1)) };
    worker.client.report(id, &ended).await.unwrap();
    assert_eq!(world.client().run(id).await.unwrap().state, RunState::Cancelled);
}

#[tokio::test]
async fn a_checkpoint_comes_back_with_the_next_claim() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    let sha256 = Sha256::digest(b"state").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let name = "checkpoint.safetensors";
    worker.client.put_artifact(id, Attempt(1), name, &sha256, Some(5), b"state".as_slice().into()).await.unwrap();
    worker.client.report(id, &Report { finish: finish(Outcome::Released, None), ..report(Attempt(1)) }).await.unwrap();
    let claimed = worker.claim(0.0).await;
    assert_eq!(claimed[0].checkpoint.as_ref(), Some(&sha256));
    assert_eq!(worker.client.held_artifact(id, Attempt(2), name).await.unwrap(), b"state".as_slice());
}

#[tokio::test]
async fn an_artifact_with_other_bytes_than_announced_is_refused() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    let error = worker.client.put_artifact(id, Attempt(1), "model.json", &"0".repeat(64), None, b"x".as_slice().into()).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::BAD_REQUEST));
    let sha256 = Sha256::digest(b"x").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for name in ["a b", "ä", "a//b"] {
        let error = worker.client.put_artifact(id, Attempt(1), name, &sha256, None, b"x".as_slice().into()).await.unwrap_err();
        assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY), "{name}");
    }
    assert!(world.client().artifacts(id).await.unwrap().artifacts.is_empty());
}

#[tokio::test]
async fn artifacts_are_sent_whole_in_part_or_not_at_all() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let worker = Worker::register(&world).await;
    worker.claim(0.0).await;
    for (name, bytes) in [("samples/epoch-001.png", b"0123456789".as_slice()), ("page.html", b"<script>".as_slice())] {
        let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        worker.client.put_artifact(id, Attempt(1), name, &sha256, None, bytes.into()).await.unwrap();
    }
    let path = format!("/v1/runs/{id}/artifacts/samples/epoch-001.png");
    let whole = world.get(&path).await;
    assert_eq!((whole.header("content-type"), whole.header("content-length")), ("image/png", "10"));
    assert_eq!((whole.header("content-disposition"), whole.header("x-content-type-options")), ("inline", "nosniff"));
    let with = |name: &'static str, value: String| {
        let request = world.request(Method::GET, &path).header(name, value);
        async { Answer::of(request).await }
    };
    let same = with("if-none-match", whole.header("etag").to_owned()).await;
    assert_eq!((same.status, same.bytes.len()), (StatusCode::NOT_MODIFIED, 0));
    let part = with("range", "bytes=2-4".to_owned()).await;
    assert_eq!((part.status, part.text(), part.header("content-range")), (StatusCode::PARTIAL_CONTENT, "234", "bytes 2-4/10"));
    let beyond = with("range", "bytes=10-".to_owned()).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */10"));
    beyond.problem();

    let page = world.get(&format!("/v1/runs/{id}/artifacts/page.html")).await;
    assert_eq!(page.header("content-disposition"), "attachment; filename=\"page.html\"");
    assert_eq!(page.header("content-type"), "application/octet-stream");
    assert!(page.header("content-security-policy").starts_with("sandbox"));
}

#[tokio::test]
async fn a_worker_that_the_server_does_not_know_has_to_register() {
    let world = World::start().await;
    let worker = Worker::register(&world).await;
    let error = worker.client.claim(&ClaimRequest { worker_id: WorkerId(999), max: 1, small: false, wait_seconds: 0.0 }).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    let error = worker.client.claim(&ClaimRequest { worker_id: worker.id, max: 0, small: false, wait_seconds: 0.0 }).await.unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
}

#[tokio::test]
async fn a_workers_token_reaches_its_own_leases_and_no_others() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let owner = Worker::register_with(&world, &world.token(&["worker"]).await, None).await;
    owner.claim(0.0).await;
    let sha256 = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let checkpoint = b"state".as_slice();
    owner.client.put_artifact(id, Attempt(1), "checkpoint.safetensors", &sha256(checkpoint), Some(1), checkpoint.into()).await.unwrap();
    let before = world.get(&format!("/v1/runs/{id}")).await.json();

    let status = |result: Result<(), ClientError>| result.unwrap_err().status();
    // Another worker, and an admin, who could give itself a worker's token but does not speak for this one either.
    for token in [world.token(&["worker"]).await, world.admin().to_owned()] {
        let other = Worker::register_with(&world, &token, None).await;
        let client = &other.client;
        let told = Report { metrics: vec![series("loss", &[9.0])], ..report(Attempt(1)) };
        let failed = Report { finish: finish(Outcome::Failed, Some(StopReason::Error)), ..report(Attempt(1)) };
        for report in [told, failed] {
            assert_eq!(status(client.report(id, &report).await.map(drop)), Some(StatusCode::CONFLICT));
            let answers = client.report_all(&Reports { reports: vec![RunReport { run_id: id, report }] }).await.unwrap();
            assert!(answers.into_iter().all(is_stale));
        }
        let forged = b"forged".as_slice();
        let put = client.put_artifact(id, Attempt(1), "checkpoint.safetensors", &sha256(forged), Some(2), forged.into()).await;
        assert_eq!(status(put), Some(StatusCode::CONFLICT));
        let read = client.held_artifact(id, Attempt(1), "checkpoint.safetensors").await;
        assert_eq!(status(read.map(drop)), Some(StatusCode::CONFLICT));
        // It cannot pass for the other one.
        let held = vec![HeldRun { run_id: id, attempt: Attempt(1) }];
        let renewed = client.heartbeat(&Heartbeat { worker_id: owner.id, runs: held.clone() }).await;
        assert_eq!(status(renewed.map(drop)), Some(StatusCode::NOT_FOUND));
        for small in [false, true] {
            let claim = ClaimRequest { worker_id: owner.id, max: 1, small, wait_seconds: 0.0 };
            assert_eq!(status(client.claim(&claim).await.map(drop)), Some(StatusCode::NOT_FOUND));
        }
        // Nor renew or learn anything as itself.
        let heartbeat = Heartbeat { worker_id: other.id, runs: held };
        assert_eq!(client.heartbeat(&heartbeat).await.unwrap().runs, [Directive::Lost]);
    }
    assert_eq!(world.get(&format!("/v1/runs/{id}")).await.json(), before);
    assert_eq!(owner.client.held_artifact(id, Attempt(1), "checkpoint.safetensors").await.unwrap(), checkpoint);
    owner.client.report(id, &Report { finish: finish(Outcome::Succeeded, None), ..report(Attempt(1)) }).await.unwrap();
}

#[tokio::test]
async fn a_run_that_is_too_large_for_a_worker_is_left_to_one_that_has_the_memory() {
    let world = World::start().await;
    let id = RunId(world.submit_run().await);
    let position = world.get(&format!("/v1/runs/{id}/queue")).await.json();
    assert_eq!((&position["waits_for"], &position["ahead"], &position["workers"]), (&json!("worker"), &json!(0), &json!(0)));
    let needed =
        world.post("/v1/jobs?dry_run=true", &super::world::regression()).await.json()["runs"][0]["estimate"]["memory_bytes"].clone();
    let needed = needed.as_u64().unwrap();
    let token = world.token(&["worker"]).await;
    let small = Worker::register_with(&world, &token, Some(needed - 1)).await;
    assert!(small.claim(0.0).await.is_empty());
    let waits_for = async || world.get(&format!("/v1/runs/{id}/queue")).await.json()["waits_for"].clone();
    assert_eq!(waits_for().await, "memory");
    let enough = Worker::register_with(&world, &token, Some(needed)).await;
    assert_eq!(waits_for().await, "turn");
    let claimed = enough.claim(0.0).await;
    assert_eq!((claimed[0].run_id, claimed[0].memory_bytes), (id, needed));
    let listed = world.client().workers().await.unwrap().items;
    assert_eq!(listed.iter().map(|worker| worker.memory_bytes).collect::<Vec<_>>(), [Some(needed - 1), Some(needed)]);
}
