mod checkpoints;
mod fake;
mod memory;
mod pictures;
mod reports;
mod stops;

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use trainyard_wire::StopReason;
use trainyard_wire::run::LogLevel;
use trainyard_wire::worker::{Directive, Outcome, Report};

use super::server::CHECKPOINT;
use super::*;
use crate::trainers::{Stop, train};
use fake::{Call, FakeServer, State};

/// An agent at work for a fake server.
struct World {
    stop: CancellationToken,
    work: JoinHandle<Result<(), WorkerError>>,
    _folder: tempfile::TempDir,
}

impl World {
    fn start(server: FakeServer, train: Train) -> Self {
        Self::with_memory(server, train, Memory { bound: None, taken: || None })
    }

    fn with_memory(server: FakeServer, train: Train, memory: Memory) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let short = Duration::from_millis(5);
        let timing = Timing {
            report: short,
            first_retry: short,
            last_retry: short,
            claim: Duration::from_millis(20),
            last_claim: Duration::from_secs(10),
            give_up: Duration::from_millis(100),
            leave: Duration::from_secs(60),
            memory: short,
            usage: short,
            memory_grace: Duration::from_millis(200),
        };
        let agent = Agent {
            server,
            register: Register::cpu("here"),
            worker_id: AtomicI64::new(0),
            registering: Mutex::default(),
            held: HeldRuns::default(),
            backlog: Arc::new(Backlog::new(2)),
            courier: Courier::new(),
            files: FileStore::open(folder.path(), 1 << 20).unwrap(),
            download: Mutex::default(),
            workshop: Workshop::new(candle_core::Device::Cpu),
            train,
            claim_at_once: 8,
            timing,
            draining: watch::Sender::new(false),
            stop: stop.clone(),
            given_up: CancellationToken::new(),
            memory,
        };
        Self { stop, work: tokio::spawn(Arc::new(agent).work()), _folder: folder }
    }

    /// Asks the agent to stop and waits until it has.
    async fn end(self) -> Result<(), WorkerError> {
        self.stop.cancel();
        self.ended().await
    }

    async fn ended(self) -> Result<(), WorkerError> {
        tokio::time::timeout(Duration::from_secs(60), self.work).await.unwrap().unwrap()
    }
}

fn regression(steps: u64) -> Value {
    json!({"kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": steps})
}

/// Trains until it is told to stop: a step a millisecond, a checkpoint on the way out.
fn endless(_: &Assignment, _: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
    for step in 0.. {
        if let Some(stop) = session.stop() {
            if stop.keeps_position() {
                session.save_checkpoint(step, Bytes::from(step.to_string()));
            }
            return Ok(Ended::Stopped(stop));
        }
        session.metric("loss", step, step as f64);
        std::thread::sleep(Duration::from_millis(1));
    }
    unreachable!("u64 steps of a millisecond do not end")
}

fn panicking(_: &Assignment, _: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
    session.metric("loss", 0, 1.0);
    panic!("a tensor was lost")
}

fn with_files(_: &Assignment, _: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
    session.metric("loss", 1, 1.0);
    session.save_checkpoint(1, Bytes::from_static(b"checkpoint"));
    session.metric("loss", 2, 0.5);
    let model = crate::trainers::Artifact { name: "model.safetensors".to_owned(), bytes: Bytes::from_static(b"model"), dispensable: false };
    session.save_artifact(model);
    session.log(LogLevel::Info, "done".to_owned());
    Ok(Ended::Succeeded { stop_reason: StopReason::Completed, result: json!({"loss": 0.5}) })
}

fn table(steps: u64) -> Value {
    json!({"kind": "regression", "problem": {"source": "dataset", "name": "line", "target": "b"},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": steps})
}

fn points(reports: &[Report], name: &str) -> Vec<(u64, f64)> {
    let series = reports.iter().flat_map(|report| &report.metrics).filter(|series| series.name == name);
    series.flat_map(|series| series.steps.iter().copied().zip(series.values.iter().map(|value| value.0))).collect()
}

fn claims(state: &State) -> usize {
    state.calls.iter().filter(|call| matches!(call, Call::Claim(_))).count()
}

fn heard(state: &State) -> bool {
    state.calls.iter().any(|call| matches!(call, Call::Report(..)))
}

/// Steps of a millisecond until what the process takes was told twice.
fn slow(_: &Assignment, _: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
    for step in 1..=100 {
        session.progress(trainyard_wire::run::Progress { step, total_steps: 100, ..Default::default() });
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Ended::Succeeded { stop_reason: StopReason::Completed, result: json!({}) })
}

#[tokio::test]
async fn a_run_that_takes_its_time_tells_what_its_process_takes_of_the_machine() {
    let server = FakeServer::new();
    server.queue(7, regression(1));
    let world = World::start(server.clone(), slow);
    server.finish(7).await;
    let reports = server.reports(7);
    let (cores, bytes) = (points(&reports, "cpu_utilization"), points(&reports, "memory_bytes"));
    assert!(
        !cores.is_empty() && cores.iter().all(|(step, value)| (1..=100).contains(step) && value.is_finite() && *value >= 0.0),
        "{cores:?}"
    );
    assert!(cores.iter().zip(&bytes).all(|(cores, bytes)| cores.0 == bytes.0 && bytes.1 > 1e6), "{bytes:?}");
    assert!(cores.is_sorted_by(|one, other| one.0 < other.0), "a step twice: {cores:?}");
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_claimed_run_is_trained_and_its_last_report_tells_the_result_with_the_last_metrics() {
    let server = FakeServer::new();
    server.queue(7, regression(300));
    let world = World::start(server.clone(), train);
    let finish = server.finish(7).await;
    assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Succeeded, Some(StopReason::Completed)));
    let result = finish.result.unwrap();
    assert!((result["weights"][0].as_f64().unwrap() - 0.8).abs() < 1e-9);
    let reports = server.reports(7);
    let losses = points(&reports, "loss");
    assert_eq!((losses.first().unwrap().0, losses.last().unwrap().0), (0, 300));
    assert!(losses.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(points(&reports[reports.len() - 1..], "loss").last(), losses.last());
    assert!(reports.iter().any(|report| !report.certificates.is_empty()));
    world.end().await.unwrap();
}

#[tokio::test]
async fn files_arrive_before_the_end_and_after_the_metrics_that_came_before_them() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let world = World::start(server.clone(), with_files);
    server.finish(1).await;
    let order: Vec<String> = server.with(|state| {
        let told = |call: &Call| match call {
            Call::Report(_, report) => Some(if report.finish.is_some() { "finish".to_owned() } else { "report".to_owned() }),
            Call::Upload(_, name, _) => Some(name.clone()),
            _ => None,
        };
        state.calls.iter().filter_map(told).collect()
    });
    let place = |wanted: &str| order.iter().position(|word| word == wanted).unwrap();
    assert!(place("report") < place(CHECKPOINT) && place(CHECKPOINT) < place("model.safetensors"), "{order:?}");
    assert_eq!(order.last().unwrap(), "finish");
    let reports = server.reports(1);
    assert_eq!(points(&reports, "loss"), [(1, 1.0), (2, 0.5)]);
    assert_eq!(reports.iter().flat_map(|report| &report.logs).count(), 1);
    world.end().await.unwrap();
}

#[tokio::test]
async fn while_the_server_is_away_the_run_goes_on_and_every_point_arrives_once_it_is_back() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let mut failures = 0;
    server.fail(move |call| {
        let away = matches!(call, Call::Report(..) | Call::Heartbeat(_)) && failures < 20;
        failures += u32::from(away);
        away.then(|| CallError::Transient("connection refused".to_owned()))
    });
    let world = World::start(server.clone(), endless);
    server.until(|state| state.calls.iter().filter(|call| matches!(call, Call::Report(..))).count() > 3).await;
    server.with(|state| state.directive = Directive::Cancel);
    let finish = server.finish(1).await;
    assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Cancelled, Some(StopReason::Cancelled)));
    let losses = points(&server.reports(1), "loss");
    assert_eq!(losses, (0..losses.len() as u64).map(|step| (step, step as f64)).collect::<Vec<_>>());
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_stale_attempt_is_dropped_at_once_and_work_goes_on() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    server.fail(|call| matches!(call, Call::Report(id, _) if id.0 == 1).then(|| CallError::Stale("not yours".to_owned())));
    let world = World::start(server.clone(), endless);
    server.until(|state| claims(state) > 1).await;
    assert!(server.reports(1).is_empty());
    server.queue(2, regression(1));
    server.until(heard).await;
    assert!(!server.reports(2).is_empty());
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_lease_that_a_heartbeat_says_is_lost_ends_the_run_without_a_word() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    // Only heartbeats bring the word.
    server.fail(|call| matches!(call, Call::Report(..)).then(|| CallError::Transient("away".to_owned())));
    let world = World::start(server.clone(), endless);
    server.until(|state| state.calls.iter().any(|call| matches!(call, Call::Heartbeat(runs) if !runs.is_empty()))).await;
    server.with(|state| state.directive = Directive::Lost);
    server.until(|state| claims(state) > 1).await;
    assert!(server.with(|state| !state.calls.iter().any(|call| matches!(call, Call::Report(..) | Call::Upload(..)))));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_report_that_the_server_refuses_fails_the_run_with_the_reason() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    server.fail(|call| {
        let refused = matches!(call, Call::Report(_, report) if !report.metrics.is_empty());
        refused.then(|| CallError::Refused("422: a metric has too long a name".to_owned()))
    });
    let world = World::start(server.clone(), endless);
    let finish = server.finish(1).await;
    assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Failed, Some(StopReason::Error)));
    assert!(finish.error.unwrap().contains("too long a name"));
    world.end().await.unwrap();
}

#[tokio::test]
async fn the_failure_of_a_refused_run_is_told_once_a_server_that_goes_away_is_back() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let mut away = 3;
    server.fail(move |call| match call {
        Call::Report(_, report) if !report.metrics.is_empty() => Some(CallError::Refused("422: too long a name".to_owned())),
        Call::Report(..) if away > 0 => {
            away -= 1;
            Some(CallError::Transient("connection refused".to_owned()))
        }
        _ => None,
    });
    let world = World::start(server.clone(), endless);
    let finish = server.finish(1).await;
    assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Failed, Some(StopReason::Error)));
    assert!(finish.error.unwrap().contains("too long a name"));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_trainer_that_panics_fails_its_run_and_not_the_worker() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    server.queue(2, regression(1));
    let world = World::start(server.clone(), panicking);
    for run in [1, 2] {
        let finish = server.finish(run).await;
        assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Failed, Some(StopReason::Error)));
        assert!(finish.error.unwrap().contains("a tensor was lost"));
    }
    assert_eq!(points(&server.reports(1), "loss"), [(0, 1.0)]);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_worker_waits_for_its_server_and_registers_again_when_it_is_forgotten() {
    let server = FakeServer::new();
    let mut calls = 0;
    server.fail(move |call| {
        calls += 1;
        match call {
            _ if calls <= 3 => Some(CallError::Transient("connection refused".to_owned())),
            Call::Claim(worker) if worker.0 == 1 => Some(CallError::NotFound("no such worker".to_owned())),
            _ => None,
        }
    });
    server.queue(1, regression(5));
    let world = World::start(server.clone(), train);
    server.finish(1).await;
    assert!(server.with(|state| state.calls.contains(&Call::Claim(WorkerId(2)))));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_refused_token_ends_the_worker_with_the_reason() {
    let server = FakeServer::new();
    server.fail(|_| Some(CallError::Unauthorized("401: no such token".to_owned())));
    let ended = World::start(server.clone(), train).ended().await;
    assert!(matches!(ended, Err(WorkerError::Unauthorized(reason)) if reason.contains("no such token")));
    server.fail(|call| matches!(call, Call::Claim(_)).then(|| CallError::Unauthorized("revoked".to_owned())));
    assert!(matches!(World::start(server, train).ended().await, Err(WorkerError::Unauthorized(_))));
}

#[tokio::test]
async fn a_dataset_is_fetched_once_for_many_runs() {
    let server = FakeServer::new();
    server.with(|state| state.table = "a,b\n1,2\n2,4\n");
    for run in 1..=3 {
        server.queue(run, table(200));
    }
    let world = World::start(server.clone(), train);
    for run in 1..=3 {
        let result = server.finish(run).await.result.unwrap();
        assert!((result["weights"][0].as_f64().unwrap() - 2.0).abs() < 1e-9);
    }
    assert_eq!(server.with(|state| state.calls.iter().filter(|call| matches!(call, Call::DatasetFile)).count()), 1);

    let mut other = table(1);
    other["problem"]["sha256"] = json!("0".repeat(64));
    server.queue(4, other);
    let error = server.finish(4).await.error.unwrap();
    assert!(error.contains("not the one that the run was submitted with"), "{error}");
    world.end().await.unwrap();
}
