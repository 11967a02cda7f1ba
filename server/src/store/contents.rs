//! Contents of files and the rows that refer to them, which become part of the store together.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::writer::{Effect, Transaction, WriteError};
use super::{Store, StoreError};
use crate::blobs::StagedBlob;
use crate::db;

impl Store {
    /// Puts complete files into their places, then notes them and does `write`, which says what refers to them. A `write` that refuses must
    /// have changed nothing: the files are noted all the same.
    pub(super) async fn publish<T, E, F>(&self, staged: Vec<StagedBlob>, write: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: WriteError,
    {
        let contents: Vec<_> = staged.iter().map(|blob| (blob.sha256().to_owned(), blob.size())).collect();
        let put = contents.iter().map(|(sha256, _)| sha256.clone()).collect();
        let files = self.inner.blobs.publish(staged).await?;
        let written = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move {
                transaction.after_commit(Effect::Published { _files: files });
                // Noted even if the write is refused only now: the files are in their places, and the sweep finds them by their rows.
                for (sha256, size) in contents {
                    db::artifacts::insert_blob(&mut transaction.conn, &sha256, size).await?;
                }
                let outcome = write(transaction).await;
                match outcome.as_ref().err().and_then(WriteError::store) {
                    Some(error) => Err(error.clone()),
                    None => Ok(outcome),
                }
            }
            .boxed()
        });
        match written.await {
            Ok(outcome) => outcome,
            Err(error) => {
                self.take_back(put).await;
                Err(error.into())
            }
        }
    }

    /// Deletes those of these contents that no row knows, after the write of their rows has failed: where the disk is full they would
    /// take up space until the next start.
    async fn take_back(&self, sha256s: Vec<String>) {
        let take_back = async {
            // While a backup is read nothing is deleted; the next start does it.
            let Some(sweeping) = self.inner.blobs.sweeping().await else { return Ok(()) };
            let unknown = db::artifacts::unknown_blobs(&mut *self.reader().await?, &sha256s).await?;
            sweeping.delete(unknown).await
        };
        let done: Result<(), StoreError> = take_back.await;
        if let Err(error) = done {
            tracing::warn!(%error, "files whose rows were not written stay until the next start");
        }
    }
}
