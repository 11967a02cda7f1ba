//! `ETag` and `If-None-Match`, over revisions.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use trainyard_wire::Revision;

/// A revision as an entity tag. Weak, for one revision has several representations (JSON, CSV, pages).
pub(crate) fn etag(revision: Revision) -> (HeaderName, HeaderValue) {
    let text = format!("W/\"{revision}\"");
    (header::ETAG, HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("W/\"\"")))
}

/// The revisions that the client has already, from `If-None-Match`.
pub(crate) fn known_revisions(headers: &HeaderMap) -> Vec<Revision> {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(opaque_tag).filter_map(|tag| tag.parse().ok()).collect()
}

/// Whether `If-None-Match` names the opaque tag `wanted`, or is `*`.
pub(crate) fn matches(headers: &HeaderMap, wanted: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|tag| tag.trim() == "*" || opaque_tag(tag) == Some(wanted))
}

/// The tags of `If-None-Match`, without their quotes.
pub(crate) fn opaque_tags(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(opaque_tag).map(str::to_owned).collect()
}

fn opaque_tag(tag: &str) -> Option<&str> {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')
}

/// 304 with the tag, if the client has this revision already.
pub(crate) fn not_modified(headers: &HeaderMap, revision: Revision) -> Option<Response> {
    known_revisions(headers).contains(&revision).then(|| (StatusCode::NOT_MODIFIED, [etag(revision)]).into_response())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};
    use trainyard_wire::Revision;

    use super::{known_revisions, matches};

    #[test]
    fn entity_tags_are_compared_weakly() {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static("\"3\", W/\"17\" , \"x\", 5"));
        assert_eq!(known_revisions(&headers), [Revision(3), Revision(17)]);
        assert!(matches(&headers, "x") && !matches(&headers, "5"));
    }
}
