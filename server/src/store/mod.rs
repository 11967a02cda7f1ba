//! The store: everything the server remembers, and the only way to change it.
//!
//! [`Store`] is the typed face: what it answers is what crosses HTTP, what it refuses is a typed error. Beneath it, `db` holds the
//! SQL, `writer` the one connection that writes (group commit: a successful answer means the change is fsynced), a read-only pool
//! serves the rest, [`blobs`](crate::blobs) keeps file contents by hash, and [`leases`](crate::leases) holds the workers' deadlines
//! in memory. What a change means outside the database (a lease granted, a waiting claim woken, a new revision published) happens in
//! the writer after the commit, so a caller that goes away in between leaves nothing half done.

mod actions;
mod artifacts;
mod datasets;
mod jobs;
mod metrics;
mod runs;
mod submit;
mod tokens;
mod workers;

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use trainyard_wire::Revision;

pub use actions::{Action, ActionError};
pub use artifacts::{ArtifactFile, NewArtifact};
pub use datasets::{DatasetError, NewDataset, NewDatasetFile};
pub use jobs::JobFilter;
pub use metrics::{BucketQuery, MetricCursor, MetricPage, MetricQuery};
pub use runs::{LogSlice, RunFilter};
pub use submit::{Idempotency, InlineProblem, NewJob, NewRun, SubmitError, Submitted};
pub use tokens::{NewToken, TokenSecret};
pub use workers::WorkerError;

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How long a worker keeps a run after its last heartbeat.
    pub lease: Duration,
    /// Whether the upkeep loop runs (tests call its operations themselves).
    pub upkeep: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(20), upkeep: true }
    }
}

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use the data folder {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error("the data folder {0} is in use by another server")]
    InUse(String),
    #[error("SQLite {found} can corrupt a database that several connections use; at least {} is needed", "3.51.3")]
    SqliteTooOld { found: String },
    #[error("cannot bring the database up to date: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the store itself failed: no fault of the caller (5xx in HTTP).
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed: {0}")]
    Database(#[from] std::sync::Arc<sqlx::Error>),
    #[error("the data folder failed: {0}")]
    Io(#[from] std::sync::Arc<std::io::Error>),
    /// A stored value that this version cannot read.
    #[error("the store holds a {what} that cannot be read: {detail}")]
    Unreadable { what: &'static str, detail: String },
    #[error("a write to the store panicked")]
    Panicked,
    #[error("the store is closed")]
    Closed,
}

/// A part of a list, and whether there is more of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    pub items: Vec<T>,
    pub more: bool,
}

/// The store of one server. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Opens (or makes) the store in `data_dir`, brings its tables up to date and gives every running run a fresh lease.
    pub async fn open(data_dir: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        todo!()
    }

    /// The last committed revision.
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// Follows the last committed revision: it changes after each commit that changed something visible.
    pub fn revision_watch(&self) -> watch::Receiver<Revision> {
        todo!()
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        todo!()
    }

    /// From now on claims stay empty and heartbeats tell the workers to give their runs back.
    pub fn begin_drain(&self) {
        todo!()
    }

    /// Whether [`Store::begin_drain`] was called.
    pub fn is_draining(&self) -> bool {
        todo!()
    }

    /// Whether the database answers, for `/readyz`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        todo!()
    }

    /// Begins to receive the bytes of an artifact or of a dataset's file.
    pub async fn stage(&self) -> Result<crate::blobs::Staging, StoreError> {
        todo!()
    }

    /// Answers what was asked so far, then closes the database. Every later call fails with [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        todo!()
    }
}
