//! Charts as Plotly figures, made of typed traces: `/v1/runs/{id}/charts` and `/v1/compare/charts/{name}.json`.
//!
//! A figure is what `Plotly.newPlot` and `plotly.io.from_json` take, in colours that can be read on white. Each trace says in `meta` what it
//! is and of which series (`raw:0`, `smooth:0`, `edge:0` and `band:0`, `mark:0`), so that a page may colour it its own way. Beside the figure
//! stand `facts`: what a reader should be told in words. [`curves`] draws the metrics of a run, [`known`] names the charts that each kind of run
//! has, [`comparison`] draws many runs, and [`figure`] has what all share. Charts cost what they show, not what is stored.

mod baselines;
mod colours;
mod comparison;
mod curves;
mod figure;
mod known;
mod parallel;
mod scatter;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use trainyard_wire::colours::{CONFUSION, Confusion};
use trainyard_wire::run::Run;
use trainyard_wire::{Problem, Revision, RunId, Spec};
use utoipa::{IntoParams, ToSchema};

use super::app::Shared;
use super::compare;
use super::conditional::{etag, not_modified};
use super::extract::{Path, Query};
use super::problem::ApiError;
use super::runs::no_run;
use crate::comparison::SideBySide;
use crate::store::CurveQuery;
use curves::Drawing;
use figure::Figure;
use known::Chart;

/// Buckets of a curve where the client does not say.
const DEFAULT_BUCKETS: u32 = 500;
/// Most buckets of a curve.
const MOST_BUCKETS: u32 = 5_000;
/// A curve comes as points where those are no more than so many times its buckets.
const POINTS_A_BUCKET: u32 = 4;

/// The scale of an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scale {
    #[default]
    Linear,
    Log,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChartQuery {
    /// First step, inclusive.
    from: Option<u64>,
    /// Last step, inclusive.
    to: Option<u64>,
    /// A curve of more than four times so many points comes in so many buckets, with a band from their minimum to their maximum (1 to 5000; 500).
    buckets: Option<u32>,
    /// A smoothed curve beside the raw one: the weight of what came before, from 0 (none, the default) to below 1.
    smooth: Option<f64>,
    /// The scale of the steps; the chart's own if left out.
    #[param(inline)]
    x: Option<Scale>,
    /// The scale of the values; the chart's own if left out.
    #[param(inline)]
    y: Option<Scale>,
}

/// The charts of a run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Charts {
    charts: Vec<Chart>,
}

/// Which charts a run has: those of its kind, then one for each other metric.
#[utoipa::path(get, path = "/v1/runs/{id}/charts", tag = "charts", params(("id" = i64, Path)),
    responses((status = 200, body = Charts), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, Path(id): Path<RunId>, headers: HeaderMap) -> Result<Response, ApiError> {
    let revision = app.store.run_revision(id).await?.ok_or_else(|| no_run(id))?;
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let run = app.store.runs_by_id(&[id]).await?.pop().ok_or_else(|| no_run(id))?;
    Ok(([etag(revision)], JsonAnswer(Charts { charts: known::charts(&run) })).into_response())
}

/// A chart of a run as a Plotly figure.
///
/// `name` is one of the run's charts, or any of its metrics, with `.json` behind it. A colourization also has `confusion.json` once it is done: a heat
/// map of which colours of the palette are taken for which, with recall and precision of each in `facts`.
#[utoipa::path(get, path = "/v1/runs/{id}/charts/{*name}", tag = "charts",
    params(("id" = i64, Path), ("name" = String, Path, description = "`loss.json`, …"), ChartQuery),
    responses((status = 200, description = "A Plotly figure", body = Object), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn run(
    State(app): State<Shared>,
    Path((id, name)): Path<(RunId, String)>,
    Query(query): Query<ChartQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let buckets = buckets(query.buckets)?;
    let smoothing = query.smooth.unwrap_or(0.0);
    if !(0.0..1.0).contains(&smoothing) {
        return Err(ApiError::query("smooth", format!("must be from 0 to below 1, is {smoothing}")));
    }
    let revision = app.store.run_revision(id).await?.ok_or_else(|| no_run(id))?;
    let name = file_name(&name).ok_or_else(|| no_chart(&name))?;
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let run = app.store.runs_by_id(&[id]).await?.pop().ok_or_else(|| no_run(id))?;
    if name == colours::NAME && is_colourization(&run) {
        let confusion: Confusion = colours::read(&app, id, CONFUSION).await?.ok_or_else(|| no_chart(name))?;
        return send(revision, move || colours::figure(&confusion).ok_or_else(|| no_chart(colours::NAME))).await;
    }
    let chart = known::chart(&run, name).ok_or_else(|| no_chart(name))?;
    let asked = CurveQuery {
        names: chart.metrics.clone(),
        from: query.from,
        to: query.to,
        points: buckets.saturating_mul(POINTS_A_BUCKET),
        buckets,
    };
    let found = app.store.curves(id, &asked).await?.ok_or_else(|| no_run(id))?;
    let metrics: Vec<&str> = chart.metrics.iter().map(String::as_str).collect();
    let levels = if is_colourization(&run) { baselines::of_run(&app, id, &metrics).await? } else { Vec::new() };
    let drawing = Drawing { x: query.x.unwrap_or(chart.x), y: query.y.unwrap_or(chart.y), smoothing };
    send(revision, move || Ok(curves::figure(&chart.title, &found, &levels, drawing))).await
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ComparisonQuery {
    /// Ids, separated by commas; at most 1000.
    runs: Option<String>,
    /// All runs of this job, instead of `runs`; at most 1000.
    job: Option<i64>,
    /// The metric whose curves or last values are drawn; that which the runs are judged by if left out.
    metric: Option<String>,
    /// `scatter`: the setting on the x axis, as a dotted path into the spec; the first in which the runs differ if left out.
    x: Option<String>,
    /// The scale of the metric's axis (linear).
    #[param(inline)]
    y: Option<Scale>,
}

/// A chart of many runs as a Plotly figure.
///
/// `curves.json`: the metric over the steps, for each group of runs that differ in nothing but their seed the mean and its interval at 95 %; the 24 best
/// groups of more. `scatter.json`: the last value over one setting. `parallel.json`: a line for each run through the settings in which they differ.
#[utoipa::path(get, path = "/v1/compare/charts/{name}", tag = "charts",
    params(("name" = String, Path, description = "`curves.json`, `scatter.json` or `parallel.json`"), ComparisonQuery),
    responses((status = 200, description = "A Plotly figure", body = Object), (status = 304, description = "Nothing changed"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn compare(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<ComparisonQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = file_name(&name).filter(|name| ["curves", "scatter", "parallel"].contains(name)).ok_or_else(|| no_chart(&name))?;
    let ids = compare::compared(&app, query.runs.as_deref(), query.job).await?;
    let revision = app.store.revision_of(&ids).await?;
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let candidates = compare::candidates(&app, &ids).await?;
    let are_colourizations = candidates.iter().all(|run| run.spec.get("kind").is_some_and(|kind| kind == "colourization"));
    let all = SideBySide::of(candidates);
    let metric = query.metric.or_else(|| all.main_metric()).unwrap_or_default();
    let y = query.y.unwrap_or_default();
    match file {
        "scatter" => {
            let path = query.x.unwrap_or_else(|| scatter::default_path(&all));
            send(revision, move || scatter::figure(&all, &metric, &path, y)).await
        }
        "parallel" => send(revision, move || Ok(parallel::figure(&all, &metric))).await,
        _ => {
            let shown = comparison::shown(&all, &metric);
            let asked = comparison::query(&metric);
            let found = app.store.curves_of(&shown.ids(&all), &asked).await?;
            let levels = if are_colourizations { baselines::of_all(&app, &all, &metric).await? } else { Vec::new() };
            send(revision, move || Ok(comparison::figure(&all, &shown, &metric, &found, &levels, y))).await
        }
    }
}

fn buckets(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked.unwrap_or(DEFAULT_BUCKETS) {
        buckets if (1..=MOST_BUCKETS).contains(&buckets) => Ok(buckets),
        buckets => Err(ApiError::query("buckets", format!("must be from 1 to {MOST_BUCKETS}, is {buckets}"))),
    }
}

fn is_colourization(run: &Run) -> bool {
    matches!(run.spec, Spec::Colourization(_))
}

fn file_name(name: &str) -> Option<&str> {
    name.strip_suffix(".json").filter(|name| !name.is_empty())
}

fn no_chart(name: &str) -> ApiError {
    ApiError::not_found(format!("a chart {name}"))
}

/// Makes a figure and writes it, off the runtime's threads.
async fn send(revision: Revision, make: impl FnOnce() -> Result<Figure, ApiError> + Send + 'static) -> Result<Response, ApiError> {
    let written = tokio::task::spawn_blocking(move || serde_json::to_string(&make()?).map_err(ApiError::internal));
    let text = written.await.map_err(ApiError::internal)??;
    Ok(([etag(revision)], [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}
