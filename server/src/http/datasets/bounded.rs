//! Bounds on a form's body that its parser does not have.
//!
//! The parser takes in all that arrives until it has found a boundary or the end of a part's head, so that a client which never sends one
//! fills the memory. Here each piece is handed on alone and the parser gets its turn; how much it took in without getting anywhere is
//! counted, and so is the body as a whole.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream, Bytes};
use futures::{Stream, StreamExt as _};

/// Most bytes that may come outside the contents of parts: before the first, and between two.
const MOST_BETWEEN: u64 = 64 << 10;

/// Why a form was broken off.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    #[error("more than {MOST_BETWEEN} bytes before a part's content")]
    Between,
    #[error("the form has more bytes than are allowed")]
    TooLong,
    #[error("{0}")]
    Body(#[from] axum::Error),
}

/// What the reader of a form tells its body.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Gauge(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes since the parser last gave something out.
    taken_in: AtomicU64,
    discarding: AtomicBool,
}

impl Gauge {
    /// The parser gave out a part, or a piece of one.
    pub(in crate::http) fn progressed(&self) {
        self.0.taken_in.store(0, Ordering::Relaxed);
    }

    /// From now on the body is read to its end and nothing is handed on.
    pub(super) fn discard(&self) {
        self.0.discarding.store(true, Ordering::Relaxed);
    }
}

/// The body of a form, piece by piece.
pub(super) struct BoundedForm {
    body: BodyDataStream,
    gauge: Gauge,
    /// Bytes that may still come.
    left: u64,
    /// Whether the parser must have its turn before there is more.
    rests: bool,
    broken: bool,
}

impl BoundedForm {
    /// At most `limit` bytes of `body`.
    pub(super) fn new(body: Body, limit: u64, gauge: Gauge) -> Self {
        Self { body: body.into_data_stream(), gauge, left: limit, rests: false, broken: false }
    }

    fn check(&mut self, piece: &Bytes) -> Result<(), FormError> {
        let length = piece.len() as u64;
        self.left = self.left.checked_sub(length).ok_or(FormError::TooLong)?;
        // The piece itself may hold content: the parser has not seen it yet.
        let before = self.gauge.0.taken_in.fetch_add(length, Ordering::Relaxed);
        if before > MOST_BETWEEN { Err(FormError::Between) } else { Ok(()) }
    }
}

impl Stream for BoundedForm {
    type Item = Result<Bytes, FormError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while !self.broken {
            let piece = match ready!(self.body.poll_next_unpin(context)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(piece)) => {
                    let discarding = self.gauge.0.discarding.load(Ordering::Relaxed);
                    if discarding {
                        self.gauge.progressed();
                    }
                    match self.check(&piece) {
                        Ok(()) if discarding => continue,
                        Ok(()) => Ok(piece),
                        Err(error) => Err(error),
                    }
                }
            };
            // A form that gets nowhere may still be discarded, so that its sender reads the answer.
            self.broken = matches!(piece, Err(FormError::TooLong | FormError::Body(_)));
            self.rests = true;
            return Poll::Ready(Some(piece));
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures::{FutureExt as _, StreamExt as _, stream};

    use super::{BoundedForm, FormError, Gauge};

    /// A body of `pieces` times a KiB.
    fn body(pieces: usize) -> Body {
        Body::from_stream(stream::iter((0..pieces).map(|_| Ok::<_, std::io::Error>(vec![0u8; 1024]))))
    }

    #[tokio::test]
    async fn what_never_becomes_content_is_broken_off() {
        let mut form = BoundedForm::new(body(1000), 1 << 30, Gauge::default());
        let mut pieces = 0;
        let error = loop {
            match form.next().await.unwrap() {
                Ok(_) => pieces += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, FormError::Between));
        assert_eq!(pieces, 65);
        assert!(matches!(form.next().await, Some(Err(FormError::Between))));
    }

    #[tokio::test]
    async fn content_may_be_long_up_to_the_limit() {
        let gauge = Gauge::default();
        let mut form = BoundedForm::new(body(1000), 500 << 10, gauge.clone());
        for _ in 0..500 {
            form.next().await.unwrap().unwrap();
            gauge.progressed();
        }
        assert!(matches!(form.next().await, Some(Err(FormError::TooLong))));
        gauge.discard();
        assert!(form.next().await.is_none());
    }

    #[tokio::test]
    async fn after_each_piece_the_parser_has_its_turn() {
        let mut form = BoundedForm::new(body(2), 1 << 20, Gauge::default());
        assert!(form.next().now_or_never().is_some());
        assert!(form.next().now_or_never().is_none());
        assert!(form.next().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_form_that_was_broken_off_is_discarded_to_its_end() {
        let gauge = Gauge::default();
        let mut form = BoundedForm::new(body(1000), 1 << 30, gauge.clone());
        while form.next().await.unwrap().is_ok() {}
        gauge.discard();
        assert!(form.next().await.is_none());
    }
}
