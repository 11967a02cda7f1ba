//! The demo, from nothing to its table of results.
#![allow(clippy::unwrap_used)]

mod support;

use nix::sys::signal::Signal;
use support::{Process, eventually, process};

/// Processes that were started with this folder among their arguments.
fn processes_of(folder: &str) -> Vec<String> {
    let commands = std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.unwrap().path().join("cmdline")).ok());
    commands.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " ")).filter(|command| command.contains(folder)).collect()
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_demo_ends_well_and_leaves_nothing_but_its_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let home = tempfile::tempdir().unwrap();
    let environment = [("HOME", home.path().to_str().unwrap()), ("TMPDIR", home.path().to_str().unwrap())];
    let output = process::run(folder.path(), &["demo", "--images", "100", "--epochs", "2"], &environment).await;
    let table = output.success();
    assert!(table.contains("weights [0.666667, 0.666667]"), "{table}");
    assert!(table.contains("best learning rate 0.736494"), "{table}");
    assert!(table.contains("unet on synthetic") && table.contains("of the pixels"), "{table}");
    assert!(table.contains("gd with L2 and with weight decay") && table.matches("apart").count() == 2, "{table}");
    assert_eq!(table.matches("succeeded").count(), 5, "{table}");
    assert!(table.contains("trainyard up --data-dir trainyard-demo"), "{table}");
    assert_eq!(names(folder.path()), ["trainyard-demo"]);
    assert_eq!(names(home.path()), [] as [&str; 0]);
    assert_eq!(processes_of(folder.path().to_str().unwrap()), [] as [&str; 0]);
}

#[tokio::test]
async fn an_interrupted_demo_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut demo = Process::start("demo", folder.path(), &["demo", "--data-dir"], &[&data]);
    let worker = eventually("the demo to train", async || {
        assert!(demo.is_running());
        demo.stderr().contains("epoch").then(|| processes_of(data.to_str().unwrap()))
    })
    .await;
    assert_eq!(worker.len(), 2, "the demo and its worker: {worker:?}");
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait().await.code(), Some(130));
    assert_eq!(processes_of(data.to_str().unwrap()), [] as [&str; 0]);
}

#[tokio::test]
async fn a_kept_demo_serves_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut demo = Process::start("demo", folder.path(), &["demo", "--keep", "--images", "10", "--epochs", "1", "--data-dir"], &[&data]);
    let dashboard = eventually("the dashboard's address", async || {
        assert!(demo.is_running());
        let output = demo.stdout();
        output.lines().find(|line| line.starts_with("dashboard")).and_then(|line| line.split_whitespace().nth(1).map(str::to_owned))
    })
    .await;
    let url = dashboard.split_once("/#").unwrap().0;
    assert_eq!(process::run(folder.path(), &["health", "--url", url], &[]).await.code, Some(0));
    demo.signal(Signal::SIGTERM);
    assert!(demo.wait().await.success());
}
