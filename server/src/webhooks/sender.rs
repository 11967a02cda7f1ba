//! The task that sends what stands in the outbox.
//!
//! Each webhook has so many messages on the way at one time and no more, whatever the others have: a receiver that is slow, or never answers,
//! holds up nobody but itself. What was sent is noted in the store, and a message that was sent by a process that died before it could note it
//! is sent again: receivers know it by its id.

use std::collections::{HashMap, HashSet};
use std::error::Error as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use reqwest::{StatusCode, redirect};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use trainyard_faults::Place;
use trainyard_wire::{DeliveryId, Timestamp, WebhookId};

use super::WebhookHosts;
use crate::store::{Attempted, Store, StoreError, WaitingDelivery};

/// Messages of one webhook that are on the way at one time.
const AT_ONCE: usize = 4;
/// How long a receiver may take, to be connected to and to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that the outbox is not looked into.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// How long a store that does not answer, or does not take a note, is left alone.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// How long messages that are on the way may take once the server stops.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// Most characters of an error that is kept.
const LONGEST_ERROR: usize = 300;

/// What sends.
pub(crate) struct Sender {
    store: Store,
    hosts: Arc<WebhookHosts>,
    plain: reqwest::Client,
    /// Made when it is first needed: it reads the system's certificates.
    secure: OnceCell<reqwest::Client>,
}

/// What is on the way, and when each webhook is to be looked at again.
#[derive(Default)]
struct State {
    sending: JoinSet<(WebhookId, DeliveryId)>,
    on_the_way: HashMap<WebhookId, HashSet<DeliveryId>>,
    due: HashMap<WebhookId, Timestamp>,
}

impl Sender {
    pub(crate) fn new(store: Store, hosts: Arc<WebhookHosts>) -> reqwest::Result<Self> {
        // Fails only where a provider is installed already, and then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Plain HTTP checks no certificate, so a machine or container without any is no hindrance.
        let plain = client(reqwest::Client::builder().tls_certs_only([]))?;
        Ok(Self { store, hosts, plain, secure: OnceCell::new() })
    }

    /// Sends what is due until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let sender = Arc::new(self);
        let mut outbox = sender.store.outbox_watch();
        let mut state = State::default();
        outbox.mark_changed();
        loop {
            let wait = state.due.values().min().map_or(LONGEST_SLEEP, |due| {
                let milliseconds = u64::try_from(due.0.saturating_sub(sender.store.steady_now().0)).unwrap_or(0);
                Duration::from_millis(milliseconds).min(LONGEST_SLEEP)
            });
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = state.sending.join_next() => match done {
                    Ok((webhook, delivery)) => {
                        state.on_the_way.entry(webhook).or_default().remove(&delivery);
                        sender.send_due(webhook, &mut state).await;
                    }
                    Err(error) => tracing::error!(%error, "a message to a webhook was dropped on its way"),
                },
                changed = outbox.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    sender.send_all_due(&mut state).await;
                }
                () = tokio::time::sleep(wait) => sender.send_all_due(&mut state).await,
            }
        }
        let finish = async { while state.sending.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_ANSWERS, finish).await.is_err() {
            tracing::info!("messages to webhooks that are on the way are sent again at the next start");
        }
    }

    async fn send_all_due(self: &Arc<Self>, state: &mut State) {
        state.due.clear();
        match self.store.active_webhooks().await {
            Ok(webhooks) => {
                state.on_the_way.retain(|webhook, on_the_way| !on_the_way.is_empty() || webhooks.contains(webhook));
                for webhook in webhooks {
                    self.send_due(webhook, state).await;
                }
            }
            Err(StoreError::Closed) => {}
            Err(error) => tracing::error!(%error, "the webhooks cannot be read"),
        }
    }

    /// Sends what is due to one webhook, as far as it has places free.
    async fn send_due(self: &Arc<Self>, webhook: WebhookId, state: &mut State) {
        let State { sending, on_the_way, due } = state;
        let on_the_way = on_the_way.entry(webhook).or_default();
        due.remove(&webhook);
        if on_the_way.len() >= AT_ONCE {
            return;
        }
        let now = self.store.steady_now();
        // Those that are on the way may be among them, and so must be the one that is due next.
        let limit = u32::try_from(2 * AT_ONCE).unwrap_or(u32::MAX);
        let waiting = match self.store.waiting_deliveries(webhook, limit).await {
            Ok(waiting) => waiting,
            Err(error) => {
                if !matches!(error, StoreError::Closed) {
                    tracing::error!(%webhook, %error, "the messages that wait cannot be read");
                }
                due.insert(webhook, after(now, STORE_RETRY));
                return;
            }
        };
        for delivery in waiting {
            if on_the_way.contains(&delivery.id) {
                continue;
            }
            if on_the_way.len() >= AT_ONCE {
                return;
            }
            if delivery.due > now {
                due.insert(webhook, delivery.due);
                return;
            }
            on_the_way.insert(delivery.id);
            let sender = Arc::clone(self);
            sending.spawn(async move {
                sender.deliver(&delivery).await;
                (delivery.webhook, delivery.id)
            });
        }
    }

    /// Sends a message and notes what came of it.
    async fn deliver(&self, delivery: &WaitingDelivery) {
        let attempt = AssertUnwindSafe(self.attempt(delivery)).catch_unwind().await;
        let attempted = attempt.unwrap_or_else(|_| failed(None, "sending it panicked".to_owned()));
        tracing::debug!(webhook = %delivery.webhook, delivery = %delivery.id, ?attempted, "a message to a webhook was sent");
        // A message whose end is not noted is due at once: whoever cannot note it must not send it over and over.
        for _ in 0..2 {
            match self.store.note_attempt(delivery.id, attempted.clone(), self.store.steady_now(), random_share()).await {
                Ok(()) | Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::error!(webhook = %delivery.webhook, delivery = %delivery.id, %error, "what became of a message cannot be noted");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
    }

    async fn attempt(&self, delivery: &WaitingDelivery) -> Attempted {
        // The list may be another one than when the webhook was made.
        let url = match self.hosts.check(&delivery.url) {
            Ok(url) => url,
            Err(error) => return failed(None, format!("the address {error}")),
        };
        let timestamp = Timestamp::now().0.div_euclid(1000);
        let Some(signature) = delivery.secret.sign(&delivery.message_id, timestamp, &delivery.body) else {
            return failed(None, "the stored secret is none".to_owned());
        };
        let http = match url.scheme() {
            "https" => match self.secure.get_or_try_init(|| async { client(reqwest::Client::builder()) }).await {
                Ok(http) => http,
                Err(error) => return failed(None, chain(error)),
            },
            _ => &self.plain,
        };
        if let Err(error) = trainyard_faults::at(Place::DeliverySend) {
            return failed(None, error.to_string());
        }
        let request = http.post(url).header("content-type", "application/json").header("webhook-id", &delivery.message_id);
        let request = request.header("webhook-timestamp", timestamp).header("webhook-signature", signature);
        // The body of an answer is not read: nothing that a receiver says is shown to anybody.
        let status = match request.body(delivery.body.clone()).send().await {
            Ok(response) => response.status(),
            Err(error) => return failed(None, chain(error)),
        };
        if let Err(error) = trainyard_faults::at(Place::DeliveryAnswered) {
            return failed(None, error.to_string());
        }
        outcome(status)
    }
}

/// What a receiver's status means.
fn outcome(status: StatusCode) -> Attempted {
    let number = status.as_u16();
    match status {
        status if status.is_success() => Attempted::Delivered { status: number },
        StatusCode::GONE => Attempted::Gone { status: number },
        status if status.is_redirection() => failed(Some(number), format!("the receiver answered {number}: redirects are not followed")),
        _ => failed(Some(number), format!("the receiver answered {number}")),
    }
}

fn failed(status: Option<u16>, error: String) -> Attempted {
    Attempted::Failed { status, error: error.chars().take(LONGEST_ERROR).collect() }
}

/// A client that goes to the address that was checked and nowhere else.
fn client(builder: reqwest::ClientBuilder) -> reqwest::Result<reqwest::Client> {
    builder
        .user_agent(concat!("trainyard/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE)
        .build()
}

/// The error with its causes and without the address, which is nobody's but the webhook's owner's.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(now.0.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX)))
}

/// A number in [0, 1).
fn random_share() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_delivered_by_a_success_and_by_nothing_else() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(outcome(StatusCode::from_u16(status).unwrap()), Attempted::Delivered { status });
        }
        for status in [301, 302, 304, 307, 308, 400, 401, 404, 429, 500, 503] {
            let Attempted::Failed { status: Some(told), error } = outcome(StatusCode::from_u16(status).unwrap()) else {
                panic!("{status}")
            };
            assert!(told == status && error.contains(&status.to_string()));
        }
        assert_eq!(outcome(StatusCode::GONE), Attempted::Gone { status: 410 });
    }

    #[test]
    fn a_share_is_below_one() {
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random_share())));
    }
}
