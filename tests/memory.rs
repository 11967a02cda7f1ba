//! Workers whose memory is bounded, as real processes.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::memory::high_water;
use support::{Yard, eventually, jobs};
use trainyard_wire::{Attempt, RunId, RunState, StopReason};

/// A hypergradient of a problem with `side` rows and columns: little memory, so that a worker trains two at once, and many seconds.
fn long(side: u64, inner_steps: u64, outer_steps: u64) -> Value {
    let mut job = jobs::hypergradient();
    job["spec"]["problem"] = json!({"source": "synthetic", "n": side, "d": side, "condition": side});
    job["spec"]["method"] = json!("autograd");
    job["spec"]["inner_steps"] = json!(inner_steps);
    job["spec"]["outer_steps"] = json!(outer_steps);
    job
}

#[tokio::test]
async fn a_run_that_grows_past_its_workers_bound_fails_alone_and_the_run_beside_it_and_the_queue_go_on() {
    const MIB: u64 = 1 << 20;
    let (yard, faults) = Yard::up_with_faults(&["--workers", "1", "--threads", "2", "--worker-memory", "256MiB"]).await;
    let cancel = async |run: RunId| drop(yard.client.run_action(run, "cancel").await.unwrap());
    let trains = async |run: RunId| yard.run(run).await.progress.step > 0;

    // Of three runs that a worker with two threads claims at once, in the order of their expected memory, one waits. Where it is not the
    // smallest, it is larger than the smallest once the third makes room for it.
    let (worker, [steady, third, growing]) = loop {
        let busy = yard.submit(&jobs::long_colourization()).await;
        let worker = yard.worker_of(busy).await;
        let mut runs = [RunId(0); 3];
        for (run, (side, inner_steps, outer_steps)) in runs.iter_mut().zip([(1, 400, 24_000), (1, 500, 24_000), (2, 300, 10_000)]) {
            *run = yard.submit(&long(side, inner_steps, outer_steps)).await;
        }
        cancel(busy).await;
        let [small, middle, large] = runs;
        let waits =
            eventually("two of three runs to train", async || match [trains(small).await, trains(middle).await, trains(large).await] {
                [true, true, false] => Some(large),
                [true, false, true] => Some(middle),
                [false, true, true] => Some(small),
                _ => None,
            });
        match waits.await {
            waits if waits == small => drop(futures::future::join_all(runs.map(&cancel)).await),
            waits => break (worker, [small, if waits == middle { large } else { middle }, waits]),
        }
    };

    // Whatever was expected of it, it takes pages of the worker's for as long as it trains.
    faults.grow(1024);
    cancel(third).await;
    let next = yard.submit(&jobs::quick()).await;
    let failed = yard.until(growing, RunState::Failed).await;
    assert_eq!((failed.stop_reason, failed.attempt), (Some(StopReason::OutOfMemory), Attempt(1)));
    let error = failed.error.unwrap();
    assert!(error.starts_with("training took more memory than the worker allows: ") && error.ends_with(" of 256 MiB"), "{error}");
    let taken = high_water(worker.pid).unwrap();
    assert!((256 * MIB..1024 * MIB).contains(&taken), "the worker took {taken} bytes");

    // The run beside it and what comes next are trained by the same process.
    let before = yard.run(steady).await;
    assert_eq!((before.state, before.attempt), (RunState::Running, Attempt(1)), "{:?}", before.error);
    eventually("the run beside it to go on", async || {
        let now = yard.run(steady).await;
        assert_eq!((now.state, now.attempt), (RunState::Running, Attempt(1)), "{:?}", now.error);
        (now.progress.step > before.progress.step).then_some(())
    })
    .await;
    cancel(steady).await;
    assert_eq!(yard.until(next, RunState::Succeeded).await.attempt, Attempt(1));
    let workers = yard.client.workers().await.unwrap().items;
    assert_eq!(workers.iter().map(|worker| worker.pid).collect::<Vec<_>>(), [worker.pid]);
}
