//! `/v1/views`: queries of the list of runs under names.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::annotation::{PutView, View};
use trainyard_wire::{FieldError, Page, Problem};

use super::app::Shared;
use super::conditional::{etag, not_modified};
use super::extract::{Json, Path};
use super::listing;
use super::problem::ApiError;
use crate::store::ViewError;

/// Most characters of a query.
const LONGEST_QUERY: usize = 4000;

impl From<ViewError> for ApiError {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::TooMany => Self::Conflict(error.to_string()),
            ViewError::Store(error) => error.into(),
        }
    }
}

/// The named views, by name.
#[utoipa::path(get, path = "/v1/views", tag = "views",
    responses((status = 200, body = Page<View>), (status = 304, description = "Nothing changed")))]
pub(crate) async fn list(State(app): State<Shared>, headers: HeaderMap) -> Result<Response, ApiError> {
    let revision = app.store.revision();
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let items = app.store.views().await?;
    Ok(([etag(revision)], JsonAnswer(Page { items })).into_response())
}

/// Keeps a query of `GET /v1/runs` under a name, in place of what was there.
#[utoipa::path(put, path = "/v1/views/{name}", tag = "views", params(("name" = String, Path, description = "1 to 100 characters")),
    request_body = PutView,
    responses((status = 200, description = "Kept", body = View), (status = 201, description = "Kept under a new name", body = View),
        (status = 409, description = "There are too many", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No query of `GET /v1/runs`", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn put(
    State(app): State<Shared>,
    Path(name): Path<String>,
    Json(PutView { query }): Json<PutView>,
) -> Result<Response, ApiError> {
    check_name(&name)?;
    check_query(&query)?;
    let (view, is_new) = app.store.put_view(name, query).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonAnswer(view)).into_response())
}

/// Forgets a view.
#[utoipa::path(delete, path = "/v1/views/{name}", tag = "views", params(("name" = String, Path)),
    responses((status = 204, description = "Forgotten"),
        (status = 404, description = "No such view", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(State(app): State<Shared>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    if app.store.delete_view(name.clone()).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::not_found(format!("the view {name:?}")))
}

fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = (1..=100).contains(&name.chars().count()) && name.trim() == name && !name.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(ApiError::invalid("", "the name must have 1 to 100 characters of one line, without space around them")) }
}

/// What is wrong with a query is wrong with the body here.
fn check_query(query: &str) -> Result<(), ApiError> {
    let invalid = |detail: String| ApiError::invalid("/query", detail);
    if query.chars().count() > LONGEST_QUERY {
        return Err(invalid(format!("must have at most {LONGEST_QUERY} characters")));
    }
    let search = listing::parse(query).map_err(|errors| {
        let detail = |FieldError { pointer, detail }| FieldError { pointer: "/query".to_owned(), detail: format!("{pointer} {detail}") };
        ApiError::Invalid(errors.into_iter().map(detail).collect())
    })?;
    if search.after.is_some() { Err(invalid("?cursor is of one page and not of a view".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{check_name, check_query};

    #[test]
    fn a_view_holds_what_the_list_takes() {
        for query in ["", "state=failed&sort=-created", "tag=a:b&tag=c&metric=loss%3C0.5"] {
            assert!(check_query(query).is_ok(), "{query}");
        }
        for query in ["state=lost", "colour=red", "sort=colour", "?state=failed", "cursor=eyJpZCI6MSwibm93IjowfQ"] {
            assert!(check_query(query).is_err(), "{query}");
        }
        assert!(check_name("my runs/α").is_ok() && check_name("").is_err() && check_name(" a").is_err() && check_name("a\nb").is_err());
    }
}
