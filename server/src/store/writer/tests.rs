//! What a failing write does to those that share its transaction.

use futures::FutureExt as _;
use tokio::sync::oneshot;
use trainyard_wire::RunId;

use super::*;
use crate::store::{NewToken, Store, StoreOptions};

fn token(name: &str) -> NewToken {
    let mut secret_sha256 = [0; 32];
    secret_sha256[..name.len()].copy_from_slice(name.as_bytes());
    NewToken { name: name.to_owned(), scopes: Vec::new(), secret_sha256, expires_at: None }
}

async fn insert(transaction: &mut Transaction, name: &str) -> Result<Revision, StoreError> {
    db::tokens::insert(&mut transaction.conn, &token(name), transaction.now).await?;
    Ok(transaction.advance_revision(1))
}

async fn names(store: &Store) -> Vec<String> {
    store.tokens().await.unwrap().into_iter().rev().map(|token| token.name).collect()
}

struct World {
    _folder: tempfile::TempDir,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { upkeep: false, ..StoreOptions::default() };
        let store = Store::open(folder.path(), options).await.unwrap();
        Self { _folder: folder, store }
    }

    /// Keeps the writer busy, so that what is handed in meanwhile shares the next transaction.
    async fn occupy(&self) -> (oneshot::Sender<()>, JoinHandle<Result<(), StoreError>>) {
        let (release, released) = oneshot::channel::<()>();
        let (begun, begins) = oneshot::channel();
        let writer = self.store.inner.writer.clone();
        let task = tokio::spawn(async move {
            let write = writer.write(move |_| {
                async move {
                    let _ = begun.send(());
                    let _ = released.await;
                    Ok(())
                }
                .boxed()
            });
            write.await
        });
        begins.await.unwrap();
        (release, task)
    }

    /// Hands a write in without waiting for it.
    async fn hand_in<F>(&self, body: F) -> JoinHandle<Result<Revision, StoreError>>
    where
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<Revision, StoreError>> + Send + 'static,
    {
        let messages = self.store.inner.writer.messages.clone();
        let before = messages.capacity();
        let writer = self.store.inner.writer.clone();
        let task = tokio::spawn(async move { writer.write(body).await });
        while messages.capacity() == before {
            tokio::task::yield_now().await;
        }
        task
    }
}

#[tokio::test]
async fn a_failing_write_is_undone_alone() {
    let world = World::new().await;
    let (release, _) = world.occupy().await;
    let first = world.hand_in(|transaction| insert(transaction, "first").boxed()).await;
    let failing = world.hand_in(|transaction| {
        async move {
            insert(transaction, "failing").await?;
            transaction.after_commit(Effect::LeaseGranted { run: RunId(1), worker: WorkerId(1), attempt: Attempt(1) });
            Err(sqlx::Error::RowNotFound.into())
        }
        .boxed()
    });
    let failing = failing.await;
    let panicking = world.hand_in(|transaction| {
        async move {
            insert(transaction, "panicking").await?;
            panic!("as the test wants it")
        }
        .boxed()
    });
    let panicking = panicking.await;
    let last = world.hand_in(|transaction| insert(transaction, "last").boxed()).await;
    release.send(()).unwrap();

    assert_eq!(first.await.unwrap().unwrap(), Revision(1));
    assert!(matches!(failing.await.unwrap(), Err(StoreError::Database(_))));
    assert!(matches!(panicking.await.unwrap(), Err(StoreError::Panicked)));
    // The revisions that the undone writes had taken were given again.
    assert_eq!(last.await.unwrap().unwrap(), Revision(2));
    assert_eq!(world.store.revision(), Revision(2));
    assert_eq!(names(&world.store).await, ["first", "last"]);
    assert!(world.store.inner.leases.take_expired(Instant::now() + world.store.lease()).is_empty());
}

#[tokio::test]
async fn where_the_commit_fails_every_write_of_the_transaction_gets_the_error() {
    let world = World::new().await;
    let (release, _) = world.occupy().await;
    let good = world.hand_in(|transaction| insert(transaction, "good").boxed()).await;
    let spoiling = world.hand_in(|transaction| {
        async move {
            // Such an error shows itself at the commit and not before.
            sqlx::query("PRAGMA defer_foreign_keys = ON").execute(&mut transaction.conn).await?;
            sqlx::query("INSERT INTO events VALUES (1000, 99, 0, '', '')").execute(&mut transaction.conn).await?;
            Ok(Revision(0))
        }
        .boxed()
    });
    let spoiling = spoiling.await;
    release.send(()).unwrap();
    assert!(matches!(good.await.unwrap(), Err(StoreError::Database(_))));
    assert!(matches!(spoiling.await.unwrap(), Err(StoreError::Database(_))));
    assert_eq!(names(&world.store).await, [""; 0]);
    assert_eq!(world.store.revision(), Revision(0));

    // The next transaction finds a writer in order.
    world.store.insert_token(token("next")).await.unwrap();
    assert_eq!(names(&world.store).await, ["next"]);
}

#[tokio::test]
async fn a_write_that_nobody_waits_for_any_more_is_not_begun() {
    let world = World::new().await;
    let (release, _) = world.occupy().await;
    let abandoned = world.hand_in(|transaction| insert(transaction, "abandoned").boxed()).await;
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    release.send(()).unwrap();
    world.store.insert_token(token("next")).await.unwrap();
    assert_eq!(names(&world.store).await, ["next"]);
}

#[tokio::test]
async fn what_was_handed_in_before_the_close_is_done() {
    let world = World::new().await;
    let (release, occupied) = world.occupy().await;
    let last = world.hand_in(|transaction| insert(transaction, "last").boxed()).await;
    let closing = tokio::spawn({
        let store = world.store.clone();
        async move { store.close().await }
    });
    release.send(()).unwrap();
    occupied.await.unwrap().unwrap();
    assert_eq!(last.await.unwrap().unwrap(), Revision(1));
    closing.await.unwrap().unwrap();
    let refused = world.store.insert_token(token("late")).await;
    assert!(matches!(refused, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_commit_is_fsynced_into_a_write_ahead_log() {
    let world = World::new().await;
    let write = world.store.inner.writer.write::<_, StoreError, _>(|transaction| {
        async move {
            let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut transaction.conn).await?;
            let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut transaction.conn).await?;
            let foreign_keys: bool = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&mut transaction.conn).await?;
            Ok((journal, synchronous, foreign_keys))
        }
        .boxed()
    });
    // 2 is FULL.
    assert_eq!(write.await.unwrap(), ("wal".to_owned(), 2, true));
    let mut reader = world.store.reader().await.unwrap();
    let refused = sqlx::query("DELETE FROM tokens").execute(&mut *reader).await.unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
}
