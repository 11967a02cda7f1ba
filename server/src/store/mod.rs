//! The store: everything the server remembers, and the only way to change it.
//!
//! [`Store`] is the typed face: what it answers is what crosses HTTP, what it refuses is a typed error. Beneath it, `db` holds the
//! SQL, `writer` the one connection that writes (group commit: a successful answer means the change is fsynced), a read-only pool
//! serves the rest, [`blobs`](crate::blobs) keeps file contents by hash, and `leases` holds the workers' deadlines
//! in memory. What a change means outside the database (a lease granted, a waiting claim woken, a new revision published) happens in
//! the writer after the commit, so a caller that goes away in between leaves nothing half done.

mod actions;
mod annotations;
mod artifacts;
mod backup;
mod charts;
mod contents;
mod datasets;
mod experiments;
mod external;
mod feed;
mod jobs;
mod lifecycle;
mod listing;
mod metrics;
mod pictures;
mod queue;
mod removal;
mod reports;
mod retention;
mod runs;
mod submit;
mod tokens;
mod upkeep;
mod verification;
mod views;
mod webhooks;
mod workers;
mod writer;

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trainyard_wire::retention::RetentionPolicy;
use trainyard_wire::{Revision, Timestamp};

use crate::blobs::{Blobs, Staging};
use crate::db;
use crate::disk::{self, Distrust, Verdict};
use crate::leases::Leases;
use crate::webhooks::{LONGEST_DELAY, PublicUrl};
use feed::Feed;
use writer::{Followers, Transaction, Writer};

pub use actions::{Action, ActionError};
pub use annotations::AnnotateError;
pub use artifacts::{ArtifactFile, NewArtifact};
pub use backup::{Backup, BackupFile};
pub use charts::{Compared, Curve, CurveQuery};
pub use datasets::{DatasetError, NewDataset, NewDatasetFile};
pub use experiments::{Experiment, ExperimentChange, ExperimentError, FoundRun, LastValue, LastValues};
pub use external::{ExternalError, Late, LogBatch, LoggedPoints, NewExternalFile, NewExternalRun, PointsError, RunUpdate};
pub use feed::{Commit, NewsPage, Told};
pub use jobs::JobFilter;
pub use listing::{Bound, Comparison, MetricFilter, Place, RunPage, RunSearch, Shelves, Sort, SortKey, Statistic, TagFilter};
pub use metrics::{BucketQuery, MetricCursor, MetricPage, MetricQuery};
pub use pictures::{NewPicture, PictureError, Queued};
pub use runs::{LogSlice, RunFilter};
pub use submit::{Idempotency, InlineProblem, NewJob, NewRun, SubmitError, Submitted};
pub use tokens::{NewToken, RevokeError, TokenSecret};
pub use verification::VerifyError;
pub use views::ViewError;
pub use webhooks::{Attempted, MOST_WEBHOOKS, WaitingDelivery, WebhookError};
pub use workers::WorkerError;

/// How long a deleted run can be restored where nobody says otherwise.
pub const DELETED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How a store behaves.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How long a worker keeps a run after its last heartbeat.
    pub lease: Duration,
    /// Whether the upkeep loop runs (tests call its operations themselves).
    pub upkeep: bool,
    /// Which files of finished runs upkeep lets go of.
    pub retention: Option<RetentionPolicy>,
    /// How long a deleted run can be restored.
    pub deleted_kept: Duration,
    /// Where the server is reached from outside.
    pub public_url: Option<PublicUrl>,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { lease: Duration::from_secs(20), upkeep: true, retention: None, deleted_kept: DELETED_KEPT, public_url: None }
    }
}

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("cannot use the data folder {path}: {source}")]
    Folder { path: String, source: io::Error },
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
    /// 507: nothing was changed; the same write succeeds once there is space.
    #[error("the disk is full")]
    Full,
    /// 503: the disk has not taken an fsync, and nothing is written until the process starts anew.
    #[error("the disk did not take an fsync: {0}")]
    NotSynced(Arc<str>),
    #[error("the database failed: {0}")]
    Database(Arc<sqlx::Error>),
    #[error("the data folder failed: {0}")]
    Io(Arc<io::Error>),
    /// A stored value that this version cannot read.
    #[error("the store holds a {what} that cannot be read: {detail}")]
    Unreadable { what: &'static str, detail: String },
    #[error("a write to the store panicked")]
    Panicked,
    #[error("the store is closed")]
    Closed,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match disk::verdict(&error) {
            Some(Verdict::Full) => Self::Full,
            Some(Verdict::NotSynced) => Self::NotSynced(error.to_string().into()),
            None => Self::Database(Arc::new(error)),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        if disk::is_full(&error) { Self::Full } else { Self::Io(Arc::new(error)) }
    }
}

/// A part of a list, and whether there is more of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    pub items: Vec<T>,
    pub more: bool,
}

/// The store of one server. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Writer,
    readers: SqlitePool,
    blobs: Blobs,
    leases: Arc<Leases>,
    followers: Arc<Followers>,
    draining: watch::Sender<bool>,
    closing: CancellationToken,
    distrust: Distrust,
    /// What [`Store::close`] waits for.
    tasks: Mutex<Vec<JoinHandle<Result<(), StoreError>>>>,
    database: PathBuf,
    opened: Instant,
    /// The wall clock then.
    opened_at: Timestamp,
    /// Keeps a second server away until the store is closed.
    lock: Mutex<Option<File>>,
}

impl Store {
    /// Opens (or makes) the store in `data_dir`, brings its tables up to date and gives every running run a fresh lease.
    pub async fn open(data_dir: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let lock = lock_folder(data_dir)?;
        let database = data_dir.join("trainyard.db");
        let mut conn = db::connect::writer(&database).await?;
        db::connect::check_version(&mut conn).await?;
        db::connect::migrate(&mut conn).await?;
        let longest = i64::try_from(LONGEST_DELAY.as_millis()).unwrap_or(i64::MAX);
        db::webhooks::bring_forward(&mut conn, Timestamp(Timestamp::now().0.saturating_add(longest))).await?;
        let readers = db::connect::readers(&database).await?;

        let distrust = Distrust::default();
        let blobs = Blobs::open(data_dir, distrust.clone()).await.map_err(StoreError::from)?;
        let unknown = blobs.delete_unknown(db::artifacts::blobs(&mut conn).await?).await?;
        if unknown > 0 {
            tracing::info!(files = unknown, "files that no row refers to were deleted");
        }

        let (leases, now) = (Arc::new(Leases::new(options.lease)), Instant::now());
        for run in db::runs::running(&mut conn).await? {
            leases.grant(run.id, run.worker_id, run.attempt, run.requested, now);
        }

        let revision = db::revision::get(&mut conn).await?;
        let followers = Arc::new(Followers {
            leases: leases.clone(),
            queued: watch::Sender::new(0),
            revision: watch::Sender::new(revision),
            feed: Feed::default(),
            announced: watch::Sender::new(0),
        });
        let closing = CancellationToken::new();
        let transaction = Transaction::new(conn, revision, options.public_url);
        let (writer, task) = Writer::start(transaction, followers.clone(), distrust.clone(), closing.clone());
        let inner = Inner {
            writer,
            readers,
            blobs,
            leases,
            followers,
            draining: watch::Sender::new(false),
            closing,
            distrust,
            tasks: Mutex::new(vec![task]),
            database,
            opened: now,
            opened_at: Timestamp::now(),
            lock: Mutex::new(Some(lock)),
        };
        let store = Self { inner: Arc::new(inner) };
        if options.upkeep {
            store.start_upkeep(options.retention, options.deleted_kept);
        }
        Ok(store)
    }

    /// The last committed revision.
    pub fn revision(&self) -> Revision {
        *self.inner.followers.revision.borrow()
    }

    /// Follows the last committed revision: it changes after each commit that changed something visible.
    pub fn revision_watch(&self) -> watch::Receiver<Revision> {
        self.inner.followers.revision.subscribe()
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.inner.leases.term()
    }

    /// Now, for what is deleted by its age: the wall clock, unless it has jumped forward since the store was opened. Whichever way it
    /// jumps, what is young is not taken for old.
    pub fn prudent_now(&self) -> Timestamp {
        let passed = i64::try_from(self.inner.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp::now().min(Timestamp(self.inner.opened_at.0.saturating_add(passed)))
    }

    /// From now on claims stay empty and heartbeats tell the workers to give their runs back.
    pub fn begin_drain(&self) {
        self.inner.draining.send_replace(true);
    }

    /// Whether [`Store::begin_drain`] was called.
    pub fn is_draining(&self) -> bool {
        *self.inner.draining.borrow()
    }

    /// Waits until the disk fails an fsync, and answers what failed. From then on every write is refused with
    /// [`StoreError::NotSynced`]; end the process without closing the store, which would write.
    pub async fn not_synced(&self) -> String {
        self.inner.distrust.begun().await
    }

    /// Whether the store answers and takes writes, for `/readyz`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if let Some(reason) = self.inner.distrust.reason() {
            return Err(StoreError::NotSynced(reason.into()));
        }
        if self.inner.writer.is_gone() {
            return Err(StoreError::Closed);
        }
        let mut conn = self.reader().await?;
        db::revision::get(&mut conn).await.map(drop)
    }

    /// Begins to receive the bytes of an artifact or of a dataset's file.
    pub async fn stage(&self) -> Result<Staging, StoreError> {
        self.inner.blobs.stage().await
    }

    /// Does what was asked so far, then closes the database. Every later call fails with [`StoreError::Closed`].
    pub async fn close(&self) -> Result<(), StoreError> {
        self.inner.closing.cancel();
        let tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // The readers go first, so that the writer's last checkpoint finds nobody in its way.
        self.inner.readers.close().await;
        for task in tasks {
            task.await.map_err(|_| StoreError::Panicked)??;
        }
        let lock = self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Not left to the drop: a process that another thread is just starting shares the file, and its lock, until it executes.
        lock.map_or(Ok(()), |lock| lock.unlock()).map_err(StoreError::from)
    }

    /// A connection that reads, each statement for itself.
    async fn reader(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, StoreError> {
        self.inner.readers.acquire().await.map_err(closed)
    }

    /// A connection that reads one state of the store, however many statements it takes.
    async fn snapshot(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, StoreError> {
        self.inner.readers.begin().await.map_err(closed)
    }
}

fn closed(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolClosed => StoreError::Closed,
        error => error.into(),
    }
}

/// Makes the data folder and locks it against a second server.
fn lock_folder(data_dir: &Path) -> Result<File, OpenError> {
    let path = data_dir.display().to_string();
    let folder = |source| OpenError::Folder { path: path.clone(), source };
    std::fs::create_dir_all(data_dir).map_err(folder)?;
    let file = File::options().create(true).truncate(false).write(true).open(data_dir.join("server.lock")).map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path)),
        Err(TryLockError::Error(source)) => Err(folder(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_store_frees_its_folder_even_while_a_process_that_is_being_started_shares_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).await.unwrap();
        let shared = store.inner.lock.lock().unwrap().as_ref().unwrap().try_clone().unwrap();
        assert!(matches!(lock_folder(folder.path()), Err(OpenError::InUse(_))));
        store.close().await.unwrap();
        lock_folder(folder.path()).unwrap();
        drop(shared);
    }
}
