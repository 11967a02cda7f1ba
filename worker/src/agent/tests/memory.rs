//! Runs that ask for too much memory, or take it.

use std::sync::atomic::{AtomicBool, AtomicU64};

use super::super::memory::OWN_BYTES;
use super::*;

const BOUND: u64 = OWN_BYTES + (64 << 20);

fn queue(server: &FakeServer, run: i64, steps: u64, memory_bytes: u64) {
    server.queue(run, regression(steps));
    server.with(|state| state.queue.back_mut().unwrap().memory_bytes = memory_bytes);
}

#[tokio::test]
async fn a_run_that_asks_for_more_memory_than_the_worker_allows_is_refused_and_the_next_one_trained() {
    let server = FakeServer::new();
    queue(&server, 1, 1, (64 << 20) + 1);
    queue(&server, 2, 1, 64 << 20);
    let world = World::with_memory(server.clone(), train, Memory { bound: Some(BOUND), taken: || Some(0) });
    let refused = server.finish(1).await;
    assert_eq!((refused.outcome, refused.stop_reason), (Outcome::Failed, Some(StopReason::OutOfMemory)));
    assert_eq!(refused.error.unwrap(), "the run asks for 65 MiB of memory; this worker has 64 MiB for a run");
    assert_eq!(server.finish(2).await.outcome, Outcome::Succeeded);
    world.end().await.unwrap();
}

#[tokio::test]
async fn a_run_that_grows_past_the_bound_fails_alone_and_the_worker_goes_on() {
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    /// Takes too much, if it is the one of 7 steps, until it is stopped.
    fn growing(assignment: &Assignment, workshop: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
        let trainyard_wire::Spec::Regression(spec) = &assignment.spec else { panic!() };
        let grows = spec.steps == 7;
        if grows {
            TAKEN.store(BOUND + 1, Ordering::Relaxed);
        }
        let ended = endless(assignment, workshop, session);
        if grows {
            TAKEN.store(0, Ordering::Relaxed);
        }
        ended
    }
    let server = FakeServer::new();
    queue(&server, 1, 5, 1000);
    queue(&server, 2, 7, 2000);
    let world = World::with_memory(server.clone(), growing, Memory { bound: Some(BOUND), taken: || Some(TAKEN.load(Ordering::Relaxed)) });
    let failed = server.finish(2).await;
    assert_eq!((failed.outcome, failed.stop_reason), (Outcome::Failed, Some(StopReason::OutOfMemory)));
    assert_eq!(failed.error.unwrap(), "training took more memory than the worker allows: 161 MiB of 160 MiB");
    // The other one goes on: it has more to tell.
    let told = server.reports(1).len();
    server.until(|state| state.calls.iter().filter(|call| matches!(call, Call::Report(id, _) if id.0 == 1)).count() > told).await;
    assert!(server.reports(1).iter().all(|report| report.finish.is_none()));
    world.end().await.unwrap();
    assert_eq!(server.finish(1).await.outcome, Outcome::Released);
}

#[tokio::test]
async fn a_trainer_that_does_not_stop_is_left_behind_with_its_process_and_the_other_run_is_given_back() {
    static ENOUGH: AtomicBool = AtomicBool::new(false);
    static TAKEN: AtomicU64 = AtomicU64::new(0);
    fn stubborn(assignment: &Assignment, workshop: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
        let trainyard_wire::Spec::Regression(spec) = &assignment.spec else { panic!() };
        if spec.steps != 7 {
            return endless(assignment, workshop, session);
        }
        TAKEN.store(BOUND + 1, Ordering::Relaxed);
        while !ENOUGH.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Ended::Stopped(Stop::Drop))
    }
    let server = FakeServer::new();
    queue(&server, 1, 5, 1000);
    queue(&server, 2, 7, 2000);
    let world = World::with_memory(server.clone(), stubborn, Memory { bound: Some(BOUND), taken: || Some(TAKEN.load(Ordering::Relaxed)) });
    let ended = world.ended().await;
    ENOUGH.store(true, Ordering::Relaxed);
    assert!(matches!(ended, Err(WorkerError::Memory { taken }) if taken == BOUND + 1), "{ended:?}");
    let failed = server.finish(2).await;
    assert_eq!((failed.outcome, failed.stop_reason), (Outcome::Failed, Some(StopReason::OutOfMemory)));
    assert_eq!(server.finish(1).await.outcome, Outcome::Released);
}
