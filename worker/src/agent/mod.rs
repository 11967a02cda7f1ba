//! The agent: everything about a worker that knows the server.

mod error;

use tokio_util::sync::CancellationToken;

use crate::WorkerConfig;
pub use error::WorkerError;

/// Works for the server until `stop` is cancelled, then gives its runs back and returns.
///
/// # Errors
/// [`WorkerError`] where the worker cannot start, or where the server refuses it for good.
pub async fn run(config: WorkerConfig, stop: CancellationToken) -> Result<(), WorkerError> {
    config.device.open()?;
    stop.cancelled().await;
    Ok(())
}
