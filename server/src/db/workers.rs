//! Registered workers. When they were last heard of is not stored: that is the leases' matter.

use sqlx::SqliteConnection;
use trainyard_wire::worker::{Register, Worker};
use trainyard_wire::{Timestamp, TokenId, WorkerId};

use super::{Result, signed, to_json, unsigned};

pub(crate) async fn insert(conn: &mut SqliteConnection, token: TokenId, worker: &Register, now: Timestamp) -> Result<WorkerId> {
    let (pid, threads) = (i64::from(worker.pid), i64::from(worker.threads));
    let memory = worker.memory_bytes.map(signed);
    let id = sqlx::query!(
        "INSERT INTO workers (pid, host, device, threads, version, build, instructions, registered_at, token_id, memory_bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        pid,
        worker.host,
        worker.device,
        threads,
        worker.version,
        worker.build,
        worker.instructions,
        now.0,
        token.0,
        memory,
    )
    .execute(conn)
    .await?
    .last_insert_rowid();
    Ok(WorkerId(id))
}

/// A worker as its claims need to know it.
pub(crate) struct Registration {
    pub(crate) token: Option<TokenId>,
    pub(crate) memory_bytes: Option<u64>,
}

pub(crate) async fn registration(conn: &mut SqliteConnection, id: WorkerId) -> Result<Option<Registration>> {
    let row = sqlx::query!("SELECT token_id, memory_bytes FROM workers WHERE id = ?", id.0).fetch_optional(conn).await?;
    Ok(row.map(|row| Registration { token: row.token_id.map(TokenId), memory_bytes: row.memory_bytes.map(unsigned) }))
}

/// The workers with these ids, by id; what they hold and when they were heard of is left open.
pub(crate) async fn by_id(conn: &mut SqliteConnection, ids: &[WorkerId]) -> Result<Vec<Worker>> {
    let ids = to_json("list of workers", &ids)?;
    let rows = sqlx::query!(
        "SELECT id, pid, host, device, threads, memory_bytes, version, registered_at FROM workers
         WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
        ids,
    )
    .fetch_all(conn)
    .await?;
    let workers = rows.into_iter().map(|row| Worker {
        id: WorkerId(row.id),
        pid: u32::try_from(row.pid).unwrap_or_default(),
        host: row.host,
        device: row.device,
        threads: u32::try_from(row.threads).unwrap_or_default(),
        memory_bytes: row.memory_bytes.map(unsigned),
        version: row.version,
        run_id: None,
        run_ids: Vec::new(),
        registered_at: Timestamp(row.registered_at),
        idle_seconds: 0.0,
    });
    Ok(workers.collect())
}

/// Forgets all workers but these; answers how many.
pub(crate) async fn delete_others(conn: &mut SqliteConnection, known: &[WorkerId]) -> Result<u64> {
    let known = to_json("list of workers", &known)?;
    let result = sqlx::query!("DELETE FROM workers WHERE id NOT IN (SELECT value FROM json_each(?))", known).execute(conn).await?;
    Ok(result.rows_affected())
}
