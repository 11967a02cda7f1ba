//! Webhooks and their outbox: the end of a run and the messages about it are one transaction, so no end goes untold, whatever dies when.
//!
//! A message waits until its receiver has taken it or all attempts are used up. When it is due again is told on the store's steady clock
//! ([`Store::steady_now`]), which no jump of the wall clock moves.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::FutureExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use trainyard_wire::external::EndState;
use trainyard_wire::webhook::{CreateWebhook, Delivery, DeliveryState, Webhook};
use trainyard_wire::{DeliveryId, RunState, Timestamp, WebhookId};

use super::writer::{Effect, Transaction, write_error};
use super::{Slice, Store, StoreError};
use crate::db;
use crate::db::runs::{End, RunCore};
use crate::db::webhooks::{AttemptRow, EndedRun, NewDelivery};
use crate::figures;
use crate::webhooks::{WebhookSecret, delay};

/// Most webhooks of a store: each has connections of its own, and each end is compared with all of them.
pub const MOST_WEBHOOKS: u64 = 64;
/// Most messages that wait for one webhook; beyond that the oldest are given up.
const MOST_WAITING: u32 = 10_000;
/// Messages of a webhook that are kept after they were delivered or given up, and for how long.
const MOST_KEPT: u32 = 1_000;
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Longest text of a part of a message: what is longer is left out, and the message says so.
const LONGEST_PART: usize = 16 << 10;
/// Most characters of an error.
const LONGEST_ERROR: usize = 2_000;

/// Why nothing is done about a webhook.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// 404.
    #[error("there is no such webhook")]
    NotFound,
    /// 409.
    #[error("there are {MOST_WEBHOOKS} webhooks already: delete one first")]
    TooMany,
    /// 409.
    #[error("the webhook's receiver has answered that it is gone (410): nothing is sent to it any more")]
    Disabled,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(WebhookError, Store);

/// A message that is to be sent.
#[derive(Clone, Debug)]
pub struct WaitingDelivery {
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub message_id: String,
    pub body: String,
    /// On the steady clock.
    pub due: Timestamp,
    pub url: String,
    pub secret: WebhookSecret,
}

/// What an attempt to deliver came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempted {
    /// The receiver has it.
    Delivered {
        status: u16,
    },
    /// The receiver wants no more.
    Gone {
        status: u16,
    },
    Failed {
        status: Option<u16>,
        error: String,
    },
}

impl Store {
    /// Stores a webhook, whose address has been checked.
    pub async fn create_webhook(&self, webhook: CreateWebhook, secret: WebhookSecret) -> Result<Webhook, WebhookError> {
        let write = self.inner.writer.write::<_, WebhookError, _>(move |transaction| {
            async move {
                let now = transaction.now;
                if db::webhooks::count(&mut transaction.conn).await? >= MOST_WEBHOOKS {
                    return Err(WebhookError::TooMany);
                }
                let id = db::webhooks::insert(&mut transaction.conn, &webhook, &secret, now).await?;
                transaction.advance_revision(1);
                transaction.after_commit(Effect::Announced);
                db::webhooks::get(&mut transaction.conn, id).await?.ok_or(WebhookError::NotFound)
            }
            .boxed()
        });
        write.await
    }

    /// All webhooks, newest first.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        db::webhooks::list(&mut *self.reader().await?).await
    }

    /// One webhook; `None` if there is no such.
    pub async fn webhook(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        db::webhooks::get(&mut *self.reader().await?, id).await
    }

    /// Forgets a webhook with all its messages; answers whether there was one.
    pub async fn delete_webhook(&self, id: WebhookId) -> Result<bool, StoreError> {
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move {
                let was_there = db::webhooks::delete(&mut transaction.conn, id).await?;
                if was_there {
                    transaction.advance_revision(1);
                    transaction.after_commit(Effect::Announced);
                }
                Ok(was_there)
            }
            .boxed()
        });
        write.await
    }

    /// Has a message sent that tells of nothing.
    pub async fn ping_webhook(&self, id: WebhookId) -> Result<Delivery, WebhookError> {
        let write = self.inner.writer.write::<_, WebhookError, _>(move |transaction| {
            async move {
                let webhook = db::webhooks::get(&mut transaction.conn, id).await?.ok_or(WebhookError::NotFound)?;
                if webhook.disabled_at.is_some() {
                    return Err(WebhookError::Disabled);
                }
                let body = json!({"type": "ping", "timestamp": transaction.now, "data": {"webhook_id": id, "name": webhook.name}});
                transaction.put_out(&[id], "ping", None, &body.to_string()).await?;
                transaction.advance_revision(1);
                let newest = db::webhooks::deliveries(&mut transaction.conn, id, None, 1).await?;
                newest.into_iter().next().ok_or(WebhookError::NotFound)
            }
            .boxed()
        });
        write.await
    }

    /// The messages to a webhook, newest first, before the last one of the page before; `None` if there is no such webhook.
    pub async fn deliveries(&self, id: WebhookId, before: Option<DeliveryId>, limit: u32) -> Result<Option<Slice<Delivery>>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::webhooks::get(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(db::split_more(db::webhooks::deliveries(&mut conn, id, before, limit).await?, limit)))
    }

    /// The webhooks to which something may be sent.
    pub async fn active_webhooks(&self) -> Result<Vec<WebhookId>, StoreError> {
        db::webhooks::active(&mut *self.reader().await?).await
    }

    /// The messages that wait for a webhook, the one that is due first first.
    pub async fn waiting_deliveries(&self, id: WebhookId, limit: u32) -> Result<Vec<WaitingDelivery>, StoreError> {
        db::webhooks::waiting(&mut *self.reader().await?, id, limit).await
    }

    /// Notes what an attempt came to: a message that failed is due again after its delay, counted from `now` on the steady clock, of which
    /// `jitter` in [0, 1) says how much; after the last attempt it is given up.
    pub async fn note_attempt(&self, id: DeliveryId, attempted: Attempted, now: Timestamp, jitter: f64) -> Result<(), StoreError> {
        let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
            async move { transaction.note_attempt(id, &attempted, now, jitter).await }.boxed()
        });
        let state = write.await?;
        if let Some(state) = state {
            figures::delivery_attempted(state);
        }
        Ok(())
    }

    /// Gives up what is too much and forgets what is too old at `now`; answers how many messages.
    pub async fn prune_deliveries(&self, now: Timestamp) -> Result<u64, StoreError> {
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp(now.0.saturating_sub(kept));
        let mut count = 0;
        for webhook in self.webhooks().await?.into_iter().map(|webhook| webhook.id) {
            let write = self.inner.writer.write::<_, StoreError, _>(move |transaction| {
                async move {
                    let conn = &mut transaction.conn;
                    let reason = format!("more than {MOST_WAITING} messages were waiting");
                    let given_up = db::webhooks::give_up_oldest(conn, webhook, MOST_WAITING, &reason).await?;
                    Ok(given_up + db::webhooks::prune(conn, webhook, before, MOST_KEPT).await?)
                }
                .boxed()
            });
            count += write.await?;
        }
        Ok(count)
    }

    /// How many messages wait.
    pub(crate) async fn waiting_count(&self) -> Result<u64, StoreError> {
        db::webhooks::waiting_count(&mut *self.reader().await?).await
    }

    /// Follows the outbox: it changes after each commit that put something in, or changed who is told.
    pub(crate) fn outbox_watch(&self) -> watch::Receiver<u64> {
        self.inner.followers.announced.subscribe()
    }

    /// The wall clock when the store was opened and the time since: it goes on evenly, whatever the wall clock does.
    pub fn steady_now(&self) -> Timestamp {
        let passed = i64::try_from(self.inner.opened.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.inner.opened_at.0.saturating_add(passed))
    }
}

impl Transaction {
    /// Puts messages about the end of a run into the outbox, for all webhooks that want to know of it.
    pub(super) async fn announce(&mut self, run: &RunCore, end: &End) -> Result<(), StoreError> {
        let state = match end.state {
            RunState::Succeeded => EndState::Succeeded,
            RunState::Failed => EndState::Failed,
            RunState::Cancelled => EndState::Cancelled,
            RunState::Queued | RunState::Paused | RunState::Running => return Ok(()),
        };
        let listening = db::webhooks::listening(&mut self.conn, state).await?;
        if listening.is_empty() {
            return Ok(());
        }
        let ended = match db::webhooks::ended_run(&mut self.conn, run.id).await {
            Ok(Some(ended)) => ended,
            Ok(None) => return Ok(()),
            // It must be able to end all the same.
            Err(error @ StoreError::Unreadable { .. }) => {
                tracing::error!(run = %run.id, %error, "the run's end is told to no webhook");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let wants = |listener: &db::webhooks::Listener| {
            let of_project = listener.project.is_none() || listener.project == ended.project;
            of_project && listener.tags.iter().all(|(tag, value)| ended.tags.get(tag) == Some(value))
        };
        let webhooks: Vec<WebhookId> = listening.iter().filter(|listener| wants(listener)).map(|listener| listener.id).collect();
        let kind = format!("run.{state}");
        let mut data = data(run, end, ended)?;
        if let Some(public_url) = &self.public_url {
            data["url"] = json!(public_url.of(&format!("/v1/runs/{}", run.id)));
            data["page"] = json!(public_url.of(&format!("/#/runs/{}", run.id)));
        }
        let body = json!({"type": kind, "timestamp": self.now, "data": data}).to_string();
        self.put_out(&webhooks, &kind, Some(run), &body).await
    }

    async fn put_out(&mut self, webhooks: &[WebhookId], kind: &str, run: Option<&RunCore>, body: &str) -> Result<(), StoreError> {
        for webhook in webhooks {
            // Random, so that a store that was restored from a backup never tells something new under an old name.
            let mut random = [0u8; 16];
            getrandom::fill(&mut random).map_err(|error| StoreError::from(std::io::Error::other(error.to_string())))?;
            let message_id = format!("msg_{}", URL_SAFE_NO_PAD.encode(random));
            let delivery = NewDelivery { webhook: *webhook, message_id: &message_id, kind, run: run.map(|run| run.id), body };
            let now = self.now;
            db::webhooks::insert_delivery(&mut self.conn, &delivery, now).await?;
            self.after_commit(Effect::Announced);
        }
        Ok(())
    }

    /// Answers what became of the message; `None` where it did not wait any more.
    async fn note_attempt(
        &mut self,
        id: DeliveryId,
        attempted: &Attempted,
        now: Timestamp,
        jitter: f64,
    ) -> Result<Option<DeliveryState>, StoreError> {
        let Some((webhook, before)) = db::webhooks::attempts(&mut self.conn, id).await? else { return Ok(None) };
        let row = match attempted {
            Attempted::Delivered { status } => {
                AttemptRow { state: DeliveryState::Delivered, status: Some(*status), error: None, next: None }
            }
            Attempted::Gone { status } => {
                let error = Some("the receiver is gone: the webhook is disabled");
                AttemptRow { state: DeliveryState::GivenUp, status: Some(*status), error, next: None }
            }
            Attempted::Failed { status, error } => {
                let delay = delay(before + 1, jitter).map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
                let next = delay.map(|delay| Timestamp(now.0.saturating_add(delay)));
                let state = if next.is_some() { DeliveryState::Waiting } else { DeliveryState::GivenUp };
                AttemptRow { state, status: *status, error: Some(error), next }
            }
        };
        let at = self.now;
        db::webhooks::set_attempted(&mut self.conn, id, &row, at).await?;
        if let Attempted::Gone { .. } = attempted {
            db::webhooks::disable(&mut self.conn, webhook, "the receiver is gone: the webhook is disabled", at).await?;
        }
        Ok(Some(row.state))
    }
}

/// What a message tells of the end of a run.
fn data(run: &RunCore, end: &End, ended: EndedRun) -> Result<Value, StoreError> {
    let mut left_out = Vec::new();
    let error = end.error.as_ref().map(|error| error.chars().take(LONGEST_ERROR).collect::<String>());
    Ok(json!({
        "run_id": run.id,
        "job_id": run.job_id,
        "kind": ended.kind,
        "name": ended.name,
        "project": ended.project,
        "tags": part("tags", &ended.tags, &mut left_out)?,
        "state": end.state,
        "stop_reason": end.stop_reason,
        "error": error,
        "attempt": run.attempt,
        "path": format!("/v1/runs/{}", run.id),
        "created_at": ended.created_at,
        "started_at": ended.started_at,
        "finished_at": ended.finished_at,
        "summary": part("summary", &ended.summary, &mut left_out)?,
        "result": part("result", &end.result, &mut left_out)?,
        "left_out": left_out,
    }))
}

/// A part of a message, or null where it is too long.
fn part(name: &'static str, value: &impl Serialize, left_out: &mut Vec<&'static str>) -> Result<Value, StoreError> {
    let text = db::to_json(name, value)?;
    if text.len() > LONGEST_PART {
        left_out.push(name);
        return Ok(Value::Null);
    }
    db::from_json(name, &text)
}
