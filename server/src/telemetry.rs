//! The figures of `/metrics`.
//!
//! The `metrics` crate has one recorder a process, so all servers of a process (tests start several) share it.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::figures;

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];
/// Upper bounds of the buckets of the writes of a commit.
const WRITES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
/// How often recorded durations are folded into buckets; between, each is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's recorder.
pub(crate) fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(install).clone()
}

fn install() -> PrometheusHandle {
    let writes = Matcher::Full(figures::COMMIT_WRITES.to_owned());
    let buckets = PrometheusBuilder::new().set_buckets(&SECONDS).and_then(|builder| builder.set_buckets_for_metric(writes, &WRITES));
    let builder = match buckets {
        Ok(builder) => builder,
        Err(error) => {
            tracing::warn!(%error, "durations have no buckets");
            PrometheusBuilder::new()
        }
    };
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    if let Err(error) = metrics::set_global_recorder(recorder) {
        tracing::warn!(%error, "another recorder is installed: /metrics stays empty");
    }
    figures::describe();
    handle
}

/// Folds durations into buckets until `stop`, so that they do not pile up where nobody asks for them.
pub(crate) async fn upkeep(handle: PrometheusHandle, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await.is_some() {
        handle.run_upkeep();
    }
}
