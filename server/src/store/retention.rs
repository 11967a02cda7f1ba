//! Retention: which files of finished runs go, and their going.

use std::collections::HashSet;

use futures::FutureExt as _;
use serde_json::json;
use trainyard_wire::retention::{Pruned, PrunedRun, RetentionPolicy};
use trainyard_wire::{RunId, Timestamp};

use super::writer::{Transaction, write_error};
use super::{Store, StoreError};
use crate::db;
use crate::db::retention::Protection;

/// Runs of one transaction: other writes come between two of them.
const RUNS_A_BATCH: i64 = 200;
/// Runs that the answer tells of.
const MOST_TOLD: usize = 1000;

/// Why a plan is not carried out.
enum NotDone {
    /// It was to be told only.
    DryRun(Pruned),
    Failed(StoreError),
}

write_error!(NotDone, Failed);

impl From<StoreError> for NotDone {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl Store {
    /// Lets go of the files that the policy, at `now`, has no reason to keep, and sweeps their contents away.
    ///
    /// A dry run does the very same and is then undone, in one transaction: it holds other writes up for as long as that takes.
    pub async fn prune(&self, policy: RetentionPolicy, dry_run: bool, now: Timestamp) -> Result<Pruned, StoreError> {
        let mut pruning = Pruning::new(policy, dry_run, now);
        if dry_run {
            let write = self.inner.writer.write::<(), NotDone, _>(move |transaction| {
                async move {
                    while pruning.batch(transaction).await? {}
                    Err(NotDone::DryRun(pruning.pruned))
                }
                .boxed()
            });
            return match write.await {
                Ok(()) => Err(StoreError::Panicked),
                Err(NotDone::DryRun(pruned)) => Ok(pruned),
                Err(NotDone::Failed(error)) => Err(error),
            };
        }
        loop {
            let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
                async move {
                    let more = pruning.batch(transaction).await?;
                    Ok((pruning, more))
                }
                .boxed()
            });
            let more;
            (pruning, more) = write.await?;
            if !more {
                break;
            }
        }
        if pruning.pruned.artifact_count > 0 {
            self.sweep_blobs().await?;
        }
        Ok(pruning.pruned)
    }
}

/// One application of a policy.
struct Pruning {
    max_bytes: Option<u64>,
    protection: Protection,
    /// Checkpoints go before anything else does, where not everything has to go.
    checkpoints_only: bool,
    /// Whether the bytes of all artifacts are counted.
    counted: bool,
    ids: HashSet<RunId>,
    pruned: Pruned,
}

impl Pruning {
    fn new(policy: RetentionPolicy, dry_run: bool, now: Timestamp) -> Self {
        let age = policy.older_than_seconds.unwrap_or(0).saturating_mul(1000);
        let after = Timestamp(now.0.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)));
        Self {
            max_bytes: policy.max_bytes,
            protection: Protection { newest: policy.keep.unwrap_or(0), after },
            checkpoints_only: policy.max_bytes.is_some(),
            counted: false,
            ids: HashSet::new(),
            pruned: Pruned { dry_run, ..Pruned::default() },
        }
    }

    fn is_enough(&self) -> bool {
        self.max_bytes.is_some_and(|most| self.pruned.remaining_bytes <= most)
    }

    /// Takes the files of some runs; answers whether there may be more to take.
    async fn batch(&mut self, transaction: &mut Transaction) -> Result<bool, StoreError> {
        if !self.counted {
            self.pruned.remaining_bytes = db::artifacts::total_bytes(&mut transaction.conn).await?;
            self.counted = true;
        }
        if self.is_enough() {
            return Ok(false);
        }
        let ids = db::retention::prunable(&mut transaction.conn, self.protection, self.checkpoints_only, RUNS_A_BATCH).await?;
        if ids.is_empty() {
            return Ok(std::mem::take(&mut self.checkpoints_only));
        }
        for id in ids {
            if self.is_enough() {
                return Ok(false);
            }
            if let Some(lost) = transaction.prune(id, self.checkpoints_only).await? {
                self.note(lost);
            }
        }
        Ok(true)
    }

    fn note(&mut self, lost: PrunedRun) {
        self.pruned.artifact_count += lost.artifacts.len() as u64;
        self.pruned.bytes += lost.bytes;
        self.pruned.remaining_bytes = self.pruned.remaining_bytes.saturating_sub(lost.bytes);
        if self.ids.insert(lost.run_id) {
            self.pruned.run_count += 1;
            if self.pruned.runs.len() < MOST_TOLD {
                self.pruned.runs.push(lost);
            }
        } else if let Some(told) = self.pruned.runs.iter_mut().find(|told| told.run_id == lost.run_id) {
            told.artifacts.extend(lost.artifacts);
            told.bytes += lost.bytes;
        }
    }
}

impl Transaction {
    /// Takes all files of a finished run, or its checkpoint only; answers what it lost.
    async fn prune(&mut self, id: RunId, checkpoint_only: bool) -> Result<Option<PrunedRun>, StoreError> {
        let Some(run) = db::runs::core(&mut self.conn, id).await? else { return Ok(None) };
        let mut gone = db::artifacts::list(&mut self.conn, id).await?;
        if checkpoint_only {
            db::artifacts::delete_checkpoint(&mut self.conn, id).await?;
            let left: HashSet<String> = db::artifacts::list(&mut self.conn, id).await?.into_iter().map(|artifact| artifact.name).collect();
            gone.retain(|artifact| !left.contains(&artifact.name));
        } else {
            db::artifacts::delete(&mut self.conn, id).await?;
        }
        // Pictures that were coloured with the model go along.
        let pictures = if checkpoint_only { Vec::new() } else { self.prune_pictures(id).await? };
        if run.checkpoint_step.is_some() {
            db::runs::forget_checkpoint(&mut self.conn, &run).await?;
        }
        if gone.is_empty() {
            return Ok(None);
        }
        let contents: Vec<&str> = gone.iter().chain(&pictures).map(|artifact| artifact.sha256.as_str()).collect();
        let bytes = db::artifacts::let_go_bytes(&mut self.conn, &contents).await?;
        let artifacts: Vec<String> = gone.into_iter().map(|artifact| artifact.name).collect();
        let revision = self.event(id, "pruned", json!({ "artifacts": artifacts, "bytes": bytes })).await?;
        db::runs::set_revision(&mut self.conn, &run, revision).await?;
        Ok(Some(PrunedRun { run_id: id, artifacts, bytes }))
    }
}
