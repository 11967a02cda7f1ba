//! Whether a data folder is whole: its database, and every content that the database knows.
//!
//! Nothing in the folder is changed. A server must not be running on it: what comes and goes meanwhile would look like damage. A flipped
//! bit in a number that a row holds is not found, because SQLite's pages have no checksums; a page whose structure is damaged is, and
//! so is any byte of a content.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::SqliteConnection;

use crate::blobs::{blocking, hex, is_sha256};
use crate::db;
use crate::db::artifacts::Blob;
use crate::store::StoreError;

/// Rows that are read at once.
const PAGE: i64 = 1000;

/// Why a folder cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("there is no database at {0}")]
    NoDatabase(PathBuf),
    #[error("a server is running on {0}: stop it first, or check an unpacked backup of it")]
    InUse(PathBuf),
    #[error("cannot read the data folder: {0}")]
    Io(#[from] io::Error),
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The database's structure is damaged, or it cannot be read.
    Database,
    /// A row refers to a row that is not there.
    Reference,
    /// A run would resume from a checkpoint that is not there.
    LostCheckpoint,
    /// A content has no file.
    MissingContent,
    /// A content's file has other bytes than its hash says.
    DamagedContent,
    /// A content's file cannot be read.
    UnreadableContent,
}

impl std::fmt::Display for FindingKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Database => "damaged database",
            Self::Reference => "broken reference",
            Self::LostCheckpoint => "lost checkpoint",
            Self::MissingContent => "missing content",
            Self::DamagedContent => "damaged content",
            Self::UnreadableContent => "unreadable content",
        })
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    pub detail: String,
    /// Of the content, if it is about one.
    pub sha256: Option<String>,
    /// What needs the content.
    pub used_by: Vec<String>,
}

/// A content that nothing refers to. That is no damage: a server sweeps it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreferenced {
    pub sha256: String,
    pub size: u64,
    /// Whether the database knows of it.
    pub noted: bool,
}

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether there are no findings.
    pub ok: bool,
    /// Contents that the database knows, and their bytes.
    pub contents: u64,
    pub bytes: u64,
    pub findings: Vec<Finding>,
    pub unreferenced: Vec<Unreferenced>,
}

/// Checks the data folder of a server that is not running.
pub async fn check(data_dir: &Path) -> Result<Report, CheckError> {
    let database = data_dir.join("trainyard.db");
    if !database.is_file() {
        return Err(CheckError::NoDatabase(database));
    }
    let _lock = keep_servers_away(data_dir)?;
    let mut checking = Checking { folder: data_dir.join("blobs"), report: Report::empty() };
    if let Err(error) = checking.database(&database).await {
        checking.find(FindingKind::Database, error.to_string());
    }
    checking.report.ok = checking.report.findings.is_empty();
    Ok(checking.report)
}

/// `None` where no server was ever started: an unpacked backup.
fn keep_servers_away(data_dir: &Path) -> Result<Option<File>, CheckError> {
    let file = match File::open(data_dir.join("server.lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(CheckError::InUse(data_dir.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

impl Report {
    fn empty() -> Self {
        Self { ok: false, contents: 0, bytes: 0, findings: Vec::new(), unreferenced: Vec::new() }
    }
}

struct Checking {
    folder: PathBuf,
    report: Report,
}

impl Checking {
    fn find(&mut self, kind: FindingKind, detail: String) {
        self.report.findings.push(Finding { kind, detail, sha256: None, used_by: Vec::new() });
    }

    /// Everything. An error means that the database could not be read any further.
    async fn database(&mut self, database: &Path) -> Result<(), StoreError> {
        let mut conn = db::connect::at_rest(database).await?;
        for detail in db::check::integrity(&mut conn).await? {
            self.find(FindingKind::Database, detail);
        }
        for detail in db::check::foreign_keys(&mut conn).await? {
            self.find(FindingKind::Reference, detail);
        }
        for (run, sha256) in db::check::lost_checkpoints(&mut conn).await? {
            self.find(FindingKind::LostCheckpoint, format!("run {run} would resume from {sha256}, which is not there"));
        }
        for Blob { sha256, size } in db::check::unreferenced(&mut conn).await? {
            self.report.unreferenced.push(Unreferenced { sha256, size, noted: true });
        }
        for byte in 0..=u8::MAX {
            self.contents(&mut conn, &format!("{byte:02x}")).await?;
        }
        Ok(())
    }

    /// Compares the files of one folder with the rows that it belongs to.
    async fn contents(&mut self, conn: &mut SqliteConnection, prefix: &str) -> Result<(), StoreError> {
        let folder = self.folder.join(prefix);
        let listed = folder.clone();
        let mut files = blocking(move || list(&listed)).await?;
        for Blob { sha256, size } in rows(conn, prefix).await? {
            self.report.contents += 1;
            self.report.bytes += size;
            let wrong = match files.remove(&sha256) {
                None => Some((FindingKind::MissingContent, format!("{sha256} has no file"))),
                Some(found) if found != size => {
                    Some((FindingKind::DamagedContent, format!("{sha256} has {found} bytes, and should have {size}")))
                }
                Some(_) => {
                    let path = folder.join(&sha256);
                    match blocking(move || hash(&path)).await {
                        Ok(found) if found == sha256 => None,
                        Ok(found) => Some((FindingKind::DamagedContent, format!("{sha256} has the bytes of {found}"))),
                        Err(error) => Some((FindingKind::UnreadableContent, format!("{sha256}: {error}"))),
                    }
                }
            };
            if let Some((kind, detail)) = wrong {
                let used_by = db::check::users(conn, &sha256).await?;
                self.report.findings.push(Finding { kind, detail, sha256: Some(sha256), used_by });
            }
        }
        let mut unknown: Vec<_> = files.into_iter().map(|(sha256, size)| Unreferenced { sha256, size, noted: false }).collect();
        unknown.sort_by(|one, other| one.sha256.cmp(&other.sha256));
        self.report.unreferenced.extend(unknown);
        Ok(())
    }
}

/// The noted contents whose hash begins with `prefix`.
async fn rows(conn: &mut SqliteConnection, prefix: &str) -> Result<Vec<Blob>, StoreError> {
    let mut rows: Vec<Blob> = Vec::new();
    loop {
        let after = rows.last().map_or(prefix, |blob| blob.sha256.as_str()).to_owned();
        let page = db::artifacts::blobs_after(conn, &after, PAGE).await?;
        let read = page.len();
        let before = rows.len();
        rows.extend(page.into_iter().take_while(|blob| blob.sha256.starts_with(prefix)));
        if read < PAGE as usize || rows.len() - before < read {
            return Ok(rows);
        }
    }
}

/// The contents' files in a folder, with their sizes.
fn list(folder: &Path) -> io::Result<HashMap<String, u64>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        entries => entries?,
    };
    let mut files = HashMap::new();
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_sha256(name)) {
            files.insert(name.to_owned(), entry.metadata()?.len());
        }
    }
    Ok(files)
}

fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}
