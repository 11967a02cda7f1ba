//! Reports of several runs on their way to the server together.

use trainyard_wire::worker::{Report, ReportAnswer};
use trainyard_wire::{Attempt, RunId};

use super::*;

static REPORT: Report = Report {
    attempt: Attempt(1),
    metrics: Vec::new(),
    progress: None,
    logs: Vec::new(),
    certificates: Vec::new(),
    left_out: Vec::new(),
    finish: None,
};

/// Has the runs 1 to 5 report while the server takes its time over the first two; answers what was said to each.
async fn five_reports(server: &FakeServer) -> Vec<Result<ReportAnswer, CallError>> {
    let courier = Courier::new();
    let unanswered = server.reports.lock().await;
    let reports = futures::future::join_all((1..=5).map(|run| {
        let courier = &courier;
        async move { courier.report(server, RunId(run), &REPORT).await }
    }));
    let release = async {
        tokio::task::yield_now().await;
        drop(unanswered);
    };
    tokio::join!(reports, release).0
}

fn together(server: &FakeServer) -> Vec<Vec<i64>> {
    let runs = |call: &Call| match call {
        Call::ReportAll(runs) => Some(runs.iter().map(|run| run.0).collect()),
        _ => None,
    };
    server.with(|state| state.calls.iter().filter_map(runs).collect())
}

#[tokio::test]
async fn what_is_reported_while_requests_are_under_way_shares_the_next_one() {
    let server = FakeServer::new();
    let answers = five_reports(&server).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(together(&server), [[3, 4, 5]]);
    assert!((1..=5).all(|run| server.reports(run).len() == 1));
}

#[tokio::test]
async fn a_stale_run_among_others_is_told_so_and_the_others_are_stored() {
    let server = FakeServer::new();
    server.fail(|call| matches!(call, Call::Report(id, _) if id.0 == 4).then(|| CallError::Stale("not yours".to_owned())));
    let answers = five_reports(&server).await;
    let stored: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(stored, [true, true, true, false, true]);
    assert_eq!(answers[3], Err(CallError::Stale("not yours".to_owned())));
}

#[tokio::test]
async fn reports_that_the_server_does_not_take_together_go_alone() {
    for error in [CallError::Refused("413: too large".to_owned()), CallError::NotFound("no such route".to_owned())] {
        let server = FakeServer::new();
        server.fail(move |call| match call {
            Call::ReportAll(_) => Some(error.clone()),
            Call::Report(id, _) if id.0 == 3 => Some(CallError::Refused("422".to_owned())),
            _ => None,
        });
        let answers = five_reports(&server).await;
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_away_for_every_report_of_the_request() {
    let server = FakeServer::new();
    server.fail(|call| matches!(call, Call::ReportAll(_)).then(|| CallError::Transient("connection refused".to_owned())));
    let answers = five_reports(&server).await;
    assert!(answers[2..].iter().all(|answer| matches!(answer, Err(CallError::Transient(_)))), "{answers:?}");
    assert_eq!((3..=5).map(|run| server.reports(run).len()).sum::<usize>(), 0);
}

#[tokio::test]
async fn a_request_that_is_given_up_with_its_run_is_tried_again_by_the_others() {
    let (server, courier) = (FakeServer::new(), Courier::new());
    let unanswered = server.reports.lock().await;
    let mut reports: Vec<_> = (1..=4).map(|run| Box::pin(courier.report(&server, RunId(run), &REPORT))).collect();
    // The first two keep both requests busy, the third takes the fourth's report along.
    for report in &mut reports {
        assert!(futures::poll!(report.as_mut()).is_pending());
    }
    drop(reports.drain(..2));
    assert!(futures::poll!(reports[0].as_mut()).is_pending());
    drop(reports.remove(0));
    drop(unanswered);
    let given_up = reports.remove(0).await;
    assert!(matches!(given_up, Err(CallError::Transient(_))), "{given_up:?}");
}

#[tokio::test]
async fn small_runs_are_claimed_ahead_and_each_is_reported_to_its_end() {
    let server = FakeServer::new();
    (1..=30).for_each(|run| server.queue(run, regression(20)));
    let unanswered = Arc::clone(&server.reports).lock_owned().await;
    let world = World::start(server.clone(), train);
    // Before any of the first eight has been reported, more are claimed.
    server.until(|state| state.queue.len() <= 14).await;
    drop(unanswered);
    for run in 1..=30 {
        assert_eq!(server.finish(run).await.outcome, Outcome::Succeeded);
        assert_eq!(points(&server.reports(run), "loss").len(), 21);
    }
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_trains_one_run_claims_no_other_until_it_is_done() {
    let server = FakeServer::new();
    server.queue(1, regression(1));
    let world = World::start(server.clone(), endless);
    server.until(heard).await;
    server.queue(2, regression(1));
    let seen = server.with(|state| state.calls.len());
    server.until(|state| state.calls.len() > seen + 20).await;
    assert_eq!(server.with(|state| claims(state)), 1);
    server.with(|state| state.directive = Directive::Cancel);
    server.finish(1).await;
    server.until(|state| claims(state) > 1).await;
    world.end().await.unwrap();
}
