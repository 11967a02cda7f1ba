//! Who is asking: bearer tokens and the dashboard's sessions.
//!
//! All unrevoked tokens lie in memory under the hash of their secret, so that checking a request costs one look-up and no query. A session is a
//! cookie that stands for a token in a browser: it has the token's scopes without `worker`, and dies with the token.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use axum::http::{HeaderMap, Method, header};
use tokio::sync::Mutex;
use trainyard_wire::token::{Scope, Token};
use trainyard_wire::{Timestamp, TokenId};

use super::origin::origin_authority;
use super::problem::ApiError;
use super::sessions::{COOKIE, Sessions};
use crate::store::{Store, StoreError};
use crate::tokens;

/// A request's proven sender.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) token: TokenId,
    pub(crate) name: String,
    pub(crate) scopes: Vec<Scope>,
    /// When the token ends.
    pub(crate) expires_at: Option<Timestamp>,
    /// Whether it came by cookie.
    pub(crate) by_session: bool,
}

impl Identity {
    fn new(token: &Token, by_session: bool) -> Self {
        let scopes = token.scopes.iter().copied().filter(|scope| !(by_session && *scope == Scope::Worker)).collect();
        Self { token: token.id, name: token.name.clone(), scopes, expires_at: token.expires_at, by_session }
    }

    /// `admin` includes the other scopes; only a session never includes `worker`.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        let admin = self.scopes.contains(&Scope::Admin) && !(self.by_session && scope == Scope::Worker);
        admin || self.scopes.contains(&scope)
    }
}

/// The tokens and sessions that the server knows.
pub(crate) struct Credentials {
    tokens: RwLock<HashMap<[u8; 32], Token>>,
    /// Held from reading the store to taking over what was read: of two reloads, the one that read first could else have the last word.
    reloading: Mutex<()>,
    pub(crate) sessions: Sessions,
}

impl Credentials {
    pub(crate) async fn load(store: &Store, sessions: Sessions) -> Result<Self, StoreError> {
        let credentials = Self { tokens: RwLock::default(), reloading: Mutex::default(), sessions };
        credentials.reload(store).await?;
        Ok(credentials)
    }

    /// Takes over what changed in the store.
    pub(crate) async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let _reloading = self.reloading.lock().await;
        let tokens = store.token_secrets().await?.into_iter().map(|secret| (secret.secret_sha256, secret.token)).collect();
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        Ok(())
    }

    /// Who sent a request with these headers.
    pub(crate) fn identify(&self, method: &Method, headers: &HeaderMap) -> Result<Identity, ApiError> {
        let mut authorizations = headers.get_all(header::AUTHORIZATION).iter();
        if let Some(authorization) = authorizations.next() {
            let secret = authorization.to_str().ok().filter(|_| authorizations.next().is_none()).and_then(bearer);
            let secret = secret.ok_or(ApiError::Unauthorized("the Authorization header must be `Bearer` and a token"))?;
            return self.token(secret).ok_or(ApiError::Unauthorized("the token is unknown, expired or revoked"));
        }
        let Some(secret) = cookie(headers, COOKIE) else {
            return Err(ApiError::Unauthorized("a token is needed: `Authorization: Bearer …`"));
        };
        let identity = self.session(secret).ok_or(ApiError::Unauthorized("the session is unknown or has ended: sign in again"))?;
        if !method.is_safe() && !same_origin(headers) {
            return Err(ApiError::ForeignOrigin("a session's requests must come from the dashboard's own origin".to_owned()));
        }
        Ok(identity)
    }

    fn token(&self, secret: &str) -> Option<Identity> {
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.get(&tokens::hash(secret)).filter(|token| is_valid(token))?;
        Some(Identity::new(token, false))
    }

    fn session(&self, secret: &str) -> Option<Identity> {
        let id = self.sessions.token_of(secret, Timestamp::now())?;
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        let token = tokens.values().find(|token| token.id == id && is_valid(token))?;
        Some(Identity::new(token, true))
    }
}

fn is_valid(token: &Token) -> bool {
    token.revoked_at.is_none() && token.expires_at.is_none_or(|end| Timestamp::now() < end)
}

fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, secret) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim()).filter(|secret| !secret.is_empty())
}

/// The value of the cookie `name`.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name))
        .map(|(_, value)| value)
}

/// Whether a browser says that the request comes from a page of this very host and port. `SameSite` alone would let in the pages of
/// other ports of the same machine. What sends neither header is no browser.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let fetched = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let origin = text("origin").is_none_or(|origin| origin_authority(origin).is_some_and(|authority| text("host") == Some(authority)));
    fetched && origin
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName, HeaderValue};

    use super::{bearer, cookie, same_origin};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_bearer_token_is_found_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer("bearer abc"), Some("abc"));
        assert_eq!(bearer("BEARER  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("abc"), None);
    }

    #[test]
    fn a_cookie_is_found_among_others_and_only_under_its_whole_name() {
        let headers = headers(&[("cookie", "a=1; trainyard_session=xyz;b=2")]);
        assert_eq!(cookie(&headers, "trainyard_session"), Some("xyz"));
        assert_eq!(cookie(&headers, "session"), None);
    }

    #[test]
    fn another_port_of_the_same_machine_is_another_origin() {
        let host = ("host", "localhost:8080");
        assert!(same_origin(&headers(&[host, ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")])));
        assert!(same_origin(&headers(&[host])));
        assert!(!same_origin(&headers(&[host, ("origin", "http://localhost:3000")])));
        assert!(!same_origin(&headers(&[host, ("sec-fetch-site", "same-site")])));
    }
}
