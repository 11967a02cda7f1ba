//! The typed HTTP client, which the command line and the workers share.
//!
//! [`Client`] holds the address and the token; the calls a person makes are in `calls` and `runs`, those of the worker protocol in
//! `worker`; `paging` follows answers that come in pages, `news` the stream of events.
//! A call either answers its type or a [`ClientError`] that tells the server's own problem from a connection that failed; retrying
//! is the caller's decision ([`ClientError::is_transient`]).

mod calls;
mod news;
mod paging;
mod runs;
mod worker;

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::problem::Problem;
pub use calls::UploadFile;
pub use news::NewsStream;
pub use paging::NextPage;
pub use runs::{RunPage, RunQuery};

/// A body that arrives in pieces.
pub type ByteStream = BoxStream<'static, Result<Bytes, ClientError>>;

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered with a problem.
    #[error("{}", describe(.0))]
    Problem(Box<Problem>),
    /// The server answered with an error that is not a problem body: something else listens there.
    #[error("the server answered {status}: {body}")]
    Unexpected { status: StatusCode, body: String },
    /// No answer: not reachable, or broken off.
    #[error("no answer from the server: {}", chain(.0))]
    Transport(#[from] reqwest::Error),
    /// The answer is not what this version of the client understands.
    #[error("the server's answer cannot be read: {0}")]
    Decode(#[from] serde_json::Error),
    #[error("{0} is not an http address: write it like http://127.0.0.1:8080")]
    Address(String),
    #[error("cannot read {path}: {source}")]
    File { path: String, source: std::io::Error },
}

impl ClientError {
    /// The HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Problem(problem) => StatusCode::from_u16(problem.status).ok(),
            Self::Unexpected { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether there was no answer at all, or one that broke off.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Transport(_))
    }

    /// Whether the same call may succeed later: no answer, 429, or a 5xx.
    pub fn is_transient(&self) -> bool {
        match self.status() {
            Some(status) => status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT),
            None => matches!(self, Self::Transport(_)),
        }
    }
}

fn describe(problem: &Problem) -> String {
    let mut text = format!("{} ({}): {}", problem.title, problem.status, problem.detail);
    // What the one error says is the detail.
    let alone = matches!(problem.errors.as_slice(), [only] if problem.detail.ends_with(&only.detail));
    for error in problem.errors.iter().filter(|_| !alone) {
        text.push_str(&format!("\n  {}: {}", if error.pointer.is_empty() { "the body" } else { &error.pointer }, error.detail));
    }
    text
}

/// The error with its causes: reqwest's own text stops short of "connection refused".
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// A connection to one server with one token.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// For large bodies, and for answers that take a while to begin: the bound on an answer's silence counts from the first byte that is
    /// sent, so no upload may have it. A peer that is gone is noticed by TCP's keep-alive.
    uploads: reqwest::Client,
    base: Url,
    token: Option<String>,
}

impl Client {
    /// `base` is the server's address, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, token: Option<String>) -> Result<Self, ClientError> {
        let url = Url::parse(base).map_err(|_| ClientError::Address(base.to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
            return Err(ClientError::Address(base.to_owned()));
        }
        // Fails only where a provider is installed already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            let builder = reqwest::Client::builder().user_agent(concat!("trainyard/", env!("CARGO_PKG_VERSION")));
            // An idle connection is let go before the server closes it: a request that met the closing would be lost.
            let builder = builder.connect_timeout(Duration::from_secs(5)).pool_idle_timeout(IDLE);
            // Plain HTTP checks no certificate, so a machine or container without any is no hindrance.
            if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder }
        };
        let http = builder().read_timeout(SILENCE).build()?;
        Ok(Self { http, uploads: builder().build()?, base: url, token })
    }

    /// The server's address.
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// A request to `path`, whose segments are escaped.
    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        self.request_through(&self.http, method, path)
    }

    /// A request to `path` with a body of about `bytes` bytes, which has as long as they take on a slow line.
    fn upload(&self, method: Method, path: &[&str], bytes: u64) -> RequestBuilder {
        self.request_through(&self.uploads, method, path).timeout(upload_patience(bytes))
    }

    fn request_through(&self, http: &reqwest::Client, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends, and turns an error status into an error.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await?;
        let status = response.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(response);
        }
        let body = response.bytes().await?;
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(ClientError::Problem(Box::new(problem))),
            Err(_) => Err(ClientError::Unexpected { status, body: String::from_utf8_lossy(&body).chars().take(500).collect() }),
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let body = self.send(request).await?.bytes().await?;
        Ok(serde_json::from_slice(&body)?)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    async fn stream(&self, request: RequestBuilder) -> Result<ByteStream, ClientError> {
        use futures::{StreamExt as _, TryStreamExt as _};
        Ok(self.send(request).await?.bytes_stream().map_err(ClientError::from).boxed())
    }
}

/// How long a connection is kept for the next request; servers close those that are idle for eight seconds.
const IDLE: Duration = Duration::from_secs(5);
/// How long a server may keep silent.
const SILENCE: Duration = Duration::from_secs(60);
/// The slowest line that an upload succeeds on.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// How long an upload of so many bytes may take, the server's answer included.
fn upload_patience(bytes: u64) -> Duration {
    SILENCE + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Client, ClientError, upload_patience};

    #[test]
    fn an_upload_has_a_minute_and_as_long_as_a_slow_line_takes() {
        assert_eq!(upload_patience(10), Duration::from_secs(60));
        assert_eq!(upload_patience(256 << 20), Duration::from_secs(60 + 4096));
    }

    #[test]
    fn an_address_that_is_not_http_is_refused() {
        assert!(Client::new("http://127.0.0.1:1", None).is_ok());
        assert!(matches!(Client::new("ftp://127.0.0.1", None), Err(ClientError::Address(_))));
        assert!(matches!(Client::new("here", None), Err(ClientError::Address(_))));
    }
}
