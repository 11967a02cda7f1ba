//! Tokens, by the hashes of their secrets.

use sqlx::SqliteConnection;
use trainyard_wire::token::Token;
use trainyard_wire::{Timestamp, TokenId};

use super::{Result, from_json, to_json};
use crate::store::{NewToken, StoreError, TokenSecret};

/// Stores a token unless its secret is stored already.
pub(crate) async fn insert(conn: &mut SqliteConnection, token: &NewToken, now: Timestamp) -> Result<()> {
    let (scopes, secret, expires_at) = (to_json("scopes", &token.scopes)?, token.secret_sha256.as_slice(), token.expires_at.map(|at| at.0));
    sqlx::query!(
        "INSERT INTO tokens (name, scopes, secret_sha256, created_at, expires_at) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (secret_sha256) DO NOTHING",
        token.name,
        scopes,
        secret,
        now.0,
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notes that a token is no longer good, unless it is noted already; answers whether there is such a token.
pub(crate) async fn revoke(conn: &mut SqliteConnection, id: TokenId, now: Timestamp) -> Result<bool> {
    let result = sqlx::query!("UPDATE tokens SET revoked_at = COALESCE(revoked_at, ?) WHERE id = ?", now.0, id.0).execute(conn).await?;
    Ok(result.rows_affected() == 1)
}

/// All tokens, newest first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<TokenSecret>> {
    let rows = sqlx::query!("SELECT id, name, scopes, secret_sha256, created_at, expires_at, revoked_at FROM tokens ORDER BY id DESC")
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let secret_sha256 = row
                .secret_sha256
                .try_into()
                .map_err(|_| StoreError::Unreadable { what: "token", detail: format!("the hash of token {} has not 32 bytes", row.id) })?;
            let token = Token {
                id: TokenId(row.id),
                name: row.name,
                scopes: from_json("token's scopes", &row.scopes)?,
                created_at: Timestamp(row.created_at),
                expires_at: row.expires_at.map(Timestamp),
                revoked_at: row.revoked_at.map(Timestamp),
            };
            Ok(TokenSecret { token, secret_sha256 })
        })
        .collect()
}
