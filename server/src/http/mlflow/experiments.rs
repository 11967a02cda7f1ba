//! `experiments/…`: groups of runs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::filter::{Attribute, Field, Filter, Order, Subject, Target};
use super::types::{MlflowExperiment, MlflowPair, MlflowViewType};
use super::view::stage;
use super::{MlflowNothing, experiment_id};
use crate::http::app::Shared;
use crate::http::extract::{Json, Query};
use crate::http::paging::{decode_cursor, encode_cursor};
use crate::http::problem::ApiError;
use crate::store::{Experiment, ExperimentChange, ExperimentError};

/// Most experiments of a page.
const MOST: u32 = 1000;

impl From<ExperimentError> for ApiError {
    fn from(error: ExperimentError) -> Self {
        match error {
            ExperimentError::Unknown => Self::NotFound(error.to_string()),
            ExperimentError::Exists(_) => Self::AlreadyExists(error.to_string()),
            ExperimentError::Fixed(_) => Self::Conflict(error.to_string()),
            ExperimentError::Name => Self::invalid("/name", error.to_string()),
            ExperimentError::Tags => Self::invalid("/tags", error.to_string()),
            ExperimentError::Store(error) => error.into(),
        }
    }
}

impl From<Experiment> for MlflowExperiment {
    fn from(experiment: Experiment) -> Self {
        Self {
            experiment_id: experiment.id.to_string(),
            artifact_location: format!("mlflow-artifacts:/{}", experiment.id),
            lifecycle_stage: stage(experiment.deleted),
            creation_time: experiment.created_at.0,
            last_update_time: experiment.updated_at.0,
            name: experiment.name,
            tags: experiment.tags.into_iter().map(|(key, value)| MlflowPair { key, value }).collect(),
        }
    }
}

impl Subject for Experiment {
    fn number(&self, field: &Field) -> Option<f64> {
        match field {
            Field::Attribute(Attribute::CreationTime) => Some(self.created_at.0 as f64),
            Field::Attribute(Attribute::LastUpdateTime) => Some(self.updated_at.0 as f64),
            _ => None,
        }
    }

    fn text(&self, field: &Field) -> Option<Cow<'_, str>> {
        match field {
            Field::Tag(name) => self.tags.get(name).map(Into::into),
            Field::Attribute(Attribute::Name) => Some(self.name.as_str().into()),
            Field::Attribute(Attribute::ExperimentId) => Some(self.id.to_string().into()),
            _ => None,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowCreateExperiment {
    name: String,
    #[serde(default)]
    tags: Vec<MlflowPair>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowExperimentCreated {
    experiment_id: String,
}

/// Makes an experiment for external runs. Where their files are kept is not the client's to say.
#[utoipa::path(post, path = "/api/2.0/mlflow/experiments/create", tag = "mlflow", request_body = MlflowCreateExperiment,
    responses((status = 200, body = MlflowExperimentCreated)))]
pub(crate) async fn create(
    State(app): State<Shared>,
    Json(body): Json<MlflowCreateExperiment>,
) -> Result<JsonAnswer<MlflowExperimentCreated>, ApiError> {
    let tags: BTreeMap<String, String> = body.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    let id = app.store.create_experiment(body.name, tags).await?;
    Ok(JsonAnswer(MlflowExperimentCreated { experiment_id: id.to_string() }))
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowExperimentAnswer {
    experiment: MlflowExperiment,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExperimentQuery {
    experiment_id: String,
}

/// One experiment.
#[utoipa::path(get, path = "/api/2.0/mlflow/experiments/get", tag = "mlflow", params(ExperimentQuery),
    responses((status = 200, body = MlflowExperimentAnswer)))]
pub(crate) async fn get(
    State(app): State<Shared>,
    Query(query): Query<ExperimentQuery>,
) -> Result<JsonAnswer<MlflowExperimentAnswer>, ApiError> {
    let found = app.store.experiment(experiment_id(&query.experiment_id)?).await?;
    answer(found, &query.experiment_id)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExperimentNameQuery {
    experiment_name: String,
}

/// The experiment with this name.
#[utoipa::path(get, path = "/api/2.0/mlflow/experiments/get-by-name", tag = "mlflow", params(ExperimentNameQuery),
    responses((status = 200, body = MlflowExperimentAnswer)))]
pub(crate) async fn get_by_name(
    State(app): State<Shared>,
    Query(query): Query<ExperimentNameQuery>,
) -> Result<JsonAnswer<MlflowExperimentAnswer>, ApiError> {
    answer(app.store.experiment_by_name(&query.experiment_name).await?, &query.experiment_name)
}

fn answer(found: Option<Experiment>, asked: &str) -> Result<JsonAnswer<MlflowExperimentAnswer>, ApiError> {
    let experiment = found.ok_or_else(|| ApiError::not_found(format!("experiment `{asked}`")))?;
    Ok(JsonAnswer(MlflowExperimentAnswer { experiment: experiment.into() }))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowSearchExperiments {
    /// 1 to 1000 (1000).
    max_results: Option<u32>,
    page_token: Option<String>,
    /// `name LIKE 'a%' AND tags.team = 'vision'`
    #[serde(default)]
    filter: String,
    /// `creation_time DESC`
    #[serde(default)]
    order_by: Vec<String>,
    #[serde(default)]
    view_type: MlflowViewType,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowFoundExperiments {
    experiments: Vec<MlflowExperiment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// Searches experiments.
#[utoipa::path(post, path = "/api/2.0/mlflow/experiments/search", tag = "mlflow", request_body = MlflowSearchExperiments,
    responses((status = 200, body = MlflowFoundExperiments)))]
pub(crate) async fn search(
    State(app): State<Shared>,
    Json(body): Json<MlflowSearchExperiments>,
) -> Result<JsonAnswer<MlflowFoundExperiments>, ApiError> {
    let filter = Filter::parse(&body.filter, Target::Experiments)?;
    let order = Order::parse(&body.order_by, Target::Experiments, Attribute::CreationTime)?;
    let limit = body.max_results.unwrap_or(MOST);
    if !(1..=50_000).contains(&limit) {
        return Err(ApiError::invalid("/max_results", "must be from 1 to 50000"));
    }
    let skipped: usize = decode_cursor(body.page_token.as_deref().filter(|token| !token.is_empty()))?.unwrap_or(0);
    let limit = limit.min(MOST) as usize;
    let mut found = app.store.experiments().await?;
    found.retain(|experiment| body.view_type.shows(experiment.deleted) && filter.lets_through(experiment));
    found.sort_by(|one, other| order.compare(&order.keys(one), &order.keys(other)).then(other.id.cmp(&one.id)));
    let more = found.len() > skipped.saturating_add(limit);
    let next_page_token = more.then(|| encode_cursor(&(skipped + limit))).transpose()?;
    let experiments = found.into_iter().skip(skipped).take(limit).map(Into::into).collect();
    Ok(JsonAnswer(MlflowFoundExperiments { experiments, next_page_token }))
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowExperimentId {
    experiment_id: String,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowRenameExperiment {
    experiment_id: String,
    new_name: String,
}

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowExperimentTag {
    experiment_id: String,
    key: String,
    #[serde(default)]
    value: String,
}

/// Changes of an experiment, each a route of its own.
macro_rules! changes {
    ($($name:ident $body:ident $path:literal $doc:literal $change:expr),+ $(,)?) => {
        $(
            #[doc = $doc]
            #[utoipa::path(post, path = $path, tag = "mlflow", request_body = $body, responses((status = 200, body = MlflowNothing)))]
            pub(crate) async fn $name(
                State(app): State<Shared>,
                Json(body): Json<$body>,
            ) -> Result<JsonAnswer<MlflowNothing>, ApiError> {
                let id = experiment_id(&body.experiment_id)?;
                let change: fn($body) -> ExperimentChange = $change;
                app.store.change_experiment(id, change(body)).await?;
                Ok(JsonAnswer(MlflowNothing {}))
            }
        )+
    };
}

changes!(
    update MlflowRenameExperiment "/api/2.0/mlflow/experiments/update" "Renames an experiment." |body| ExperimentChange::Rename(body.new_name),
    delete MlflowExperimentId "/api/2.0/mlflow/experiments/delete" "Hides an experiment from searches; its runs stay."
        |_| ExperimentChange::Delete,
    restore MlflowExperimentId "/api/2.0/mlflow/experiments/restore" "Shows a deleted experiment again." |_| ExperimentChange::Restore,
    set_tag MlflowExperimentTag "/api/2.0/mlflow/experiments/set-experiment-tag" "Sets a tag of an experiment."
        |body| ExperimentChange::SetTag(body.key, body.value),
    delete_tag MlflowExperimentTag "/api/2.0/mlflow/experiments/delete-experiment-tag" "Takes a tag away from an experiment."
        |body| ExperimentChange::DeleteTag(body.key),
);
