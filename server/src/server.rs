//! A running server, from its start to its orderly end.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::ServerConfig;
use crate::http::{self, connections};
use crate::tokens::{self, Secret, TokenFileError};

/// How long [`Server::shutdown`] waits for requests in hand.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot make the data folder {path}: {source}")]
    DataDir { path: String, source: io::Error },
    #[error(transparent)]
    Token(#[from] TokenFileError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// A server that serves in background tasks of the runtime that started it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    admin_token: Secret,
    admin_token_file: PathBuf,
    worker_token_file: PathBuf,
    stop: CancellationToken,
    abort: CancellationToken,
    serving: JoinHandle<()>,
}

impl Server {
    /// Opens the store, sees to the tokens, binds and serves. Answers once requests are accepted.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        let data_dir_error = |source| StartError::DataDir { path: config.data_dir.display().to_string(), source };
        std::fs::create_dir_all(&config.data_dir).map_err(data_dir_error)?;
        let (admin_token, admin_token_file) = token(config.admin_token_file.as_deref(), &config.data_dir.join("admin.token"))?;
        let (_, worker_token_file) = token(config.worker_token_file.as_deref(), &config.data_dir.join("worker.token"))?;

        let listen_error = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let app = http::router();
        let serving = tokio::spawn(connections::serve(listener, app, config.limits, stop.clone(), abort.clone()));
        Ok(Self { address, admin_token, admin_token_file, worker_token_file, stop, abort, serving })
    }

    /// Where the server listens, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The dashboard's address, which carries the admin token in its fragment: browsers do not send fragments, so it reaches no log.
    pub fn dashboard_url(&self) -> String {
        format!("http://{}/#token={}", self.address, self.admin_token.expose())
    }

    /// The file with the admin token.
    pub fn admin_token_file(&self) -> &Path {
        &self.admin_token_file
    }

    /// The file with the token of the workers that are started beside the server.
    pub fn worker_token_file(&self) -> &Path {
        &self.worker_token_file
    }

    /// Ends the long polls, finishes the requests in hand within 10 s, and closes the store.
    pub async fn shutdown(self) {
        self.stop.cancel();
        let mut serving = self.serving;
        if tokio::time::timeout(DRAIN, &mut serving).await.is_err() {
            tracing::warn!("requests were still in hand at the end of the shutdown and were broken off");
            self.abort.cancel();
            if let Err(error) = serving.await {
                tracing::error!(%error, "the accept loop ended badly");
            }
        }
    }
}

/// The token of `given`, or the one in `made`, which is made if it is not there; with the file that holds it.
fn token(given: Option<&Path>, made: &Path) -> Result<(Secret, PathBuf), TokenFileError> {
    match given {
        Some(path) => Ok((tokens::read(path)?, path.to_owned())),
        None => Ok((tokens::read_or_create(made)?, made.to_owned())),
    }
}
