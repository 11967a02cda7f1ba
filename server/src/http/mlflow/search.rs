//! `runs/search`: the runs that a filter lets through, in any order, in pages.
//!
//! The runs of the experiments pass by a thousand at a time, each with no more than the filter and the order look at, and the first of
//! the page are kept; then those are read in full. A page's token is the place of its last run in the order, so what comes or goes in
//! between neither doubles nor hides another run.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use trainyard_wire::RunId;
use utoipa::ToSchema;

use super::experiment_id;
use super::filter::{Attribute, Field, Filter, Key, Order, Target};
use super::types::{MlflowRun, MlflowViewType};
use super::view::RunView;
use crate::http::app::{App, Shared};
use crate::http::extract::Json;
use crate::http::paging::{decode_cursor, encode_cursor};
use crate::http::problem::ApiError;
use crate::store::{LastValues, StoreError};

/// Runs of a page where the client does not say.
const DEFAULT: u32 = 1000;
/// Most that a client may ask for, as in MLflow, and most that a page then has.
const MOST_ASKED: u32 = 50_000;
const MOST: u32 = 2000;
/// Runs that pass by at a time.
const AT_A_TIME: u32 = 1000;

#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct MlflowSearchRuns {
    #[serde(default)]
    experiment_ids: Vec<String>,
    /// `metrics.loss < 0.5 AND params.optimizer = 'adam' AND tags.topic LIKE 'rms%' AND attributes.status = 'FINISHED'`
    #[serde(default)]
    filter: String,
    #[serde(default)]
    run_view_type: MlflowViewType,
    /// 1 to 50,000 (1000). A page may have fewer, and a token then.
    max_results: Option<u32>,
    /// `metrics.loss DESC`, `attributes.start_time ASC`
    #[serde(default)]
    order_by: Vec<String>,
    page_token: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MlflowFoundRuns {
    runs: Vec<MlflowRun>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

/// A run's place in an order: its keys, and among those that have the same, the youngest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Place {
    keys: Vec<Key>,
    run: RunId,
}

impl Place {
    fn compare(&self, other: &Self, order: &Order) -> Ordering {
        order.compare(&self.keys, &other.keys).then(other.run.cmp(&self.run))
    }
}

/// Searches runs.
#[utoipa::path(post, path = "/api/2.0/mlflow/runs/search", tag = "mlflow", request_body = MlflowSearchRuns,
    responses((status = 200, body = MlflowFoundRuns)))]
pub(crate) async fn runs(State(app): State<Shared>, Json(body): Json<MlflowSearchRuns>) -> Result<JsonAnswer<MlflowFoundRuns>, ApiError> {
    let experiments = body.experiment_ids.iter().map(|id| experiment_id(id)).collect::<Result<Vec<_>, _>>()?;
    let asked = body.max_results.unwrap_or(DEFAULT);
    if !(1..=MOST_ASKED).contains(&asked) {
        return Err(ApiError::invalid("/max_results", format!("must be from 1 to {MOST_ASKED}, is {asked}")));
    }
    let search = Search {
        filter: Filter::parse(&body.filter, Target::Runs)?,
        order: Order::parse(&body.order_by, Target::Runs, Attribute::StartTime)?,
        shown: body.run_view_type,
        after: decode_cursor(body.page_token.as_deref().filter(|token| !token.is_empty()))?,
        limit: asked.min(MOST) as usize,
    };
    let (places, more) = search.places(&app, &experiments).await?;
    let next_page_token = places.last().filter(|_| more).map(encode_cursor).transpose()?;
    let ids: Vec<RunId> = places.iter().map(|place| place.run).collect();
    let mut runs = read(&app, &ids).await?;
    runs.sort_by_cached_key(|run| ids.iter().position(|id| *id == run.found().id));
    Ok(JsonAnswer(MlflowFoundRuns { runs: runs.into_iter().map(RunView::into_run).collect(), next_page_token }))
}

/// Those of these runs that exist, with all that is told of them.
pub(super) async fn read(app: &App, ids: &[RunId]) -> Result<Vec<RunView>, ApiError> {
    let found = app.store.found_runs_by_id(ids).await?;
    let mut metrics = app.store.last_values(ids, None).await?;
    found.into_iter().map(|found| RunView::new_with(found, &mut metrics)).collect()
}

impl RunView {
    fn new_with(found: crate::store::FoundRun, metrics: &mut LastValues) -> Result<Self, ApiError> {
        let metrics = metrics.remove(&found.id).unwrap_or_default();
        Self::new(found, metrics)
    }
}

struct Search {
    filter: Filter,
    order: Order,
    shown: MlflowViewType,
    after: Option<Place>,
    limit: usize,
}

impl Search {
    /// The places of the page's runs, in order, and whether there are more behind them.
    async fn places(&self, app: &App, experiments: &[i64]) -> Result<(Vec<Place>, bool), ApiError> {
        let fields = || self.filter.fields().chain(self.order.fields());
        let metrics: BTreeSet<&str> =
            fields().filter_map(|field| if let Field::Metric(name) = field { Some(name.as_str()) } else { None }).collect();
        let metrics: Vec<&str> = metrics.into_iter().collect();
        // The spec has the parameters, and some tags.
        let with_spec = fields().any(|field| matches!(field, Field::Param(_) | Field::Tag(_)));
        let mut kept: Vec<Place> = Vec::new();
        let mut before = RunId(i64::MAX);
        loop {
            let found = app.store.found_runs(experiments, before, with_spec, AT_A_TIME).await?;
            let Some(last) = found.last() else { break };
            before = last.id;
            let ids: Vec<RunId> = found.iter().map(|run| run.id).collect();
            let mut values = self.values(app, &ids, &metrics).await?;
            for found in found.into_iter().filter(|found| self.shown.shows(found.deleted)) {
                let view = RunView::new_with(found, &mut values)?;
                if self.filter.lets_through(&view) {
                    let place = Place { keys: self.order.keys(&view), run: view.found().id };
                    if self.after.as_ref().is_none_or(|after| place.compare(after, &self.order).is_gt()) {
                        kept.push(place);
                    }
                }
            }
            if kept.len() > self.limit + 1 + AT_A_TIME as usize {
                self.keep_first(&mut kept);
            }
        }
        self.keep_first(&mut kept);
        let more = kept.len() > self.limit;
        kept.truncate(self.limit);
        Ok((kept, more))
    }

    /// Sorts, and keeps those of the page and one more, which tells whether there is one.
    fn keep_first(&self, kept: &mut Vec<Place>) {
        kept.sort_unstable_by(|one, other| one.compare(other, &self.order));
        kept.truncate(self.limit + 1);
    }

    async fn values(&self, app: &App, ids: &[RunId], metrics: &[&str]) -> Result<LastValues, StoreError> {
        match metrics {
            [] => Ok(LastValues::new()),
            names => app.store.last_values(ids, Some(names)).await,
        }
    }
}
