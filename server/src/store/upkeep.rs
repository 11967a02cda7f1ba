//! Upkeep: what the store does by itself, as a loop of named operations.
//!
//! Each operation is a method that takes the time it is to work with, so that a test can call it without waiting. One that fails is
//! logged and tried again at its next turn.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use trainyard_wire::retention::RetentionPolicy;
use trainyard_wire::{RunState, Timestamp};

use super::{Store, StoreError};
use crate::db;
use crate::figures;

/// The longest that an expired lease waits to be noticed.
const LONGEST_TICK: Duration = Duration::from_secs(1);
/// How often everything but the leases is seen to.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How often the retention policy is applied, if there is one; the first time right after the start.
const PRUNING: Duration = Duration::from_secs(3600);
/// How long a repeated submit is recognized.
const IDEMPOTENCY_KEYS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long after a start all of them are recognized.
const IDEMPOTENCY_KEYS_SAFE: Duration = Duration::from_secs(3600);
/// How long a silent worker that holds nothing is remembered.
const SILENT_WORKERS_KEPT: Duration = Duration::from_secs(3600);
/// Blobs that are swept under one lock.
const BLOBS_A_SWEEP: i64 = 64;
/// The write-ahead log is emptied above this size, as soon as that is noticed. SQLite reuses it from the start as long as readers let
/// it; this is for when they did not.
const LARGEST_LOG: u64 = 16 << 20;
/// After readers did not let it be emptied, how long until it is tried again: each try may hold writes up.
const LOG_RETRY: Duration = Duration::from_secs(10);

impl Store {
    /// Starts the loop. It ends when the store is closed, or dropped.
    pub(super) fn start_upkeep(&self, retention: Option<RetentionPolicy>, deleted_kept: Duration) {
        let (weak, closing) = (Arc::downgrade(&self.inner), self.inner.closing.clone());
        let tick = LONGEST_TICK.min(self.lease() / 4);
        let task = tokio::spawn(async move {
            let mut housekept = Instant::now();
            let (mut pruned, mut empty_log_at) = (None, housekept);
            while closing.run_until_cancelled(tokio::time::sleep(tick)).await.is_some() {
                let Some(inner) = weak.upgrade() else { break };
                let store = Self { inner };
                let now = Instant::now();
                note("expire leases", store.expire_leases(now).await);
                if now >= empty_log_at {
                    let emptied = store.empty_large_log().await;
                    if matches!(emptied, Ok(Some(false))) {
                        empty_log_at = now + LOG_RETRY;
                    }
                    note("empty the write-ahead log", emptied.map(|_| 0));
                }
                note("conclude verifications", store.conclude_verifications().await);
                if let Some(policy) = retention
                    && pruned.is_none_or(|last| now.duration_since(last) >= PRUNING)
                {
                    pruned = Some(now);
                    let done = store.prune(policy, false, store.prudent_now()).await;
                    note("prune artifacts", done.map(|pruned| pruned.artifact_count));
                }
                if now.duration_since(housekept) >= HOUSEKEEPING {
                    housekept = now;
                    note("remove deleted runs", store.remove_deleted_runs(deleted_kept, store.prudent_now()).await);
                    note("prune deliveries", store.prune_deliveries(store.prudent_now()).await);
                    note("sweep blobs", store.sweep_blobs().await);
                    // A client whose request was broken off with the last server has its key known, however wrong the clock was set since.
                    if now.duration_since(store.inner.opened) >= IDEMPOTENCY_KEYS_SAFE {
                        note("forget idempotency keys", store.forget_idempotency_keys(store.prudent_now()).await);
                    }
                    note("forget silent workers", store.forget_silent_workers(now).await);
                }
            }
            Ok(())
        });
        self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Ends the attempts whose lease has expired: their runs go back to the queue, or become what was asked for, or fail for good.
    /// Answers how many.
    pub async fn expire_leases(&self, now: Instant) -> Result<u64, StoreError> {
        let mut count = 0;
        for (id, lease) in self.inner.leases.take_expired(now) {
            let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
                async move {
                    let Some(run) = db::runs::core(&mut transaction.conn, id).await? else { return Ok(false) };
                    let held = run.state == RunState::Running && run.attempt == lease.attempt;
                    if held {
                        transaction.expire(&run).await?;
                    }
                    Ok(held)
                }
                .boxed()
            });
            match write.await {
                Ok(expired) => count += u64::from(expired),
                Err(error) => {
                    self.inner.leases.restore(id, lease);
                    tracing::error!(run = id.0, %error, "the run of an expired lease cannot be put back");
                }
            }
        }
        figures::leases_lost(count);
        Ok(count)
    }

    /// Deletes the contents that nothing refers to any more, unless a backup is being read; answers how many.
    pub async fn sweep_blobs(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        loop {
            // While a backup is read nothing is swept; the next turn of the loop does it.
            let Some(sweeping) = self.inner.blobs.sweeping().await else { return Ok(count) };
            let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
                async move { db::artifacts::delete_unreferenced_blobs(&mut transaction.conn, BLOBS_A_SWEEP).await }.boxed()
            });
            let swept = write.await?;
            if swept.is_empty() {
                return Ok(count);
            }
            count += swept.len() as u64;
            sweeping.delete(swept).await?;
        }
    }

    /// Forgets the idempotency keys that are too old at `now`; answers how many.
    pub async fn forget_idempotency_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        let kept = i64::try_from(IDEMPOTENCY_KEYS_KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(now.0.saturating_sub(kept));
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move { db::idempotency::delete_before(&mut transaction.conn, before).await }.boxed()
        });
        write.await
    }

    /// Forgets the workers that were silent for too long at `now`; answers how many.
    pub async fn forget_silent_workers(&self, now: Instant) -> Result<u64, StoreError> {
        // After a start nobody has had the time to be heard of.
        if now.saturating_duration_since(self.inner.opened) < SILENT_WORKERS_KEPT {
            return Ok(0);
        }
        let leases = Arc::clone(&self.inner.leases);
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            // Listed in the transaction that deletes the others: whoever registered before it has been heard of, and nobody registers
            // in between.
            let known = leases.forget_silent(SILENT_WORKERS_KEPT, now);
            async move { db::workers::delete_others(&mut transaction.conn, &known).await }.boxed()
        });
        write.await
    }

    /// Empties the write-ahead log if it has grown large; answers whether it could, or nothing where it is not large.
    pub async fn empty_large_log(&self) -> Result<Option<bool>, StoreError> {
        let log = self.inner.database.with_extension("db-wal");
        let size = tokio::fs::metadata(&log).await.map_or(0, |metadata| metadata.len());
        if size <= LARGEST_LOG {
            return Ok(None);
        }
        self.inner.writer.checkpoint().await.map(Some)
    }
}

fn note(operation: &'static str, done: Result<u64, StoreError>) {
    match done {
        Ok(0) => {}
        Ok(count) => tracing::info!(operation, count, "upkeep"),
        Err(StoreError::Closed) => {}
        Err(error) => tracing::error!(operation, %error, "upkeep failed"),
    }
}
