//! `/v1/datasets`: listing, asking, uploading.
//!
//! An upload is streamed: each file is hashed and written to disk as it arrives, CIFAR records are checked in the same pass ([`images`]), and a table is
//! read once it is whole ([`table`]). Nothing is kept of an upload that is refused.

mod bounded;
mod images;
mod table;
pub(super) mod upload;

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use trainyard_wire::dataset::Dataset;
use trainyard_wire::{DatasetId, Page, Problem};
use utoipa::IntoParams;

use super::app::Shared;
use super::conditional::{etag, not_modified};
use super::extract::{Path, Query};
use super::paging;
use super::problem::ApiError;
pub(crate) use upload::{__path_upload, upload};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DatasetsQuery {
    /// 1 to 1000 (100).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// The datasets, newest first.
#[utoipa::path(get, path = "/v1/datasets", tag = "datasets", params(DatasetsQuery),
    responses((status = 200, body = Page<Dataset>), (status = 304, description = "Nothing changed")))]
pub(crate) async fn list(
    State(app): State<Shared>,
    Query(query): Query<DatasetsQuery>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let before: Option<DatasetId> = paging::decode_cursor(query.cursor.as_deref())?;
    let limit = paging::limit(query.limit)?;
    let revision = app.store.revision();
    if let Some(unchanged) = not_modified(&headers, revision) {
        return Ok(unchanged);
    }
    let slice = app.store.datasets(before, limit).await?;
    let next = slice.items.last().filter(|_| slice.more).map(|dataset| paging::next_link(&uri, &dataset.id)).transpose()?;
    Ok(([etag(revision)], next.map(|link| [link]), JsonAnswer(Page { items: slice.items })).into_response())
}

/// One dataset.
#[utoipa::path(get, path = "/v1/datasets/{name}", tag = "datasets", params(("name" = String, Path)),
    responses((status = 200, body = Dataset), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Path(name): Path<String>) -> Result<JsonAnswer<Dataset>, ApiError> {
    app.store.dataset(&name).await?.map(JsonAnswer).ok_or_else(|| ApiError::not_found(format!("the dataset `{name}`")))
}

/// 201 for a new dataset, 200 for one that was there with the same bytes.
fn stored(dataset: Dataset, is_new: bool) -> Response {
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, JsonAnswer(dataset)).into_response()
}
