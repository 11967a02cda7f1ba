//! Errors of the HTTP API and how they become RFC 9457 problem bodies.
//!
//! Handlers and extractors return [`ApiError`]; each variant says its status. `IntoResponse` only attaches a [`Draft`] to the
//! response: [`render`], the outermost layer, writes the body, because it alone knows the request's id. It also turns error
//! responses that are not ours (axum's 405, a body limit of a library) into problems, so that no other error body exists.
//! What went wrong inside goes to the log under the same id and never to the client.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use trainyard_wire::problem::CONTENT_TYPE;
use trainyard_wire::token::Scope;
use trainyard_wire::{FieldError, Problem};
use utoipa::ToSchema;

use super::request_id::RequestId;
use crate::admission::AdmissionError;
use crate::store::StoreError;

/// Why a request is not answered as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// 400: the request cannot be read at all.
    #[error("{0}")]
    Malformed(String),
    /// 400: a query parameter is unknown or has a value that it cannot have.
    #[error("the query is not valid")]
    Query(Vec<FieldError>),
    /// 401: no credentials, or none that are known, unexpired and unrevoked.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403: the credentials do not include the scope that the route needs.
    #[error("the token lacks the scope {0}")]
    Forbidden(Scope),
    /// 403: the request was made for another host, or by a page of another origin.
    #[error("{0}")]
    ForeignOrigin(String),
    /// 404: no such route.
    #[error("{0} does not exist")]
    NoRoute(String),
    /// 404: no such thing.
    #[error("{0}")]
    NotFound(String),
    /// 408: the client was too slow to send the body.
    #[error("the body did not arrive in time")]
    Timeout,
    /// 409: the thing is in a state that does not allow it, or the attempt is stale.
    #[error("{0}")]
    Conflict(String),
    /// 409: another thing has the name already.
    #[error("{0}")]
    AlreadyExists(String),
    /// 413: the body is longer than allowed.
    #[error("the body is longer than the {0} bytes that are allowed here")]
    TooLarge(u64),
    /// 415: the body is not of the type that the route takes.
    #[error("the body must be {0}")]
    MediaType(&'static str),
    /// 416: the range lies outside the bytes there are.
    #[error("the range lies outside the {0} bytes there are")]
    Range(u64),
    /// 422: read, and not valid.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// 422: the idempotency key came before with another body.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    /// 507: the server's disk is full; the same request succeeds once there is space.
    #[error("the server's disk is full: nothing was changed; the request can be repeated once there is space")]
    Full,
    /// 503: too much is waiting already, or the server is shutting down.
    #[error("{0}")]
    Unavailable(String),
    /// 500: not the client's fault; the text goes to the log only.
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    /// One error of the body at `pointer`.
    pub(crate) fn invalid(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.into(), detail: detail.into() }])
    }

    /// One error of the query parameter `name`.
    pub(crate) fn query(name: &str, detail: impl Into<String>) -> Self {
        Self::Query(vec![FieldError { pointer: format!("?{name}"), detail: detail.into() }])
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::NotFound(format!("{what} does not exist"))
    }

    /// Something inside failed.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::Internal(error.to_string())
    }

    /// Status, type and title.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed-request", "Malformed request"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "invalid-query", "Invalid query"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized", "No valid credentials"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "Scope missing"),
            Self::ForeignOrigin(_) => (StatusCode::FORBIDDEN, "foreign-origin", "Foreign host or origin"),
            Self::NoRoute(_) | Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "Too slow"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::AlreadyExists(_) => (StatusCode::CONFLICT, "already-exists", "Already exists"),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", "Unsupported media type"),
            Self::Range(_) => (StatusCode::RANGE_NOT_SATISFIABLE, "range", "Range not satisfiable"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "Invalid request"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency key reused"),
            Self::Full => (StatusCode::INSUFFICIENT_STORAGE, "insufficient-storage", "Insufficient storage"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// The word by which MLflow's clients tell errors apart.
    fn mlflow_code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "UNAUTHENTICATED",
            Self::Forbidden(_) | Self::ForeignOrigin(_) => "PERMISSION_DENIED",
            Self::NoRoute(_) => "ENDPOINT_NOT_FOUND",
            Self::NotFound(_) => "RESOURCE_DOES_NOT_EXIST",
            Self::AlreadyExists(_) => "RESOURCE_ALREADY_EXISTS",
            Self::Conflict(_) => "INVALID_STATE",
            Self::Timeout | Self::Full | Self::Unavailable(_) => "TEMPORARILY_UNAVAILABLE",
            Self::Internal(_) => "INTERNAL_ERROR",
            Self::Malformed(_)
            | Self::Query(_)
            | Self::TooLarge(_)
            | Self::MediaType(_)
            | Self::Range(_)
            | Self::Invalid(_)
            | Self::KeyReused => "INVALID_PARAMETER_VALUE",
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Unauthorized(_) => Some((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"trainyard\""))),
            Self::Forbidden(scope) => {
                let challenge = format!("Bearer realm=\"trainyard\", error=\"insufficient_scope\", scope=\"{scope}\"");
                HeaderValue::try_from(challenge).ok().map(|value| (header::WWW_AUTHENTICATE, value))
            }
            Self::Full | Self::Unavailable(_) => Some((header::RETRY_AFTER, HeaderValue::from_static("1"))),
            Self::Range(size) => HeaderValue::try_from(format!("bytes */{size}")).ok().map(|value| (header::CONTENT_RANGE, value)),
            _ => None,
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Unavailable("the server is shutting down".to_owned()),
            StoreError::Full => Self::Full,
            // The log has the reason already.
            StoreError::NotSynced(_) => {
                Self::Unavailable("the server's disk has failed: nothing is written until it starts anew".to_owned())
            }
            error => Self::Internal(error.to_string()),
        }
    }
}

impl From<AdmissionError> for ApiError {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::Refused(errors) => Self::Invalid(errors),
            AdmissionError::Store(error) => error.into(),
            AdmissionError::BrokenOff(error) => Self::Internal(error.to_string()),
        }
    }
}

/// Longest text of a problem, in characters, and most errors that it lists: an answer does not repeat a megabyte that somebody sent.
const LONGEST_TEXT: usize = 500;
const MOST_ERRORS: usize = 100;

/// The beginning of a text that is too long.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_TEXT) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A problem on its way to [`render`].
#[derive(Clone, Debug)]
struct Draft {
    kind: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<FieldError>,
    /// For the log.
    cause: Option<String>,
    /// How MLflow's clients know it.
    code: &'static str,
}

/// The media type of an [`MlflowError`].
pub(crate) const MLFLOW_ERROR_TYPE: &str = "application/json";

/// Whether the route at this path answers MLflow's clients, also with its errors.
pub(crate) fn is_mlflow(path: &str) -> bool {
    path.starts_with("/api/")
}

/// An error as MLflow's clients read it.
#[derive(Serialize, ToSchema)]
pub(crate) struct MlflowError<'a> {
    /// `RESOURCE_DOES_NOT_EXIST`, `INVALID_PARAMETER_VALUE`, …: MLflow's word for the status.
    error_code: &'a str,
    message: &'a str,
    /// As the header `X-Request-Id` and the server's log have it.
    request_id: &'a str,
}

impl ApiError {
    fn draft(self) -> Draft {
        let (_, kind, title) = self.kind();
        let mut draft = Draft { kind, title, detail: self.to_string(), errors: Vec::new(), cause: None, code: self.mlflow_code() };
        match self {
            Self::Internal(cause) => {
                draft.cause = Some(cause);
                "something failed inside the server; its log has more under the request id".clone_into(&mut draft.detail);
            }
            Self::Invalid(mut errors) | Self::Query(mut errors) => {
                errors.truncate(MOST_ERRORS);
                for FieldError { pointer, detail } in &mut errors {
                    (*pointer, *detail) = (shortened(std::mem::take(pointer)), shortened(std::mem::take(detail)));
                }
                if let Some(first) = errors.first() {
                    let place = if first.pointer.is_empty() { "the body" } else { &first.pointer };
                    draft.detail = format!("{place}: {}", first.detail);
                }
                draft.errors = errors;
            }
            _ => {}
        }
        draft
    }

    /// The problem as a part of an answer, for a request that asks for several things.
    pub(crate) fn into_problem(self, id: RequestId) -> Problem {
        let (status, ..) = self.kind();
        self.draft().problem(status, id)
    }
}

impl Draft {
    /// The body. What went wrong inside goes to the log, and why a request has to wait does too.
    fn problem(self, status: StatusCode, id: RequestId) -> Problem {
        if let Some(cause) = &self.cause {
            tracing::error!(%status, cause, "a request failed inside the server");
        } else if status.is_server_error() {
            tracing::warn!(%status, reason = self.detail, "a request was turned away");
        }
        Problem {
            r#type: format!("/problems/{}", self.kind),
            title: self.title.to_owned(),
            status: status.as_u16(),
            detail: shortened(self.detail),
            errors: self.errors,
            request_id: id.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind();
        let mut headers = HeaderMap::new();
        headers.extend(self.header());
        let mut response = (status, headers).into_response();
        response.extensions_mut().insert(self.draft());
        response
    }
}

/// The outermost layer: writes the problem bodies.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_default();
    let for_mlflow = is_mlflow(request.uri().path());
    let mut response = next.run(request).await;
    if !response.status().is_client_error() && !response.status().is_server_error() {
        return response;
    }
    let status = response.status();
    let draft = match response.extensions_mut().remove::<Draft>() {
        Some(draft) => draft,
        None => foreign(status),
    };
    let code = draft.code;
    let problem = draft.problem(status, id);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let content_type = if for_mlflow { MLFLOW_ERROR_TYPE } else { CONTENT_TYPE };
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Structs of strings and numbers always serialize.
    let body = match for_mlflow {
        true => serde_json::to_vec(&MlflowError { error_code: code, message: &problem.detail, request_id: &problem.request_id }),
        false => serde_json::to_vec(&problem),
    };
    let body = body.unwrap_or_default();
    Response::from_parts(parts, body.into())
}

/// The problem for an error response that some library made.
fn foreign(status: StatusCode) -> Draft {
    let title = status.canonical_reason().unwrap_or("Error");
    let (kind, detail) = match status {
        StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "the resource is there, but not with this method; see the Allow header"),
        StatusCode::NOT_FOUND => ("not-found", "there is no such resource"),
        _ => ("error", "the request could not be answered"),
    };
    let code = if status == StatusCode::METHOD_NOT_ALLOWED { "ENDPOINT_NOT_FOUND" } else { "INTERNAL_ERROR" };
    let cause = status.is_server_error().then(|| "a library answered with a server error".to_owned());
    Draft { kind, title, detail: detail.to_owned(), errors: Vec::new(), cause, code }
}

/// Turns a panic of a handler into a 500.
#[expect(clippy::needless_pass_by_value, reason = "the signature is CatchPanicLayer's")]
pub(crate) fn panicked(payload: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let message = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    ApiError::Internal(format!("a handler panicked: {}", message.unwrap_or("without a message"))).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use axum::{Router, middleware};
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;
    use trainyard_wire::{FieldError, Problem};

    use super::super::request_id::RequestId;
    use super::{ApiError, panicked, render};

    async fn answer(path: &str) -> (StatusCode, Problem) {
        let app = Router::new()
            .route("/panic", get(async || -> &'static str { panic!("the secret is 42") }))
            .route("/fail", get(async || ApiError::internal("disk /data/x is full")))
            .route("/foreign", get(async || (StatusCode::BAD_GATEWAY, "some library's text")))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn(render));
        let response = app.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        (status, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
    }

    #[tokio::test]
    async fn what_failed_inside_is_a_problem_that_does_not_tell_what() {
        for path in ["/panic", "/fail"] {
            let (status, problem) = answer(path).await;
            assert_eq!((status, problem.status, problem.r#type.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, 500, "/problems/internal"));
            assert!(!problem.detail.contains("secret") && !problem.detail.contains("disk"), "{}", problem.detail);
        }
    }

    #[test]
    fn a_problem_repeats_the_beginning_of_what_was_sent_and_not_all_of_it() {
        let long = "ä".repeat(100_000);
        let error = FieldError { pointer: format!("/{long}"), detail: format!("unknown `{long}`") };
        let problem = ApiError::Invalid(vec![error; 1000]).into_problem(RequestId::default());
        assert_eq!(problem.errors.len(), 100);
        assert!(problem.detail.starts_with("/ä") && problem.detail.chars().count() == 501, "{}", problem.detail);
        assert!(problem.errors[0].detail.starts_with("unknown `ä") && serde_json::to_vec(&problem).unwrap().len() < 250_000);
    }

    #[tokio::test]
    async fn an_error_that_some_library_answered_becomes_a_problem() {
        let (status, problem) = answer("/foreign").await;
        assert_eq!((status, problem.title.as_str()), (StatusCode::BAD_GATEWAY, "Bad Gateway"));
    }
}
