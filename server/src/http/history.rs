//! `/v1/runs/{id}/metrics`: the history of metrics as pages of points (JSON, NDJSON, CSV) or in buckets. Every answer is bounded.

use std::fmt::Write as _;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use trainyard_wire::metric::{BucketHistory, MetricHistory, Point};
use trainyard_wire::{Number, Problem, Revision, RunId, Timestamp};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::app::Shared;
use super::conditional::{etag, not_modified};
use super::extract::{Path, Query};
use super::paging;
use super::problem::ApiError;
use super::runs::no_run;
use crate::store::{BucketQuery, MetricPage, MetricQuery};

/// Points of an answer where the client does not say.
const DEFAULT_POINTS: u32 = 10_000;
/// Most points of an answer.
const MOST_POINTS: u32 = 100_000;
/// Most buckets of a series.
const MOST_BUCKETS: u32 = 10_000;
/// Most names of a query.
const MOST_NAMES: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// Only these metrics, separated by commas.
    names: Option<String>,
    /// First step, inclusive.
    from: Option<u64>,
    /// Last step, inclusive.
    to: Option<u64>,
    /// Only points that became known after this revision.
    after_revision: Option<i64>,
    /// Reduce each series to at most so many buckets of steps (1 to 10000).
    buckets: Option<u32>,
    /// Most points of the answer, 1 to 100000 (10000).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
    /// Instead of the `Accept` header.
    #[param(inline)]
    format: Option<Format>,
}

/// The answer in JSON, for the documentation: one or the other, which without any series are the same.
struct MetricsAnswer;

impl PartialSchema for MetricsAnswer {
    fn schema() -> RefOr<Schema> {
        let either = AnyOfBuilder::new().item(Ref::from_schema_name("MetricHistory")).item(Ref::from_schema_name("BucketHistory"));
        RefOr::T(Schema::AnyOf(either.build()))
    }
}

impl ToSchema for MetricsAnswer {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push(("MetricHistory".to_owned(), MetricHistory::schema()));
        schemas.push(("BucketHistory".to_owned(), BucketHistory::schema()));
        MetricHistory::schemas(schemas);
        BucketHistory::schemas(schemas);
    }
}

/// How points are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    Json,
    /// `name,step,value,time`
    Csv,
    /// An object a line: `{"name", "step", "value", "time"}`.
    Ndjson,
}

impl Format {
    /// The format that `Accept` names first among those there are; JSON if it names none.
    fn accepted(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let media = values.flat_map(|value| value.split(',')).map(|part| part.split(';').next().unwrap_or_default().trim());
        media
            .filter_map(|media| match media {
                "application/json" | "application/*" | "*/*" => Some(Self::Json),
                "text/csv" => Some(Self::Csv),
                "application/x-ndjson" | "application/ndjson" => Some(Self::Ndjson),
                _ => None,
            })
            .next()
            .unwrap_or(Self::Json)
    }
}

/// The history of a run's metrics.
///
/// Without `buckets`: points by name and step, in pages. With `buckets`: minimum, maximum, first, last and count of each bucket.
#[utoipa::path(get, path = "/v1/runs/{id}/metrics", tag = "runs", params(("id" = i64, Path), HistoryQuery),
    responses((status = 200, description = "The points, or the buckets",
            content((MetricsAnswer = "application/json"), (String = "text/csv"), (String = "application/x-ndjson"))),
        (status = 304, description = "Nothing changed"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<Shared>,
    Path(id): Path<RunId>,
    Query(query): Query<HistoryQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let names = names(query.names.as_deref())?;
    let format = query.format.unwrap_or_else(|| Format::accepted(&headers));
    let limit = paging::limit_up_to(query.limit, DEFAULT_POINTS, MOST_POINTS)?;
    let cursor = paging::decode_cursor(query.cursor.as_deref())?;
    let buckets = match query.buckets {
        Some(buckets) if (1..=MOST_BUCKETS).contains(&buckets) => Some(buckets),
        Some(buckets) => return Err(ApiError::query("buckets", format!("must be from 1 to {MOST_BUCKETS}, is {buckets}"))),
        None => None,
    };
    if buckets.is_some() {
        let others = [
            ("format", format != Format::Json && query.format.is_some()),
            ("cursor", cursor.is_some()),
            ("after_revision", query.after_revision.is_some()),
            ("limit", query.limit.is_some()),
        ];
        if let Some((name, _)) = others.iter().find(|(_, present)| *present) {
            return Err(ApiError::query(name, "does not go with buckets"));
        }
    }

    let revision = app.store.run_revision(id).await?.ok_or_else(|| no_run(id))?;
    let tag = [etag(revision), (header::VARY, HeaderValue::from_static("accept"))];
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok((tag, unchanged).into_response());
    }
    if let Some(buckets) = buckets {
        let query = BucketQuery { names, from: query.from, to: query.to, buckets };
        let history = app.store.metric_buckets(id, query).await?.ok_or_else(|| no_run(id))?;
        return Ok((tag, JsonAnswer(history)).into_response());
    }
    let query = MetricQuery { names, from: query.from, to: query.to, after_revision: query.after_revision.map(Revision), limit, cursor };
    let page = app.store.metrics(id, query).await?.ok_or_else(|| no_run(id))?;
    let next = page.next.map(|place| paging::next_link(&uri, &place)).transpose()?.map(|link| [link]);
    // Up to 100,000 points are written here: not on the runtime's threads.
    let body = tokio::task::spawn_blocking(move || write(&page, format)).await.map_err(ApiError::internal)??;
    Ok((tag, next, body).into_response())
}

fn names(names: Option<&str>) -> Result<Vec<String>, ApiError> {
    let Some(names) = names else { return Ok(Vec::new()) };
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
    if names.len() > MOST_NAMES || names.iter().any(String::is_empty) {
        return Err(ApiError::query("names", format!("must be 1 to {MOST_NAMES} names, separated by commas")));
    }
    Ok(names)
}

fn write(page: &MetricPage, format: Format) -> Result<Response, ApiError> {
    let points = page.history.series.iter().flat_map(|series| series.points.iter().map(|point| (series.name.as_str(), point)));
    let (media, text) = match format {
        Format::Json => return Ok(JsonAnswer(&page.history).into_response()),
        Format::Csv => ("text/csv; charset=utf-8", csv(points)?),
        Format::Ndjson => ("application/x-ndjson", ndjson(points)?),
    };
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static(media))], text).into_response())
}

fn csv<'a>(points: impl Iterator<Item = (&'a str, &'a Point)>) -> Result<String, ApiError> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["name", "step", "value", "time"]).map_err(ApiError::internal)?;
    let (mut step, mut value, mut time) = (String::new(), String::new(), String::new());
    for (name, point) in points {
        for (text, written) in
            [(&mut step, &point.step as &dyn std::fmt::Display), (&mut value, &Cell(point.value)), (&mut time, &point.time)]
        {
            text.clear();
            write!(text, "{written}").map_err(ApiError::internal)?;
        }
        writer.write_record([name, &step, &value, &time]).map_err(ApiError::internal)?;
    }
    let bytes = writer.into_inner().map_err(ApiError::internal)?;
    String::from_utf8(bytes).map_err(ApiError::internal)
}

/// A number as in JSON, without quotation marks: the shortest text that reads back as the same number.
struct Cell(Number);

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.0 {
            f64::INFINITY => f.write_str("Infinity"),
            f64::NEG_INFINITY => f.write_str("-Infinity"),
            value if value.is_nan() => f.write_str("NaN"),
            value => write!(f, "{value:?}"),
        }
    }
}

fn ndjson<'a>(points: impl Iterator<Item = (&'a str, &'a Point)>) -> Result<String, ApiError> {
    #[derive(Serialize)]
    struct Line<'a> {
        name: &'a str,
        step: u64,
        value: Number,
        time: Timestamp,
    }
    let mut text = Vec::new();
    for (name, point) in points {
        let line = Line { name, step: point.step, value: point.value, time: point.time };
        serde_json::to_writer(&mut text, &line).map_err(ApiError::internal)?;
        text.push(b'\n');
    }
    String::from_utf8(text).map_err(ApiError::internal)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};
    use trainyard_wire::metric::Point;
    use trainyard_wire::{Number, Timestamp};

    use super::{Format, csv, ndjson};

    #[test]
    fn points_are_written_so_that_they_read_back_as_they_were() {
        let points = [0.1, f64::NAN, f64::NEG_INFINITY, 1e-300].map(|value| Point { step: 3, value: Number(value), time: Timestamp(0) });
        let named = || points.iter().map(|point| ("a,b", point));
        assert_eq!(
            csv(named()).unwrap(),
            "name,step,value,time\n\"a,b\",3,0.1,1970-01-01T00:00:00Z\n\"a,b\",3,NaN,1970-01-01T00:00:00Z\n\
             \"a,b\",3,-Infinity,1970-01-01T00:00:00Z\n\"a,b\",3,1e-300,1970-01-01T00:00:00Z\n"
        );
        assert_eq!(
            ndjson(named().take(2)).unwrap(),
            "{\"name\":\"a,b\",\"step\":3,\"value\":0.1,\"time\":\"1970-01-01T00:00:00Z\"}\n\
             {\"name\":\"a,b\",\"step\":3,\"value\":\"NaN\",\"time\":\"1970-01-01T00:00:00Z\"}\n"
        );
    }

    #[test]
    fn the_first_known_media_type_is_taken() {
        let accept = |text| HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))]);
        assert_eq!(Format::accepted(&accept("text/html, text/csv;q=0.9, */*")), Format::Csv);
        assert_eq!(Format::accepted(&accept("application/x-ndjson")), Format::Ndjson);
        assert_eq!(Format::accepted(&accept("text/html")), Format::Json);
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Json);
    }
}
