//! What a server holds, read over HTTP as anybody would.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::{Attempt, JobId, RunId};

use crate::checker::{Stored, StoredRun};
use crate::history::Point;

/// Requests at one time.
const AT_ONCE: usize = 8;

/// The id of the newest job; 0 where there is none.
pub async fn newest_job(client: &Client) -> anyhow::Result<JobId> {
    Ok(client.jobs(1).await?.items.first().map_or(JobId(0), |job| job.id))
}

/// The jobs from `first` on and `earlier` ones, their runs, and `runs`.
///
/// # Errors
/// Where the server does not answer.
pub async fn read(client: &Client, first: JobId, earlier: &BTreeSet<JobId>, runs: &BTreeSet<RunId>) -> anyhow::Result<Stored> {
    let newest = newest_job(client).await?;
    let ids = earlier.iter().copied().chain((first.0.max(1)..=newest.0).map(JobId));
    let jobs = stream::iter(ids).map(|id| async move {
        match client.job(id).await {
            Ok(job) => Ok(Some((job.id, job.name.unwrap_or_default(), job.run_ids))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    });
    let jobs: Vec<_> = jobs.buffered(AT_ONCE).try_filter_map(async |job| Ok(job)).try_collect().await?;
    let wanted: BTreeSet<RunId> = jobs.iter().flat_map(|(_, _, runs)| runs).chain(runs).copied().collect();
    let runs = stream::iter(wanted).map(|id| async move { Ok(run(client, id).await?.map(|run| (id, run))) });
    let runs: BTreeMap<_, _> = runs.buffered(AT_ONCE).try_filter_map(async |run| anyhow::Ok(run)).try_collect().await?;
    Ok(Stored { jobs, runs })
}

/// A run with all that belongs to it; `None` where there is no such run.
pub async fn run(client: &Client, id: RunId) -> anyhow::Result<Option<StoredRun>> {
    let run = match client.run(id).await {
        Ok(run) => run,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read run {id}")),
    };
    let events = client.events(id).await?.items.into_iter().map(|event| {
        let attempt = event.detail.get("attempt").and_then(serde_json::Value::as_i64).map(Attempt);
        (event.kind, attempt)
    });
    let points = client.metrics(id, None).await?.series.into_iter().flat_map(|series| {
        let point = move |point: trainyard_wire::metric::Point| (point.step, point.value.0.to_bits());
        series.points.into_iter().map(point).map(move |(step, bits)| Point { name: series.name.clone(), step, bits })
    });
    let artifacts = client.artifacts(id).await?.artifacts.into_iter().map(|artifact| (artifact.name, artifact.sha256));
    Ok(Some(StoredRun {
        state: run.state,
        attempt: run.attempt,
        events: events.collect(),
        points: points.collect(),
        artifacts: artifacts.collect(),
    }))
}

fn is_missing(error: &ClientError) -> bool {
    error.status().is_some_and(|status| status.as_u16() == 404)
}
