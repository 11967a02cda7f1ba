//! Bearer tokens. Only the hash of a secret is ever stored.

use trainyard_wire::token::{Scope, Token};
use trainyard_wire::{Timestamp, TokenId};

use super::{Store, StoreError};

/// A token to store.
#[derive(Clone, Debug)]
pub struct NewToken {
    pub name: String,
    pub scopes: Vec<Scope>,
    pub secret_sha256: [u8; 32],
    pub expires_at: Option<Timestamp>,
}

/// A token and the hash that proves it.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenSecret {
    pub token: Token,
    pub secret_sha256: [u8; 32],
}

impl Store {
    /// Stores a token; one whose secret is stored already is answered as it is (a token given in advance at every start).
    pub async fn insert_token(&self, token: NewToken) -> Result<Token, StoreError> {
        todo!()
    }

    /// All tokens, newest first.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        todo!()
    }

    /// Revokes a token; repeating it changes nothing. `None` if there is no such token.
    pub async fn revoke_token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        todo!()
    }

    /// All tokens that are not revoked, for checking requests in memory.
    pub async fn token_secrets(&self) -> Result<Vec<TokenSecret>, StoreError> {
        todo!()
    }
}
