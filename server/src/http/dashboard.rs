//! The dashboard's static files, embedded in the binary. They hold no data, so they need no token; what they show comes from the API.

use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest as _, Sha256};

use super::app::Shared;
use super::conditional::matches;
use super::problem::ApiError;
use crate::blobs::hex;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// plotly.js as the plotly crate ships it.
const PLOTLY: &str = "plotly.min.js";

/// plotly.js and its hash.
static PLOTLY_SOURCE: LazyLock<Option<(Bytes, String)>> = LazyLock::new(|| {
    let source = plotly_source()?;
    let hash = hex(&Sha256::digest(source.as_bytes()));
    Some((Bytes::from(source), hash))
});

/// The library's text without the script tags in which the crate hands it out, and without the MathJax that comes after it.
fn plotly_source() -> Option<String> {
    let tags = plotly::Plot::offline_js_sources();
    let (_, rest) = tags.split_once('>')?;
    // The last but one closing tag ends plotly.js; one inside its own text would be an escaped one.
    let mathjax = rest.rfind("<script")?;
    let (source, _) = rest[..mathjax].rsplit_once("</script>")?;
    Some(source.to_owned())
}

/// The routes of the dashboard.
pub(crate) fn routes() -> Router<Shared> {
    Router::new().route("/", get(index)).route("/assets/{*path}", get(asset))
}

/// Whether `path` is a page that other sites may link to.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/"
}

async fn index(headers: HeaderMap) -> Result<Response, ApiError> {
    let page = Assets::get("index.html").ok_or_else(|| ApiError::not_found("the dashboard"))?;
    Ok(send_embedded(page, "index.html", &headers, false))
}

async fn asset(Path(path): Path<String>, RawQuery(query): RawQuery, headers: HeaderMap) -> Result<Response, ApiError> {
    let is_versioned = query.is_some_and(|query| query.starts_with("v="));
    if path == PLOTLY {
        let (source, hash) =
            PLOTLY_SOURCE.as_ref().ok_or_else(|| ApiError::Internal("plotly.js cannot be found in its crate".to_owned()))?;
        return Ok(send(Body::from(source.clone()), hash, "text/javascript; charset=utf-8", &headers, is_versioned));
    }
    match Assets::get(&path) {
        Some(file) if path != "index.html" => Ok(send_embedded(file, &path, &headers, is_versioned)),
        _ => Err(ApiError::not_found(format!("/assets/{path}"))),
    }
}

fn send_embedded(file: EmbeddedFile, path: &str, headers: &HeaderMap, is_versioned: bool) -> Response {
    let media = match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => file.metadata.mimetype(),
    };
    let hash = hex(&file.metadata.sha256_hash());
    send(Body::from(file.data.into_owned()), &hash, media, headers, is_versioned)
}

/// A file asked for with `?v=` may be kept for ever, because another version has another address; else it is asked for again with its hash.
fn send(body: Body, hash: &str, media: &str, headers: &HeaderMap, is_versioned: bool) -> Response {
    let cache = if is_versioned { "public, max-age=31536000, immutable" } else { "no-cache" };
    let text = |text: &str| HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    let described = [(header::ETAG, text(&format!("\"{hash}\""))), (header::CACHE_CONTROL, HeaderValue::from_static(cache))];
    if matches(headers, hash) {
        return (StatusCode::NOT_MODIFIED, described).into_response();
    }
    (described, [(header::CONTENT_TYPE, text(media))], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::plotly_source;

    #[test]
    fn plotly_comes_whole_and_without_tags() {
        let source = plotly_source().unwrap();
        assert!(source.len() > 1_000_000 && source.contains("newPlot"));
        assert!(source.trim_start().starts_with("/*") && !source.contains("MathJax.loader"), "{}", &source[..100]);
        assert!(!source.contains("<script type=\"text/javascript\">"));
    }
}
