//! The short forms of the batteries: what the long ones try hundreds of times, tried a few times whenever the tests run.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use trainyard_faults::{Promise, VARIABLE};
use trainyard_torture::checker::Breach;
use trainyard_torture::dice::fresh_seed;
use trainyard_torture::figures::Summary;
use trainyard_torture::process::scratch;
use trainyard_torture::{failures, histories, power_cut, server_kills, worker_kills, zombies};

/// A folder, the program, and a seed that is printed where the test fails; `TRAINYARD_SEED` repeats one.
fn begin() -> (TempDir, PathBuf, u64) {
    let seed = std::env::var("TRAINYARD_SEED").map_or_else(|_| fresh_seed(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    (scratch().unwrap(), env!("CARGO_BIN_EXE_trainyard-torture").into(), seed)
}

fn broken(promises: &[&str]) -> Vec<(String, String)> {
    vec![(VARIABLE.to_owned(), promises.join(";"))]
}

/// Asserts that the battery noticed, and in these ways only.
fn assert_red(summary: &Summary, breaches: &[Breach]) {
    assert!(!summary.is_green(), "the promise is broken and the checker says: {summary}");
    for violation in &summary.violations {
        assert!(breaches.contains(&violation.breach), "{summary}");
    }
}

async fn kill_servers(rounds: usize, environment: Vec<(String, String)>) -> Summary {
    let (folder, program, seed) = begin();
    let longest = Duration::from_millis(300);
    let folder_path = folder.path().to_owned();
    let plan = server_kills::Plan { program, folder: folder_path, seed, rounds, longest, jobs: 20, points: 1000, environment };
    server_kills::run(&plan).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_and_doubles_nothing() {
    kill_servers(6, Vec::new()).await.assert_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_before_it_commits_is_found_out() {
    // The commit takes a while, so that a kill finds answers on their way.
    let first = format!("{}=return", Promise::CommitFirst.name());
    let summary = kill_servers(20, broken(&[&first, "commit.before=sleep(20)"])).await;
    assert_red(&summary, &[Breach::Lost, Breach::GivenTwice]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_run_of_a_worker_that_is_killed_again_and_again_ends_in_the_same_weights() {
    let (folder, program, seed) = begin();
    let folder_path = folder.path().to_owned();
    // Far more epochs than a fast machine trains between four kills, so that each of them meets the run.
    let plan = worker_kills::Plan { program, folder: folder_path, seed, kills: 4, runs: 1, epochs: 150, workers: 1, lease_seconds: 1 };
    worker_kills::run(&plan).await.unwrap().assert_green();
}

async fn raise_zombies(environment: Vec<(String, String)>) -> Summary {
    let (folder, program, seed) = begin();
    let (folder_path, torture) = (folder.path().to_owned(), program.clone());
    let plan = zombies::Plan { program, torture, folder: folder_path, seed, zombies: 4, at_once: 4, lease_seconds: 1, environment };
    zombies::run(&plan).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_late_write_of_a_zombie_is_refused_and_changes_no_row() {
    raise_zombies(Vec::new()).await.assert_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_fence_is_found_out() {
    let fence = format!("{}=return", Promise::Fence.name());
    assert_red(&raise_zombies(broken(&[&fence])).await, &[Breach::Unfenced, Breach::Changed]);
}

async fn cut_power(cuts: usize, environment: Vec<(String, String)>) -> Summary {
    let (folder, torture, seed) = begin();
    let (folder_path, time) = (folder.path().to_owned(), Duration::from_millis(300));
    power_cut::run(&power_cut::Plan { torture, folder: folder_path, seed, time, cuts, environment }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_that_was_acknowledged() {
    cut_power(24, Vec::new()).await.assert_green();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_fsync_is_found_out_by_a_power_cut() {
    let fsync = format!("{}=return", Promise::Fsync.name());
    assert_red(&cut_power(24, broken(&[&fsync])).await, &[Breach::Lost, Breach::Damaged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_fsync_its_files_is_found_out_by_a_power_cut() {
    let files = format!("{}=return", Promise::FsyncFiles.name());
    assert_red(&cut_power(40, broken(&[&files])).await, &[Breach::Damaged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_a_panic_or_an_abort_at_any_boundary_loses_nothing_and_the_system_goes_on() {
    let (folder, torture, seed) = begin();
    let (folder_path, time) = (folder.path().to_owned(), Duration::from_millis(100));
    failures::run(&failures::Plan { torture, folder: folder_path, seed, time, times: 1, at_once: 4 }).await.unwrap().assert_green();
}

#[test]
fn the_store_is_what_the_model_of_the_queue_says_after_any_history() {
    let (folder, _, seed) = begin();
    let plan = histories::Plan { folder: folder.path().to_owned(), seed, histories: 30, commands: 40 };
    histories::run(&plan).unwrap().assert_green();
}
