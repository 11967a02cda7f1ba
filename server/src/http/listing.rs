//! `GET /v1/runs`: its query, which a view is too, and the list; and the projects.
//!
//! The query is parsed by hand, because a filter may be given several times and because each error is to name its parameter.

use std::collections::HashSet;
use std::str::FromStr;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as WordError, StrDeserializer};
use trainyard_wire::annotation::Project;
use trainyard_wire::run::Run;
use trainyard_wire::state::Kind;
use trainyard_wire::{FieldError, JobId, Page, RunState, Timestamp};
use utoipa::IntoParams;

use super::app::Shared;
use super::conditional::{etag, not_modified};
use super::paging;
use super::problem::ApiError;
use crate::store::{Bound, Comparison, MetricFilter, RunSearch, Shelves, Sort, SortKey, Statistic, TagFilter};

const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
/// Most tags, and most metrics, that one query may ask for.
const MOST_OF_ONE: usize = 16;
/// Most characters of a filter.
const LONGEST: usize = 500;

/// For the documentation; [`parse`] reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code)]
pub(crate) struct RunsQuery {
    state: Option<RunState>,
    kind: Option<Kind>,
    /// Only the runs of this job, those that verify others too.
    job: Option<i64>,
    /// Only runs of this project; empty: of none.
    project: Option<String>,
    /// Only runs with this tag: `key`, or `key:value`. May be repeated: runs with all of them.
    tag: Option<Vec<String>>,
    /// Only runs with this in their name, notes or number, whatever the case of its ASCII letters.
    q: Option<String>,
    /// `false` (the default), `true` for archived runs only, or `all`.
    archived: Option<String>,
    /// Only runs with this optimizer.
    optimizer: Option<String>,
    /// Only runs with this network.
    network: Option<String>,
    /// Only runs submitted after this time (RFC 3339).
    created_after: Option<Timestamp>,
    /// Only runs submitted before this time.
    created_before: Option<Timestamp>,
    /// Only runs whose metric is so: `val_loss<0.5`, `loss.min<=0.001`, `val_accuracy.max>0.9`. The last value counts unless `.min` or `.max`
    /// says otherwise. May be repeated.
    metric: Option<Vec<String>>,
    /// `created`, `name`, `state`, `kind`, `project`, `duration`, `progress`, `metric.NAME.last`, `metric.NAME.min`, `metric.NAME.max` or
    /// `param.PATH` (a dotted path into the spec); with `-` before it from the greatest. Runs without the value come last. `-created` by
    /// default.
    sort: Option<String>,
    /// 1 to 1000 (100).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// The runs, newest first unless `sort` says otherwise, without the numbers of inline problems. All filters must hold.
#[utoipa::path(get, path = "/v1/runs", tag = "runs", params(RunsQuery),
    responses((status = 200, body = Page<Run>, headers(("X-Total-Count" = u64, description = "How many runs match, on all pages"))),
        (status = 304, description = "Nothing changed")))]
pub(crate) async fn list(State(app): State<Shared>, headers: HeaderMap, uri: Uri) -> Result<Response, ApiError> {
    let search = parse(uri.query().unwrap_or_default()).map_err(ApiError::Query)?;
    let revision = app.store.revision();
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let page = app.store.find_runs(&search).await?;
    let next = page.next.map(|place| paging::next_link(&uri, &place)).transpose()?;
    let total = page.total.map(|total| [(TOTAL_COUNT, HeaderValue::from(total))]);
    Ok(([etag(revision)], next.map(|link| [link]), total, JsonAnswer(Page { items: page.runs })).into_response())
}

/// The projects by name, with how many of their runs are in each state.
#[utoipa::path(get, path = "/v1/projects", tag = "runs",
    responses((status = 200, body = Page<Project>), (status = 304, description = "Nothing changed")))]
pub(crate) async fn projects(State(app): State<Shared>, headers: HeaderMap) -> Result<Response, ApiError> {
    let revision = app.store.revision();
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let items = app.store.projects().await?;
    Ok(([etag(revision)], JsonAnswer(Page { items })).into_response())
}

/// What a query of `GET /v1/runs` asks for.
pub(super) fn parse(query: &str) -> Result<RunSearch, Vec<FieldError>> {
    let (mut search, mut errors, mut seen) = (RunSearch::default(), Vec::new(), HashSet::new());
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let repeats = matches!(name.as_ref(), "tag" | "metric");
        let done = match repeats || seen.insert(name.clone().into_owned()) {
            true => apply(&mut search, &name, &value),
            false => Err("is given twice".to_owned()),
        };
        if let Err(detail) = done {
            errors.push(FieldError { pointer: format!("?{name}"), detail });
        }
    }
    if errors.is_empty() { Ok(search) } else { Err(errors) }
}

fn apply(search: &mut RunSearch, name: &str, value: &str) -> Result<(), String> {
    if name != "cursor" && value.chars().count() > LONGEST {
        return Err(format!("must have at most {LONGEST} characters"));
    }
    let text = || if value.is_empty() { Err("must not be empty".to_owned()) } else { Ok(Some(value.to_owned())) };
    match name {
        "state" => search.state = Some(from_text(value)?),
        "kind" => search.kind = Some(from_text(value)?),
        "job" => search.job = Some(from_text::<JobId>(value)?),
        "project" => search.project = Some(value.to_owned()),
        "tag" => add(&mut search.tags, tag(value)?)?,
        "q" => search.text = text()?,
        "archived" => search.shelves = shelves(value)?,
        "optimizer" => search.optimizer = text()?,
        "network" => search.network = text()?,
        "created_after" => search.created_after = Some(time(value)?),
        "created_before" => search.created_before = Some(time(value)?),
        "metric" => add(&mut search.metrics, metric(value)?)?,
        "sort" => search.sort = sort(value)?,
        "limit" => search.limit = paging::limit(Some(from_text(value)?)).map_err(first_detail)?,
        "cursor" => search.after = paging::decode_cursor(Some(value)).map_err(first_detail)?,
        _ => return Err("is not known here".to_owned()),
    }
    Ok(())
}

fn first_detail(error: ApiError) -> String {
    match error {
        ApiError::Query(errors) => errors.into_iter().next().map_or_else(String::new, |error| error.detail),
        other => other.to_string(),
    }
}

fn from_text<T: FromStr<Err: std::fmt::Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

fn add<T>(filters: &mut Vec<T>, filter: T) -> Result<(), String> {
    if filters.len() == MOST_OF_ONE {
        return Err(format!("may be given {MOST_OF_ONE} times"));
    }
    filters.push(filter);
    Ok(())
}

fn tag(value: &str) -> Result<TagFilter, String> {
    let (key, value) = match value.split_once(':') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (value, None),
    };
    if key.is_empty() { Err("must be `key` or `key:value`".to_owned()) } else { Ok(TagFilter { key: key.to_owned(), value }) }
}

fn shelves(value: &str) -> Result<Shelves, String> {
    match value {
        "false" => Ok(Shelves::LISTED),
        "true" => Ok(Shelves::ARCHIVED),
        "all" => Ok(Shelves::ALL),
        _ => Err("must be `true`, `false` or `all`".to_owned()),
    }
}

fn time(value: &str) -> Result<Timestamp, String> {
    let deserializer: StrDeserializer<'_, WordError> = value.into_deserializer();
    Timestamp::deserialize(deserializer).map_err(|error| format!("must be a time such as 2026-01-31T12:00:00Z: {error}"))
}

fn metric(value: &str) -> Result<MetricFilter, String> {
    let wrong = || "must be a metric, `<`, `<=`, `>` or `>=`, and a number: `val_loss<0.5`".to_owned();
    let at = value.find(['<', '>']).ok_or_else(wrong)?;
    let (name, rest) = value.split_at(at);
    let comparisons = [("<=", Comparison::AtMost), ("<", Comparison::Less), (">=", Comparison::AtLeast), (">", Comparison::Greater)];
    let (comparison, number) = comparisons
        .into_iter()
        .find_map(|(sign, comparison)| rest.strip_prefix(sign).map(|number| (comparison, number)))
        .ok_or_else(wrong)?;
    let bound: f64 = number.trim().parse().map_err(|_| wrong())?;
    let (name, statistic) = statistic(name.trim()).unwrap_or((name.trim(), Statistic::Last));
    if name.is_empty() || !bound.is_finite() {
        return Err(wrong());
    }
    Ok(MetricFilter { name: name.to_owned(), statistic, bound: Bound { comparison, value: bound } })
}

/// A metric's name and which number of it, where the text ends with that.
fn statistic(text: &str) -> Option<(&str, Statistic)> {
    let (name, word) = text.rsplit_once('.')?;
    match word {
        "last" => Some((name, Statistic::Last)),
        "min" => Some((name, Statistic::Min)),
        "max" => Some((name, Statistic::Max)),
        _ => None,
    }
}

fn sort(value: &str) -> Result<Sort, String> {
    let (word, descending) = value.strip_prefix('-').map_or((value, false), |word| (word, true));
    let key = match word {
        "created" => SortKey::Created,
        "name" => SortKey::Name,
        "state" => SortKey::State,
        "kind" => SortKey::Kind,
        "project" => SortKey::Project,
        "duration" => SortKey::Duration,
        "progress" => SortKey::Progress,
        _ => {
            let metric = word.strip_prefix("metric.").and_then(statistic).filter(|(name, _)| !name.is_empty());
            match (metric, word.strip_prefix("param.").and_then(path)) {
                (Some((name, statistic)), _) => SortKey::Metric { name: name.to_owned(), statistic },
                (None, Some(path)) => SortKey::Parameter(path),
                (None, None) => {
                    return Err("must be created, name, state, kind, project, duration, progress, metric.NAME.last, metric.NAME.min, \
                                metric.NAME.max or param.PATH, maybe with - before it"
                        .to_owned());
                }
            }
        }
    };
    Ok(Sort { key, descending })
}

/// A dotted path into the spec, as SQLite has it.
fn path(dotted: &str) -> Option<String> {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    dotted.split('.').all(is_name).then(|| dotted.split('.').fold("$".to_owned(), |path, name| format!("{path}.\"{name}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(query: &str) -> Vec<String> {
        parse(query).unwrap_err().into_iter().map(|error| error.pointer).collect()
    }

    #[test]
    fn every_filter_is_read() {
        let search = parse(
            "state=failed&kind=regression&job=3&project=&tag=a:b:c&tag=keep&q=x&archived=all&optimizer=adam&network=unet\
             &created_after=2026-01-01T00:00:00Z&metric=val_loss%3C0.5&metric=loss.min%3E%3D1e-3&sort=-metric.step.ms.max&limit=5",
        )
        .unwrap();
        assert_eq!((search.state, search.kind, search.job), (Some(RunState::Failed), Some(Kind::Regression), Some(JobId(3))));
        assert_eq!(search.project.as_deref(), Some(""));
        let tag = |key: &str, value: Option<&str>| TagFilter { key: key.to_owned(), value: value.map(str::to_owned) };
        assert_eq!(search.tags, [tag("a", Some("b:c")), tag("keep", None)]);
        assert_eq!(search.created_after, Some(Timestamp(1_767_225_600_000)));
        let metric = |name: &str, statistic, comparison, value| MetricFilter {
            name: name.to_owned(),
            statistic,
            bound: Bound { comparison, value },
        };
        let expected =
            [metric("val_loss", Statistic::Last, Comparison::Less, 0.5), metric("loss", Statistic::Min, Comparison::AtLeast, 1e-3)];
        assert_eq!(search.metrics, expected);
        let key = SortKey::Metric { name: "step.ms".to_owned(), statistic: Statistic::Max };
        assert_eq!(search.sort, Sort { key, descending: true });
        assert_eq!((search.shelves, search.limit), (Shelves::ALL, 5));
    }

    #[test]
    fn a_parameter_is_a_path_into_the_spec_and_nothing_else() {
        let key = SortKey::Parameter("$.\"optimizer\".\"learning_rate\"".to_owned());
        assert_eq!(parse("sort=param.optimizer.learning_rate").unwrap().sort, Sort { key, descending: false });
        for sort in ["param.", "param.a..b", "param.a\"b", "param.$", "metric.loss", "metric..min", "colour", "", "-"] {
            assert_eq!(pointers(&format!("sort={sort}")), ["?sort"], "{sort}");
        }
    }

    #[test]
    fn each_error_names_its_parameter() {
        assert_eq!(pointers("state=lost&limit=0&colour=red&job=x"), ["?state", "?limit", "?colour", "?job"]);
        for query in ["metric=loss", "metric=%3C1", "metric=loss%3Cx", "metric=loss%3Cinf", "metric=loss%3D1"] {
            assert_eq!(pointers(query), ["?metric"], "{query}");
        }
        assert_eq!(pointers("q=a&q=b&tag=:a&archived=maybe&created_before=now"), ["?q", "?tag", "?archived", "?created_before"]);
        assert_eq!(pointers(&format!("{}tag=a", "tag=a&".repeat(MOST_OF_ONE))), ["?tag"]);
        assert_eq!(pointers("cursor=42"), ["?cursor"]);
    }
}
