//! Cancel, pause, resume and retry, of runs and of jobs.

use trainyard_server::store::{Action, ActionError, MetricQuery};
use trainyard_wire::run::RequestedAction;
use trainyard_wire::worker::{Directive, Finish, Heartbeat, HeldRun, Outcome, Report};
use trainyard_wire::{JobId, RunId, RunState, StopReason};

use crate::world::{TOKEN, World, batch, report};

#[tokio::test]
async fn a_waiting_run_is_cancelled_paused_and_resumed_at_once() {
    let world = World::new().await;
    let id = world.submit().await;
    for (action, state) in [
        (Action::Pause, RunState::Paused),
        (Action::Pause, RunState::Paused),
        (Action::Resume, RunState::Queued),
        (Action::Resume, RunState::Queued),
        (Action::Pause, RunState::Paused),
        (Action::Cancel, RunState::Cancelled),
        (Action::Cancel, RunState::Cancelled),
    ] {
        assert_eq!(world.store.run_action(id, action).await.unwrap().state, state);
    }
    // What was repeated is no event.
    assert_eq!(world.events(id).await, ["queued", "paused", "resumed", "paused", "cancelled"]);
    assert_eq!(world.run(id).await.stop_reason, Some(StopReason::Cancelled));
    assert_eq!(world.try_claim(1).await, []);
}

#[tokio::test]
async fn the_worker_of_a_running_run_is_told_what_was_asked() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let run = world.store.run_action(claimed.run_id, Action::Pause).await.unwrap();
    assert_eq!((run.state, run.requested), (RunState::Running, Some(RequestedAction::Pause)));
    let held = vec![HeldRun { run_id: claimed.run_id, attempt: claimed.attempt }];
    let heartbeat = Heartbeat { worker_id: world.worker, runs: held };
    assert_eq!(world.store.heartbeat(TOKEN, &heartbeat).await.unwrap().runs, [Directive::Pause]);
    assert_eq!(world.store.report(TOKEN, claimed.run_id, report(claimed.attempt)).await.unwrap().directive, Directive::Pause);

    world.store.run_action(claimed.run_id, Action::Cancel).await.unwrap();
    assert_eq!(world.store.heartbeat(TOKEN, &heartbeat).await.unwrap().runs, [Directive::Cancel]);
    world.finish(&claimed, Outcome::Cancelled).await;
    let run = world.run(claimed.run_id).await;
    assert_eq!((run.state, run.stop_reason, run.requested), (RunState::Cancelled, Some(StopReason::Cancelled), None));
}

#[tokio::test]
async fn a_paused_run_keeps_its_checkpoint_and_goes_on_when_resumed() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.store.run_action(claimed.run_id, Action::Pause).await.unwrap();
    world.checkpoint(&claimed, 5).await;
    world.finish(&claimed, Outcome::Paused).await;
    assert_eq!(world.state(claimed.run_id).await, RunState::Paused);
    assert_eq!(world.try_claim(1).await, []);
    world.store.run_action(claimed.run_id, Action::Resume).await.unwrap();
    let again = world.claim().await;
    let artifacts = world.store.artifacts(claimed.run_id).await.unwrap().unwrap().artifacts;
    assert_eq!(again.checkpoint.as_ref(), Some(&artifacts[0].sha256));
}

#[tokio::test]
async fn a_pause_that_was_withdrawn_sends_the_run_back_to_the_queue() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.store.run_action(claimed.run_id, Action::Pause).await.unwrap();
    assert_eq!(world.store.run_action(claimed.run_id, Action::Resume).await.unwrap().requested, None);
    // The worker had heard of the pause already.
    world.finish(&claimed, Outcome::Paused).await;
    assert_eq!(world.state(claimed.run_id).await, RunState::Queued);
}

#[tokio::test]
async fn an_illegal_action_names_the_state_and_changes_nothing() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    world.finish(&claimed, Outcome::Succeeded).await;
    let revision = world.store.revision();
    for action in [Action::Cancel, Action::Pause, Action::Resume, Action::Retry] {
        let refused = world.store.run_action(claimed.run_id, action).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot {action} a run that is succeeded"));
    }
    assert_eq!(world.store.revision(), revision);
    assert!(matches!(world.store.run_action(RunId(99), Action::Cancel).await, Err(ActionError::NotFound)));
}

async fn fail(world: &World, stop_reason: StopReason, checkpoint: bool) -> RunId {
    let claimed = world.submit_and_claim().await;
    if checkpoint {
        world.checkpoint(&claimed, 5).await;
    }
    let error = Some("it broke".to_owned());
    let finish = Some(Finish { outcome: Outcome::Failed, stop_reason: Some(stop_reason), error, result: None });
    let last = Report { metrics: vec![batch("loss", &[(0, 1.0)])], finish, ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, last).await.unwrap();
    claimed.run_id
}

#[tokio::test]
async fn a_retry_keeps_what_it_can_resume_from_and_drops_the_rest() {
    let world = World::new().await;
    for (stop_reason, checkpoint, kept) in
        [(StopReason::Error, true, true), (StopReason::Error, false, false), (StopReason::Diverged, true, false)]
    {
        let id = fail(&world, stop_reason, checkpoint).await;
        let run = world.store.run_action(id, Action::Retry).await.unwrap();
        assert_eq!((run.state, run.stop_reason, run.error, run.finished_at), (RunState::Queued, None, None, None));
        assert_eq!(run.summary.contains_key("loss"), kept);
        let query = MetricQuery { limit: 10, ..MetricQuery::default() };
        assert_eq!(world.store.metrics(id, query).await.unwrap().unwrap().history.series.len(), usize::from(kept));
        assert_eq!(world.store.artifacts(id).await.unwrap().unwrap().artifacts.len(), usize::from(kept));
        let claimed = world.claim().await;
        assert_eq!((claimed.run_id, claimed.attempt.0, claimed.checkpoint.is_some()), (id, 2, kept));
        world.finish(&claimed, Outcome::Succeeded).await;
        assert_eq!(world.state(id).await, RunState::Succeeded);
    }
}

#[tokio::test]
async fn a_retried_run_has_all_its_attempts_again() {
    let world = World::new().await;
    let id = world.submit().await;
    for _ in 0..3 {
        world.claim().await;
        world.expire().await;
    }
    assert_eq!(world.state(id).await, RunState::Failed);
    world.store.run_action(id, Action::Retry).await.unwrap();
    world.claim().await;
    world.expire().await;
    assert_eq!(world.state(id).await, RunState::Queued);
}

#[tokio::test]
async fn a_jobs_action_is_done_to_the_runs_for_which_it_is_legal() {
    let world = World::new().await;
    let job = world.submit_many(3).await;
    let first = world.claim().await;
    world.finish(&first, Outcome::Succeeded).await;
    let revision = world.store.job(job.id).await.unwrap().unwrap().revision;
    let paused = world.store.job_action(job.id, Action::Pause).await.unwrap();
    assert_eq!(paused.states, [(RunState::Paused, 2), (RunState::Succeeded, 1)].into());
    assert!(paused.revision > revision);
    let cancelled = world.store.job_action(job.id, Action::Cancel).await.unwrap();
    assert_eq!(cancelled.states, [(RunState::Cancelled, 2), (RunState::Succeeded, 1)].into());
    let refused = world.store.job_action(job.id, Action::Pause).await;
    assert!(matches!(refused, Err(ActionError::Illegal { action: Action::Pause, .. })));
    assert!(matches!(world.store.job_action(JobId(99), Action::Pause).await, Err(ActionError::NotFound)));
}
