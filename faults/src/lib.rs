//! Places at which tests make Trainyard fail.
//!
//! [`at`] stands at every commit, rename and acknowledgement boundary of the server and the worker. It does nothing, and compiles to
//! nothing, unless the feature `inject` is on. Only `trainyard-torture` turns that on, and nothing that is shipped depends on it;
//! `.ci/run` looks. With the feature a place still does nothing until it is told to: by [`set`] in the test's own process, or for a
//! process that is started by the variable `TRAINYARD_FAULTS`, such as `commit.before=1*return(abort);blob.rename=5%return(panic)`. The words
//! are those of the crate `fail`, whose `return` here takes `error` (the default), `panic` and `abort`. A process that was
//! told by the variable says on stderr what fails.
//!
//! [`is_broken`] takes a promise out of the code, to show that the battery notices.

use std::io;

macro_rules! named {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$inner])* $variant,)+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As `TRAINYARD_FAULTS` has it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

named!(
    /// A boundary between two states of what is stored or known.
    Place {
        /// Everything of a transaction is written and nothing is committed.
        CommitBefore = "commit.before",
        /// The transaction is committed; leases and waiting claims do not know of it yet.
        CommitAfter = "commit.after",
        /// The commit is known inside; nobody was answered.
        AnswerBefore = "answer.before",
        /// The write-ahead log is about to be emptied.
        CheckpointBefore = "checkpoint.before",
        /// The write-ahead log was emptied.
        CheckpointAfter = "checkpoint.after",
        /// A file has arrived and is not fsynced.
        BlobFsync = "blob.fsync",
        /// A file is fsynced and has not its name yet.
        BlobRename = "blob.rename",
        /// A file has its name, and its folder is not fsynced.
        BlobRenamed = "blob.renamed",
        /// A file is in its place for good, and no row knows it.
        BlobPublished = "blob.published",
        /// The rows of contents that nothing needs are gone; their files are not.
        SweepDelete = "sweep.delete",
        /// A token file is fsynced and has not its name yet.
        TokenRename = "token.rename",
        /// A token file has its name, and its folder is not fsynced.
        TokenRenamed = "token.renamed",
        /// The file of the sessions is fsynced and has not its name yet.
        SessionRename = "session.rename",
        /// The file of the sessions has its name, and its folder is not fsynced.
        SessionRenamed = "session.renamed",
        /// The server has done what was asked and has not said so.
        ReplyBefore = "reply.before",
        /// A worker is about to report.
        ReportSend = "report.send",
        /// A worker's report was answered, and the worker has not taken note.
        ReportAnswered = "report.answered",
        /// A worker is about to send a file.
        UploadSend = "upload.send",
        /// A worker's file was taken, and the worker has not taken note.
        UploadAnswered = "upload.answered",
        /// A worker was given runs, and has not begun them.
        ClaimAnswered = "claim.answered",
        /// A message to a webhook is about to be sent.
        DeliverySend = "delivery.send",
        /// A webhook's receiver has answered, and nothing notes it yet.
        DeliveryAnswered = "delivery.answered",
        /// A worker's dataset file is fsynced and has not its name yet.
        CacheRename = "cache.rename",
    }
);

named!(
    /// A promise that can be taken out of the code.
    Promise {
        /// Only the attempt that holds a run writes to it.
        Fence = "promise.fence",
        /// Nobody is answered before the commit.
        CommitFirst = "promise.commit-first",
        /// A commit is fsynced.
        Fsync = "promise.fsync",
        /// A file and its name are fsynced before a row refers to it.
        FsyncFiles = "promise.fsync-files",
    }
);

/// Whether this build can be made to fail.
pub const INJECTS: bool = cfg!(feature = "inject");

/// Fails, panics or ends the process, where a test wants it so.
///
/// # Errors
/// Where a test wants one.
#[inline]
pub fn at(place: Place) -> io::Result<()> {
    #[cfg(feature = "inject")]
    return inject::at(place.name());
    #[cfg(not(feature = "inject"))]
    {
        let _ = place;
        Ok(())
    }
}

/// Whether a test has taken this promise out of the code.
#[inline]
pub fn is_broken(promise: Promise) -> bool {
    #[cfg(feature = "inject")]
    return inject::at(promise.name()).is_err();
    #[cfg(not(feature = "inject"))]
    {
        let _ = promise;
        false
    }
}

#[cfg(feature = "inject")]
pub use inject::{VARIABLE, clear, set, told};

#[cfg(feature = "inject")]
mod inject {
    use std::io;
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Tells a process that is started what is to fail.
    pub const VARIABLE: &str = "TRAINYARD_FAULTS";

    static ENVIRONMENT: Once = Once::new();
    static TOLD_BY_VARIABLE: AtomicBool = AtomicBool::new(false);

    /// What a place does from now on, in this process.
    ///
    /// # Panics
    /// Where `action` is not a word of the crate `fail`.
    pub fn set(name: &str, action: &str) {
        if let Err(error) = fail::cfg(name, action) {
            panic!("{name}={action}: {error}");
        }
    }

    /// Nothing fails any more, in this process.
    pub fn clear() {
        for (name, _) in fail::list() {
            fail::remove(name);
        }
    }

    /// What stands in the log of a process where the place `name` failed.
    pub fn told(name: &str) -> String {
        format!("a test has {name} fail")
    }

    pub(super) fn at(name: &'static str) -> io::Result<()> {
        ENVIRONMENT.call_once(|| {
            for (name, action) in
                std::env::var(VARIABLE).iter().flat_map(|faults| faults.split(';')).filter_map(|fault| fault.split_once('='))
            {
                set(name.trim(), action.trim());
                TOLD_BY_VARIABLE.store(true, Ordering::Relaxed);
            }
        });
        let fault = fail::eval(name, |kind| {
            if TOLD_BY_VARIABLE.load(Ordering::Relaxed) {
                eprintln!("{}", told(name));
            }
            match kind.as_deref() {
                // As a kill would, and unlike a panic: nothing is undone on the way out.
                Some("abort") => std::process::abort(),
                Some("panic") => panic!("{}", told(name)),
                _ => io::Error::other(told(name)),
            }
        });
        fault.map_or(Ok(()), Err)
    }
}

#[cfg(all(test, feature = "inject"))]
mod tests {
    use super::{Place, Promise, at, clear, is_broken, set};

    #[test]
    fn a_place_fails_as_often_as_it_is_told_to_and_no_other_does() {
        assert!(at(Place::BlobRename).is_ok());
        set(Place::BlobRename.name(), "2*return(error)");
        set(Promise::Fence.name(), "return");
        assert!(at(Place::BlobRename).is_err() && at(Place::BlobRename).is_err());
        assert!(at(Place::BlobRename).is_ok() && at(Place::BlobRenamed).is_ok());
        assert!(is_broken(Promise::Fence) && !is_broken(Promise::CommitFirst));
        clear();
        assert!(!is_broken(Promise::Fence));
    }
}
