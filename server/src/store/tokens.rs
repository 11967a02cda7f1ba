//! Bearer tokens. Only the hash of a secret is ever stored.

use futures::FutureExt as _;
use trainyard_wire::token::{Scope, Token};
use trainyard_wire::{Timestamp, TokenId};

use super::writer::write_error;
use super::{Store, StoreError};
use crate::db;

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

/// Why a token was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// 409.
    #[error("the last admin token that does not expire stays: nobody could let anyone in without it")]
    LastAdmin,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(RevokeError, Store);

/// Whether a token lets an admin in until it is revoked.
fn is_lasting_admin(token: &Token) -> bool {
    token.scopes.contains(&Scope::Admin) && token.expires_at.is_none() && token.revoked_at.is_none()
}

impl Store {
    /// Stores a token; one whose secret is stored already is answered as it is (a token given in advance at every start).
    pub async fn insert_token(&self, token: NewToken) -> Result<Token, StoreError> {
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move {
                db::tokens::insert(&mut transaction.conn, &token, transaction.now).await?;
                let tokens = db::tokens::list(&mut transaction.conn).await?;
                let stored = tokens.into_iter().find(|stored| stored.secret_sha256 == token.secret_sha256);
                stored.map(|stored| stored.token).ok_or_else(|| sqlx::Error::RowNotFound.into())
            }
            .boxed()
        });
        write.await
    }

    /// All tokens, newest first.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let tokens = db::tokens::list(&mut *self.reader().await?).await?;
        Ok(tokens.into_iter().map(|secret| secret.token).collect())
    }

    /// Revokes a token; repeating it changes nothing. `None` if there is no such token.
    pub async fn revoke_token(&self, id: TokenId) -> Result<Option<Token>, RevokeError> {
        let write = self.inner.writer.write::<_, RevokeError, _>(move |transaction| {
            async move {
                let tokens = db::tokens::list(&mut transaction.conn).await?;
                let (these, others): (Vec<_>, Vec<_>) =
                    tokens.iter().map(|secret| &secret.token).filter(|token| is_lasting_admin(token)).partition(|token| token.id == id);
                if !these.is_empty() && others.is_empty() {
                    return Err(RevokeError::LastAdmin);
                }
                if !db::tokens::revoke(&mut transaction.conn, id, transaction.now).await? {
                    return Ok(None);
                }
                let tokens = db::tokens::list(&mut transaction.conn).await?;
                Ok(tokens.into_iter().map(|secret| secret.token).find(|token| token.id == id))
            }
            .boxed()
        });
        write.await
    }

    /// All tokens that are not revoked, for checking requests in memory.
    pub async fn token_secrets(&self) -> Result<Vec<TokenSecret>, StoreError> {
        let mut tokens = db::tokens::list(&mut *self.reader().await?).await?;
        tokens.retain(|secret| secret.token.revoked_at.is_none());
        Ok(tokens)
    }
}
