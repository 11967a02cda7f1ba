//! `metrics/get-history`: all points of a metric, in pages.

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::run_id;
use super::types::{Int, MlflowMetric};
use crate::http::app::Shared;
use crate::http::extract::Query;
use crate::http::paging::{decode_cursor, encode_cursor};
use crate::http::problem::ApiError;
use crate::http::runs::no_run;
use crate::store::MetricQuery;

/// Most points of an answer, as many as the client asks for at a time.
const MOST: u32 = 25_000;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricHistoryQuery {
    run_id: Option<String>,
    /// The same, by its earlier name.
    run_uuid: Option<String>,
    metric_key: String,
    /// 1 to 25,000 (25,000).
    max_results: Option<u32>,
    page_token: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowMetricHistory {
    metrics: Vec<MlflowMetric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// The points of a metric by step; several of one step as they came.
#[utoipa::path(get, path = "/api/2.0/mlflow/metrics/get-history", tag = "mlflow", params(MetricHistoryQuery),
    responses((status = 200, body = MlflowMetricHistory)))]
pub(crate) async fn get(
    State(app): State<Shared>,
    Query(query): Query<MetricHistoryQuery>,
) -> Result<JsonAnswer<MlflowMetricHistory>, ApiError> {
    let id = run_id(query.run_id.as_deref().or(query.run_uuid.as_deref()).unwrap_or_default())?;
    let limit = query.max_results.unwrap_or(MOST);
    if !(1..=MOST).contains(&limit) {
        return Err(ApiError::query("max_results", format!("must be from 1 to {MOST}")));
    }
    let cursor = decode_cursor(query.page_token.as_deref().filter(|token| !token.is_empty()))?;
    let asked = MetricQuery { names: vec![query.metric_key], limit, cursor, ..MetricQuery::default() };
    let page = app.store.metrics(id, asked).await?.ok_or_else(|| no_run(id))?;
    let points = page.history.series.into_iter().flat_map(|series| {
        let key = series.name;
        series.points.into_iter().map(move |point| MlflowMetric {
            key: key.clone(),
            value: point.value,
            timestamp: Some(Int(point.time.0)),
            step: Int(i64::try_from(point.step).unwrap_or(i64::MAX)),
        })
    });
    let next_page_token = page.next.map(|next| encode_cursor(&next)).transpose()?;
    Ok(JsonAnswer(MlflowMetricHistory { metrics: points.collect(), next_page_token }))
}
