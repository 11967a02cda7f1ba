//! Extractors whose rejections are problems with pointers.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use trainyard_wire::FieldError;
use trainyard_wire::spec::budget::{self, MOST_VALUES};
use trainyard_wire::spec::strict::{self, BodyError};

use super::app::Shared;
use super::credentials::Identity;
use super::pace::TooSlow;
use super::problem::ApiError;
use crate::blobs::StagedBlob;
use crate::store::Store;

/// A JSON body, read strictly: 415, 413, 400 and 422 where it is none.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        JsonBytes::from_request(request, app).await?.read().map(Self)
    }
}

/// A JSON body of as many values as fit into its bytes, read as strictly: what a worker has to report.
pub(crate) struct LongJson<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Shared> for LongJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        JsonBytes::from_request(request, app).await?.read_long().map(Self)
    }
}

/// The bytes of a body that says it is JSON.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl JsonBytes {
    /// As [`Json`] reads them.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        // Read into numbers without a detour, so there may be more of them than in a spec.
        budget::check(&self.0, 4 * MOST_VALUES).map_err(|error| ApiError::invalid("", error.to_string()))?;
        self.read_long()
    }

    /// As [`LongJson`] reads them.
    pub(crate) fn read_long<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        strict::from_slice(&self.0).map_err(|error| match error {
            BodyError::Syntax(_) => ApiError::Malformed(error.to_string()),
            BodyError::Invalid(error) => ApiError::Invalid(vec![error]),
        })
    }
}

impl FromRequest<Shared> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::MediaType("application/json"));
        }
        let limit = app.limits.json_body_bytes;
        if let Err(error) = refuse_announced(request.headers(), limit) {
            // The answer does not wait for it.
            tokio::spawn(discard(request));
            return Err(error);
        }
        // Into one buffer of the right size: pieces that are joined in the end are there twice.
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(announced);
        let mut pieces = Pieces::new(request, limit)?;
        while let Some(piece) = pieces.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Self(bytes.into()))
    }
}

/// How long the rest of a body that is refused is still read.
const LINGER: Duration = Duration::from_secs(2);

/// Reads a body that is refused and keeps nothing: a client that is still sending when the connection closes may not see the answer. One
/// that waits for leave to send gets the answer instead of the leave.
pub(crate) async fn discard(request: Request) {
    if !request.headers().contains_key(header::EXPECT) {
        drain(request.into_body()).await;
    }
}

/// Reads the rest of a body for a while.
async fn drain(mut body: Body) {
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    if tokio::time::timeout(LINGER, rest).await.is_err() {
        tracing::debug!("a refused body was still being sent when it was cut off");
    }
}

/// 413 before the first byte is read, where the client says how much it has.
pub(crate) fn refuse_announced(headers: &HeaderMap, limit: u64) -> Result<(), ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) { Err(ApiError::TooLarge(limit)) } else { Ok(()) }
}

/// What a body that broke off means: 408 if the time for it ran out, else 400.
pub(crate) fn body_error(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<TooSlow>() {
            return ApiError::Timeout;
        }
        cause = error.source();
    }
    ApiError::Malformed("the body broke off".to_owned())
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let media = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

/// The query. Unknown parameters are refused before this, by what the route's documentation lists.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        let deserializer = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(query.as_bytes()));
        serde_path_to_error::deserialize(deserializer).map(Self).map_err(|error| {
            let pointer = match error.path().to_string() {
                path if path == "." => "?".to_owned(),
                path => format!("?{path}"),
            };
            ApiError::Query(vec![FieldError { pointer, detail: error.inner().to_string() }])
        })
    }
}

/// The parameters in the path. What cannot be one names nothing that exists: 404.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        match <axum::extract::Path<T> as FromRequestParts<Shared>>::from_request_parts(parts, app).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(ApiError::not_found(parts.uri.path())),
        }
    }
}

impl FromRequestParts<Shared> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, ApiError> {
        let identity = parts.extensions.get::<Identity>().cloned();
        identity.ok_or_else(|| ApiError::Internal("a handler outside the authenticated routes asked who is there".to_owned()))
    }
}

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl OptionalFromRequestParts<Shared> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Option<Self>, ApiError> {
        let mut keys = parts.headers.get_all("idempotency-key").iter();
        let Some(key) = keys.next() else { return Ok(None) };
        let text = key.to_str().ok().filter(|text| (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()));
        match (text, keys.next()) {
            (Some(text), None) => Ok(Some(Self(text.to_owned()))),
            _ => Err(ApiError::Malformed("the Idempotency-Key must be one of 1 to 255 visible ASCII characters".to_owned())),
        }
    }
}

/// A body that is stored as it comes, piece by piece.
pub(crate) struct Pieces {
    body: Body,
    left: u64,
    limit: u64,
}

impl Pieces {
    pub(crate) fn new(request: Request, limit: u64) -> Result<Self, ApiError> {
        refuse_announced(request.headers(), limit)?;
        Ok(Self { body: request.into_body(), left: limit, limit })
    }

    /// Reads what is left for a while and keeps nothing, after a piece that was too much: the client then reads the answer.
    pub(crate) async fn discard(self) {
        drain(self.body).await;
    }

    /// Stores all of it as a content that waits to become part of the store.
    pub(crate) async fn stage(&mut self, store: &Store) -> Result<StagedBlob, ApiError> {
        let mut staging = store.stage().await?;
        while let Some(piece) = self.next().await? {
            staging.write(&piece).await?;
        }
        Ok(staging.finish().await?)
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| body_error(&error))?;
            let Ok(piece) = frame.into_data() else { continue };
            self.left = self.left.checked_sub(piece.len() as u64).ok_or(ApiError::TooLarge(self.limit))?;
            return Ok(Some(piece));
        }
    }
}
