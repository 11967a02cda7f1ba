//! Runs of programs outside: what may be written to them, by whom, and what everything else makes of them.

use std::time::{Duration, Instant};

use trainyard_server::store::{
    Action, ActionError, ExternalError, Late, LogBatch, MetricQuery, NewExternalFile, NewExternalRun, PointsError, RunFilter, RunUpdate,
    StoreError, VerifyError, WorkerError,
};
use trainyard_wire::spec::external::{ParamValue, Params};
use trainyard_wire::state::Kind;
use trainyard_wire::{Attempt, Number, RunId, RunState, Spec, Timestamp};

use super::world::{LEASE, TOKEN, World, report};

impl World {
    async fn open(&self) -> RunId {
        self.store.open_external(NewExternalRun { name: Some("outside".to_owned()), ..NewExternalRun::default() }).await.unwrap()
    }

    /// Logs points of `loss`; answers how many were new.
    async fn log(&self, id: RunId, points: &[(i64, f64, Option<i64>)]) -> Result<u64, ExternalError> {
        let mut batch = LogBatch::default();
        for (step, value, time) in points {
            batch.points.add("loss", *step, Number(*value), *time).unwrap();
        }
        Ok(self.store.log(id, batch, Late::Refused).await?.points)
    }

    async fn losses(&self, id: RunId) -> Vec<(u64, f64)> {
        let query = MetricQuery { limit: 10_000, ..MetricQuery::default() };
        let series = self.store.metrics(id, query).await.unwrap().unwrap().history.series;
        series.into_iter().flat_map(|series| series.points).map(|point| (point.step, point.value.0)).collect()
    }

    async fn params(&self, id: RunId, params: &[(&str, &str)], stay: bool) -> Result<(), ExternalError> {
        let params: Params = params.iter().map(|(name, value)| ((*name).to_owned(), ParamValue::from(*value))).collect();
        let batch = LogBatch { params, params_stay: stay, ..LogBatch::default() };
        self.store.log(id, batch, Late::Refused).await.map(drop)
    }

    async fn finish_external(&self, id: RunId, state: RunState) -> Result<RunState, ExternalError> {
        self.store.update_external(id, RunUpdate { state: Some(state), ..RunUpdate::default() }, Late::Refused).await
    }

    async fn put_external(&self, id: RunId, name: &str, bytes: &[u8]) -> Result<(), ExternalError> {
        let mut staging = self.store.stage().await.unwrap();
        staging.write(bytes).await.unwrap();
        let file = NewExternalFile { name: name.to_owned(), content_type: "text/plain".to_owned(), blob: staging.finish().await.unwrap() };
        self.store.put_external(id, file, Late::Refused).await.map(drop)
    }
}

#[tokio::test]
async fn an_external_run_is_running_until_its_program_ends_it() {
    let world = World::new().await;
    let id = world.open().await;
    let run = world.run(id).await;
    assert_eq!((run.state, run.spec.kind(), run.attempt, run.worker_id), (RunState::Running, Kind::External, Attempt(0), None));
    assert_eq!(world.try_claim(10).await, []);
    world.log(id, &[(1, 0.5, None), (2, 0.25, None)]).await.unwrap();
    assert_eq!(world.run(id).await.progress.step, 2);

    let world = world.restart().await;
    assert_eq!(world.store.expire_leases(Instant::now() + 10 * LEASE).await.unwrap(), 0);
    assert_eq!(world.state(id).await, RunState::Running);

    world.finish_external(id, RunState::Succeeded).await.unwrap();
    let ended = world.run(id).await;
    assert!(ended.finished_at.is_some() && ended.summary["loss"].last == Number(0.25));
    // The same end again is no news, another one is refused.
    world.finish_external(id, RunState::Succeeded).await.unwrap();
    assert_eq!(world.run(id).await.revision, ended.revision);
    assert!(matches!(world.finish_external(id, RunState::Failed).await, Err(ExternalError::Finished { .. })));
    assert!(matches!(world.log(id, &[(3, 0.1, None)]).await, Err(ExternalError::Finished { state: RunState::Succeeded, .. })));
    assert_eq!(world.events(id).await, ["opened", "succeeded"]);
    let listed = world.store.runs(RunFilter { kind: Some(Kind::External), limit: 10, ..RunFilter::default() }).await.unwrap();
    assert_eq!(listed.items.iter().map(|run| run.id).collect::<Vec<_>>(), [id]);
    assert_eq!(world.store.job(ended.job_id).await.unwrap().unwrap().run_ids, [id]);
}

#[tokio::test]
async fn a_batch_that_comes_again_changes_nothing_and_another_value_at_a_step_stands_beside_the_first() {
    let world = World::new().await;
    let id = world.open().await;
    let batch = [(1, 0.5, None), (2, f64::NAN, None), (3, f64::INFINITY, None)];
    assert_eq!(world.log(id, &batch).await.unwrap(), 3);
    let revision = world.run(id).await.revision;
    assert_eq!(world.log(id, &batch).await.unwrap(), 0);
    assert_eq!(world.run(id).await.revision, revision);

    assert_eq!(world.log(id, &[(2, 0.25, None), (2, 0.125, None), (2, 0.25, None), (1, 0.5, None)]).await.unwrap(), 2);
    let losses = world.losses(id).await;
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2, 2, 2, 3]);
    assert!(losses[1].1.is_nan() && losses[2].1 == 0.25 && losses[3].1 == 0.125);
    let summary = world.run(id).await.summary["loss"].clone();
    assert_eq!((summary.last, summary.last_step, summary.min), (Number(f64::INFINITY), 3, Number(0.125)));
}

#[tokio::test]
async fn a_point_with_a_time_is_another_one_at_another_time() {
    let world = World::new().await;
    let id = world.open().await;
    assert_eq!(world.log(id, &[(0, 0.5, Some(10))]).await.unwrap(), 1);
    assert_eq!(world.log(id, &[(0, 0.7, Some(20))]).await.unwrap(), 1);
    assert_eq!(world.log(id, &[(0, 0.5, Some(30))]).await.unwrap(), 1);
    assert_eq!(world.log(id, &[(0, 0.5, Some(10)), (0, 0.5, Some(30)), (0, 0.7, None)]).await.unwrap(), 0);
    assert_eq!(world.losses(id).await, [(0, 0.5), (0, 0.7), (0, 0.5)]);
    assert_eq!(world.run(id).await.summary["loss"].last, Number(0.5));
}

#[tokio::test]
async fn many_points_at_one_step_are_told_apart_far_back_and_bounded_in_a_request() {
    let world = World::new().await;
    let id = world.open().await;
    let points = |from: i64| -> Vec<_> { (from..from + 1000).map(|value| (7, value as f64, Some(value))).collect() };
    assert_eq!(world.log(id, &points(0)).await.unwrap(), 1000);
    assert_eq!(world.log(id, &points(1000)).await.unwrap(), 1000);
    assert_eq!(world.log(id, &points(0)).await.unwrap(), 0);
    assert_eq!(world.losses(id).await.len(), 2000);
    let mut batch = LogBatch::default();
    for value in 0..1000 {
        batch.points.add("loss", 7, Number(f64::from(value)), None).unwrap();
    }
    assert_eq!(batch.points.add("loss", 7, Number(0.0), None), Err(PointsError::Crowded));
    assert_eq!(batch.points.add("loss", -1, Number(0.0), None), Err(PointsError::Step));
    assert_eq!(batch.points.add("", 1, Number(0.0), None), Err(PointsError::Name));
    assert_eq!(batch.points.add("loss", 1, Number(0.0), Some(i64::MAX)), Err(PointsError::Time));
}

#[tokio::test]
async fn points_that_come_in_any_order_come_to_the_same_chart() {
    let world = World::new().await;
    let (forward, shuffled) = (world.open().await, world.open().await);
    let points: Vec<_> = (0..500).map(|step| (step, f64::from(i32::try_from(step).unwrap() * 37 % 101), Some(step))).collect();
    world.log(forward, &points).await.unwrap();
    let order = |index: usize| index * 211 % 500;
    for chunk in (0..500).map(|index| points[order(index)]).collect::<Vec<_>>().chunks(50) {
        world.log(shuffled, chunk).await.unwrap();
    }
    let chart = async |id| {
        let query = trainyard_server::store::BucketQuery { buckets: 20, ..Default::default() };
        world.store.metric_buckets(id, query).await.unwrap().unwrap().series
    };
    assert_eq!(chart(forward).await, chart(shuffled).await);
    assert_eq!(world.run(forward).await.summary, world.run(shuffled).await.summary);
}

#[tokio::test]
async fn params_are_replaced_unless_they_are_to_stay() {
    let world = World::new().await;
    let id = world.open().await;
    world.params(id, &[("rate", "0.1"), ("model", "unet")], false).await.unwrap();
    world.params(id, &[("rate", "0.2")], false).await.unwrap();
    world.params(id, &[("rate", "0.2"), ("seed", "1")], true).await.unwrap();
    let refused = world.params(id, &[("batch", "5"), ("rate", "0.3")], true).await;
    assert!(matches!(&refused, Err(ExternalError::Invalid(errors)) if errors[0].pointer == "/params/rate"), "{refused:?}");
    let Spec::External(spec) = world.run(id).await.spec else { panic!() };
    let params: Vec<_> = spec.params.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    assert_eq!(params, [("rate", "0.2".to_owned()), ("model", "unet".to_owned()), ("seed", "1".to_owned())]);
}

#[tokio::test]
async fn files_are_stored_by_name_and_replaced() {
    let world = World::new().await;
    let id = world.open().await;
    world.put_external(id, "notes/a.txt", b"one").await.unwrap();
    world.put_external(id, "notes/a.txt", b"two").await.unwrap();
    let artifacts = world.store.artifacts(id).await.unwrap().unwrap().artifacts;
    assert_eq!(artifacts.iter().map(|artifact| (artifact.name.as_str(), artifact.size)).collect::<Vec<_>>(), [("notes/a.txt", 3)]);
    assert!(matches!(world.put_external(id, "../a", b"x").await, Err(ExternalError::ArtifactName)));
    world.finish_external(id, RunState::Failed).await.unwrap();
    assert!(matches!(world.put_external(id, "b.txt", b"x").await, Err(ExternalError::Finished { .. })));
    assert_eq!(world.store.sweep_blobs().await.unwrap(), 1, "the replaced content goes");
}

#[tokio::test]
async fn a_run_that_trainyard_trains_cannot_be_written_to_from_outside() {
    let world = World::new().await;
    let claimed = world.submit_and_claim().await;
    let id = claimed.run_id;
    let is_refused = |outcome: Result<(), ExternalError>| {
        assert!(matches!(outcome, Err(ExternalError::NotExternal { kind: Kind::Regression, .. })), "{outcome:?}");
    };
    is_refused(world.log(id, &[(1, 0.5, None)]).await.map(drop));
    is_refused(world.params(id, &[("rate", "1")], false).await);
    is_refused(world.put_external(id, "a.txt", b"x").await);
    is_refused(world.finish_external(id, RunState::Succeeded).await.map(drop));
    let unknown = RunId(999);
    assert!(matches!(world.log(unknown, &[(1, 0.5, None)]).await, Err(ExternalError::UnknownRun)));
    assert_eq!(world.losses(id).await, []);
}

#[tokio::test]
async fn a_worker_cannot_report_to_a_run_from_outside() {
    let world = World::new().await;
    let id = world.open().await;
    for attempt in [0, 1] {
        let outcome = world.store.report(TOKEN, id, report(Attempt(attempt))).await;
        assert!(matches!(outcome, Err(WorkerError::Stale)), "{outcome:?}");
    }
}

#[tokio::test]
async fn it_can_be_cancelled_at_once_and_not_paused_resumed_retried_or_verified() {
    let world = World::new().await;
    let id = world.open().await;
    for action in [Action::Pause, Action::Resume, Action::Retry] {
        assert!(matches!(world.store.run_action(id, action).await, Err(ActionError::External { .. })));
    }
    assert_eq!(world.store.run_action(id, Action::Cancel).await.unwrap().state, RunState::Cancelled);
    assert!(matches!(world.store.run_action(id, Action::Retry).await, Err(ActionError::External { .. })));
    let late = world.store.log(id, LogBatch::default(), Late::Taken).await;
    assert!(matches!(late, Err(ExternalError::Finished { state: RunState::Cancelled, .. })));
    let other = world.open().await;
    world.finish_external(other, RunState::Succeeded).await.unwrap();
    assert!(matches!(world.store.verify(other, false).await, Err(VerifyError::External)));
    assert_eq!(world.store.claim(TOKEN, world.worker, 1, Duration::ZERO).await.unwrap(), []);
}

#[tokio::test]
async fn an_ended_run_is_opened_again_and_keeps_what_it_has() {
    let world = World::new().await;
    let id = world.open().await;
    world.log(id, &[(1, 0.5, None)]).await.unwrap();
    let ended = RunUpdate { state: Some(RunState::Failed), error: Some("no".to_owned()), finished_at: Some(Timestamp(7)), name: None };
    world.store.update_external(id, ended, Late::Refused).await.unwrap();
    let run = world.run(id).await;
    assert_eq!((run.error.as_deref(), run.finished_at), (Some("no"), Some(Timestamp(7))));
    world.finish_external(id, RunState::Running).await.unwrap();
    let run = world.run(id).await;
    assert_eq!((run.state, run.error, run.finished_at, run.stop_reason), (RunState::Running, None, None, None));
    world.log(id, &[(2, 0.25, None)]).await.unwrap();
    assert_eq!(world.losses(id).await, [(1, 0.5), (2, 0.25)]);
    assert_eq!(world.events(id).await, ["opened", "failed", "reopened"]);
}

#[tokio::test]
async fn a_run_of_a_sweep_is_named_and_tagged_alone() {
    let world = World::new().await;
    let runs = world.submit_many(2).await.run_ids;
    let tags = || [("topic".to_owned(), Some("x".to_owned()))].into();
    world.store.relabel(runs[0], None, tags()).await.unwrap();
    assert_eq!(world.run(runs[0]).await.tags["topic"], "x");
    assert!(!world.run(runs[1]).await.tags.contains_key("topic"));
    let alone = world.submit().await;
    let before = world.run(alone).await.revision;
    world.store.relabel(alone, Some("new".to_owned()), tags()).await.unwrap();
    let run = world.run(alone).await;
    assert_eq!((run.name.as_deref(), run.tags["topic"].as_str()), (Some("new"), "x"));
    assert!(run.revision > before);
    world.store.relabel(alone, None, [("topic".to_owned(), None)].into()).await.unwrap();
    assert_eq!(world.run(alone).await.tags.len(), 0);
}

#[tokio::test]
async fn nothing_is_opened_in_an_experiment_of_trained_runs() {
    let world = World::new().await;
    let open = async |experiment| world.store.open_external(NewExternalRun { experiment, ..NewExternalRun::default() }).await;
    assert!(matches!(open(1).await, Err(ExternalError::NotItsExperiment(name)) if name == "regression"));
    assert!(matches!(open(77).await, Err(ExternalError::UnknownExperiment)));
    let made = world.store.create_experiment("mine".to_owned(), [].into()).await.unwrap();
    let run = open(made).await.unwrap();
    let found = world.store.found_runs(&[made], RunId(i64::MAX), true, 10).await.unwrap();
    assert_eq!(found.iter().map(|found| (found.id, found.experiment)).collect::<Vec<_>>(), [(run, made)]);
    let error: StoreError = {
        world.store.close().await.unwrap();
        world.store.experiments().await.unwrap_err()
    };
    assert!(matches!(error, StoreError::Closed));
}

#[tokio::test]
async fn nothing_is_written_to_a_run_that_is_deleted_until_it_is_restored() {
    let world = World::new().await;
    let id = world.open().await;
    world.finish_external(id, RunState::Succeeded).await.unwrap();
    world.store.delete_run(id).await.unwrap();
    let late = world.store.update_external(id, RunUpdate { name: Some("late".to_owned()), ..RunUpdate::default() }, Late::Taken).await;
    assert!(matches!(late, Err(ExternalError::UnknownRun)), "{late:?}");
    let tags = || [("topic".to_owned(), Some("x".to_owned()))].into();
    assert!(matches!(world.store.relabel(id, None, tags()).await, Err(ExternalError::UnknownRun)));
    world.store.restore_run(id).await.unwrap();
    world.store.relabel(id, None, tags()).await.unwrap();
    assert_eq!(world.run(id).await.tags["topic"], "x");
}
