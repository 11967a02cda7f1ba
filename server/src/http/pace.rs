//! The least pace of a client, in both directions.
//!
//! A bound on silence alone lets a client hold a connection for ever with a byte now and then. So what counts is the time that the server
//! has waited for a client, whatever came in between: in each [`Pace::patience`] of it, [`Pace::bytes`] must go through. Time that the
//! server itself takes (a disk, a turn at parsing) does not count.
//!
//! [`PacedBody`] holds a request's body to it, [`PacedStream`] the answers: hyper bounds the time of a request's head, and of nothing else.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a client must manage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long the server waits for `bytes` of them.
    pub(crate) patience: Duration,
    /// Few enough for the slowest line that anyone has.
    pub(crate) bytes: u64,
}

impl Pace {
    /// 10 KiB in each `patience`, by default 8 s.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, bytes: 10 << 10 }
    }
}

/// The client did not keep the pace.
#[derive(Debug, thiserror::Error)]
#[error("the client is too slow")]
pub(crate) struct TooSlow;

/// What went through and how long it was waited for, since the pace was last kept.
#[derive(Debug, Default)]
struct Account {
    moved: u64,
    waited: Duration,
    /// Since when the client is waited for, if it is.
    since: Option<Instant>,
}

impl Account {
    /// The server begins to wait; answers when it has waited long enough. `None` while it waits already.
    fn wait(&mut self, pace: Pace, now: Instant) -> Option<Instant> {
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        Some(now + pace.patience.saturating_sub(self.waited))
    }

    /// So many bytes went through.
    fn moved(&mut self, pace: Pace, bytes: usize, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.duration_since(since);
        }
        self.moved += bytes as u64;
        if self.moved >= pace.bytes {
            *self = Self::default();
        }
    }
}

/// An account with an alarm.
struct Meter {
    pace: Pace,
    account: Account,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Meter {
    fn new(pace: Pace) -> Self {
        Self { pace, account: Account::default(), alarm: None }
    }

    fn moved(&mut self, bytes: usize) {
        self.account.moved(self.pace, bytes, Instant::now());
    }

    /// The client is waited for. Ready once that took too long.
    fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(end) = self.account.wait(self.pace, Instant::now()) {
            match &mut self.alarm {
                Some(alarm) => alarm.as_mut().reset(end),
                None => self.alarm = Some(Box::pin(tokio::time::sleep_until(end))),
            }
        }
        match &mut self.alarm {
            Some(alarm) => alarm.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

/// A request's body that breaks off with [`TooSlow`] where its sender does not keep the pace.
struct PacedBody {
    body: Body,
    meter: Meter,
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.meter.moved(frame.data_ref().map_or(0, Bytes::len));
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => this.meter.poll_too_slow(context).map(|()| Some(Err(TooSlow.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The layer that holds bodies to the pace.
pub(crate) async fn pace_body(State(pace): State<Pace>, request: Request, next: Next) -> Response {
    next.run(request.map(|body| Body::new(PacedBody { body, meter: Meter::new(pace) }))).await
}

/// A connection whose writes fail with [`TooSlow`] where the other side does not take what it asked for.
pub(crate) struct PacedStream<S> {
    stream: S,
    meter: Meter,
    /// Has the system forget what it still holds for the other side: it would else go on offering it for many minutes.
    forget: fn(&S),
}

impl<S> PacedStream<S> {
    pub(crate) fn new(stream: S, pace: Pace, forget: fn(&S)) -> Self {
        Self { stream, meter: Meter::new(pace), forget }
    }

    fn written(&mut self, polled: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match polled {
            Poll::Ready(Ok(bytes)) => {
                self.meter.moved(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.meter.poll_too_slow(context).map(|()| {
                (self.forget)(&self.stream);
                Err(io::Error::new(io::ErrorKind::TimedOut, TooSlow))
            }),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(polled, context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.written(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use futures::stream;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::{Account, Meter, Pace, PacedBody, PacedStream, TooSlow};

    const PACE: Pace = Pace { patience: Duration::from_secs(10), bytes: 1000 };
    const SHORT: Pace = Pace { patience: Duration::from_millis(100), ..PACE };

    #[test]
    fn a_byte_now_and_then_is_no_pace_and_enough_of_them_is() {
        let (mut account, start) = (Account::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        for n in 0..9 {
            assert_eq!(account.wait(PACE, second(n)), Some(second(10)), "bytes that came do not put the end off");
            assert_eq!(account.wait(PACE, second(n)), None);
            account.moved(PACE, 100, second(n + 1));
        }
        account.moved(PACE, 100, second(9));
        assert_eq!(account.wait(PACE, second(9)), Some(second(19)));
    }

    #[test]
    fn the_time_that_the_server_takes_is_not_the_clients() {
        let (mut account, start) = (Account::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        assert_eq!(account.wait(PACE, start), Some(second(10)));
        account.moved(PACE, 1, second(3));
        // A minute at a disk.
        assert_eq!(account.wait(PACE, second(63)), Some(second(70)));
    }

    #[tokio::test]
    async fn a_body_that_drips_is_broken_off() {
        let drops = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Some((Ok::<_, std::io::Error>("x"), ()))
        });
        let body = PacedBody { body: Body::from_stream(Box::pin(drops)), meter: Meter::new(SHORT) };
        assert!(body.collect().await.unwrap_err().is::<TooSlow>());
        let whole = PacedBody { body: Body::from("whole"), meter: Meter::new(SHORT) };
        assert_eq!(whole.collect().await.unwrap().to_bytes(), "whole");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_broken_off() {
        let (mut reader, stream) = tokio::io::duplex(100);
        let mut writer = PacedStream::new(stream, SHORT, |_| ());
        let mut taken = [0; 100];
        writer.write_all(&[7; 100]).await.unwrap();
        reader.read_exact(&mut taken).await.unwrap();
        let error = writer.write_all(&[7; 300]).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    }
}
