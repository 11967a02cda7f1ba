//! Webhooks, and the messages that wait for them or went to them.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use trainyard_wire::external::EndState;
use trainyard_wire::metric::MetricSummary;
use trainyard_wire::webhook::{CreateWebhook, Delivery, DeliveryState, Webhook};
use trainyard_wire::{DeliveryId, RunId, Timestamp, WebhookId};

use super::{Result, from_json, parse, to_json, unsigned};
use crate::store::WaitingDelivery;
use crate::webhooks::WebhookSecret;

struct WebhookRow {
    id: i64,
    name: Option<String>,
    url: String,
    states: String,
    project: Option<String>,
    tags: String,
    created_at: i64,
    disabled_at: Option<i64>,
    waiting: i64,
}

impl WebhookRow {
    fn webhook(self) -> Result<Webhook> {
        Ok(Webhook {
            id: WebhookId(self.id),
            name: self.name,
            url: self.url,
            states: from_json("webhook's states", &self.states)?,
            project: self.project,
            tags: from_json("webhook's tags", &self.tags)?,
            created_at: Timestamp(self.created_at),
            disabled_at: self.disabled_at.map(Timestamp),
            waiting: unsigned(self.waiting),
        })
    }
}

/// The columns of [`WebhookRow`], with `$rest` behind them.
macro_rules! webhook_rows {
    ($rest:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            WebhookRow,
            r#"SELECT id AS "id!", name, url, states, project, tags, created_at, disabled_at,
                 (SELECT COUNT(*) FROM deliveries WHERE webhook_id = webhooks.id AND state = 'waiting') AS "waiting!: i64"
             FROM webhooks "# + $rest
            $(, $argument)*
        )
    };
}

pub(crate) async fn insert(
    conn: &mut SqliteConnection,
    webhook: &CreateWebhook,
    secret: &WebhookSecret,
    now: Timestamp,
) -> Result<WebhookId> {
    let (states, tags, secret) = (to_json("states", &webhook.states)?, to_json("tags", &webhook.tags)?, secret.expose());
    let result = sqlx::query!(
        "INSERT INTO webhooks (name, url, states, project, tags, secret, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        webhook.name,
        webhook.url,
        states,
        webhook.project,
        tags,
        secret,
        now.0,
    );
    Ok(WebhookId(result.execute(conn).await?.last_insert_rowid()))
}

pub(crate) async fn count(conn: &mut SqliteConnection) -> Result<u64> {
    Ok(unsigned(sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!: i64" FROM webhooks"#).fetch_one(conn).await?))
}

/// All, newest first.
pub(crate) async fn list(conn: &mut SqliteConnection) -> Result<Vec<Webhook>> {
    let rows = webhook_rows!("ORDER BY id DESC").fetch_all(conn).await?;
    rows.into_iter().map(WebhookRow::webhook).collect()
}

pub(crate) async fn get(conn: &mut SqliteConnection, id: WebhookId) -> Result<Option<Webhook>> {
    webhook_rows!("WHERE id = ?", id.0).fetch_optional(conn).await?.map(WebhookRow::webhook).transpose()
}

/// Deletes a webhook with its messages; answers whether it was there.
pub(crate) async fn delete(conn: &mut SqliteConnection, id: WebhookId) -> Result<bool> {
    Ok(sqlx::query!("DELETE FROM webhooks WHERE id = ?", id.0).execute(conn).await?.rows_affected() > 0)
}

/// Notes that nothing is sent to a webhook any more, and gives up what waits for it.
pub(crate) async fn disable(conn: &mut SqliteConnection, id: WebhookId, reason: &str, now: Timestamp) -> Result<()> {
    sqlx::query!("UPDATE webhooks SET disabled_at = COALESCE(disabled_at, ?) WHERE id = ?", now.0, id.0).execute(&mut *conn).await?;
    sqlx::query!(
        "UPDATE deliveries SET state = 'given_up', next_attempt_at = NULL, last_error = ? WHERE webhook_id = ? AND state = 'waiting'",
        reason,
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a webhook wants to be told of, beside the state.
pub(crate) struct Listener {
    pub(crate) id: WebhookId,
    pub(crate) project: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// The webhooks that are told of ends in this state.
pub(crate) async fn listening(conn: &mut SqliteConnection, state: EndState) -> Result<Vec<Listener>> {
    let state = state.as_str();
    let rows = sqlx::query!(
        r#"SELECT id AS "id!", project, tags AS "tags!" FROM webhooks
           WHERE disabled_at IS NULL AND EXISTS (SELECT 1 FROM json_each(webhooks.states) WHERE value = ?) ORDER BY id"#,
        state,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let tags = from_json("webhook's tags", &row.tags)?;
            Ok(Listener { id: WebhookId(row.id), project: row.project, tags })
        })
        .collect()
}

/// What a message tells of a run, beside its end.
pub(crate) struct EndedRun {
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) project: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) created_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) summary: BTreeMap<String, MetricSummary>,
}

/// A run that lists show or have archived; none that executes another again.
pub(crate) async fn ended_run(conn: &mut SqliteConnection, id: RunId) -> Result<Option<EndedRun>> {
    let row = sqlx::query!(
        r#"SELECT kind AS "kind!", name AS "name?: String", project AS "project?: String", tags AS "tags!: String", created_at, started_at, finished_at
         FROM run_rows WHERE id = ? AND verifies IS NULL"#,
        id.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let summary = super::run_rows::summaries(conn, &[id.0]).await?.remove(&id.0).unwrap_or_default();
    Ok(Some(EndedRun {
        kind: row.kind,
        name: row.name,
        project: row.project,
        tags: from_json("run's tags", &row.tags)?,
        created_at: Timestamp(row.created_at),
        started_at: row.started_at.map(Timestamp),
        finished_at: row.finished_at.map(Timestamp),
        summary,
    }))
}

/// A message to insert.
pub(crate) struct NewDelivery<'a> {
    pub(crate) webhook: WebhookId,
    pub(crate) message_id: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) run: Option<RunId>,
    pub(crate) body: &'a str,
}

/// Stores a message that is to be sent at once.
pub(crate) async fn insert_delivery(conn: &mut SqliteConnection, delivery: &NewDelivery<'_>, now: Timestamp) -> Result<DeliveryId> {
    let run = delivery.run.map(|run| run.0);
    let result = sqlx::query!(
        "INSERT INTO deliveries (webhook_id, message_id, kind, run_id, body, state, created_at, next_attempt_at)
         VALUES (?, ?, ?, ?, ?, 'waiting', ?, 0)",
        delivery.webhook.0,
        delivery.message_id,
        delivery.kind,
        run,
        delivery.body,
        now.0,
    );
    Ok(DeliveryId(result.execute(conn).await?.last_insert_rowid()))
}

struct DeliveryRow {
    id: i64,
    message_id: String,
    kind: String,
    run_id: Option<i64>,
    state: String,
    attempts: i64,
    last_status: Option<i64>,
    last_error: Option<String>,
    created_at: i64,
    last_attempt_at: Option<i64>,
    next_attempt_at: Option<i64>,
}

impl DeliveryRow {
    fn delivery(self) -> Result<Delivery> {
        Ok(Delivery {
            id: DeliveryId(self.id),
            message_id: self.message_id,
            kind: self.kind,
            run_id: self.run_id.map(RunId),
            state: parse::<DeliveryState>("delivery's state", &self.state)?,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            last_status: self.last_status.and_then(|status| u16::try_from(status).ok()),
            last_error: self.last_error,
            created_at: Timestamp(self.created_at),
            last_attempt_at: self.last_attempt_at.map(Timestamp),
            // One that was never sent is due since it is there.
            next_attempt_at: self.next_attempt_at.map(|at| Timestamp(if at == 0 { self.created_at } else { at })),
        })
    }
}

/// The messages to a webhook, newest first; one more than the limit, if there is.
pub(crate) async fn deliveries(
    conn: &mut SqliteConnection,
    webhook: WebhookId,
    before: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<Delivery>> {
    let (before, limit) = (before.map_or(i64::MAX, |id| id.0), i64::from(limit) + 1);
    let rows = sqlx::query_as!(
        DeliveryRow,
        r#"SELECT id AS "id!", message_id, kind, run_id, state, attempts, last_status, last_error, created_at, last_attempt_at,
             next_attempt_at
           FROM deliveries WHERE webhook_id = ? AND id < ? ORDER BY id DESC LIMIT ?"#,
        webhook.0,
        before,
        limit,
    );
    rows.fetch_all(conn).await?.into_iter().map(DeliveryRow::delivery).collect()
}

/// The webhooks to which something may be sent.
pub(crate) async fn active(conn: &mut SqliteConnection) -> Result<Vec<WebhookId>> {
    let ids = sqlx::query_scalar!(r#"SELECT id AS "id!: i64" FROM webhooks WHERE disabled_at IS NULL ORDER BY id"#);
    Ok(ids.fetch_all(conn).await?.into_iter().map(WebhookId).collect())
}

/// The messages that wait for a webhook, the one that is due first first.
pub(crate) async fn waiting(conn: &mut SqliteConnection, webhook: WebhookId, limit: u32) -> Result<Vec<WaitingDelivery>> {
    let limit = i64::from(limit);
    let rows = sqlx::query!(
        r#"SELECT deliveries.id AS "id!", message_id AS "message_id!", body AS "body!", next_attempt_at AS "next_attempt_at!", url AS "url!",
             secret AS "secret!"
         FROM deliveries JOIN webhooks ON webhooks.id = webhook_id
         WHERE webhook_id = ? AND state = 'waiting' AND disabled_at IS NULL ORDER BY next_attempt_at, deliveries.id LIMIT ?"#,
        webhook.0,
        limit,
    );
    let rows = rows.fetch_all(conn).await?;
    let delivery = rows.into_iter().map(|row| WaitingDelivery {
        id: DeliveryId(row.id),
        webhook,
        message_id: row.message_id,
        body: row.body,
        due: Timestamp(row.next_attempt_at),
        url: row.url,
        secret: WebhookSecret::stored(row.secret),
    });
    Ok(delivery.collect())
}

/// How often a message that waits was sent so far, and whose it is.
pub(crate) async fn attempts(conn: &mut SqliteConnection, id: DeliveryId) -> Result<Option<(WebhookId, u32)>> {
    let row = sqlx::query!("SELECT webhook_id, attempts FROM deliveries WHERE id = ? AND state = 'waiting'", id.0);
    let row = row.fetch_optional(conn).await?;
    Ok(row.map(|row| (WebhookId(row.webhook_id), u32::try_from(row.attempts).unwrap_or(u32::MAX))))
}

/// What an attempt came to.
pub(crate) struct AttemptRow<'a> {
    pub(crate) state: DeliveryState,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<&'a str>,
    pub(crate) next: Option<Timestamp>,
}

pub(crate) async fn set_attempted(conn: &mut SqliteConnection, id: DeliveryId, attempt: &AttemptRow<'_>, now: Timestamp) -> Result<()> {
    let (state, status, next) = (attempt.state.as_str(), attempt.status.map(i64::from), attempt.next.map(|at| at.0));
    sqlx::query!(
        "UPDATE deliveries SET state = ?, attempts = attempts + 1, last_status = ?, last_error = ?, last_attempt_at = ?, next_attempt_at = ?
         WHERE id = ? AND state = 'waiting'",
        state,
        status,
        attempt.error,
        now.0,
        next,
        id.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Brings what is due later than `latest` forward to it: the clock that said so was wrong.
pub(crate) async fn bring_forward(conn: &mut SqliteConnection, latest: Timestamp) -> Result<()> {
    sqlx::query!("UPDATE deliveries SET next_attempt_at = ?1 WHERE state = 'waiting' AND next_attempt_at > ?1", latest.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// How many messages wait.
pub(crate) async fn waiting_count(conn: &mut SqliteConnection) -> Result<u64> {
    let count =
        sqlx::query_scalar!(r#"SELECT COUNT(*) AS "count!: i64" FROM deliveries INDEXED BY waiting_deliveries WHERE state = 'waiting'"#);
    Ok(unsigned(count.fetch_one(conn).await?))
}

/// Gives up the oldest messages that wait for a webhook, but for the newest `kept`; answers how many.
pub(crate) async fn give_up_oldest(conn: &mut SqliteConnection, webhook: WebhookId, kept: u32, reason: &str) -> Result<u64> {
    let kept = i64::from(kept);
    let result = sqlx::query!(
        "UPDATE deliveries SET state = 'given_up', next_attempt_at = NULL, last_error = ?1
         WHERE webhook_id = ?2 AND state = 'waiting' AND id <= (
             SELECT id FROM deliveries WHERE webhook_id = ?2 AND state = 'waiting' ORDER BY id DESC LIMIT 1 OFFSET ?3)",
        reason,
        webhook.0,
        kept,
    );
    Ok(result.execute(conn).await?.rows_affected())
}

/// Deletes messages that wait no more and are older than `before`, or of which their webhook has more than `kept` newer messages; answers how
/// many.
pub(crate) async fn prune(conn: &mut SqliteConnection, webhook: WebhookId, before: Timestamp, kept: u32) -> Result<u64> {
    let kept = i64::from(kept);
    let result = sqlx::query!(
        "DELETE FROM deliveries WHERE webhook_id = ?1 AND state <> 'waiting' AND (created_at < ?2 OR id <= (
             SELECT id FROM deliveries WHERE webhook_id = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3))",
        webhook.0,
        before.0,
        kept,
    );
    Ok(result.execute(conn).await?.rows_affected())
}
