//! What every handler can reach.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::answers::Answers;
use super::credentials::Credentials;
use super::documentation::Document;
use crate::config::Limits;
use crate::store::Store;
use crate::webhooks::WebhookHosts;

/// Shared by all requests.
pub(crate) type Shared = Arc<App>;

/// The parts of a running server that handlers use.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) limits: Arc<Limits>,
    pub(crate) credentials: Credentials,
    /// What many ask for.
    pub(crate) answers: Answers,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) document: Document,
    /// Cancelled when the server shuts down: long polls and streams end.
    pub(crate) stop: CancellationToken,
    /// How many large bodies are parsed at one time; each may take many times its size.
    pub(crate) parsers: Semaphore,
    /// Places for streams of events.
    pub(crate) subscribers: Arc<Semaphore>,
    /// Backups are made one at a time: each takes the space of a database.
    pub(crate) backups: Arc<Semaphore>,
    /// The hosts that webhooks may name.
    pub(crate) webhook_hosts: Arc<WebhookHosts>,
}

/// Large bodies that are parsed at one time.
pub(crate) const PARSERS: usize = 2;
