//! `Prefer` (RFC 7240): what a client wants where it may choose.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The n of `wait=n`: how long a request may be held.
pub(super) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = preferences(headers).find_map(|part| part.strip_prefix("wait=")?.trim().parse::<u32>().ok());
    seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

/// `handling=strict`: what would only be warned of is an error.
pub(super) fn strict(headers: &HeaderMap) -> bool {
    let handling = preferences(headers).find_map(|part| part.strip_prefix("handling="));
    handling.is_some_and(|value| value.trim().trim_matches('"').eq_ignore_ascii_case("strict"))
}

/// Tells that a preference was obeyed.
pub(super) fn applied(preference: &'static str) -> (HeaderName, HeaderValue) {
    (PREFERENCE_APPLIED, HeaderValue::from_static(preference))
}

fn preferences(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';'])).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{HeaderMap, HeaderValue};

    use super::{PREFER, strict, wait};

    #[test]
    fn a_preference_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert!(!strict(&headers));
        headers.insert(PREFER, HeaderValue::from_static("respond-async, wait=10, handling=\"strict\""));
        assert_eq!((wait(&headers), strict(&headers)), (Some(Duration::from_secs(10)), true));
        headers.insert(PREFER, HeaderValue::from_static("wait=soon; handling=lenient"));
        assert_eq!((wait(&headers), strict(&headers)), (None, false));
    }
}
