//! Runs that are to stop, one by one or with their worker.

use super::*;

#[tokio::test]
async fn a_download_is_left_at_once_when_its_run_is_to_stop() {
    for (directive, outcome) in [
        (Directive::Pause, Some(Outcome::Paused)),
        (Directive::Cancel, Some(Outcome::Cancelled)),
        (Directive::Lost, None),
        (Directive::Continue, Some(Outcome::Released)),
    ] {
        let server = FakeServer::new();
        server.with(|state| (state.stalled, state.table) = (true, "a,b\n1,2\n2,4\n"));
        // The second waits for the first one's download.
        (1..=2).for_each(|run| server.queue(run, table(5)));
        let world = World::start(server.clone(), train);
        server.until(|state| state.calls.contains(&Call::DatasetFile)).await;
        if directive == Directive::Continue {
            world.stop.cancel();
        } else {
            server.with(|state| state.directive = directive);
            // The first brings both, the second is for more small runs meanwhile, the third comes when both are done.
            server.until(|state| claims(state) > 2).await;
        }
        world.end().await.unwrap();
        for run in 1..=2 {
            let finishes: Vec<_> = server.reports(run).into_iter().map(|report| report.finish.map(|finish| finish.outcome)).collect();
            assert_eq!(finishes, outcome.map(Some).into_iter().collect::<Vec<_>>(), "{directive:?}");
        }
        assert_eq!(server.with(|state| state.calls.iter().filter(|call| matches!(call, Call::DatasetFile)).count()), 1);
    }
}

#[tokio::test]
async fn a_run_that_is_claimed_while_the_worker_stops_is_given_back() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let unanswered = Arc::clone(&server.answers).lock_owned().await;
    let world = World::start(server.clone(), endless);
    server.until(|state| state.queue.is_empty()).await;
    world.stop.cancel();
    // All that hears of the stop has heard of it before the claim is answered.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(unanswered);
    world.end().await.unwrap();
    assert_eq!(server.finish(1).await.outcome, Outcome::Released);
}

#[tokio::test]
async fn a_pause_keeps_a_checkpoint_and_reports_the_run_as_paused() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let world = World::start(server.clone(), endless);
    server.until(heard).await;
    server.with(|state| state.directive = Directive::Pause);
    let finish = server.finish(1).await;
    assert_eq!((finish.outcome, finish.stop_reason), (Outcome::Paused, None));
    assert!(server.with(|state| state.calls.iter().any(|call| matches!(call, Call::Upload(_, name, _) if name == CHECKPOINT))));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_stopped_worker_gives_all_its_runs_back_those_that_have_not_begun_included() {
    let server = FakeServer::new();
    (1..=5).for_each(|run| server.queue(run, regression(1)));
    let world = World::start(server.clone(), endless);
    // Two are trained at a time, all five are held.
    server.until(heard).await;
    server.until(|state| state.calls.iter().any(|call| matches!(call, Call::Heartbeat(runs) if runs.len() == 5))).await;
    world.end().await.unwrap();
    for run in 1..=5 {
        assert_eq!(server.finish(run).await.outcome, Outcome::Released);
    }
    let checkpoints = server.with(|state| state.calls.iter().filter(|call| matches!(call, Call::Upload(..))).count());
    assert!((1..=2).contains(&checkpoints), "{checkpoints}");
}

#[tokio::test]
async fn a_stopped_worker_whose_server_is_gone_ends_soon() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let world = World::start(server.clone(), endless);
    server.until(heard).await;
    server.fail(|_| Some(CallError::Transient("connection refused".to_owned())));
    let asked = Instant::now();
    world.end().await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_draining_server_gets_its_runs_back_and_is_asked_for_none_until_it_is_open_again() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let world = World::start(server.clone(), endless);
    server.until(heard).await;
    server.with(|state| state.drain = true);
    assert_eq!(server.finish(1).await.outcome, Outcome::Released);
    let before = server.with(|state| {
        state.queue.push_back(ClaimedRun {
            run_id: trainyard_wire::RunId(2),
            job_id: trainyard_wire::JobId(1),
            attempt: trainyard_wire::Attempt(1),
            spec: trainyard_wire::Spec::from_value(regression(1), "").unwrap(),
            checkpoint: None,
            memory_bytes: 0,
        });
        state.calls.len()
    });
    server.until(|state| state.calls[before..].iter().filter(|call| matches!(call, Call::Heartbeat(_))).count() > 5).await;
    assert!(server.with(|state| state.calls[before..].iter().all(|call| matches!(call, Call::Heartbeat(_)))));
    server.with(|state| state.drain = false);
    server.until(|state| state.calls.iter().any(|call| matches!(call, Call::Report(id, _) if id.0 == 2))).await;
    world.end().await.unwrap();
}
