//! `/v1/runs/{id}/artifacts`: the files of a run, streamed.

use std::io::SeekFrom;

use axum::Json as JsonAnswer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;
use trainyard_wire::run::{Artifact, Artifacts};
use trainyard_wire::{Problem, RunId};

use super::app::Shared;
use super::conditional::matches;
use super::extract::Path;
use super::problem::ApiError;
use super::runs::no_run;
use crate::store::ArtifactFile;

/// Bytes read from disk at a time.
const PIECE: usize = 1 << 17;

/// The files of a run, by name.
#[utoipa::path(get, path = "/v1/runs/{id}/artifacts", tag = "runs", params(("id" = i64, Path)),
    responses((status = 200, body = Artifacts), (status = 304, description = "Nothing changed"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<Shared>, Path(id): Path<RunId>) -> Result<JsonAnswer<Artifacts>, ApiError> {
    app.store.artifacts(id).await?.map(JsonAnswer).ok_or_else(|| no_run(id))
}

/// The bytes of a file of a run. One byte range can be asked for.
#[utoipa::path(get, path = "/v1/runs/{id}/artifacts/{*name}", tag = "runs",
    params(("id" = i64, Path), ("name" = String, Path, description = "May hold slashes: `samples/epoch-025.png`"),
        ("Range" = Option<String>, Header, description = "`bytes=first-last`")),
    responses((status = 200, description = "The bytes", content_type = "*/*", body = Vec<u8>,
            headers(("ETag" = String, description = "The sha256"))),
        (status = 206, description = "The range", content_type = "*/*", body = Vec<u8>), (status = 304, description = "The same bytes"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<Shared>,
    Path((id, name)): Path<(RunId, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let found = app.store.artifact(id, &name).await?;
    let ArtifactFile { artifact, file } = found.ok_or_else(|| ApiError::not_found(format!("the artifact `{name}` of run {id}")))?;
    send(&artifact, file, &headers).await
}

/// Answers with the bytes, a range of them, or 304.
pub(crate) async fn send(artifact: &Artifact, mut file: File, headers: &HeaderMap) -> Result<Response, ApiError> {
    let tag = HeaderValue::try_from(format!("\"{}\"", artifact.sha256)).map_err(ApiError::internal)?;
    if matches(headers, &artifact.sha256) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let described = [
        (header::CONTENT_TYPE, HeaderValue::try_from(&artifact.content_type).map_err(ApiError::internal)?),
        (header::ETAG, tag),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        (header::CONTENT_DISPOSITION, disposition(artifact)?),
        // What a worker wrote is not to run as a page of this origin.
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'")),
    ];
    let unchanged_since = headers.get(header::IF_RANGE).is_none_or(|wanted| *wanted == described[1].1);
    let asked = headers.get(header::RANGE).filter(|_| unchanged_since).and_then(|value| value.to_str().ok());
    match asked.and_then(|range| byte_range(range, artifact.size)) {
        None => Ok((described, [(header::CONTENT_LENGTH, artifact.size)], body(file)).into_response()),
        Some(None) => Err(ApiError::Range(artifact.size)),
        Some(Some((first, last))) => {
            file.seek(SeekFrom::Start(first)).await.map_err(ApiError::internal)?;
            let length = last - first + 1;
            let range = format!("bytes {first}-{last}/{}", artifact.size);
            let sent = [(header::CONTENT_LENGTH, length.to_string()), (header::CONTENT_RANGE, range)];
            let part = Body::from_stream(ReaderStream::with_capacity(file.take(length), PIECE));
            Ok((StatusCode::PARTIAL_CONTENT, described, sent, part).into_response())
        }
    }
}

/// A whole file as a body.
pub(crate) fn body(file: File) -> Body {
    Body::from_stream(ReaderStream::with_capacity(file, PIECE))
}

/// The first and last byte that a `Range` header asks for. `None`: not one range of bytes, so it is passed over; `Some(None)`: none of these bytes exist.
fn byte_range(range: &str, size: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = range.strip_prefix("bytes=")?.trim().split_once('-')?;
    let range = match (first.trim(), last.trim()) {
        ("", suffix) => {
            let suffix: u64 = suffix.parse().ok()?;
            (size.saturating_sub(suffix), size.checked_sub(1).filter(|_| suffix > 0))
        }
        (first, "") => (first.parse().ok()?, size.checked_sub(1)),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if last < first {
                return None;
            }
            (first, size.checked_sub(1).map(|end| end.min(last)))
        }
    };
    Some(range.1.filter(|last| range.0 <= *last).map(|last| (range.0, last)))
}

/// Pictures are shown, everything else is saved under the last part of its name.
fn disposition(artifact: &Artifact) -> Result<HeaderValue, ApiError> {
    if matches!(artifact.content_type.as_str(), "image/png" | "image/jpeg" | "image/svg+xml") {
        return Ok(HeaderValue::from_static("inline"));
    }
    let name = artifact.name.rsplit('/').next().unwrap_or_default();
    let safe: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')).collect();
    HeaderValue::try_from(format!("attachment; filename=\"{safe}\"")).map_err(ApiError::internal)
}

/// The media type that a file's name tells.
pub(crate) fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("svg") => "image/svg+xml",
        Some("dot") => "text/vnd.graphviz; charset=utf-8",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("txt" | "log") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::byte_range;

    #[test]
    fn one_range_of_bytes_is_understood() {
        assert_eq!(byte_range("bytes=0-9", 100), Some(Some((0, 9))));
        assert_eq!(byte_range("bytes=90-", 100), Some(Some((90, 99))));
        assert_eq!(byte_range("bytes=90-1000", 100), Some(Some((90, 99))));
        assert_eq!(byte_range("bytes=-10", 100), Some(Some((90, 99))));
        assert_eq!(byte_range("bytes=-1000", 100), Some(Some((0, 99))));
    }

    #[test]
    fn a_range_of_bytes_that_do_not_exist_is_told_from_what_is_no_range() {
        assert_eq!(byte_range("bytes=100-", 100), Some(None));
        assert_eq!(byte_range("bytes=-0", 100), Some(None));
        assert_eq!(byte_range("bytes=0-", 0), Some(None));
        for other in ["bytes=5-3", "bytes=a-b", "lines=1-2", "bytes=1", "bytes=0-1,5-6"] {
            assert_eq!(byte_range(other, 100), None, "{other}");
        }
    }
}
