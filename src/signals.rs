//! When to stop: SIGTERM, SIGINT, or the end of the parent process.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A token that SIGTERM or SIGINT cancels. A second signal ends the process at once.
pub(crate) fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn({
        let stop = stop.clone();
        async move {
            wait_for_either(&mut terminate, &mut interrupt).await;
            stop.cancel();
            wait_for_either(&mut terminate, &mut interrupt).await;
            std::process::exit(130);
        }
    });
    Ok(stop)
}

async fn wait_for_either(one: &mut tokio::signal::unix::Signal, other: &mut tokio::signal::unix::Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// Cancels `stop` once standard input ends, and ends the process `bound` later if it is still there.
///
/// The parent holds the other end of a pipe and never writes: whatever ends the parent, SIGKILL included, closes the pipe. A thread
/// of its own waits, because a blocking read would keep the runtime from ending.
pub(crate) fn stop_with_parent(stop: CancellationToken, bound: Duration) {
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut ignored = [0u8; 64];
        while matches!(stdin.read(&mut ignored), Ok(1..)) {}
        stop.cancel();
        std::thread::sleep(bound);
        std::process::exit(1);
    });
}
