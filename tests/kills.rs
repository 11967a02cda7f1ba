//! What is left when processes are killed, stopped and started again.
#![allow(clippy::unwrap_used)]

mod support;

use nix::sys::signal::Signal;
use serde_json::json;
use support::{Yard, eventually, jobs, process};
use trainyard_wire::metric::{MACHINE, MetricHistory, TIMES};
use trainyard_wire::worker::Report;
use trainyard_wire::{Attempt, RunId, RunState};

/// Every point of every metric that does not tell the time something took.
fn points(history: &MetricHistory) -> Vec<(String, u64, f64)> {
    let lasting = history.series.iter().filter(|series| ![&TIMES[..], &MACHINE].concat().contains(&series.name.as_str()));
    lasting.flat_map(|series| series.points.iter().map(|point| (series.name.clone(), point.step, point.value.0))).collect()
}

/// Asserts that two runs came to the same model and the same curves, bit for bit.
async fn assert_same(yard: &Yard, disturbed: RunId, undisturbed: RunId) {
    let models = [yard.artifact(disturbed, "model.safetensors").await, yard.artifact(undisturbed, "model.safetensors").await];
    assert!(models[0] == models[1], "the models differ");
    let epochs = |history: MetricHistory| -> Vec<_> {
        points(&history).into_iter().filter(|(name, ..)| ["train_loss", "val_loss", "val_accuracy"].contains(&name.as_str())).collect()
    };
    let [one, other] = [disturbed, undisturbed].map(|id| yard.client.metrics(id, None));
    assert_eq!(epochs(one.await.unwrap()), epochs(other.await.unwrap()));
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_its_run_ends_at_the_same_bytes() {
    let yard = Yard::up(&["--workers", "1", "--threads", "1", "--lease-seconds", "2"]).await;
    let disturbed = yard.submit(&jobs::long_colourization()).await;
    yard.until_epoch(disturbed, 3).await;
    let killed = yard.worker_of(disturbed).await;
    process::send(killed.pid, Signal::SIGKILL);

    let again = eventually("another worker to hold the run", async || {
        let run = yard.run(disturbed).await;
        assert!(!run.state.is_finished(), "the run ended before the kill was noticed");
        (run.attempt == Attempt(2) && run.state == RunState::Running).then_some(run.worker_id)
    })
    .await;
    assert_ne!(again, Some(killed.id));
    assert_ne!(yard.worker_of(disturbed).await.pid, killed.pid);
    let run = yard.until(disturbed, RunState::Succeeded).await;
    assert_eq!(run.attempt, Attempt(2));
    assert_eq!(yard.count_events(disturbed, "lease_expired").await, 1);
    assert!(yard.count_events(disturbed, "checkpoint").await > 0);

    let undisturbed = yard.submit(&jobs::long_colourization()).await;
    assert_eq!(yard.until(undisturbed, RunState::Succeeded).await.attempt, Attempt(1));
    assert_same(&yard, disturbed, undisturbed).await;
}

#[tokio::test]
async fn a_worker_that_was_stopped_past_its_lease_changes_nothing_afterwards() {
    let yard = Yard::server(&["--lease-seconds", "2"]).await;
    let stopped = yard.worker("stopped");
    let id = yard.submit(&jobs::long_colourization()).await;
    yard.until_epoch(id, 2).await;
    stopped.signal(Signal::SIGSTOP);
    yard.until_event(id, "lease_expired").await;

    let mut other = yard.worker("other");
    let done = yard.until(id, RunState::Succeeded).await;
    assert_eq!(done.attempt, Attempt(2));
    let artifacts = yard.client.artifacts(id).await.unwrap();
    let metrics = yard.client.metrics(id, None).await.unwrap();

    // The worker's next write, in its own words: 409.
    let stale = Report {
        attempt: Attempt(1),
        metrics: Vec::new(),
        progress: None,
        logs: Vec::new(),
        certificates: Vec::new(),
        left_out: Vec::new(),
        finish: None,
    };
    let refused = yard.client.report(id, &stale).await.unwrap_err();
    assert_eq!(refused.status().map(|status| status.as_u16()), Some(409));

    // Nobody else is there now: once it has done another run it has got over the lost one.
    other.signal(Signal::SIGTERM);
    assert!(other.wait().await.success());
    stopped.signal(Signal::SIGCONT);
    let next = yard.submit(&jobs::quick()).await;
    yard.until(next, RunState::Succeeded).await;
    assert_eq!(yard.run(id).await, done);
    assert_eq!(yard.client.artifacts(id).await.unwrap(), artifacts);
    assert_eq!(yard.client.metrics(id, None).await.unwrap().series, metrics.series);
}

#[tokio::test]
async fn a_killed_server_has_lost_nothing_that_it_acknowledged() {
    let mut yard = Yard::server(&["--lease-seconds", "5"]).await;
    let _worker = yard.worker("worker");
    let finished = yard.submit(&jobs::quick()).await;
    let finished = yard.until(finished, RunState::Succeeded).await;
    let running = yard.submit(&jobs::long_colourization()).await;
    let mut queued = Vec::new();
    for priority in 0..10 {
        let mut job = jobs::quick();
        job["priority"] = json!(-1 - priority);
        queued.push(yard.submit(&job).await);
    }
    yard.until_epoch(running, 3).await;
    let known = points(&yard.client.metrics(running, None).await.unwrap());
    let artifacts = yard.client.artifacts(finished.id).await.unwrap();
    let dataset_before = yard.client.run(queued[9]).await.unwrap();

    yard.process.signal(Signal::SIGKILL);
    yard.restart_server(&["--lease-seconds", "5"]).await;

    assert_eq!(yard.run(finished.id).await, finished);
    assert_eq!(yard.client.artifacts(finished.id).await.unwrap(), artifacts);
    assert_eq!(yard.run(queued[9]).await.spec, dataset_before.spec);
    let after = points(&yard.client.metrics(running, None).await.unwrap());
    for point in &known {
        assert!(after.contains(point), "{point:?} is missing after the restart");
    }
    for id in queued {
        yard.until(id, RunState::Succeeded).await;
    }
    let run = yard.until(running, RunState::Succeeded).await;
    assert_eq!(run.attempt, Attempt(1), "its worker went on with it");
    let undisturbed = yard.submit(&jobs::long_colourization()).await;
    yard.until(undisturbed, RunState::Succeeded).await;
    assert_same(&yard, running, undisturbed).await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_gives_its_run_back_with_a_checkpoint() {
    let yard = Yard::server(&["--lease-seconds", "60"]).await;
    let mut first = yard.worker("first");
    let id = yard.submit(&jobs::long_colourization()).await;
    yard.until_epoch(id, 2).await;
    first.signal(Signal::SIGTERM);
    assert!(first.wait().await.success());
    let released = yard.run(id).await;
    assert_eq!(released.state, RunState::Queued);
    assert_eq!(yard.count_events(id, "released").await, 1);
    assert!(yard.artifact_names(id).await.iter().any(|name| name == "checkpoint.safetensors"));

    let _second = yard.worker("second");
    let run = yard.until(id, RunState::Succeeded).await;
    assert_eq!(run.attempt, Attempt(2));
    assert_eq!(yard.count_events(id, "lease_expired").await, 0);
    let undisturbed = yard.submit(&jobs::long_colourization()).await;
    yard.until(undisturbed, RunState::Succeeded).await;
    assert_same(&yard, id, undisturbed).await;
}

#[tokio::test]
async fn whatever_ends_up_leaves_no_worker_behind() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL] {
        let mut yard = Yard::up(&["--workers", "2", "--threads", "1"]).await;
        let id = yard.submit(&jobs::long_colourization()).await;
        yard.until_epoch(id, 1).await;
        let workers = eventually("both workers", async || {
            let workers = yard.client.workers().await.unwrap().items;
            (workers.len() == 2).then_some(workers)
        })
        .await;
        yard.process.signal(signal);
        let status = yard.process.wait().await;
        assert_eq!(status.code(), (signal != Signal::SIGKILL).then_some(0));
        for worker in workers {
            eventually(&format!("worker {} to end after {signal}", worker.pid), async || (!process::is_alive(worker.pid)).then_some(()))
                .await;
        }
        // What was asked to stop has given the run back: it waits for whoever comes next.
        yard.restart_server(&[]).await;
        let run = yard.run(id).await;
        let expected = if signal == Signal::SIGKILL { RunState::Running } else { RunState::Queued };
        assert_eq!(run.state, expected, "after {signal}");
    }
}

#[tokio::test]
async fn up_without_the_device_it_is_told_to_use_says_so_and_ends() {
    if std::path::Path::new("/dev/nvidiactl").exists() {
        println!("skipped: this machine has a GPU");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let refused = process::run(folder.path(), &["up", "--listen", "127.0.0.1:0", "--device", "cuda"], &[]).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--device cpu"), "{}", refused.stderr);
}

#[tokio::test]
async fn a_run_that_takes_its_process_down_again_and_again_fails_and_the_queue_goes_on() {
    let yard = Yard::up(&["--workers", "2", "--threads", "1", "--lease-seconds", "2"]).await;
    let fatal = yard.submit(&jobs::long_colourization()).await;
    let other = yard.submit(&jobs::colourization(3)).await;
    // Whoever trains it aborts, as at a failed allocation, before there is a checkpoint.
    for attempt in 1..=3 {
        let pid = eventually("a worker to begin", async || {
            let run = yard.run(fatal).await;
            let worker = yard.client.workers().await.unwrap().items.into_iter().find(|worker| worker.run_ids.contains(&fatal));
            worker.filter(|_| run.attempt == Attempt(attempt) && run.state == RunState::Running).map(|worker| worker.pid)
        })
        .await;
        process::send(pid, Signal::SIGABRT);
        eventually("the lease to run out", async || (yard.count_events(fatal, "lease_expired").await >= attempt as usize).then_some(()))
            .await;
    }
    let failed = yard.until(fatal, RunState::Failed).await;
    assert_eq!(failed.stop_reason, Some(trainyard_wire::StopReason::AttemptsExhausted));
    assert!(failed.error.unwrap().contains("the worker died"));
    // The run beside it never noticed, and what comes next is trained.
    assert_eq!(yard.until(other, RunState::Succeeded).await.attempt, Attempt(1));
    let next = yard.submit(&jobs::quick()).await;
    yard.until(next, RunState::Succeeded).await;
}
