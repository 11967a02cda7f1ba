//! The scenarios in short, on a server in this process: all that they check is checked, and no time is.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tempfile::TempDir;
use trainyard_load::{Target, chart, claims, comparison, metrics, mlflow, polling, proxy, submits, subscribers};
use trainyard_server::{Server, ServerConfig};

/// A server; its folder goes with it.
async fn server() -> (Server, Target, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(ServerConfig::new(folder.path().join("data"))).await.unwrap();
    let token = |path| std::fs::read_to_string(path).unwrap().trim().to_owned();
    let target = Target {
        url: format!("http://{}", server.address()),
        admin_token: token(server.admin_token_file()),
        worker_token: token(server.worker_token_file()),
        data_dir: folder.path().join("data"),
        pid: None,
    };
    (server, target, folder)
}

#[tokio::test]
async fn submits_from_many_clients_make_each_job_once() {
    let (_server, target, _folder) = server().await;
    let report = submits::run(&target, submits::Settings { seed: 2, submits: 200, clients: 16 }).await.unwrap();
    assert!(report.value("submits a second").unwrap() > 0.0);
}

#[tokio::test]
async fn claims_give_each_run_once_in_the_order_of_the_queue() {
    let (_server, target, _folder) = server().await;
    claims::run(&target, claims::Settings { seed: 2, queued: 100, claims: 64, workers: 4 }).await.unwrap();
}

#[tokio::test]
async fn metrics_of_many_workers_are_all_there() {
    let (_server, target, _folder) = server().await;
    metrics::run(&target, metrics::Settings { seed: 2, workers: 5, batches: 3, points: 200, metrics: 4, pace: None }).await.unwrap();
}

#[tokio::test]
async fn metrics_at_a_pace_come_no_faster() {
    let (_server, target, _folder) = server().await;
    let settings = metrics::Settings { seed: 2, workers: 4, batches: 5, points: 200, metrics: 4, pace: Some(4000) };
    let report = metrics::run(&target, settings).await.unwrap();
    // The last of twenty batches is due after nineteen twentieths of the second that all of them take.
    assert!(report.value("points a second").unwrap() <= 4000.0 / 0.95, "{report}");
}

#[tokio::test]
async fn metrics_through_mlflows_api_are_all_there() {
    let (_server, target, _folder) = server().await;
    let tracking = mlflow::Tracking { url: target.url.clone(), token: Some(target.admin_token.clone()) };
    for metrics in [4, 200] {
        let settings = mlflow::Settings { seed: metrics, clients: 5, batches: 3, points: 200, metrics, promised: true };
        let report = mlflow::run(&tracking, settings).await.unwrap();
        assert_eq!(report.value("failed calls"), Some(0.0), "{report}");
    }
}

#[tokio::test]
async fn the_chart_of_a_long_run_holds_each_point_once() {
    let (_server, target, _folder) = server().await;
    chart::run(&target, chart::Settings { seed: 2, points: 20_000, buckets: 100, asked: 5 }).await.unwrap();
}

#[tokio::test]
async fn every_dashboard_shows_at_least_what_was_acknowledged_before_it_asked_and_in_the_end_everything() {
    let (_server, target, _folder) = server().await;
    let settings = polling::Settings { seed: 2, dashboards: 20, points: 20, time: Duration::from_secs(3) };
    let report = polling::run(&target, settings).await.unwrap();
    // What did not change is not sent again: files, certificates and the log.
    assert!(report.value("answers 304").unwrap() >= report.value("polls").unwrap(), "{report}");
}

#[tokio::test]
async fn the_page_of_a_sweep_holds_each_run_and_each_point_once() {
    let (_server, target, _folder) = server().await;
    comparison::run(&target, comparison::Settings { seed: 2, rates: 30, seeds: 3, points: 40, asked: 3 }).await.unwrap();
}

#[tokio::test]
async fn every_subscriber_hears_of_everything_once_and_in_order_beside_one_that_is_stalled() {
    let (_server, target, _folder) = server().await;
    let settings = subscribers::Settings { seed: 2, subscribers: 20, workers: 5, time: Duration::from_secs(3) };
    let report = subscribers::run(&target, settings).await.unwrap();
    assert!(report.value("messages measured").unwrap() >= 200.0, "{report}");
}

#[tokio::test]
async fn a_network_that_resets_delays_loses_and_repeats_makes_every_effect_once() {
    let (_server, target, _folder) = server().await;
    let faults = proxy::Faults { lost: 0.1, answer_lost: 0.1, repeated: 0.1, repeated_late: 0.1, delayed: 0.1 };
    let report = proxy::run(&target, proxy::Settings { seed: 2, operations: 300, workers: 8, faults }).await.unwrap();
    for what in ["lost before the server", "answers lost", "repeated at once", "repeated later", "retries of the client"] {
        assert!(report.value(what).unwrap() > 0.0, "{report}");
    }
}
