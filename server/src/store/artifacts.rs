//! The files of runs.

use futures::FutureExt as _;
use serde_json::json;
use sqlx::SqliteConnection;
use tokio::fs::File;
use trainyard_wire::run::{Artifact, Artifacts};
use trainyard_wire::{Attempt, RunId, TokenId};

use super::reports::hold;
use super::writer::{Effect, Transaction};
use super::{Store, StoreError, WorkerError};
use crate::blobs::StagedBlob;
use crate::db;
use crate::db::artifacts::ArtifactRow;
use crate::db::runs::RunCore;
use crate::names::is_device;

/// A file that a worker stores for a run.
#[derive(Debug)]
pub struct NewArtifact {
    pub attempt: Attempt,
    pub name: String,
    pub content_type: String,
    /// Verified against the announced hash.
    pub blob: StagedBlob,
    /// The step, if the file is the checkpoint to resume from.
    pub checkpoint_step: Option<u64>,
}

/// An artifact, opened for reading.
#[derive(Debug)]
pub struct ArtifactFile {
    pub artifact: Artifact,
    pub file: File,
}

impl Store {
    /// The artifacts of a run, by name; `None` if there is no such run.
    pub async fn artifacts(&self, id: RunId) -> Result<Option<Artifacts>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Artifacts { artifacts: db::artifacts::list(&mut conn, id).await? }))
    }

    /// One artifact, opened; `None` if there is no such run or no such name.
    pub async fn artifact(&self, id: RunId, name: &str) -> Result<Option<ArtifactFile>, StoreError> {
        let reading = self.inner.blobs.reading().await;
        let Some(artifact) = db::artifacts::get(&mut *self.reader().await?, id, name).await? else { return Ok(None) };
        let file = reading.open(&artifact.sha256).await?;
        Ok(Some(ArtifactFile { artifact, file }))
    }

    /// Stores a file for the run that the worker holds; replaces the file of the same name. A repeat changes nothing.
    pub async fn put_artifact(&self, by: TokenId, id: RunId, artifact: NewArtifact) -> Result<(), WorkerError> {
        if !is_artifact_name(&artifact.name) {
            return Err(WorkerError::ArtifactName);
        }
        let NewArtifact { attempt, name, content_type, blob, checkpoint_step } = artifact;
        let sha256 = blob.sha256().to_owned();
        let row = ArtifactRow { run: id, name: &name, content_type: &content_type, sha256: &sha256, attempt };
        // Looked at before the file gets a name, so that a stale put leaves nothing behind. What counts is the look in the transaction.
        let mut conn = self.reader().await?;
        let run = db::runs::core(&mut conn, id).await?.ok_or(WorkerError::UnknownRun)?;
        if is_repeat(&mut conn, by, &run, &row).await? {
            return Ok(());
        }
        drop(conn);
        let write = self.publish(vec![blob], move |transaction| {
            async move {
                let row = ArtifactRow { run: id, name: &name, content_type: &content_type, sha256: &sha256, attempt };
                transaction.put_artifact(by, &row, checkpoint_step).await
            }
            .boxed()
        });
        write.await
    }

    /// A file of the run that the worker holds, opened; `None` if there is no such name.
    pub async fn held_artifact(&self, by: TokenId, id: RunId, attempt: Attempt, name: &str) -> Result<Option<ArtifactFile>, WorkerError> {
        let run = db::runs::core(&mut *self.reader().await?, id).await?.ok_or(WorkerError::UnknownRun)?;
        hold(&run, attempt, by)?;
        Ok(self.artifact(id, name).await?)
    }
}

impl Transaction {
    /// Notes an artifact whose blob is noted. A refusal changes nothing.
    async fn put_artifact(&mut self, by: TokenId, artifact: &ArtifactRow<'_>, checkpoint_step: Option<u64>) -> Result<(), WorkerError> {
        let run = db::runs::core(&mut self.conn, artifact.run).await?.ok_or(WorkerError::UnknownRun)?;
        if is_repeat(&mut self.conn, by, &run, artifact).await? {
            return Ok(());
        }
        self.after_commit(Effect::LeaseRenewed { run: run.id, attempt: run.attempt });
        // An attempt's checkpoints go forward: one that is behind is a request that has been under way for long. (A later attempt may be
        // behind an earlier one, whose checkpoint it could not read.)
        if let Some(step) = checkpoint_step
            && run.checkpoint_step.is_some_and(|stored| step < stored)
            && db::artifacts::attempt_of(&mut self.conn, run.id, artifact.name).await? == Some(run.attempt)
        {
            return Ok(());
        }
        let is_new = db::artifacts::put(&mut self.conn, artifact, self.now).await?;
        let mut revision = None;
        if let Some(step) = checkpoint_step
            && (is_new || run.checkpoint_step != Some(step))
        {
            db::runs::set_checkpoint(&mut self.conn, &run, artifact.sha256, step).await?;
            // Only one that is further on shows that the attempts before it were not in vain.
            if run.checkpoint_step.is_none_or(|before| step > before) && run.lost_attempts > 0 {
                db::runs::set_lost_attempts(&mut self.conn, &run, 0).await?;
            }
            revision = Some(self.event(run.id, "checkpoint", json!({ "step": step, "sha256": artifact.sha256 })).await?);
        } else if is_new {
            let upcoming = self.advance_revision(1);
            self.changed(run.id, upcoming);
            revision = Some(upcoming);
        }
        if let Some(revision) = revision {
            db::runs::set_revision(&mut self.conn, &run, revision).await?;
        }
        Ok(())
    }
}

/// Whether the attempt holds the run no more, and the put is the repeat of one whose answer was lost, which is no error.
async fn is_repeat(conn: &mut SqliteConnection, by: TokenId, run: &RunCore, artifact: &ArtifactRow<'_>) -> Result<bool, WorkerError> {
    match hold(run, artifact.attempt, by) {
        Ok(()) => Ok(false),
        Err(_) if db::artifacts::was_put(conn, artifact).await? => Ok(true),
        Err(stale) => Err(stale),
    }
}

/// Whether a name is segments of letters, digits, `.`, `_` and `-`, joined by single slashes, and none of them only dots. Names never
/// become paths on the server; they may on the machine of someone who downloads them.
pub(super) fn is_artifact_name(name: &str) -> bool {
    let is_segment = |segment: &str| {
        segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
            && !segment.trim_start_matches('.').is_empty()
            && !is_device(segment)
    };
    name.len() <= 200 && name.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::is_artifact_name;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for name in ["model.safetensors", "samples/epoch-025.png", "a/b/c_d.1", ".hidden"] {
            assert!(is_artifact_name(name), "{name}");
        }
        for name in
            ["", "/", "/etc/passwd", "a//b", "a/", "..", "a/../b", ".", "a b", "a\\b", "ä", "a\0b", "NUL", "a/com1.png", &"a".repeat(201)]
        {
            assert!(!is_artifact_name(name), "{name:?}");
        }
    }
}
