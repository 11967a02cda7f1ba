//! The files of runs.

use tokio::fs::File;
use trainyard_wire::run::{Artifact, Artifacts};
use trainyard_wire::{Attempt, RunId};

use super::{Store, StoreError, WorkerError};
use crate::blobs::StagedBlob;

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
        todo!()
    }

    /// One artifact, opened; `None` if there is no such run or no such name.
    pub async fn artifact(&self, id: RunId, name: &str) -> Result<Option<ArtifactFile>, StoreError> {
        todo!()
    }

    /// Stores a file for the run that the worker holds; replaces the file of the same name. A repeat changes nothing.
    pub async fn put_artifact(&self, id: RunId, artifact: NewArtifact) -> Result<(), WorkerError> {
        todo!()
    }

    /// A file of the run that the worker holds, opened; `None` if there is no such name.
    pub async fn held_artifact(&self, id: RunId, attempt: Attempt, name: &str) -> Result<Option<ArtifactFile>, WorkerError> {
        todo!()
    }
}
