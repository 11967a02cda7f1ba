//! `logged-models/search`: MLflow 3 keeps models apart from files, and its client looks for them when it lists the files of a run in a
//! folder. Trainyard keeps models as files.

use axum::Json as JsonAnswer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::experiment_id;
use crate::http::extract::Json;
use crate::http::problem::ApiError;

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowSearchModels {
    #[serde(default)]
    experiment_ids: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowFoundModels {
    /// Always empty.
    #[schema(value_type = Vec<String>)]
    models: [(); 0],
}

/// The logged models of experiments: there are none, whatever is searched for.
#[utoipa::path(post, path = "/api/2.0/mlflow/logged-models/search", tag = "mlflow", request_body = MlflowSearchModels,
    responses((status = 200, body = MlflowFoundModels)))]
pub(crate) async fn search(Json(body): Json<MlflowSearchModels>) -> Result<JsonAnswer<MlflowFoundModels>, ApiError> {
    for id in &body.experiment_ids {
        experiment_id(id)?;
    }
    Ok(JsonAnswer(MlflowFoundModels { models: [] }))
}
