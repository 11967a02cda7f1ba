//! Idempotency keys of submits, with the answers they got.

use sqlx::SqliteConnection;
use trainyard_wire::Timestamp;
use trainyard_wire::job::JobAccepted;

use super::{Result, from_json, to_json};
use crate::store::Idempotency;

/// What a key was used for.
pub(crate) struct Used {
    pub(crate) body_sha256: String,
    pub(crate) answer: JobAccepted,
}

pub(crate) async fn get(conn: &mut SqliteConnection, idempotency: &Idempotency) -> Result<Option<Used>> {
    let (token, key) = (idempotency.token.0, &idempotency.key);
    let row = sqlx::query!("SELECT body_sha256, answer FROM idempotency_keys WHERE token_id = ? AND key = ?", token, key)
        .fetch_optional(conn)
        .await?;
    row.map(|row| Ok(Used { body_sha256: row.body_sha256, answer: from_json("submit's answer", &row.answer)? })).transpose()
}

pub(crate) async fn insert(conn: &mut SqliteConnection, idempotency: &Idempotency, answer: &JobAccepted, now: Timestamp) -> Result<()> {
    let answer = to_json("submit's answer", answer)?;
    sqlx::query!(
        "INSERT INTO idempotency_keys (token_id, key, body_sha256, answer, created_at) VALUES (?, ?, ?, ?, ?)",
        idempotency.token.0,
        idempotency.key,
        idempotency.body_sha256,
        answer,
        now.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets the keys made before `time`; answers how many.
pub(crate) async fn delete_before(conn: &mut SqliteConnection, time: Timestamp) -> Result<u64> {
    Ok(sqlx::query!("DELETE FROM idempotency_keys WHERE created_at < ?", time.0).execute(conn).await?.rows_affected())
}
