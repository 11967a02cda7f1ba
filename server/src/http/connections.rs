//! The accept loop: HTTP/1.1 connections with a bound on their number and on a client's slowness.
//!
//! `axum::serve` waits for a request's head without a bound, so that a thousand idle sockets starve everyone else; hyper's own
//! connection builder takes a timer. It runs from the connection's beginning, or from the end of the last answer, to the end of a head, so a
//! head that drips and a connection that says nothing are closed alike. Answers that are not taken are [`pace`](super::pace)'s.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::pace::{Pace, PacedStream};
use crate::config::Limits;

/// How long the loop rests when the system refuses a connection (no file handle left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Most bytes of a connection that are buffered, and so of a request's head; a longer head is answered with 431.
const BUFFER: usize = 64 << 10;

/// Files that the process may open beside its connections: the database, contents, what the runtime needs.
const OTHER_FILES: u64 = 256;

/// Connections for which there are files enough, of so many that are wanted: with none left for contents and the database, honest
/// requests would fail instead of waiting for a place.
fn affordable(wanted: usize, open_files: u64) -> usize {
    let left = usize::try_from(open_files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
    wanted.min(left.max(1))
}

/// Files that this process may open, after raising its own bound as far as it may.
fn open_files() -> u64 {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| match soft < hard {
        true => setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard).or(Ok(soft)),
        false => Ok(soft),
    });
    raised.unwrap_or_else(|error| {
        tracing::warn!(%error, "how many files may be opened is not known");
        u64::MAX
    })
}

/// Serves until `stop`; then finishes the requests in hand, and drops what is left of them at `abort`.
pub(crate) async fn serve(listener: TcpListener, app: Router, limits: Limits, stop: CancellationToken, abort: CancellationToken) {
    let places = affordable(limits.connections, open_files());
    if places < limits.connections {
        tracing::warn!(places, "fewer connections at one time than configured: the process may not open as many files");
    }
    let slots = Arc::new(Semaphore::new(places));
    let connections = TaskTracker::new();
    loop {
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, app.clone(), limits.header_timeout, Pace::new(limits.patience), stop.clone());
                let abort = abort.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = abort.cancelled() => {}
                        () = connection => {}
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Has the connection end with a reset.
fn reset_at_end(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "the rest of an answer stays with the system");
    }
}

async fn connection(stream: TcpStream, app: Router, header_timeout: Duration, pace: Pace, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection stays without TCP_NODELAY");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(PacedStream::new(stream, pace, reset_at_end)), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        assert_eq!(affordable(4096, 1 << 20), 4096);
        assert_eq!(affordable(4096, 1024), 768);
        assert_eq!(affordable(4096, 100), 1);
    }
}
