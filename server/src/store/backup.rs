//! A consistent copy of the store, taken while it goes on.
//!
//! First the sweep is held off, then the database is copied in one read transaction (`VACUUM INTO`), so every content that the copy's
//! rows refer to was in its place when they were committed and stays there until the last of it has been read. The copy is a file of
//! its own: while the contents are read, however slowly, the store's own database is not held. SQLite's backup interface would begin
//! anew at every commit of another connection; a read transaction ends whatever is written meanwhile.
//!
//! Secrets are not in it: the database holds only hashes of tokens.

use std::io;

use sqlx::SqliteConnection;
use tempfile::TempDir;
use tokio::fs::File;

use super::{Store, StoreError};
use crate::blobs::Pinned;
use crate::db;
use crate::db::artifacts::Blob;

/// Rows that are read at once.
const PAGE: i64 = 1000;

/// A copy of the store's state at one moment. While it lives, nothing is swept; dropping it deletes the copy of the database.
pub struct Backup {
    folder: TempDir,
    conn: SqliteConnection,
    pinned: Pinned,
    database_is_next: bool,
    /// The hash of the last content that was read from the copy.
    after: String,
    page: std::vec::IntoIter<Blob>,
}

/// A file of a backup.
#[derive(Debug)]
pub struct BackupFile {
    /// Relative to the data folder.
    pub name: String,
    pub size: u64,
    pub file: File,
}

impl Store {
    /// Copies the database and pins the contents that it refers to.
    pub async fn backup(&self) -> Result<Backup, StoreError> {
        let pinned = self.inner.blobs.pin().await;
        let folder = self.inner.blobs.scratch().await?;
        let copy = folder.path().join("trainyard.db");
        db::connect::copy_into(&mut *self.reader().await?, &copy).await?;
        let conn = db::connect::at_rest(&copy).await?;
        Ok(Backup { folder, conn, pinned, database_is_next: true, after: String::new(), page: Vec::new().into_iter() })
    }
}

impl Backup {
    /// The next file: the database, then the contents by hash. `None` after the last.
    pub async fn next_file(&mut self) -> Result<Option<BackupFile>, StoreError> {
        if std::mem::take(&mut self.database_is_next) {
            let file = File::open(self.folder.path().join("trainyard.db")).await?;
            let size = file.metadata().await?.len();
            return Ok(Some(BackupFile { name: "trainyard.db".to_owned(), size, file }));
        }
        if self.page.as_slice().is_empty() {
            self.page = db::artifacts::blobs_after(&mut self.conn, &self.after, PAGE).await?.into_iter();
        }
        let Some(Blob { sha256, size }) = self.page.next() else { return Ok(None) };
        let file = self.pinned.open(&sha256).await?;
        let found = file.metadata().await?.len();
        if found != size {
            return Err(io::Error::other(format!("the content {sha256} has {found} bytes, not {size}: see `trainyard check`")).into());
        }
        let name = format!("blobs/{}/{sha256}", &sha256[..2]);
        self.after = sha256;
        Ok(Some(BackupFile { name, size, file }))
    }
}
