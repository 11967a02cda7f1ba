//! Runs as files: what is exported is what was measured, to the last bit where the format has it, and other programs read it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Yard, eventually, jobs};
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::Run;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report};
use trainyard_wire::{Number, RunId, RunState, StopReason};

/// A run with these points, as a worker would report them; of more than a report takes, in several.
async fn run_with(yard: &Yard, series: Vec<SeriesBatch>) -> RunId {
    let id = yard.submit(&jobs::quick()).await;
    let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap().trim().to_owned();
    let worker = Client::new(&yard.url, Some(token)).unwrap();
    let worker_id = worker.register(&Register::cpu("test")).await.unwrap().worker_id;
    let claim = ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 5.0 };
    let claimed = worker.claim(&claim).await.unwrap().runs.remove(0);
    for metrics in series {
        let report = Report { metrics: vec![metrics], ..report(&claimed.attempt) };
        worker.report(id, &report).await.unwrap();
    }
    let finish = Finish { outcome: Outcome::Succeeded, stop_reason: Some(StopReason::Completed), error: None, result: Some(json!({})) };
    worker.report(id, &Report { finish: Some(finish), ..report(&claimed.attempt) }).await.unwrap();
    id
}

fn report(attempt: &trainyard_wire::Attempt) -> Report {
    let (metrics, logs, certificates, left_out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Report { attempt: *attempt, metrics, progress: None, logs, certificates, left_out, finish: None }
}

/// Values that formats like to lose.
const AWKWARD: [f64; 8] = [0.1, 1e-300, 5e-324, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0 / 3.0];

fn awkward(name: &str) -> SeriesBatch {
    SeriesBatch {
        name: name.to_owned(),
        steps: (1..=AWKWARD.len() as u64).collect(),
        values: AWKWARD.map(Number).to_vec(),
        times: (0..AWKWARD.len() as i64).map(|index| 1_700_000_000_123 + index).collect(),
    }
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan()
}

#[tokio::test]
async fn an_export_has_every_point_to_the_last_bit_and_the_runs_spec_and_certificates() {
    let yard = Yard::server(&[]).await;
    let id = run_with(&yard, vec![awkward("loss"), awkward("a, \"quoted\" name")]).await;
    let exported: Value = serde_json::from_str(&yard.cli(&["export", "1", "-o", "out", "--json"]).await.success()).unwrap();
    assert_eq!((&exported["items"][0]["run_id"], &exported["items"][0]["points"]), (&json!(id), &json!(16)));
    let folder = yard.folder.path().join("out/run-1");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(names[1].starts_with("events.out.tfevents."), "{names:?}");
    assert_eq!([&names[0], &names[2], &names[3], &names[4]], ["certificates.json", "metrics.csv", "metrics.ndjson", "run.json"]);

    let run: Run = serde_json::from_slice(&std::fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!((run.id, run.state), (id, RunState::Succeeded));
    // The spec can be submitted again as it stands.
    std::fs::write(yard.folder.path().join("again.json"), json!({"spec": run.spec}).to_string()).unwrap();
    yard.cli(&["submit", "again.json", "--dry-run"]).await.success();

    let csv = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let served = yard.request(reqwest::Method::GET, "/v1/runs/1/metrics?format=csv").send().await.unwrap().text().await.unwrap();
    assert_eq!(csv, served, "the server's own CSV");
    let ndjson = std::fs::read_to_string(folder.join("metrics.ndjson")).unwrap();
    let served = yard.request(reqwest::Method::GET, "/v1/runs/1/metrics?format=ndjson").send().await.unwrap().text().await.unwrap();
    assert_eq!(ndjson, served, "and its own NDJSON");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let values: Vec<f64> = reader.records().map(|row| row.unwrap()[2].parse().unwrap()).collect();
    assert!(values.iter().zip(AWKWARD.iter().cycle()).all(|(a, b)| same(*a, *b)), "{values:?}");

    // Once more, in one format, with the artifacts: files are replaced, and others stay.
    std::fs::write(folder.join("metrics.csv"), "old").unwrap();
    yard.cli(&["export", "1", "-o", "out", "--format", "csv", "--artifacts"]).await.success();
    assert_eq!(std::fs::read_to_string(folder.join("metrics.csv")).unwrap(), csv);
    assert_eq!(yard.cli(&["export", "999", "-o", "out"]).await.code, Some(4));
}

#[tokio::test]
async fn artifacts_come_out_with_their_folders() {
    let yard = Yard::up(&["--workers", "1"]).await;
    let mut job = jobs::colourization(1);
    job["spec"]["sample_every"] = json!(1);
    let id = yard.submit(&job).await;
    yard.until(id, RunState::Succeeded).await;
    yard.cli(&["export", "--job", "1", "--artifacts", "--format", "ndjson"]).await.success();
    let folder = yard.folder.path().join("trainyard-export/run-1/artifacts");
    for name in yard.artifact_names(id).await {
        assert_eq!(std::fs::read(folder.join(&name)).unwrap(), yard.artifact(id, &name).await, "{name}");
    }
    assert!(folder.join("samples/epoch-001.png").exists());
}

#[tokio::test]
async fn a_long_run_is_exported_in_the_memory_of_a_page() {
    // A million with the siege; what it shows, a fifth of it shows as well.
    let parts = if std::env::var_os("TRAINYARD_SIEGE").is_some() { 100 } else { 20 };
    let yard = Yard::server(&[]).await;
    let batch = |first: u64| SeriesBatch {
        name: "loss".to_owned(),
        steps: (first..first + 10_000).collect(),
        values: (first..first + 10_000).map(|step| Number(1.0 / step as f64)).collect(),
        times: vec![1_700_000_000_000; 10_000],
    };
    run_with(&yard, (0..parts).map(|part| batch(1 + part * 10_000)).collect()).await;
    let mut export = yard.client_process("export", &["export", "1", "-o", "out", "--format", "csv,tensorboard"]);
    let mut most = 0;
    eventually("the export to end", async || {
        most = most.max(support::memory::high_water(export.pid()).unwrap_or(0));
        (!export.is_running()).then_some(())
    })
    .await;
    assert!(export.wait().await.success(), "{}", export.stderr());
    let folder = yard.folder.path().join("out/run-1");
    assert_eq!(std::fs::read_to_string(folder.join("metrics.csv")).unwrap().lines().count(), 1 + parts as usize * 10_000);
    println!("{} points, {most} bytes resident at most", parts * 10_000);
    assert!(most > 0 && most < 64 << 20, "{most} bytes resident at most");
}

/// A Python with the package tensorboard: that of `TRAINYARD_PYTHON`, or the system's.
fn python_with_tensorboard() -> Option<PathBuf> {
    let candidates = [std::env::var_os("TRAINYARD_PYTHON").map(PathBuf::from), Some("python3".into())];
    let has_it = |python: &PathBuf| {
        let check = "from tensorboard.backend.event_processing import event_accumulator";
        std::process::Command::new(python).args(["-c", check]).output().is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().flatten().find(has_it)
}

/// Prints what TensorBoard's own reader finds: {tag: [[step, wall time, value as text]]}.
const READER: &str = r"
import json, sys
from tensorboard.backend.event_processing import event_accumulator
events = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={event_accumulator.SCALARS: 0})
events.Reload()
print(json.dumps({tag: [[e.step, e.wall_time, repr(float(e.value))] for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";

fn read_by_tensorboard(python: &Path, folder: &Path) -> BTreeMap<String, Vec<(u64, f64, f64)>> {
    let output = std::process::Command::new(python).args(["-c", READER]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: BTreeMap<String, Vec<(u64, f64, String)>> = serde_json::from_slice(&output.stdout).unwrap();
    let point = |(step, time, value): (u64, f64, String)| (step, time, value.parse().unwrap());
    read.into_iter().map(|(tag, points)| (tag, points.into_iter().map(point).collect())).collect()
}

#[tokio::test]
async fn tensorboard_itself_reads_the_same_numbers() {
    let Some(python) = python_with_tensorboard() else {
        eprintln!("skipped: no Python with the package tensorboard (TRAINYARD_PYTHON names one)");
        return;
    };
    let yard = Yard::up(&["--workers", "1"]).await;
    let trained = yard.submit(&jobs::hypergradient()).await;
    yard.until(trained, RunState::Succeeded).await;
    // The same data without the worker, whose place the test takes.
    yard.process.signal(nix::sys::signal::Signal::SIGTERM);
    let Yard { process: mut up, folder, .. } = yard;
    up.wait().await;
    let yard = Yard::start_in(folder, "server", &[]).await;
    let made = run_with(&yard, vec![awkward("loss"), awkward("näme, \"quoted\"")]).await;
    for id in [trained, made] {
        yard.cli(&["export", &id.to_string(), "-o", "out", "--format", "tensorboard"]).await.success();
        let read = read_by_tensorboard(&python, &yard.folder.path().join(format!("out/run-{id}")));
        let history = yard.client.metrics(id, None).await.unwrap();
        assert_eq!(read.len(), history.series.len(), "{:?}", read.keys());
        for series in &history.series {
            let points = &read[&series.name];
            assert_eq!(points.len(), series.points.len(), "{}", series.name);
            for ((step, time, value), point) in points.iter().zip(&series.points) {
                assert_eq!(*step, point.step);
                assert!((time * 1e3 - point.time.0 as f64).abs() < 0.01, "{time} and {:?}", point.time);
                assert!(same(*value, f64::from(point.value.0 as f32)), "{} at {step}: {value} and {:?}", series.name, point.value);
            }
        }
    }
}
