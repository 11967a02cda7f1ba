//! A running server, from its start to its orderly end.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trainyard_wire::token::Scope;

use crate::config::ServerConfig;
use crate::http::answers::Answers;
use crate::http::app::{App, PARSERS};
use crate::http::credentials::Credentials;
use crate::http::documentation::Document;
use crate::http::origin::HostPolicy;
use crate::http::sessions::Sessions;
use crate::http::{self, connections};
use crate::store::{NewToken, OpenError, Store, StoreError, StoreOptions};
use crate::telemetry;
use crate::tokens::{self, Secret, TokenFileError};
use crate::webhooks::{Sender, WebhookHosts};

/// How long [`Server::shutdown`] waits for requests in hand.
const DRAIN: Duration = Duration::from_secs(10);

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Token(#[from] TokenFileError),
    #[error("the API's description cannot be written: {0}")]
    Document(#[from] serde_json::Error),
    #[error("webhooks cannot be sent: {0}")]
    Webhooks(reqwest::Error),
    #[error("cannot listen on {address}: {source}{}", if_taken(.source))]
    Listen { address: SocketAddr, source: io::Error },
}

/// What to do where another program has the address.
fn if_taken(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse { "; give another address with --listen, or port 0 for any that is free" } else { "" }
}

/// A server that serves in background tasks of the runtime that started it.
pub struct Server {
    address: SocketAddr,
    link_token: Option<Secret>,
    admin_token_file: PathBuf,
    worker_token_file: PathBuf,
    store: Store,
    stop: CancellationToken,
    abort: CancellationToken,
    serving: JoinHandle<()>,
    sending: JoinHandle<()>,
}

/// Connections that may wait to be accepted, however few are served.
const SHORTEST_QUEUE: usize = 1024;

/// Listens with a queue for as many connections as are served at one time: one that finds no place in it looks open to its client and is
/// known to nobody here, so nothing would ever close it.
fn listen(address: SocketAddr, connections: usize) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The port of a server that was just killed can be used again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(u32::try_from(connections.max(SHORTEST_QUEUE)).unwrap_or(u32::MAX))
}

impl Server {
    /// Opens the store, sees to the tokens, binds and serves. Answers once requests are accepted.
    pub async fn start(config: ServerConfig) -> Result<Self, StartError> {
        if trainyard_faults::INJECTS {
            tracing::warn!("this build can be made to fail (feature `inject`): it is for tests and not for use");
        }
        let (lease, retention, deleted_kept) = (config.lease, config.retention, config.deleted_kept);
        let public_url = config.public_url.clone();
        let options = StoreOptions { lease, retention, deleted_kept, public_url, ..StoreOptions::default() };
        let store = Store::open(&config.data_dir, options).await?;
        match Self::serve(config, store.clone()).await {
            Ok(server) => Ok(server),
            Err(error) => {
                if let Err(error) = store.close().await {
                    tracing::warn!(%error, "the store did not close cleanly");
                }
                Err(error)
            }
        }
    }

    async fn serve(config: ServerConfig, store: Store) -> Result<Self, StartError> {
        let (admin_token, admin_token_file) = token(config.admin_token_file.as_deref(), &config.data_dir.join("admin.token"))?;
        let (worker_token, worker_token_file) = token(config.worker_token_file.as_deref(), &config.data_dir.join("worker.token"))?;
        for (name, scope, secret) in [("admin", Scope::Admin, &admin_token), ("worker", Scope::Worker, &worker_token)] {
            let token = NewToken { name: name.to_owned(), scopes: vec![scope], secret_sha256: secret.hash(), expires_at: None };
            let stored = store.insert_token(token).await?;
            if stored.revoked_at.is_some() || !stored.scopes.contains(&scope) {
                tracing::warn!(name, "the token in the {name} token file was revoked or has other scopes");
            }
        }
        let sessions = Sessions::load(config.data_dir.join("sessions.json"));
        let credentials = Credentials::load(&store, sessions).await?;

        let listen_error = |source| StartError::Listen { address: config.listen, source };
        let listener = listen(config.listen, config.limits.connections).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
        let endpoints = http::endpoints();
        let webhook_hosts = Arc::new(WebhookHosts(config.webhook_hosts.clone()));
        let sender = Sender::new(store.clone(), Arc::clone(&webhook_hosts)).map_err(StartError::Webhooks)?;
        let app = Arc::new(App {
            store: store.clone(),
            limits: Arc::new(config.limits.clone()),
            credentials,
            answers: Answers::default(),
            metrics: telemetry::recorder(),
            document: Document::new(&endpoints.openapi)?,
            stop: stop.clone(),
            parsers: Semaphore::new(PARSERS),
            subscribers: Arc::new(Semaphore::new(config.limits.subscribers)),
            backups: Arc::new(Semaphore::new(1)),
            webhook_hosts,
        });
        let sending = tokio::spawn(sender.run(stop.clone()));
        tokio::spawn(telemetry::upkeep(app.metrics.clone(), stop.clone()));
        // What a server prints ends in its log, and a token that was given in advance has no need to be told.
        let link_token = config.admin_token_file.is_none().then_some(admin_token);
        let router = http::router(endpoints, app, HostPolicy::new(&config.allowed_hosts));
        let serving = tokio::spawn(connections::serve(listener, router, config.limits, stop.clone(), abort.clone()));
        Ok(Self { address, link_token, admin_token_file, worker_token_file, store, stop, abort, serving, sending })
    }

    /// Where the server listens, with the port that the system chose if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The dashboard's address. It carries the admin token in its fragment, which browsers do not send, unless the token was given
    /// in advance.
    ///
    /// A server that listens on all addresses is named by its loopback one, which is let in without `allowed_hosts`.
    pub fn dashboard_url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
        }
        match &self.link_token {
            Some(token) => format!("http://{address}/#token={}", token.expose()),
            None => format!("http://{address}/"),
        }
    }

    /// The file with the admin token.
    pub fn admin_token_file(&self) -> &Path {
        &self.admin_token_file
    }

    /// The file with the token of the workers that are started beside the server.
    pub fn worker_token_file(&self) -> &Path {
        &self.worker_token_file
    }

    /// Waits until the disk fails an fsync, and answers what failed. From then on no write is acknowledged; end the process, and do not
    /// shut the server down before: that would write.
    pub async fn disk_failed(&self) -> String {
        self.store.not_synced().await
    }

    /// Ends the long polls, finishes the requests in hand within 10 s, and closes the store.
    pub async fn shutdown(self) {
        self.store.begin_drain();
        self.stop.cancel();
        let mut serving = self.serving;
        if tokio::time::timeout(DRAIN, &mut serving).await.is_err() {
            tracing::warn!("requests were still in hand at the end of the shutdown and were broken off");
            self.abort.cancel();
            if let Err(error) = serving.await {
                tracing::error!(%error, "the accept loop ended badly");
            }
        }
        if let Err(error) = self.sending.await {
            tracing::error!(%error, "the sender of webhooks ended badly");
        }
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store did not close cleanly");
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The token of `given`, or the one in `made`, which is made if it is not there; with the file that holds it.
fn token(given: Option<&Path>, made: &Path) -> Result<(Secret, PathBuf), TokenFileError> {
    match given {
        Some(path) => Ok((tokens::read(path)?, path.to_owned())),
        None => Ok((tokens::read_or_create(made)?, made.to_owned())),
    }
}
