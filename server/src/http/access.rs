//! `/v1/tokens` and `/v1/session`: who may use the server, and signing in with a browser.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use trainyard_wire::token::{CreateToken, Scope, Token, TokenCreated};
use trainyard_wire::{Page, Problem, Timestamp, TokenId};

use super::app::Shared;
use super::credentials::{Identity, cookie};
use super::extract::{Json, Path};
use super::problem::ApiError;
use super::sessions::{COOKIE, LIFETIME};
use crate::store::{NewToken, RevokeError};
use crate::tokens::Secret;

/// Longest lifetime of a token that has one: a century.
const MOST_SECONDS: u64 = 100 * 366 * 24 * 3600;

/// Makes a token. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/v1/tokens", tag = "access", request_body = CreateToken,
    responses((status = 201, body = TokenCreated), (status = 422, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(State(app): State<Shared>, Json(body): Json<CreateToken>) -> Result<Response, ApiError> {
    if !(1..=100).contains(&body.name.chars().count()) {
        return Err(ApiError::invalid("/name", "must have 1 to 100 characters"));
    }
    let mut scopes = body.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(ApiError::invalid("/scopes", "must name at least one scope"));
    }
    let expires_at = match body.expires_in_seconds {
        None => None,
        Some(seconds) if (1..=MOST_SECONDS).contains(&seconds) => {
            Some(Timestamp(Timestamp::now().0.saturating_add_unsigned(seconds * 1000)))
        }
        Some(seconds) => {
            return Err(ApiError::invalid("/expires_in_seconds", format!("must be from 1 to {MOST_SECONDS}, is {seconds}")));
        }
    };
    let secret = Secret::random().map_err(ApiError::internal)?;
    let token = NewToken { name: body.name, scopes, secret_sha256: secret.hash(), expires_at };
    let store = app.store.clone();
    let token = change(app, async move { Ok(store.insert_token(token).await?) }).await?;
    let created = TokenCreated {
        id: token.id,
        name: token.name,
        scopes: token.scopes,
        token: secret.expose().to_owned(),
        expires_at: token.expires_at,
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], JsonAnswer(created)).into_response())
}

/// All tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "access", responses((status = 200, body = Page<Token>)))]
pub(crate) async fn list(State(app): State<Shared>) -> Result<JsonAnswer<Page<Token>>, ApiError> {
    Ok(JsonAnswer(Page { items: app.store.tokens().await? }))
}

/// Revokes a token, and the sessions that came of it. The last admin token that does not expire cannot be revoked.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access", params(("id" = i64, Path)),
    responses((status = 204, description = "Revoked"), (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is the last admin token", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn revoke(State(app): State<Shared>, Path(id): Path<TokenId>) -> Result<StatusCode, ApiError> {
    let store = app.store.clone();
    let revoke = async move {
        let revoked = store.revoke_token(id).await.map_err(|error| match error {
            RevokeError::LastAdmin => ApiError::Conflict(error.to_string()),
            RevokeError::Store(error) => error.into(),
        })?;
        revoked.ok_or_else(|| ApiError::not_found(format!("token {id}")))
    };
    change(app, revoke).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the tokens in the store and takes the change over. A client that goes away in between stops neither: a revoked token would
/// stay good until the next change.
async fn change<T: Send + 'static>(app: Shared, change: impl Future<Output = Result<T, ApiError>> + Send + 'static) -> Result<T, ApiError> {
    let changed = tokio::spawn(async move {
        let changed = change.await?;
        app.credentials.reload(&app.store).await?;
        Ok(changed)
    });
    changed.await.map_err(ApiError::internal)?
}

/// Who the sender is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Session {
    /// The token's name.
    name: String,
    scopes: Vec<Scope>,
    /// Of the token.
    expires_at: Option<Timestamp>,
}

impl From<Identity> for Session {
    fn from(identity: Identity) -> Self {
        Self { name: identity.name, scopes: identity.scopes, expires_at: identity.expires_at }
    }
}

/// Signs in: the bearer token becomes an HttpOnly cookie with the same scopes, except `worker`.
#[utoipa::path(post, path = "/v1/session", tag = "access",
    responses((status = 200, description = "Signed in", body = Session, headers(("Set-Cookie" = String))),
        (status = 401, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn sign_in(State(app): State<Shared>, identity: Identity) -> Result<Response, ApiError> {
    if identity.by_session {
        return Ok(JsonAnswer(Session::from(identity)).into_response());
    }
    if ![Scope::Read, Scope::Submit, Scope::Admin].into_iter().any(|scope| identity.may(scope)) {
        return Err(ApiError::Forbidden(Scope::Read));
    }
    let secret = Secret::random().map_err(ApiError::internal)?;
    let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}", secret.expose(), LIFETIME.as_secs());
    let cookie = HeaderValue::try_from(cookie).map_err(ApiError::internal)?;
    let (token, hash, shared) = (identity.token, secret.hash(), app.clone());
    let begin = move || shared.credentials.sessions.begin(hash, token, Timestamp::now());
    tokio::task::spawn_blocking(begin).await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    let mut session = Session::from(identity);
    session.scopes.retain(|scope| *scope != Scope::Worker);
    Ok(([(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], JsonAnswer(session)).into_response())
}

/// Who the sender is, and what it may do.
#[utoipa::path(get, path = "/v1/session", tag = "access", responses((status = 200, body = Session)))]
pub(crate) async fn session(identity: Identity) -> JsonAnswer<Session> {
    JsonAnswer(identity.into())
}

/// Signs out.
#[utoipa::path(delete, path = "/v1/session", tag = "access", responses((status = 204, description = "Signed out")))]
pub(crate) async fn sign_out(State(app): State<Shared>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(secret) = cookie(&headers, COOKIE).map(str::to_owned) {
        let end = move || app.credentials.sessions.end(&secret);
        tokio::task::spawn_blocking(end).await.map_err(ApiError::internal)?.map_err(ApiError::internal)?;
    }
    let gone = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0");
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}
