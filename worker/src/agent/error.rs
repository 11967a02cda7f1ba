//! Why a worker ends without having been asked to.

use std::path::PathBuf;

use trainyard_wire::client::ClientError;

use crate::networks::NetworkError;

/// Why a worker could not start, or cannot go on. What goes wrong in one run fails that run, not the worker.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The server's address cannot be used.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The wanted device is not there.
    #[error(transparent)]
    Device(#[from] NetworkError),
    /// The folder for datasets cannot be used.
    #[error("cannot use the cache folder {path}: {source}")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What went wrong with it.
        source: std::io::Error,
    },
    /// A run took more memory than the worker allows, and only the end of the process gives it back.
    #[error("the worker takes more memory than it is allowed to: {} MiB", .taken >> 20)]
    Memory {
        /// Bytes of the process.
        taken: u64,
    },
    /// The server does not accept the token, or its scope.
    #[error("the server refuses this worker's token: {0}")]
    Unauthorized(String),
    /// The server refuses the worker itself.
    #[error("the server refuses this worker: {0}")]
    Refused(String),
}
