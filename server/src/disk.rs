//! What a disk's errors mean for the store.
//!
//! A full disk is the owner's to mend: the write is refused (507 in HTTP), nothing else changes, and the next one that fits succeeds.
//!
//! A failed fsync is final for this process. The system may already have dropped the pages that it could not write and marked them clean,
//! so that another fsync would succeed without them; nothing that this process reads back tells whether that happened. So the store takes
//! no write any more and the process ends (`Distrust`). The next start reads what the disk really holds: SQLite goes through its log by
//! checksums, and of contents only those are known whose fsync succeeded before their row was written.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Primary result code: no space for a page.
const SQLITE_FULL: i32 = 13;
/// Extended result codes of input and output, of fsyncs of a file and of a folder, and of the growth of the log's index.
const SQLITE_IOERR_FSYNC: i32 = 1034;
const SQLITE_IOERR_DIR_FSYNC: i32 = 1290;
const SQLITE_IOERR_SHMSIZE: i32 = 4874;

/// What an error says of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No space is left, or none for this user.
    Full,
    /// An fsync failed.
    NotSynced,
}

/// What an error of the database says of the disk, if anything.
pub(crate) fn verdict(error: &sqlx::Error) -> Option<Verdict> {
    let code: Cow<'_, str> = error.as_database_error()?.code()?;
    match code.parse::<i32>().ok()? {
        SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC => Some(Verdict::NotSynced),
        SQLITE_IOERR_SHMSIZE => Some(Verdict::Full),
        code if code & 0xff == SQLITE_FULL => Some(Verdict::Full),
        _ => None,
    }
}

/// Whether a file did not fit.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Set once, when the disk has not taken an fsync. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distrust {
    reason: Arc<OnceLock<String>>,
    token: CancellationToken,
}

impl Distrust {
    /// Notes that an fsync failed; the first reason stays.
    pub(crate) fn begin(&self, reason: &str) {
        if self.reason.set(reason.to_owned()).is_ok() {
            tracing::error!(reason, "the disk did not take an fsync: nothing is written any more");
            self.token.cancel();
        }
    }

    /// Why nothing may be written any more.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Waits until there is a reason.
    pub(crate) async fn begun(&self) -> String {
        self.token.cancelled().await;
        self.reason().unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_does_not_fit_is_told_from_one_that_cannot_be_written() {
        assert!(is_full(&io::Error::from_raw_os_error(28)), "ENOSPC");
        assert!(is_full(&io::Error::from_raw_os_error(122)), "EDQUOT");
        assert!(!is_full(&io::Error::from_raw_os_error(5)), "EIO");
    }

    #[tokio::test]
    async fn the_first_reason_stays() {
        let distrust = Distrust::default();
        assert_eq!(distrust.reason(), None);
        distrust.begin("the log");
        distrust.clone().begin("a content");
        assert_eq!(distrust.begun().await, "the log");
    }
}
