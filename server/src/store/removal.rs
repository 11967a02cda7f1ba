//! Removing deleted runs for good, once they cannot be restored any more.

use std::time::Duration;

use futures::FutureExt as _;
use trainyard_wire::{RunId, Timestamp};

use super::writer::Transaction;
use super::{Action, Store, StoreError};
use crate::db;
use crate::store::lifecycle::decide;

/// Runs that are looked up at once.
const RUNS_A_BATCH: i64 = 100;

impl Store {
    /// Removes the runs that at `now` have been deleted for longer than `kept`, with all that they put out; answers how many. Their files
    /// go with the next sweep.
    pub async fn remove_deleted_runs(&self, kept: Duration, now: Timestamp) -> Result<u64, StoreError> {
        let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let until = Timestamp(now.0.saturating_sub(kept));
        let mut count = 0;
        loop {
            let due = db::removal::due(&mut *self.reader().await?, until, RUNS_A_BATCH).await?;
            if due.is_empty() {
                return Ok(count);
            }
            for id in due {
                count += u64::from(self.remove_run(id, until).await?);
            }
        }
    }

    /// Removes one run, in several writes where it is long; answers whether it was still due.
    async fn remove_run(&self, id: RunId, until: Timestamp) -> Result<bool, StoreError> {
        loop {
            let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
                async move {
                    if !db::removal::begin(&mut transaction.conn, id, until).await? {
                        return Ok(Some(false));
                    }
                    if db::removal::remove_points(&mut transaction.conn, id).await? {
                        return Ok(None);
                    }
                    transaction.delete_depending(id).await?;
                    db::removal::remove(&mut transaction.conn, id).await?;
                    // Whoever asks for it is answered otherwise from now on.
                    transaction.advance_revision(1);
                    Ok(Some(true))
                }
                .boxed()
            });
            if let Some(was_due) = write.await? {
                return Ok(was_due);
            }
        }
    }
}

impl Transaction {
    /// Deletes the runs that execute this one again, and those that colour with its model, none of which runs: there is nothing left to
    /// compare them with or to colour with.
    async fn delete_depending(&mut self, id: RunId) -> Result<(), StoreError> {
        for again in db::removal::depending(&mut self.conn, id).await? {
            let Some(run) = db::runs::core(&mut self.conn, again).await?.filter(|run| !run.deleted) else { continue };
            if let Some(step) = decide(&run, Action::Cancel) {
                self.perform(&run, step).await?;
            }
            let revision = self.event(again, "deleted", serde_json::json!({})).await?;
            let now = self.now;
            db::annotations::set_deleted(&mut self.conn, again, Some(now), revision).await?;
        }
        Ok(())
    }
}
