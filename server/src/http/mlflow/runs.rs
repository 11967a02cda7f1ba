//! `runs/…`: opening runs, asking for one, and writing to it.
//!
//! What writes is refused for runs that Trainyard trains, but for tags and for deleting and restoring, which only concern how they are
//! found. An external run that has ended takes more, as MLflow's clients are used to; one that was cancelled does not.

use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use trainyard_wire::external::{MOST_POINTS, OpenRun};
use trainyard_wire::spec::external::{ParamValue, Params};
use trainyard_wire::{Number, RunId, RunState, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::types::{Int, MlflowMetric, MlflowPair, MlflowRunAnswer, MlflowRunInfo};
use super::view::{COMMIT_TAG, NAME_TAG, RunView, SOURCE_TAG};
use super::{MlflowNothing, experiment_id, run_id, search};
use crate::http::app::{App, Shared};
use crate::http::extract::{Json, JsonBytes, Query};
use crate::http::problem::ApiError;
use crate::store::{Late, LogBatch, NewExternalRun, RunUpdate};

/// The one run with this id.
pub(super) async fn one(app: &App, id: RunId) -> Result<RunView, ApiError> {
    search::read(app, &[id]).await?.pop().ok_or_else(|| ApiError::not_found(format!("run {id}")))
}

async fn answer(app: &App, id: RunId) -> Result<JsonAnswer<MlflowRunAnswer>, ApiError> {
    Ok(JsonAnswer(MlflowRunAnswer { run: one(app, id).await?.into_run() }))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowCreateRun {
    /// The default one (`0`), unless given.
    experiment_id: Option<String>,
    /// Kept as the tag `mlflow.user`.
    user_id: Option<String>,
    run_name: Option<String>,
    /// Milliseconds since the Unix epoch.
    start_time: Option<Int>,
    #[serde(default)]
    tags: Vec<MlflowPair>,
}

/// Opens an external run.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/create", tag = "mlflow", request_body = MlflowCreateRun,
    responses((status = 200, body = MlflowRunAnswer)))]
pub(crate) async fn create(State(app): State<Shared>, Json(body): Json<MlflowCreateRun>) -> Result<JsonAnswer<MlflowRunAnswer>, ApiError> {
    let experiment = body.experiment_id.as_deref().map_or(Ok(0), experiment_id)?;
    let mut tags: BTreeMap<String, String> = body.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    let tagged_name = tags.remove(NAME_TAG);
    let name = body.run_name.or(tagged_name).filter(|name| !name.is_empty());
    if let Some(user) = body.user_id.filter(|user| !user.is_empty()) {
        tags.entry("mlflow.user".to_owned()).or_insert(user);
    }
    let told = |tag: &str| tags.get(tag).filter(|text| !text.is_empty()).cloned();
    let (git_commit, command) = (told(COMMIT_TAG), told(SOURCE_TAG));
    let open = OpenRun { name, tags, git_commit, command, ..OpenRun::default() };
    open.check().map_err(ApiError::Invalid)?;
    let started_at = body.start_time.map(|time| wall_clock("/start_time", time)).transpose()?;
    let (spec, OpenRun { name, tags, .. }) = (open.spec(), open);
    let id = app.store.open_external(NewExternalRun { name, tags, spec, experiment, started_at, idempotency: None }).await?;
    answer(&app, id).await
}

/// A time that RFC 3339 can write.
fn wall_clock(pointer: &str, Int(time): Int) -> Result<Timestamp, ApiError> {
    let fits = (Timestamp::MIN.0..=Timestamp::MAX.0).contains(&time);
    fits.then_some(Timestamp(time)).ok_or_else(|| ApiError::invalid(pointer, "must be in the years 0 to 9999"))
}

/// The run that a request names, by either name of its id.
fn named(run_id_given: Option<&str>, run_uuid: Option<&str>) -> Result<RunId, ApiError> {
    let text = run_id_given.or(run_uuid).filter(|text| !text.is_empty());
    text.map_or_else(|| Err(ApiError::invalid("/run_id", "must be given")), run_id)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RunIdQuery {
    run_id: Option<String>,
    /// The same, by its earlier name.
    run_uuid: Option<String>,
}

/// One run.
#[utoipa::path(get, path = "/api/2.0/mlflow/runs/get", tag = "mlflow", params(RunIdQuery),
    responses((status = 200, body = MlflowRunAnswer)))]
pub(crate) async fn get(State(app): State<Shared>, Query(query): Query<RunIdQuery>) -> Result<JsonAnswer<MlflowRunAnswer>, ApiError> {
    answer(&app, named(query.run_id.as_deref(), query.run_uuid.as_deref())?).await
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum MlflowStatus {
    Running,
    Finished,
    Failed,
    Killed,
}

impl From<MlflowStatus> for RunState {
    fn from(status: MlflowStatus) -> Self {
        match status {
            MlflowStatus::Running => Self::Running,
            MlflowStatus::Finished => Self::Succeeded,
            MlflowStatus::Failed => Self::Failed,
            MlflowStatus::Killed => Self::Cancelled,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowUpdateRun {
    run_id: Option<String>,
    run_uuid: Option<String>,
    status: Option<MlflowStatus>,
    end_time: Option<Int>,
    run_name: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowRunUpdated {
    run_info: MlflowRunInfo,
}

/// Renames an external run, ends it, or opens it again.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/update", tag = "mlflow", request_body = MlflowUpdateRun,
    responses((status = 200, body = MlflowRunUpdated)))]
pub(crate) async fn update(State(app): State<Shared>, Json(body): Json<MlflowUpdateRun>) -> Result<JsonAnswer<MlflowRunUpdated>, ApiError> {
    let id = named(body.run_id.as_deref(), body.run_uuid.as_deref())?;
    let finished_at = body.end_time.map(|time| wall_clock("/end_time", time)).transpose()?;
    let name = body.run_name.filter(|name| !name.is_empty());
    let update = RunUpdate { name, state: body.status.map(Into::into), error: None, finished_at };
    app.store.update_external(id, update, Late::Taken).await?;
    Ok(JsonAnswer(MlflowRunUpdated { run_info: one(&app, id).await?.info() }))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowRunId {
    run_id: Option<String>,
    run_uuid: Option<String>,
}

/// Hides a run from searches of MLflow's clients; nothing of it goes.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/delete", tag = "mlflow", request_body = MlflowRunId,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn delete(State(app): State<Shared>, Json(body): Json<MlflowRunId>) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    app.store.set_deleted_in_mlflow(named(body.run_id.as_deref(), body.run_uuid.as_deref())?, true).await?;
    Ok(JsonAnswer(MlflowNothing {}))
}

/// Shows a deleted run again.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/restore", tag = "mlflow", request_body = MlflowRunId,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn restore(State(app): State<Shared>, Json(body): Json<MlflowRunId>) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    app.store.set_deleted_in_mlflow(named(body.run_id.as_deref(), body.run_uuid.as_deref())?, false).await?;
    Ok(JsonAnswer(MlflowNothing {}))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowRunPair {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: String,
    #[serde(default)]
    value: String,
}

/// Sets a tag of a run.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/set-tag", tag = "mlflow", request_body = MlflowRunPair,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn set_tag(State(app): State<Shared>, Json(body): Json<MlflowRunPair>) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    let id = named(body.run_id.as_deref(), body.run_uuid.as_deref())?;
    let (name, tags) = labels([(body.key, body.value)]);
    app.store.relabel(id, name, tags).await?;
    Ok(JsonAnswer(MlflowNothing {}))
}

/// Tags to set, and the name that is among them.
fn labels(pairs: impl IntoIterator<Item = (String, String)>) -> (Option<String>, BTreeMap<String, Option<String>>) {
    let mut tags: BTreeMap<String, Option<String>> = pairs.into_iter().map(|(key, value)| (key, Some(value))).collect();
    (tags.remove(NAME_TAG).flatten(), tags)
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowRunKey {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: String,
}

/// Takes a tag away from a run.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/delete-tag", tag = "mlflow", request_body = MlflowRunKey,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn delete_tag(State(app): State<Shared>, Json(body): Json<MlflowRunKey>) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    let id = named(body.run_id.as_deref(), body.run_uuid.as_deref())?;
    if !one(&app, id).await?.has_tag(&body.key) {
        return Err(ApiError::not_found(format!("the tag `{}` of run {id}", body.key)));
    }
    app.store.relabel(id, None, BTreeMap::from([(body.key, None)])).await?;
    Ok(JsonAnswer(MlflowNothing {}))
}

/// Logs a parameter, which stays as it is from then on.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/log-parameter", tag = "mlflow", request_body = MlflowRunPair,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn log_parameter(
    State(app): State<Shared>,
    Json(body): Json<MlflowRunPair>,
) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    let id = named(body.run_id.as_deref(), body.run_uuid.as_deref())?;
    let params = Params::from_iter([(body.key, ParamValue::Text(body.value))]);
    log(&app, id, LogBatch { params, params_stay: true, ..LogBatch::default() }).await
}

async fn log(app: &App, id: RunId, batch: LogBatch) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    app.store.log(id, batch, Late::Taken).await?;
    Ok(JsonAnswer(MlflowNothing {}))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowLogMetric {
    run_id: Option<String>,
    run_uuid: Option<String>,
    key: String,
    value: Number,
    /// Milliseconds since the Unix epoch.
    timestamp: Option<Int>,
    #[serde(default)]
    step: Int,
}

/// Logs a point of a metric.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/log-metric", tag = "mlflow", request_body = MlflowLogMetric,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn log_metric(
    State(app): State<Shared>,
    Json(body): Json<MlflowLogMetric>,
) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    let id = named(body.run_id.as_deref(), body.run_uuid.as_deref())?;
    let mut batch = LogBatch::default();
    let added = batch.points.add(&body.key, body.step.0, body.value, body.timestamp.map(|Int(time)| time));
    added.map_err(|error| ApiError::invalid("", error.to_string()))?;
    log(&app, id, batch).await
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowLogBatch {
    run_id: Option<String>,
    run_uuid: Option<String>,
    #[serde(default)]
    metrics: Vec<MlflowMetric>,
    #[serde(default)]
    params: Vec<MlflowPair>,
    #[serde(default)]
    tags: Vec<MlflowPair>,
}

/// Logs points, parameters and tags of an external run, all or nothing. What is there already changes nothing.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/log-batch", tag = "mlflow", request_body = MlflowLogBatch,
    responses((status = 200, body = MlflowNothing)))]
pub(crate) async fn log_batch(State(app): State<Shared>, body: JsonBytes) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
    let MlflowLogBatch { run_id, run_uuid, metrics, params, tags } = read(&body)?;
    let id = named(run_id.as_deref(), run_uuid.as_deref())?;
    if metrics.len() > MOST_POINTS {
        return Err(ApiError::invalid("/metrics", format!("must be at most {MOST_POINTS}, are {}", metrics.len())));
    }
    let mut batch = LogBatch { params_stay: true, ..LogBatch::default() };
    for (index, MlflowMetric { key, value, timestamp, step }) in metrics.iter().enumerate() {
        let added = batch.points.add(key, step.0, *value, timestamp.map(|Int(time)| time));
        added.map_err(|error| ApiError::invalid(format!("/metrics/{index}"), error.to_string()))?;
    }
    for (index, MlflowPair { key, value }) in params.into_iter().enumerate() {
        let value = ParamValue::Text(value);
        if batch.params.get(&key).is_some_and(|known| *known != value) {
            return Err(ApiError::invalid(format!("/params/{index}"), format!("`{key}` has two values in one request")));
        }
        batch.params.insert(key, value);
    }
    (batch.name, batch.tags) = labels(tags.into_iter().map(|tag| (tag.key, tag.value)));
    log(&app, id, batch).await
}

/// Reads a batch without remembering the way to each value; only what cannot be read is read again, to tell where.
fn read(body: &JsonBytes) -> Result<MlflowLogBatch, ApiError> {
    match serde_json::from_slice(&body.0) {
        Ok(batch) if body.0.trim_ascii_start().first() == Some(&b'{') => Ok(batch),
        _ => body.read_long(),
    }
}
