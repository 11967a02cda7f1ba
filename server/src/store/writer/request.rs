//! A write that waits for the writer, and where its answer comes.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::Transaction;
use crate::store::StoreError;

/// What a write answers where it fails.
pub(in crate::store) trait WriteError: From<StoreError> + Send + 'static {
    /// The store's own error, if it is one.
    fn store(&self) -> Option<&StoreError>;
}

impl WriteError for StoreError {
    fn store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// Tells which variant of an error is the store's own.
macro_rules! write_error {
    ($error:ident, $variant:ident) => {
        impl $crate::store::writer::WriteError for $error {
            fn store(&self) -> Option<&$crate::store::StoreError> {
                if let Self::$variant(error) = self { Some(error) } else { None }
            }
        }
    };
}
pub(in crate::store) use write_error;

/// A write that waits for its turn.
pub(super) trait Write: Send {
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// Does the write. If it must not be committed, the inner value is the store's own error, where it was that.
    fn apply<'t>(&'t mut self, transaction: &'t mut Transaction) -> BoxFuture<'t, Result<(), Option<StoreError>>>;
    /// Replaces the answer by an error.
    fn fail(&mut self, error: StoreError);
    fn answer(self: Box<Self>);
}

struct Request<F, T, E> {
    body: Option<F>,
    outcome: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<F, T, E> Write for Request<F, T, E>
where
    F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>> + Send,
    T: Send,
    E: WriteError,
{
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn apply<'t>(&'t mut self, transaction: &'t mut Transaction) -> BoxFuture<'t, Result<(), Option<StoreError>>> {
        async move {
            let Some(body) = self.body.take() else { return Err(None) };
            // The savepoint undoes what a panicking write left in the database, and there is nothing else that it could leave.
            let done = std::panic::AssertUnwindSafe(async { body(transaction).await }).catch_unwind().await;
            let outcome = done.unwrap_or_else(|_| Err(StoreError::Panicked.into()));
            self.outcome.insert(outcome).as_ref().map(drop).map_err(|error| error.store().cloned())
        }
        .boxed()
    }

    fn fail(&mut self, error: StoreError) {
        self.outcome = Some(Err(error.into()));
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // A caller that went away does not need its answer.
            let _ = self.reply.send(outcome);
        }
    }
}

/// A write, and where its answer comes.
pub(super) fn request<T, E, F>(body: F) -> (Box<dyn Write>, oneshot::Receiver<Result<T, E>>)
where
    F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: WriteError,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Request { body: Some(body), outcome: None, reply }), answer)
}

/// Writes to be handed in together.
pub(in crate::store) struct Together<T, E> {
    pub(super) writes: Vec<Box<dyn Write>>,
    pub(super) answers: Vec<oneshot::Receiver<Result<T, E>>>,
}

impl<T: Send + 'static, E: WriteError> Together<T, E> {
    pub(in crate::store) fn new() -> Self {
        Self { writes: Vec::new(), answers: Vec::new() }
    }

    pub(in crate::store) fn add<F>(&mut self, body: F)
    where
        F: for<'t> FnOnce(&'t mut Transaction) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    {
        let (write, answer) = request(body);
        self.writes.push(write);
        self.answers.push(answer);
    }
}
