//! The one connection that writes.
//!
//! Writes wait in a bounded channel. The writer takes all that are there, begins one transaction, does each inside a savepoint of its
//! own, commits once (one fsync for all of them), and only then answers. A write that fails is undone to its savepoint and alone gets
//! its error; if the commit fails, all get that. Once an fsync has failed nothing is written any more ([`disk`](crate::disk)). After the
//! commit come the [`Effect`]s of the writes: what the commit means for leases, waiting claims and those who follow the revision. They
//! are done here and not by the callers, who may be gone by then.
//!
//! An error or a panic may come when a transaction is committed already, and then its effects must not be lost: a run that was
//! claimed without a lease would never be offered again. So the writer asks the database whether it was, before it does anything else
//! ([`settle`]). It outlives panics, because a server without its writer answers reads and nothing else.

mod request;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trainyard_faults::{Place, Promise};
use trainyard_wire::run::{Event, News, RequestedAction};
use trainyard_wire::{Attempt, Revision, RunId, Timestamp, WorkerId};

use super::StoreError;
use super::feed::Feed;
use crate::blobs::Published;
use crate::db;
use crate::disk::Distrust;
use crate::figures;
use crate::leases::Leases;
use crate::webhooks::PublicUrl;
pub(super) use request::{Together, WriteError, write_error};
use request::{Write, request};

/// Writes that may wait; beyond that callers wait to hand theirs in.
const MOST_WAITING: usize = 1024;
/// Messages of one transaction.
const MOST_PER_COMMIT: usize = 256;
/// Everyone who writes waits for a commit or checkpoint that takes longer than this, so it is told: a claim or submit without an answer is
/// explained by it.
const LONG: Duration = Duration::from_secs(1);

/// What a commit means outside the database.
#[derive(Debug)]
pub(super) enum Effect {
    /// Something may be claimed.
    Queued,
    LeaseGranted {
        run: RunId,
        worker: WorkerId,
        attempt: Attempt,
    },
    LeaseRenewed {
        run: RunId,
        attempt: Attempt,
    },
    LeaseEnded(RunId),
    Requested(RunId, Option<RequestedAction>),
    /// Subscribers are to be told.
    News(News),
    /// The outbox of webhooks, or who is told, has changed.
    Announced,
    /// Files that must not be swept before the rows that refer to them are committed.
    Published {
        _files: Published,
    },
}

/// The open transaction of the writer, as one write sees it.
pub(super) struct Transaction {
    pub(super) conn: SqliteConnection,
    /// The wall clock, for what people read.
    pub(super) now: Timestamp,
    /// Where the server is reached from outside.
    pub(super) public_url: Option<PublicUrl>,
    revision: Revision,
    effects: Vec<Effect>,
    /// The revision before a transaction of which it is not known yet whether it was committed.
    unsettled: Option<Revision>,
}

impl Transaction {
    pub(super) fn new(conn: SqliteConnection, revision: Revision, public_url: Option<PublicUrl>) -> Self {
        Self { conn, now: Timestamp::now(), public_url, revision, effects: Vec::new(), unsettled: None }
    }

    /// The number that the next visible change gets.
    pub(super) fn upcoming_revision(&self) -> Revision {
        Revision(self.revision.0 + 1)
    }

    /// Uses up the next `count` revisions; answers the last.
    pub(super) fn advance_revision(&mut self, count: usize) -> Revision {
        self.revision.0 += i64::try_from(count).unwrap_or(i64::MAX);
        self.revision
    }

    /// Has something done after the commit.
    pub(super) fn after_commit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Stores an event under the next revision, which it answers.
    pub(super) async fn event(&mut self, run_id: RunId, kind: &str, detail: serde_json::Value) -> Result<Revision, StoreError> {
        let revision = self.advance_revision(1);
        let event = Event { revision, run_id, time: self.now, kind: kind.to_owned(), detail };
        db::events::insert(&mut self.conn, &event).await?;
        self.after_commit(Effect::News(event.into()));
        Ok(revision)
    }

    /// Has subscribers told that a run took this revision without an event.
    pub(super) fn changed(&mut self, run: RunId, revision: Revision) {
        self.after_commit(Effect::News(News::changed(run, revision)));
    }
}

/// What follows a commit.
#[derive(Debug)]
pub(super) struct Followers {
    pub(super) leases: Arc<Leases>,
    /// Changes whenever something was queued.
    pub(super) queued: watch::Sender<u64>,
    pub(super) revision: watch::Sender<Revision>,
    pub(super) feed: Feed,
    /// Changes whenever there is something to send to webhooks.
    pub(super) announced: watch::Sender<u64>,
}

impl Followers {
    fn committed(&self, revision: Revision, effects: Vec<Effect>) {
        let now = Instant::now();
        let (mut queued, mut announced) = (false, false);
        let mut news = Vec::new();
        for effect in effects {
            match effect {
                Effect::Queued => queued = true,
                Effect::LeaseGranted { run, worker, attempt } => self.leases.grant(run, worker, attempt, None, now),
                Effect::LeaseRenewed { run, attempt } => self.leases.renew(run, attempt, now),
                Effect::LeaseEnded(run) => self.leases.end(run),
                Effect::Requested(run, requested) => self.leases.request(run, requested),
                Effect::News(told) => news.push(told),
                Effect::Announced => announced = true,
                Effect::Published { .. } => {}
            }
        }
        if queued {
            self.queued.send_modify(|count| *count += 1);
        }
        if announced {
            self.announced.send_modify(|count| *count += 1);
        }
        self.feed.tell(news);
        self.revision.send_if_modified(|last| std::mem::replace(last, revision) != revision);
    }
}

enum Message {
    /// Writes that were handed in together share a commit.
    Writes(Vec<Box<dyn Write>>),
    /// Empty the write-ahead log.
    Checkpoint(oneshot::Sender<Result<bool, StoreError>>),
}

/// The way to the writer.
#[derive(Clone)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the writer on its connection, which the transaction has. It ends once `closing` is cancelled and what was handed in is done.
    pub(super) fn start(
        transaction: Transaction,
        followers: Arc<Followers>,
        distrust: Distrust,
        closing: CancellationToken,
    ) -> (Self, JoinHandle<Result<(), StoreError>>) {
        let (messages, receiver) = mpsc::channel(MOST_WAITING);
        let task = tokio::spawn(serve(transaction, receiver, followers, distrust, closing));
        (Self { messages }, task)
    }

    /// Hands a write in and waits until it is committed (or has failed). Once handed in it is done even if the caller goes away, unless
    /// the caller is gone before its turn comes.
    pub(super) async fn write<T, E, F>(&self, body: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: WriteError,
    {
        let (write, answer) = request(body);
        self.messages.send(Message::Writes(vec![write])).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into()))
    }

    /// Hands in several writes that share a commit, and waits until they are committed (or have failed). Each has a savepoint and an
    /// answer of its own; the answers come in the order of the writes.
    pub(super) async fn write_all<T, E: WriteError>(&self, together: Together<T, E>) -> Vec<Result<T, E>> {
        let Together { writes, answers } = together;
        // Where the writer is gone, the writes are dropped, and with them what would have answered.
        let _ = self.messages.send(Message::Writes(writes)).await;
        let answers = answers.into_iter().map(|answer| async { answer.await.unwrap_or_else(|_| Err(StoreError::Closed.into())) });
        futures::future::join_all(answers).await
    }

    /// Whether nothing can be written any more.
    pub(super) fn is_gone(&self) -> bool {
        self.messages.is_closed()
    }

    /// Moves the write-ahead log into the database and truncates it; answers whether it is empty then.
    pub(super) async fn checkpoint(&self) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Checkpoint(reply)).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

async fn serve(
    mut transaction: Transaction,
    mut receiver: mpsc::Receiver<Message>,
    followers: Arc<Followers>,
    distrust: Distrust,
    closing: CancellationToken,
) -> Result<(), StoreError> {
    let mut messages = Vec::with_capacity(MOST_PER_COMMIT);
    loop {
        tokio::select! {
            biased;
            received = receiver.recv_many(&mut messages, MOST_PER_COMMIT) => if received == 0 { break },
            () = closing.cancelled(), if !receiver.is_closed() => receiver.close(),
        }
        let mut writes = Vec::with_capacity(messages.len());
        let mut checkpoints = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Writes(together) => writes.extend(together),
                Message::Checkpoint(reply) => checkpoints.push(reply),
            }
        }
        let (begun, count) = (Instant::now(), writes.len());
        commit(&mut transaction, writes, &followers, &distrust).await;
        tell_if_long("a commit", begun, count);
        if !checkpoints.is_empty() {
            let begun = Instant::now();
            let done = AssertUnwindSafe(checkpoint(&mut transaction, &distrust)).catch_unwind().await;
            let done = done.unwrap_or(Err(StoreError::Panicked));
            tell_if_long("a checkpoint of the write-ahead log", begun, 0);
            for reply in checkpoints {
                let _ = reply.send(done.clone());
            }
        }
    }
    let emptied = checkpoint(&mut transaction, &distrust).await;
    if let Some(error) = refusal(&distrust) {
        // Closing it would write what is left of the log.
        std::mem::forget(transaction.conn);
        return Err(error);
    }
    emptied?;
    Ok(transaction.conn.close().await?)
}

fn tell_if_long(what: &str, begun: Instant, writes: usize) {
    let took = begun.elapsed();
    if took > LONG {
        tracing::warn!(seconds = took.as_secs_f64(), writes, "{what} took long: is the disk or the processor busy with something else?");
    }
}

/// Why nothing may be written any more.
fn refusal(distrust: &Distrust) -> Option<StoreError> {
    distrust.reason().map(|reason| StoreError::NotSynced(reason.into()))
}

async fn checkpoint(transaction: &mut Transaction, distrust: &Distrust) -> Result<bool, StoreError> {
    if let Some(error) = refusal(distrust) {
        return Err(error);
    }
    let done = db::connect::checkpoint(&mut transaction.conn).await;
    if let Err(StoreError::NotSynced(reason)) = &done {
        distrust.begin(reason);
    }
    done
}

/// Does the writes in one transaction and answers them.
async fn commit(transaction: &mut Transaction, mut writes: Vec<Box<dyn Write>>, followers: &Followers, distrust: &Distrust) {
    writes.retain(|write| !write.is_abandoned());
    if writes.is_empty() {
        return;
    }
    if let Some(error) = refusal(distrust) {
        writes.iter_mut().for_each(|write| write.fail(error.clone()));
        writes.into_iter().for_each(|write| write.answer());
        return;
    }
    // What a panic leaves half done is the transaction, which is settled below.
    let done = AssertUnwindSafe(transact(transaction, &mut writes, followers)).catch_unwind().await;
    if let Err(error) = done.unwrap_or(Err(StoreError::Panicked)) {
        tracing::error!(%error, writes = writes.len(), "a transaction failed");
        if let StoreError::NotSynced(reason) = &error {
            distrust.begin(reason);
        }
        writes.iter_mut().for_each(|write| write.fail(error.clone()));
        if let Err(error) = settle(transaction, followers).await {
            tracing::error!(%error, "it is not known whether the transaction was committed");
        }
    }
    writes.into_iter().for_each(|write| write.answer());
}

/// Does the writes in one transaction, and what follows from its commit.
async fn transact(transaction: &mut Transaction, writes: &mut Vec<Box<dyn Write>>, followers: &Followers) -> Result<(), StoreError> {
    settle(transaction, followers).await?;
    transaction.now = Timestamp::now();
    transaction.unsettled = Some(transaction.revision);
    let begun = Instant::now();
    apply_all(transaction, writes).await?;
    trainyard_faults::at(Place::CommitAfter)?;
    transaction.unsettled = None;
    figures::committed(writes.len(), begun.elapsed());
    followers.committed(transaction.revision, std::mem::take(&mut transaction.effects));
    Ok(trainyard_faults::at(Place::AnswerBefore)?)
}

/// Finds out whether the last transaction was committed, if that is not known, and if it was, does what follows. Everything that
/// matters outside the database comes with a revision, so the revision tells.
async fn settle(transaction: &mut Transaction, followers: &Followers) -> Result<(), StoreError> {
    let Some(before) = transaction.unsettled else { return Ok(()) };
    // An error such as a full disk may have rolled back already; then there is nothing left to roll back.
    let _ = sqlx::query("ROLLBACK").execute(&mut transaction.conn).await;
    let stored = db::revision::get(&mut transaction.conn).await?;
    let effects = std::mem::take(&mut transaction.effects);
    transaction.revision = stored;
    transaction.unsettled = None;
    if stored != before {
        followers.committed(stored, effects);
    }
    Ok(())
}

/// One transaction with a savepoint a write. An error means that none of them is committed, as far as is known.
async fn apply_all(transaction: &mut Transaction, writes: &mut Vec<Box<dyn Write>>) -> Result<(), StoreError> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut transaction.conn).await?;
    let before = transaction.revision;
    for write in &mut *writes {
        let (revision, effects) = (transaction.revision, transaction.effects.len());
        sqlx::query("SAVEPOINT write").execute(&mut transaction.conn).await?;
        if let Err(own) = write.apply(transaction).await {
            // Errors such as a full disk undo the whole transaction, savepoints and all: then that error is everyone's.
            let undone = sqlx::query("ROLLBACK TO write").execute(&mut transaction.conn).await;
            undone.map_err(|error| own.unwrap_or_else(|| error.into()))?;
            transaction.revision = revision;
            transaction.effects.truncate(effects);
        }
        sqlx::query("RELEASE write").execute(&mut transaction.conn).await?;
    }
    if transaction.revision != before {
        db::revision::set(&mut transaction.conn, transaction.revision).await?;
    }
    if trainyard_faults::is_broken(Promise::CommitFirst) {
        writes.drain(..).for_each(|write| write.answer());
    }
    trainyard_faults::at(Place::CommitBefore)?;
    sqlx::query("COMMIT").execute(&mut transaction.conn).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
