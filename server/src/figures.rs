//! What `/metrics` tells of the queue and the store. Names and units follow Prometheus' rules; [`describe`] has what each is.
//!
//! Durations and sizes are recorded where they happen; what is a state (the queue, the workers) is asked for when somebody scrapes.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Mutex;
use trainyard_wire::RunState;
use trainyard_wire::webhook::DeliveryState;

use crate::store::{Store, StoreError};

/// Writes of one commit, which has buckets of its own.
pub(crate) const COMMIT_WRITES: &str = "trainyard_commit_writes";
const COMMIT_SECONDS: &str = "trainyard_commit_seconds";
const CLAIM_SECONDS: &str = "trainyard_claim_seconds";
const LEASES_LOST: &str = "trainyard_leases_lost_total";
const RUNS: &str = "trainyard_runs";
const QUEUE_AGE: &str = "trainyard_queue_oldest_seconds";
const IMAGES: &str = "trainyard_images_per_second";
const WORKERS: &str = "trainyard_workers";
const SUBSCRIBERS: &str = "trainyard_event_subscribers";
const REVISION: &str = "trainyard_revision";
const DELIVERIES: &str = "trainyard_webhook_deliveries_total";
const DELIVERIES_WAITING: &str = "trainyard_webhook_deliveries_waiting";

/// Tells the recorder what the figures are.
pub(crate) fn describe() {
    describe_histogram!(COMMIT_WRITES, Unit::Count, "Writes that shared a commit");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "From the beginning of a transaction to its fsynced commit");
    describe_histogram!(CLAIM_SECONDS, Unit::Seconds, "What taking a run from the queue took, waiting for the writer included");
    describe_counter!(LEASES_LOST, Unit::Count, "Leases that ran out: their workers were not heard of in time");
    describe_gauge!(RUNS, Unit::Count, "Runs in each state; state=\"queued\" is the depth of the queue");
    describe_gauge!(QUEUE_AGE, Unit::Seconds, "Since the submit of the run that has waited longest in the queue");
    describe_gauge!(IMAGES, Unit::Count, "Images that the running runs train in a second, together");
    describe_gauge!(WORKERS, Unit::Count, "Workers that were heard of within a lease's time");
    describe_gauge!(SUBSCRIBERS, Unit::Count, "Streams of events that are open");
    describe_gauge!(REVISION, Unit::Count, "The last committed revision");
    describe_counter!(
        DELIVERIES,
        Unit::Count,
        "Messages that were sent to webhooks: delivered, waiting (the attempt failed and is repeated) or given up"
    );
    describe_gauge!(DELIVERIES_WAITING, Unit::Count, "Messages to webhooks that are still to be delivered");
    for &state in DeliveryState::ALL {
        counter!(DELIVERIES, "outcome" => state.as_str()).absolute(0);
    }
    // From the start on, so that the first loss is a change and not a beginning.
    counter!(LEASES_LOST).absolute(0);
}

/// All figures as text, with what is a state as it is in this store now.
pub(crate) async fn scrape(store: &Store, recorder: &PrometheusHandle) -> Result<String, StoreError> {
    // The recorder is the process's: another server of it must not tell its own queue between the two.
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    let counts = store.run_counts().await?;
    for &state in RunState::ALL {
        gauge!(RUNS, "state" => state.as_str()).set(counts.get(&state).copied().unwrap_or(0) as f64);
    }
    gauge!(QUEUE_AGE).set(store.queue_age().await?);
    gauge!(IMAGES).set(store.images_per_second().await?);
    gauge!(WORKERS).set(store.workers().await?.len() as f64);
    gauge!(SUBSCRIBERS).set(store.subscribers() as f64);
    gauge!(DELIVERIES_WAITING).set(store.waiting_count().await? as f64);
    gauge!(REVISION).set(store.revision().0 as f64);
    recorder.run_upkeep();
    Ok(recorder.render())
}

pub(crate) fn committed(writes: usize, took: Duration) {
    histogram!(COMMIT_WRITES).record(writes as f64);
    histogram!(COMMIT_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn claimed(took: Duration) {
    histogram!(CLAIM_SECONDS).record(took.as_secs_f64());
}

pub(crate) fn leases_lost(count: u64) {
    counter!(LEASES_LOST).increment(count);
}

/// A message was sent to a webhook, and this became of it.
pub(crate) fn delivery_attempted(state: DeliveryState) {
    counter!(DELIVERIES, "outcome" => state.as_str()).increment(1);
}
