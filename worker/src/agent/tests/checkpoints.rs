//! Runs that begin with a checkpoint.

use super::*;

/// A run of 100 steps that stopped at step 40.
fn interrupted() -> (trainyard_wire::Spec, Bytes) {
    let session = crate::trainers::memory::MemorySession::stopping_at(40, Stop::Pause);
    let spec = trainyard_wire::Spec::from_value(regression(100), "").unwrap();
    let assignment = Assignment { spec: spec.clone(), dataset: None, checkpoint: None, picture: None };
    train(&assignment, &Workshop::new(candle_core::Device::Cpu), &session).unwrap();
    (spec, session.last_checkpoint().unwrap())
}

fn queue_with_checkpoint(server: &FakeServer, run: i64, spec: &trainyard_wire::Spec, sha256: String) {
    let claimed = ClaimedRun {
        run_id: trainyard_wire::RunId(run),
        job_id: trainyard_wire::JobId(1),
        attempt: trainyard_wire::Attempt(2),
        spec: spec.clone(),
        checkpoint: Some(sha256),
        memory_bytes: 0,
    };
    server.with(|state| state.queue.push_back(claimed));
}

#[tokio::test]
async fn a_run_resumes_from_its_checkpoint() {
    let (spec, checkpoint) = interrupted();
    let server = FakeServer::new();
    server.with(|state| state.checkpoint = checkpoint.clone());
    queue_with_checkpoint(&server, 1, &spec, crate::data::files::sha256(&checkpoint));
    let world = World::start(server.clone(), train);
    assert_eq!(server.finish(1).await.outcome, Outcome::Succeeded);
    let reports = server.reports(1);
    assert_eq!(points(&reports, "loss")[0].0, 40);
    assert!(reports.iter().all(|report| report.attempt.0 == 2));
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_run_whose_checkpoint_is_damaged_unreadable_or_missing_starts_over_with_a_warning() {
    let (spec, checkpoint) = interrupted();
    let unreadable = Bytes::from_static(b"not a checkpoint");
    for (stored, expected, missing, reason) in [
        (checkpoint.clone(), "0".repeat(64), false, "damaged"),
        (unreadable.clone(), crate::data::files::sha256(&unreadable), false, "not a safetensors file"),
        (checkpoint.clone(), crate::data::files::sha256(&checkpoint), true, "missing"),
    ] {
        let server = FakeServer::new();
        server.with(|state| state.checkpoint = stored);
        server.fail(move |call| (missing && *call == Call::Checkpoint).then(|| CallError::NotFound("no such file".to_owned())));
        queue_with_checkpoint(&server, 1, &spec, expected);
        let world = World::start(server.clone(), train);
        assert_eq!(server.finish(1).await.outcome, Outcome::Succeeded);
        let reports = server.reports(1);
        let losses = points(&reports, "loss");
        assert_eq!((losses.first().unwrap().0, losses.last().unwrap().0), (0, 100));
        let warnings: Vec<_> = reports.iter().flat_map(|report| &report.logs).filter(|line| line.level == LogLevel::Warn).collect();
        assert!(warnings.len() == 1 && warnings[0].message.contains(reason), "{warnings:?}");
        world.end().await.unwrap();
    }
}
