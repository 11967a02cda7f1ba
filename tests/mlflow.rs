//! MLflow's own client, unmodified, and the examples, against a server with a worker.
//!
//! They run where there is a Python that has mlflow and pandas: `TRAINYARD_PYTHON` names one, `scripts/mlflow-client --install` makes one
//! under target. Elsewhere the tests say so and pass; with `TRAINYARD_REQUIRE_MLFLOW=1` they fail.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use support::{PATIENCE, Yard};
use trainyard_wire::client::RunQuery;
use trainyard_wire::state::Kind;
use trainyard_wire::{Number, RunState, Spec};

/// A Python that can import `modules`.
async fn python(modules: &str) -> Option<PathBuf> {
    let named = std::env::var_os("TRAINYARD_PYTHON").map(PathBuf::from);
    let candidates = named.into_iter().chain(["target/mlflow/bin/python".into(), "python3".into()]);
    for candidate in candidates {
        // The parent of a relative path would be the test's folder.
        let path = if candidate.components().count() > 1 { Path::new(env!("CARGO_MANIFEST_DIR")).join(&candidate) } else { candidate };
        let mut command = tokio::process::Command::new(&path);
        command.args(["-c", &format!("import {modules}")]).stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        if command.status().await.is_ok_and(|status| status.success()) {
            return Some(path);
        }
    }
    let required = std::env::var_os("TRAINYARD_REQUIRE_MLFLOW").is_some();
    assert!(!required, "no Python that can import {modules} was found");
    eprintln!("skipped: no Python that can import {modules} was found; `scripts/mlflow-client --install` makes one");
    None
}

/// Runs a script of this tree; answers what it printed.
async fn run(python: &Path, yard: &Yard, script: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let mut command = tokio::process::Command::new(python);
    command.arg(&script).args(arguments).current_dir(yard.folder.path()).kill_on_drop(true).stdin(Stdio::null());
    command.env("HOME", yard.folder.path()).env("TRAINYARD_URL", &yard.url).env("TRAINYARD_TOKEN", &yard.token);
    let output = tokio::time::timeout(2 * PATIENCE, command.output()).await.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {stdout}\n{stderr}\nserver: {}", script.display(), yard.process.stderr());
    stdout.into_owned()
}

fn gradient_descent() -> serde_json::Value {
    json!({"name": "trained", "spec": {"kind": "regression", "problem": {"source": "synthetic", "n": 20, "d": 5, "condition": 10},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 50}})
}

#[tokio::test]
async fn the_unmodified_client_reads_and_logs_runs() {
    let Some(python) = python("mlflow, pandas").await else { return };
    let yard = Yard::up(&["--workers", "1", "--threads", "1"]).await;
    let trained = yard.submit(&gradient_descent()).await;
    yard.until(trained, RunState::Succeeded).await;
    let printed = run(&python, &yard, "tests/mlflow/client.py", &[&yard.url, &yard.token, &trained.to_string()]).await;
    let last = printed.lines().last().unwrap();
    let calls: usize = last.split_whitespace().next().unwrap().parse().unwrap();
    assert!(calls >= 30, "{printed}");
    println!("{last}");
    // What it logged is there in Trainyard's own words.
    let query = RunQuery { kind: Some(Kind::External), ..RunQuery::default() };
    let logged = yard.client.runs(&query).await.unwrap().items;
    let fluent = logged.iter().find(|run| run.name.as_deref() == Some("fluent")).unwrap();
    assert_eq!((fluent.state, fluent.summary["loss"].last), (RunState::Succeeded, Number(0.2)));
    assert_eq!(yard.artifact(fluent.id, "notes/first.txt").await, b"a line\n");
}

#[tokio::test]
async fn the_example_of_mlflow_logs_a_run_and_finds_it() {
    let Some(python) = python("mlflow, pandas").await else { return };
    let yard = Yard::server(&[]).await;
    let printed = run(&python, &yard, "examples/mlflow_client.py", &[]).await;
    assert!(printed.contains("metrics.loss"), "{printed}");
    let logged = yard.client.runs(&RunQuery { kind: Some(Kind::External), ..RunQuery::default() }).await.unwrap().items;
    assert!(logged.len() == 3 && logged.iter().all(|run| run.state == RunState::Succeeded), "{logged:?}");
}

#[tokio::test]
async fn the_example_of_plain_requests_logs_a_run() {
    let Some(python) = python("requests").await else { return };
    let yard = Yard::server(&[]).await;
    run(&python, &yard, "examples/external_requests.py", &[]).await;
    let run = yard.client.runs(&RunQuery::default()).await.unwrap().items.remove(0);
    assert_eq!((run.state, run.name.as_deref()), (RunState::Succeeded, Some("ridge")));
    let Spec::External(spec) = &run.spec else { panic!("{run:?}") };
    assert!(spec.params.contains_key("alpha") && spec.host.is_some() && run.summary.contains_key("loss"));
    assert_eq!(yard.artifact_names(run.id).await, ["weights.json"]);
}
