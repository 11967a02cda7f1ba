//! File contents, stored by hash: `blobs/ab/abcdef…` under the data folder.
//!
//! A file arrives in `blobs/tmp`, hashed as it is written, and is fsynced before its hash is told ([`StagedBlob`]). Publishing renames
//! it into its place and fsyncs the folder; only then may a row refer to it, so every row has a whole, verified file. A crash at any
//! point leaves at most a file that no row knows, which the next start deletes.
//!
//! Sweeping away contents that nothing refers to any more must not race with someone who stores the same content again: the sweep
//! deletes the row and then the file, and between the two a put could rename its file into place and commit a row for it, whose file
//! the sweep would then delete. So both go through one lock. A put holds it shared from before the rename until its transaction has
//! been committed or undone (`Published`); the sweep holds it alone from before it looks for rows until the files are gone. A put
//! thus comes wholly before the sweep (which sees its row) or wholly after (and brings the file back). The lock is never held while
//! bytes arrive from the network. Readers hold it shared from looking up the row until the file is open; an open file outlives its
//! name. A backup reads many files for as long as its client takes, so it holds no lock: while one is `Pinned` there is no sweep.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use trainyard_faults::{Place, Promise};

use crate::disk::{self, Distrust};
use crate::store::StoreError;

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The folder of blobs.
#[derive(Clone, Debug)]
pub(crate) struct Blobs {
    folder: PathBuf,
    lock: Arc<RwLock<()>>,
    pins: Arc<AtomicUsize>,
    distrust: Distrust,
}

impl Blobs {
    /// Makes the folders and deletes what uploads that never ended left behind.
    pub(crate) async fn open(data_dir: &Path, distrust: Distrust) -> io::Result<Self> {
        let folder = data_dir.join("blobs");
        let made = folder.clone();
        blocking(move || {
            let staging = made.join("tmp");
            if staging.exists() {
                std::fs::remove_dir_all(&staging)?;
            }
            std::fs::create_dir_all(&staging)?;
            // All of them at once, so that publishing a file has one folder to fsync and not two.
            for byte in 0..=u8::MAX {
                std::fs::create_dir_all(made.join(format!("{byte:02x}")))?;
            }
            sync_folder(&made)?;
            made.parent().map_or(Ok(()), sync_folder)
        })
        .await?;
        Ok(Self { folder, lock: Arc::default(), pins: Arc::default(), distrust })
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.folder.join(&sha256[..2]).join(sha256)
    }

    /// Begins to receive a file.
    pub(crate) async fn stage(&self) -> Result<Staging, StoreError> {
        let folder = self.folder.join("tmp");
        let (file, path) = blocking(move || {
            let file = tempfile::Builder::new().prefix("").rand_bytes(16).tempfile_in(folder)?;
            Ok(file.into_parts())
        })
        .await?;
        let file = BufWriter::with_capacity(1 << 18, File::from_std(file));
        Ok(Staging { file, path, hash: Sha256::new(), size: 0, distrust: self.distrust.clone() })
    }

    /// Moves complete files to their places. The answer must live until the rows that refer to them are committed or undone.
    pub(crate) async fn publish(&self, staged: Vec<StagedBlob>) -> Result<Published, StoreError> {
        let guard = self.lock.clone().read_owned().await;
        let moves: Vec<_> = staged.into_iter().map(|blob| (blob.path, self.path(&blob.sha256))).collect();
        let places = blocking(move || {
            let mut places = Vec::with_capacity(moves.len());
            for (staged, place) in moves {
                // The content may be there already; replacing it with itself is harmless.
                trainyard_faults::at(Place::BlobRename)?;
                staged.persist(&place).map_err(|error| error.error)?;
                trainyard_faults::at(Place::BlobRenamed)?;
                places.push(place);
            }
            Ok(places)
        });
        let places = places.await?;
        let synced = blocking(move || places.iter().try_for_each(|place| sync_name(place))).await;
        synced.map_err(|error| not_synced(&self.distrust, error))?;
        blocking(|| trainyard_faults::at(Place::BlobPublished)).await?;
        Ok(Published { _guard: guard })
    }

    /// Keeps the sweep away between looking up a row and opening its file.
    pub(crate) async fn reading(&self) -> Reading<'_> {
        Reading { blobs: self, _guard: self.lock.clone().read_owned().await }
    }

    /// Keeps everyone else away while rows and files are swept. `None` while a backup needs them.
    pub(crate) async fn sweeping(&self) -> Option<Sweeping<'_>> {
        let guard = self.lock.clone().write_owned().await;
        // Nobody pins while the lock is held alone.
        (self.pins.load(Ordering::SeqCst) == 0).then_some(Sweeping { blobs: self, _guard: guard })
    }

    /// Has no file of a committed row swept until the answer is dropped. What is put meanwhile is put as ever.
    pub(crate) async fn pin(&self) -> Pinned {
        let _no_sweep = self.lock.read().await;
        self.pins.fetch_add(1, Ordering::SeqCst);
        Pinned { blobs: self.clone() }
    }

    /// A folder for what is needed for a while only; the next start deletes what a crash leaves of it.
    pub(crate) async fn scratch(&self) -> io::Result<tempfile::TempDir> {
        let folder = self.folder.join("tmp");
        blocking(move || tempfile::tempdir_in(folder)).await
    }

    /// Deletes the files that no row knows. Only while nothing is put: at the start. Answers how many.
    pub(crate) async fn delete_unknown(&self, known: Vec<String>) -> Result<u64, StoreError> {
        let known: HashSet<String> = known.into_iter().collect();
        let folder = self.folder.clone();
        let deleted = blocking(move || {
            let mut deleted = 0;
            for byte in 0..=u8::MAX {
                for entry in std::fs::read_dir(folder.join(format!("{byte:02x}")))? {
                    let entry = entry?;
                    let name = entry.file_name();
                    // Whatever else someone has put there is not ours to delete.
                    if name.to_str().is_some_and(|name| is_sha256(name) && !known.contains(name)) {
                        std::fs::remove_file(entry.path())?;
                        deleted += 1;
                    }
                }
            }
            Ok(deleted)
        });
        Ok(deleted.await?)
    }
}

/// While it lives, the files of committed rows stay where they are.
pub(crate) struct Reading<'a> {
    blobs: &'a Blobs,
    _guard: OwnedRwLockReadGuard<()>,
}

impl Reading<'_> {
    pub(crate) async fn open(&self, sha256: &str) -> Result<File, StoreError> {
        Ok(File::open(self.blobs.path(sha256)).await?)
    }
}

/// While it lives, nothing is swept.
pub(crate) struct Pinned {
    blobs: Blobs,
}

impl Pinned {
    pub(crate) async fn open(&self, sha256: &str) -> Result<File, StoreError> {
        Ok(File::open(self.blobs.path(sha256)).await?)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.blobs.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

/// While it lives, nothing is put and no row is being looked up.
pub(crate) struct Sweeping<'a> {
    blobs: &'a Blobs,
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Sweeping<'_> {
    /// Deletes the files of rows that are gone.
    pub(crate) async fn delete(&self, sha256s: Vec<String>) -> Result<(), StoreError> {
        let paths: Vec<_> = sha256s.iter().map(|sha256| self.blobs.path(sha256)).collect();
        let delete = blocking(move || {
            trainyard_faults::at(Place::SweepDelete)?;
            for path in paths {
                match std::fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        Ok(delete.await?)
    }
}

/// Files that are in their places. It must live until the rows that refer to them are committed or undone.
#[derive(Debug)]
pub(crate) struct Published {
    _guard: OwnedRwLockReadGuard<()>,
}

/// A file that is being received, hashed as it is written. Dropping it deletes the file.
#[derive(Debug)]
pub struct Staging {
    file: BufWriter<File>,
    path: tempfile::TempPath,
    hash: Sha256,
    size: u64,
    distrust: Distrust,
}

impl Staging {
    /// Appends a piece.
    pub async fn write(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.hash.update(piece);
        self.size += piece.len() as u64;
        Ok(self.file.write_all(piece).await?)
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Ends the file: fsynced, and its hash known. Not yet part of the store.
    pub async fn finish(mut self) -> Result<StagedBlob, StoreError> {
        self.file.flush().await?;
        trainyard_faults::at(Place::BlobFsync)?;
        if !trainyard_faults::is_broken(Promise::FsyncFiles) {
            self.file.get_ref().sync_all().await.map_err(|error| not_synced(&self.distrust, error))?;
        }
        Ok(StagedBlob { path: self.path, sha256: hex(&self.hash.finalize()), size: self.size })
    }
}

/// What a failed fsync of a content comes to. One that does not fit is given up as a whole, so nothing of it can be missed later.
fn not_synced(distrust: &Distrust, error: io::Error) -> StoreError {
    if disk::is_full(&error) {
        return StoreError::Full;
    }
    let reason = format!("a file's content: {error}");
    distrust.begin(&reason);
    StoreError::NotSynced(reason.into())
}

/// A complete file that waits to become part of the store. Dropping it deletes the file.
#[derive(Debug)]
pub struct StagedBlob {
    path: tempfile::TempPath,
    sha256: String,
    size: u64,
}

impl StagedBlob {
    /// Lower-case hexadecimal; compare it with what the sender announced before storing the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Where the bytes lie until then, to be read.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Makes the name that a file was just given outlast a power cut.
pub(crate) fn sync_name(file: &Path) -> io::Result<()> {
    match file.parent() {
        _ if trainyard_faults::is_broken(Promise::FsyncFiles) => Ok(()),
        None => Ok(()),
        Some(folder) if folder.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(folder) => sync_folder(folder),
    }
}

/// Runs file operations off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn staged(blobs: &Blobs, bytes: &[u8]) -> StagedBlob {
        let mut staging = blobs.stage().await.unwrap();
        for piece in bytes.chunks(3) {
            staging.write(piece).await.unwrap();
        }
        staging.finish().await.unwrap()
    }

    #[tokio::test]
    async fn a_published_file_is_read_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Distrust::default()).await.unwrap();
        let blob = staged(&blobs, b"some bytes").await;
        let (sha256, place) = (blob.sha256().to_owned(), blob.path.to_path_buf());
        assert_eq!(sha256, sha256_hex(b"some bytes"));
        assert_eq!(blob.size(), 10);
        drop(blobs.publish(vec![blob]).await.unwrap());
        assert!(!place.exists());
        let mut text = String::new();
        blobs.reading().await.open(&sha256).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "some bytes");
    }

    #[tokio::test]
    async fn an_upload_that_is_given_up_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Distrust::default()).await.unwrap();
        let path = staged(&blobs, b"never published").await.path.to_path_buf();
        assert!(!path.exists());
        let mut staging = blobs.stage().await.unwrap();
        staging.write(b"half").await.unwrap();
        let path = staging.path.to_path_buf();
        assert!(path.exists());
        drop(staging);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_start_deletes_what_an_earlier_process_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let known = sha256_hex(b"known");
        {
            let blobs = Blobs::open(folder.path(), Distrust::default()).await.unwrap();
            let known = staged(&blobs, b"known").await;
            let unknown = staged(&blobs, b"unknown").await;
            drop(blobs.publish(vec![known, unknown]).await.unwrap());
            std::fs::write(folder.path().join("blobs/tmp/leftover"), b"half").unwrap();
        }
        let blobs = Blobs::open(folder.path(), Distrust::default()).await.unwrap();
        assert!(!folder.path().join("blobs/tmp/leftover").exists());
        assert_eq!(blobs.delete_unknown(vec![known.clone()]).await.unwrap(), 1);
        assert!(blobs.path(&known).exists());
        assert!(!blobs.path(&sha256_hex(b"unknown")).exists());
    }

    #[tokio::test]
    async fn there_is_no_sweep_while_a_backup_is_read_but_there_are_puts() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Distrust::default()).await.unwrap();
        let (one, other) = (blobs.pin().await, blobs.pin().await);
        assert!(blobs.sweeping().await.is_none());
        let blob = staged(&blobs, b"bytes").await;
        drop(blobs.publish(vec![blob]).await.unwrap());
        drop(one);
        assert!(blobs.sweeping().await.is_none());
        drop(other);
        assert!(blobs.sweeping().await.is_some());
    }

    #[tokio::test]
    async fn a_sweep_waits_until_what_was_published_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(folder.path(), Distrust::default()).await.unwrap();
        let blob = staged(&blobs, b"bytes").await;
        let published = blobs.publish(vec![blob]).await.unwrap();
        assert!(blobs.lock.clone().try_write_owned().is_err());
        drop(published);
        assert!(blobs.lock.clone().try_write_owned().is_ok());
    }
}
