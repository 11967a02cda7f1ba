//! A name for each request, which its answer, its problem body and its log lines share.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

/// The header that tells the client the id.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Distinguishes the processes that write into one log.
static PROCESS: LazyLock<u32> = LazyLock::new(|| getrandom::u32().unwrap_or_else(|_| std::process::id()));
static COUNT: AtomicU64 = AtomicU64::new(1);

/// The process's random name and the request's number in it. Clients cannot choose it: nothing of theirs gets into the log this way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestId {
    process: u32,
    number: u64,
}

impl RequestId {
    fn next() -> Self {
        Self { process: *PROCESS, number: COUNT.fetch_add(1, Ordering::Relaxed) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.process, self.number)
    }
}

/// Names the request, opens its span, counts it and logs its end: server errors as errors, all else for debugging.
pub(crate) async fn assign(mut request: Request, next: Next) -> Response {
    let id = RequestId::next();
    request.extensions_mut().insert(id);
    let method = request.method().clone();
    // The path without the query, which may hold what is nobody else's business.
    let span = tracing::info_span!("request", request_id = %id, %method, path = request.uri().path());
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let elapsed = start.elapsed();
    let status = response.status();
    span.in_scope(|| {
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), ?elapsed, "the request ended in a server error");
        } else {
            tracing::debug!(status = status.as_u16(), ?elapsed, "the request was answered");
        }
    });
    let route = response.extensions_mut().remove::<Route>().map_or_else(|| "none".to_owned(), |route| route.0);
    let labels = [("method", method_label(&method).to_owned()), ("route", route), ("status", status.as_u16().to_string())];
    metrics::counter!("trainyard_http_requests_total", &labels).increment(1);
    metrics::histogram!("trainyard_http_request_seconds", &labels[..2]).record(elapsed.as_secs_f64());
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// The method for the metrics. Clients may send any word as one; each label of its own would be kept for ever.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

/// The pattern of the route that answered, for the metrics: patterns are few, paths are not.
#[derive(Clone, Debug)]
struct Route(String);

/// A layer on the routes themselves, where the pattern is known.
pub(crate) async fn note_route(path: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(Route(path.as_str().to_owned()));
    response
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::method_label;

    #[test]
    fn a_made_up_method_gets_no_label_of_its_own() {
        assert_eq!(method_label(&Method::DELETE), "DELETE");
        assert_eq!(method_label(&Method::from_bytes(b"X1").unwrap()), "other");
        assert_eq!(method_label(&Method::from_bytes(b"get").unwrap()), "other");
    }
}
