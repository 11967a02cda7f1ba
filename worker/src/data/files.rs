//! Uploaded files, kept on this machine by their hash between runs.
//!
//! A file arrives beside its place under a name of its own, and is moved there once its hash is the announced one: what stands under a
//! hash is complete, whoever else writes at the same time. When the files together outgrow the bound, those that were used longest ago go.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use trainyard_wire::dataset::{DatasetKind, FileRole};

use super::DataError;

/// A file of a dataset, on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalFile {
    pub role: FileRole,
    pub path: PathBuf,
}

/// A dataset whose files are all on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalDataset {
    pub name: String,
    pub kind: DatasetKind,
    /// Of its manifest.
    pub sha256: String,
    /// In the order of the upload.
    pub files: Vec<LocalFile>,
}

/// A folder of files that are named by their sha256.
#[derive(Clone, Debug)]
pub struct FileStore {
    folder: PathBuf,
    most_bytes: u64,
}

/// The usual bound of a store: 20 GiB.
pub const MOST_BYTES: u64 = 20 << 30;

impl FileStore {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub fn open(folder: &Path, most_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned(), most_bytes })
    }

    /// Where the file with this hash is, if it is here; it then counts as used now.
    ///
    /// # Errors
    /// Where `sha256` is not a hash in lower-case hexadecimal.
    pub fn find(&self, sha256: &str) -> Result<Option<PathBuf>, DataError> {
        let path = self.path(sha256)?;
        match File::options().append(true).open(&path) {
            Ok(file) => {
                // The time of use only orders what goes first: a folder that does not take it still serves.
                let _ = file.set_modified(SystemTime::now());
                Ok(Some(path))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::File { path, source }),
        }
    }

    /// Begins a file that is to have this hash.
    ///
    /// # Errors
    /// Where `sha256` is not a hash, or the folder cannot be written to.
    pub fn begin(&self, sha256: &str) -> Result<IncomingFile, DataError> {
        let path = self.path(sha256)?;
        let file = NamedTempFile::with_prefix_in("incoming-", &self.folder).map_err(|source| self.error(source))?;
        Ok(IncomingFile { path, expected: sha256.to_owned(), hash: Sha256::new(), file })
    }

    /// Removes the files used longest ago until the rest fits the bound; `in_use` stays in any case.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    pub fn trim(&self, in_use: &[PathBuf]) -> Result<(), DataError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(|source| self.error(source))? {
            let entry = entry.map_err(|source| self.error(source))?;
            if entry.file_name().to_str().is_some_and(is_hash)
                && let Ok(metadata) = entry.metadata()
            {
                files.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if total <= self.most_bytes {
                break;
            }
            // Another worker of the same folder may have removed it already.
            if !in_use.contains(&path) && fs::remove_file(&path).is_ok() {
                total -= size;
            }
        }
        Ok(())
    }

    fn path(&self, sha256: &str) -> Result<PathBuf, DataError> {
        // The name becomes part of a path, so nothing but a hash will do.
        if is_hash(sha256) { Ok(self.folder.join(sha256)) } else { Err(DataError::Spec(format!("`{sha256}` is not a sha256"))) }
    }

    fn error(&self, source: io::Error) -> DataError {
        DataError::File { path: self.folder.clone(), source }
    }
}

fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A file that is arriving. Dropped before it is [finished](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct IncomingFile {
    path: PathBuf,
    expected: String,
    hash: Sha256,
    file: NamedTempFile,
}

impl IncomingFile {
    /// Appends a piece.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), DataError> {
        self.hash.update(piece);
        self.file.write_all(piece).map_err(|source| DataError::File { path: self.path.clone(), source })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`DataError::Hash`] where the bytes are not those that were announced.
    pub fn finish(self) -> Result<PathBuf, DataError> {
        let found = hexadecimal(&self.hash.finalize());
        if found != self.expected {
            return Err(DataError::Hash { expected: self.expected, found });
        }
        let error = |source| DataError::File { path: self.path.clone(), source };
        self.file.as_file().sync_all().map_err(error)?;
        trainyard_faults::at(trainyard_faults::Place::CacheRename).map_err(error)?;
        self.file.persist(&self.path).map_err(|failed| error(failed.error))?;
        Ok(self.path)
    }
}

/// The sha256 of some bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn put(store: &FileStore, bytes: &[u8]) -> PathBuf {
        let mut incoming = store.begin(&sha256(bytes)).unwrap();
        bytes.chunks(3).for_each(|piece| incoming.write(piece).unwrap());
        incoming.finish().unwrap()
    }

    #[test]
    fn a_file_is_found_by_its_hash_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(&folder.path().join("datasets"), 100).unwrap();
        let hash = sha256(b"horses");
        assert_eq!(store.find(&hash).unwrap(), None);
        let mut incoming = store.begin(&hash).unwrap();
        incoming.write(b"hor").unwrap();
        assert_eq!(store.find(&hash).unwrap(), None);
        incoming.write(b"ses").unwrap();
        let path = incoming.finish().unwrap();
        assert_eq!(store.find(&hash).unwrap(), Some(path.clone()));
        assert_eq!(fs::read(path).unwrap(), b"horses");
    }

    #[test]
    fn bytes_of_another_hash_are_refused_and_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path(), 100).unwrap();
        let mut incoming = store.begin(&sha256(b"horses")).unwrap();
        incoming.write(b"donkeys").unwrap();
        assert!(matches!(incoming.finish(), Err(DataError::Hash { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(store.find("../../etc/passwd").is_err());
    }

    #[test]
    fn over_the_bound_the_file_used_longest_ago_goes_unless_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path(), 10).unwrap();
        let paths: Vec<PathBuf> = [b"aaaaa", b"bbbbb", b"ccccc"].into_iter().map(|bytes| put(&store, bytes)).collect();
        for (age, path) in [300, 200, 100].into_iter().zip(&paths) {
            File::options().append(true).open(path).unwrap().set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        }
        // Finding the oldest makes it the newest; the second is the oldest then, but in use.
        store.find(&sha256(b"aaaaa")).unwrap();
        store.trim(&paths[1..2]).unwrap();
        assert_eq!(paths.iter().map(|path| path.exists()).collect::<Vec<_>>(), [true, true, false]);
    }
}
