//! `/v1/webhooks`: addresses that are told of the ends of runs.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use trainyard_wire::webhook::{CreateWebhook, Delivery, Webhook, WebhookCreated};
use trainyard_wire::{DeliveryId, FieldError, Page, Problem, WebhookId};
use utoipa::IntoParams;

use super::app::Shared;
use super::extract::{Json, Path, Query};
use super::paging;
use super::problem::ApiError;
use crate::store::WebhookError;
use crate::webhooks::WebhookSecret;

impl From<WebhookError> for ApiError {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Self::not_found("the webhook"),
            WebhookError::TooMany | WebhookError::Disabled => Self::Conflict(error.to_string()),
            WebhookError::Store(error) => error.into(),
        }
    }
}

/// Has the ends of runs told to an address.
///
/// The host must be one that the server was started to call (`--webhook-host`). Messages are signed as Standard Webhooks has it; the key is in
/// this answer and nowhere else.
#[utoipa::path(post, path = "/v1/webhooks", tag = "webhooks", request_body = CreateWebhook,
    responses((status = 201, description = "Made", body = WebhookCreated),
        (status = 409, description = "There are too many", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "No address that this server may call", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn create(State(app): State<Shared>, Json(mut body): Json<CreateWebhook>) -> Result<Response, ApiError> {
    let mut errors = body.check();
    match app.webhook_hosts.check(&body.url) {
        Ok(url) => body.url = url.into(),
        Err(error) => errors.insert(0, FieldError { pointer: "/url".to_owned(), detail: error.to_string() }),
    }
    if !errors.is_empty() {
        return Err(ApiError::Invalid(errors));
    }
    body.states.sort_unstable();
    body.states.dedup();
    let secret = WebhookSecret::random().map_err(ApiError::internal)?;
    let webhook = app.store.create_webhook(body, secret.clone()).await?;
    let location = format!("/v1/webhooks/{}", webhook.id);
    let created = WebhookCreated { webhook, secret: secret.expose().to_owned() };
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::LOCATION, location.as_str())];
    Ok((StatusCode::CREATED, headers, JsonAnswer(created)).into_response())
}

/// All webhooks, newest first, without their secrets.
#[utoipa::path(get, path = "/v1/webhooks", tag = "webhooks", responses((status = 200, body = Page<Webhook>)))]
pub(crate) async fn list(State(app): State<Shared>) -> Result<JsonAnswer<Page<Webhook>>, ApiError> {
    Ok(JsonAnswer(Page { items: app.store.webhooks().await? }))
}

/// One webhook, without its secret.
#[utoipa::path(get, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path)),
    responses((status = 200, body = Webhook), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn get(State(app): State<Shared>, Path(id): Path<WebhookId>) -> Result<JsonAnswer<Webhook>, ApiError> {
    app.store.webhook(id).await?.map(JsonAnswer).ok_or_else(|| no_webhook(id))
}

/// Forgets a webhook. What waits for it is not sent any more.
#[utoipa::path(delete, path = "/v1/webhooks/{id}", tag = "webhooks", params(("id" = i64, Path)),
    responses((status = 204, description = "Forgotten"), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn delete(State(app): State<Shared>, Path(id): Path<WebhookId>) -> Result<StatusCode, ApiError> {
    if app.store.delete_webhook(id).await? { Ok(StatusCode::NO_CONTENT) } else { Err(no_webhook(id)) }
}

/// Has a message of type `ping` sent, as any other is sent; `GET …/deliveries` says what became of it.
#[utoipa::path(post, path = "/v1/webhooks/{id}/test", tag = "webhooks", params(("id" = i64, Path)),
    responses((status = 202, description = "It is being sent", body = Delivery),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The receiver is gone", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn test(State(app): State<Shared>, Path(id): Path<WebhookId>) -> Result<Response, ApiError> {
    let delivery = app.store.ping_webhook(id).await.map_err(|error| match error {
        WebhookError::NotFound => no_webhook(id),
        error => error.into(),
    })?;
    Ok((StatusCode::ACCEPTED, JsonAnswer(delivery)).into_response())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveriesQuery {
    /// 1 to 1000 (100).
    limit: Option<u32>,
    /// From the `Link` of the page before.
    cursor: Option<String>,
}

/// The messages to a webhook, newest first: whether each was delivered, and if not, why and when it is sent again. Messages are kept for 7 days
/// after they were delivered or given up, the newest 1000 of a webhook.
#[utoipa::path(get, path = "/v1/webhooks/{id}/deliveries", tag = "webhooks", params(("id" = i64, Path), DeliveriesQuery),
    responses((status = 200, body = Page<Delivery>), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn deliveries(
    State(app): State<Shared>,
    Path(id): Path<WebhookId>,
    Query(query): Query<DeliveriesQuery>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let before: Option<DeliveryId> = paging::decode_cursor(query.cursor.as_deref())?;
    let limit = paging::limit(query.limit)?;
    let slice = app.store.deliveries(id, before, limit).await?.ok_or_else(|| no_webhook(id))?;
    let next = slice.items.last().filter(|_| slice.more).map(|delivery| paging::next_link(&uri, &delivery.id)).transpose()?;
    Ok((next.map(|link| [link]), JsonAnswer(Page { items: slice.items })).into_response())
}

fn no_webhook(id: WebhookId) -> ApiError {
    ApiError::not_found(format!("webhook {id}"))
}
