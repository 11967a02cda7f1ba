//! Reports: stored as a whole, once, and only of the attempt that holds the run.

use serde_json::json;
use trainyard_server::store::WorkerError;
use trainyard_wire::run::{Certificate, Certificates, LeftOut, LogLevel, LogLine, Progress};
use trainyard_wire::worker::{ClaimedRun, Directive, Finish, Outcome, Report, ReportAnswer, RunReport};
use trainyard_wire::{Attempt, Number, RunId, RunState, StopReason, Timestamp};

use crate::world::{TOKEN, World, batch, finish, report};

fn full_report(attempt: Attempt) -> Report {
    Report {
        metrics: vec![batch("loss", &[(0, 2.0), (1, 1.0)])],
        progress: Some(Progress { step: 1, total_steps: 10, epoch: None, eta_seconds: Some(0.5) }),
        logs: vec![LogLine { time: Timestamp(5), level: LogLevel::Info, message: "begun".to_owned() }],
        certificates: vec![Certificate {
            claim: "stable".to_owned(),
            formula: "η < 2/λ".to_owned(),
            predicted: Number(1.0),
            measured: Number(f64::NAN),
            tolerance: Number(f64::INFINITY),
            holds: true,
            source: "Polyak".to_owned(),
        }],
        left_out: vec![LeftOut { claim: "exact path".to_owned(), reason: "too large".to_owned() }],
        ..report(attempt)
    }
}

#[tokio::test]
async fn all_that_a_report_tells_is_stored() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let answer = world.store.report(TOKEN, claimed.run_id, full_report(claimed.attempt)).await.unwrap();
    assert_eq!(answer.directive, Directive::Continue);
    let run = world.run(claimed.run_id).await;
    assert_eq!(run.progress, Progress { step: 1, total_steps: 10, epoch: None, eta_seconds: Some(0.5) });
    assert_eq!(run.summary["loss"].last, Number(1.0));
    let logs = world.store.logs(claimed.run_id, 0, 10).await.unwrap().unwrap();
    assert_eq!(logs.lines, full_report(claimed.attempt).logs);
    let Certificates { certificates, left_out } = world.store.certificates(claimed.run_id).await.unwrap().unwrap();
    assert_eq!((certificates[0].source.as_str(), left_out), ("Polyak", full_report(claimed.attempt).left_out));
    assert!(certificates[0].measured.0.is_nan());
    assert_eq!((certificates[0].predicted, certificates[0].tolerance), (Number(1.0), Number(f64::INFINITY)));
}

#[tokio::test]
async fn a_repeated_report_changes_nothing() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.store.report(TOKEN, claimed.run_id, full_report(claimed.attempt)).await.unwrap();
    let (run, revision) = (world.run(claimed.run_id).await, world.store.revision());
    world.store.report(TOKEN, claimed.run_id, full_report(claimed.attempt)).await.unwrap();
    assert_eq!(world.run(claimed.run_id).await, run);
    assert_eq!(world.store.revision(), revision);
    assert_eq!(world.store.logs(claimed.run_id, 0, 10).await.unwrap().unwrap().lines.len(), 1);
}

#[tokio::test]
async fn a_report_that_comes_again_late_does_not_turn_progress_back() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let tell = async |claimed: &ClaimedRun, step| {
        let progress = Some(Progress { step, total_steps: 10, epoch: None, eta_seconds: None });
        world.store.report(TOKEN, claimed.run_id, Report { progress, ..report(claimed.attempt) }).await.unwrap();
        world.run(claimed.run_id).await.progress.step
    };
    assert_eq!([tell(&claimed, 3).await, tell(&claimed, 6).await, tell(&claimed, 3).await], [3, 6, 6]);
    // The next attempt begins where its checkpoint is.
    world.expire().await;
    let again = world.claim().await;
    assert_eq!([tell(&again, 2).await, tell(&again, 4).await, tell(&again, 2).await], [2, 4, 4]);
}

#[tokio::test]
async fn a_finish_stores_what_the_run_came_to() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let result = json!({"weights": [0.5, 1.0], "loss": 0.25, "steps": 10});
    let ended = Finish { outcome: Outcome::Succeeded, stop_reason: Some(StopReason::Converged), error: None, result: Some(result.clone()) };
    let last = Report { metrics: vec![batch("loss", &[(10, 0.25)])], finish: Some(ended), ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, last).await.unwrap();
    let run = world.run(claimed.run_id).await;
    assert_eq!((run.state, run.stop_reason, run.result), (RunState::Succeeded, Some(StopReason::Converged), Some(result)));
    assert_eq!(run.summary["loss"].last_step, 10);
    assert!(run.finished_at.is_some());
    assert_eq!(run.progress.eta_seconds, None);
    assert_eq!(world.events(claimed.run_id).await, ["queued", "claimed", "succeeded"]);
}

#[tokio::test]
async fn a_repeated_finish_is_answered_and_changes_nothing() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let last = finish(claimed.attempt, Outcome::Released);
    world.store.report(TOKEN, claimed.run_id, last.clone()).await.unwrap();
    let again = world.claim().await;
    let run = world.run(claimed.run_id).await;
    world.store.report(TOKEN, claimed.run_id, last).await.unwrap();
    assert_eq!(world.run(claimed.run_id).await, run);
    assert_eq!((run.state, run.attempt), (RunState::Running, again.attempt));
    let other = world.store.report(TOKEN, claimed.run_id, finish(claimed.attempt, Outcome::Succeeded)).await;
    assert!(matches!(other, Err(WorkerError::Stale)));
}

#[tokio::test]
async fn a_stale_attempt_changes_nothing() {
    let world = World::new().await;
    let stale = world.submit_and_claim().await;
    world.expire().await;
    // First nobody holds the run, then another attempt does, then it is over.
    for stage in 0..3 {
        let current = if stage == 1 { Some(world.claim().await) } else { None };
        if stage == 2 {
            let current = Attempt(stale.attempt.0 + 1);
            world.store.report(TOKEN, stale.run_id, finish(current, Outcome::Succeeded)).await.unwrap();
        }
        let (run, revision) = (world.run(stale.run_id).await, world.store.revision());
        let refused = world.store.report(TOKEN, stale.run_id, full_report(stale.attempt)).await;
        assert!(matches!(refused, Err(WorkerError::Stale)), "stage {stage}");
        let refused = world.store.report(TOKEN, stale.run_id, finish(stale.attempt, Outcome::Failed)).await;
        assert!(matches!(refused, Err(WorkerError::Stale)), "stage {stage}");
        let refused = world.put(&stale, "checkpoint.safetensors", b"stale", Some(5)).await;
        assert!(matches!(refused, Err(WorkerError::Stale)), "stage {stage}");
        let refused = world.store.held_artifact(TOKEN, stale.run_id, stale.attempt, "checkpoint.safetensors").await;
        assert!(matches!(refused, Err(WorkerError::Stale)), "stage {stage}");
        assert_eq!(world.run(stale.run_id).await, run, "stage {stage}");
        assert_eq!(world.store.revision(), revision, "stage {stage}");
        assert!(world.store.artifacts(stale.run_id).await.unwrap().unwrap().artifacts.is_empty());
        assert!(world.store.logs(stale.run_id, 0, 10).await.unwrap().unwrap().lines.is_empty());
        assert!(current.is_none_or(|current| current.attempt == Attempt(2)));
    }
}

#[tokio::test]
async fn of_several_reports_each_is_stored_or_refused_by_itself() {
    let world = World::new().await;
    let ids = world.submit_many(6).await.run_ids;
    let mut claimed = Vec::new();
    for _ in 0..6 {
        claimed.push(world.claim().await);
    }
    let attempt = Attempt(1);
    // The third run is another attempt's by now, the fifth report makes no sense, and one is of a run that does not exist.
    world.store.report(TOKEN, ids[2], finish(attempt, Outcome::Released)).await.unwrap();
    assert_eq!(world.claim().await.attempt, Attempt(2));
    let (stale, refused) = (world.run(ids[2]).await, world.run(ids[4]).await);
    let last = |steps: u64| Report {
        finish: finish(attempt, Outcome::Succeeded).finish,
        metrics: vec![batch("loss", &[(steps, 0.5)])],
        ..full_report(attempt)
    };
    let mut late = full_report(attempt);
    late.metrics[0].times[1] = Timestamp::MAX.0 + 1;
    let reports = [
        (ids[0], last(1)),
        (ids[1], full_report(attempt)),
        (ids[2], last(3)),
        (ids[3], last(4)),
        (ids[4], late),
        (RunId(99), last(5)),
        (ids[5], last(6)),
    ];
    let reports: Vec<RunReport> = reports.map(|(run_id, report)| RunReport { run_id, report }).into();
    let answers = world.store.report_all(TOKEN, reports.clone()).await;
    let stored = |answer: &Result<ReportAnswer, WorkerError>| answer.as_ref().is_ok_and(|answer| answer.directive == Directive::Continue);
    assert_eq!(answers.iter().map(stored).collect::<Vec<_>>(), [true, true, false, true, false, false, true]);
    assert!(matches!(answers[2], Err(WorkerError::Stale)));
    assert!(matches!(&answers[4], Err(WorkerError::Report { pointer, .. }) if pointer == "/metrics/0/times/1"));
    assert!(matches!(answers[5], Err(WorkerError::UnknownRun)));

    assert_eq!((world.run(ids[2]).await, world.run(ids[4]).await), (stale, refused));
    assert!(world.store.certificates(ids[2]).await.unwrap().unwrap().certificates.is_empty());
    for (index, steps) in [(0, 1), (3, 4), (5, 6)] {
        let run = world.run(ids[index]).await;
        assert_eq!((run.state, run.summary["loss"].last_step), (RunState::Succeeded, steps));
        assert_eq!(world.store.certificates(ids[index]).await.unwrap().unwrap().certificates.len(), 1);
        assert_eq!(world.events(ids[index]).await, ["queued", "claimed", "succeeded"]);
    }
    assert_eq!(world.run(ids[1]).await.state, RunState::Running);
    // Only the leases of runs that are held are left.
    let (runs, revision) = (world.store.runs_by_id(&ids).await.unwrap(), world.store.revision());
    let again = world.store.report_all(TOKEN, reports).await;
    assert_eq!(again.iter().map(stored).collect::<Vec<_>>(), [true, true, false, true, false, false, true]);
    assert_eq!((world.store.runs_by_id(&ids).await.unwrap(), world.store.revision()), (runs, revision), "a repeat changes nothing");
    assert_eq!(world.expire().await, 3);
}

#[tokio::test]
async fn the_reports_of_one_call_share_one_commit_and_two_of_one_run_come_in_order() {
    let world = World::new().await;
    let (first, second) = (world.submit_and_claim().await, world.submit_and_claim().await);
    let mut revisions = world.store.revision_watch();
    revisions.mark_unchanged();
    let told = |run: &ClaimedRun, step: u64| RunReport {
        run_id: run.run_id,
        report: Report { metrics: vec![batch("loss", &[(step, step as f64)])], ..report(run.attempt) },
    };
    let answers = world.store.report_all(TOKEN, vec![told(&first, 1), told(&second, 1), told(&first, 2)]).await;
    assert!(answers.iter().all(Result::is_ok));
    let published = *revisions.borrow_and_update();
    assert_eq!(published, world.store.revision());
    assert_eq!(world.run(first.run_id).await.revision, published);
    assert_eq!(world.run(second.run_id).await.revision.0, published.0 - 1);
    assert_eq!(world.run(first.run_id).await.summary["loss"].last, Number(2.0));
}

#[tokio::test]
async fn a_report_that_makes_no_sense_is_refused_as_a_whole() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let mut uneven = full_report(claimed.attempt);
    uneven.metrics.push(batch("other", &[(1, 1.0)]));
    uneven.metrics[1].times.clear();
    let refused = world.store.report(TOKEN, claimed.run_id, uneven).await;
    assert!(matches!(refused, Err(WorkerError::Report { pointer, .. }) if pointer == "/metrics/1"));
    let mut late = full_report(claimed.attempt);
    late.metrics[0].times[1] = Timestamp::MAX.0 + 1;
    let refused = world.store.report(TOKEN, claimed.run_id, late).await;
    assert!(matches!(refused, Err(WorkerError::Report { pointer, .. }) if pointer == "/metrics/0/times/1"));
    assert!(world.run(claimed.run_id).await.summary.is_empty());
    let unknown = world.store.report(TOKEN, RunId(99), report(Attempt(1))).await;
    assert!(matches!(unknown, Err(WorkerError::UnknownRun)));
}
