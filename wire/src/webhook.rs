//! Webhooks: addresses that are told of the ends of runs, and what became of each message.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::annotation::Errors;
use crate::external::EndState;
use crate::problem::FieldError;
use crate::state::words;
use crate::{DeliveryId, RunId, Timestamp, WebhookId};

/// The body of `POST /v1/webhooks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateWebhook {
    /// `http` or `https`, of a host that the server was told it may call (`--webhook-host`); written as it is read, without a user and
    /// without a fragment.
    pub url: String,
    /// 1 to 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The ends that it is told of.
    #[serde(default = "all_ends")]
    pub states: Vec<EndState>,
    /// Only runs of this project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Only runs that have all of these tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// Every end.
pub fn all_ends() -> Vec<EndState> {
    EndState::ALL.to_vec()
}

impl CreateWebhook {
    /// What is wrong with it, apart from the address.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors::default();
        errors.name(self.name.as_deref());
        errors.project(self.project.as_deref());
        errors.tags(self.tags.iter().map(|(tag, value)| (tag, value.as_str())));
        errors.check(!self.states.is_empty(), "/states", "must name at least one end");
        errors.0
    }
}

/// A webhook without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    pub id: WebhookId,
    pub name: Option<String>,
    pub url: String,
    pub states: Vec<EndState>,
    pub project: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub created_at: Timestamp,
    /// Since its receiver answered 410 (Gone): nothing is sent any more.
    pub disabled_at: Option<Timestamp>,
    /// Messages that are still to be delivered.
    pub waiting: u64,
}

/// The only answer that ever holds a webhook's secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WebhookCreated {
    pub webhook: Webhook,
    /// `whsec_` and the key of the signatures in base64.
    pub secret: String,
}

words!(
    /// What became of a message.
    DeliveryState {
        /// It is to be sent, for the first time or again.
        Waiting = "waiting",
        /// The receiver has answered with 2xx.
        Delivered = "delivered",
        /// It is not sent again.
        GivenUp = "given_up",
    }
);

/// A message to a webhook and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    pub id: DeliveryId,
    /// The header `webhook-id`, the same at every attempt.
    pub message_id: String,
    /// `run.succeeded`, `run.failed`, `run.cancelled` or `ping`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The run that ended; null for a ping.
    pub run_id: Option<RunId>,
    pub state: DeliveryState,
    /// How often it was sent.
    pub attempts: u32,
    /// The HTTP status of the last answer; null where there was none.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub last_attempt_at: Option<Timestamp>,
    /// When it is sent next; null once it is delivered or given up.
    pub next_attempt_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_told_of_every_end_unless_it_says_of_which() {
        let create = |text: &str| serde_json::from_str::<CreateWebhook>(text);
        assert_eq!(create(r#"{"url": "https://a"}"#).unwrap().states, EndState::ALL);
        assert_eq!(create(r#"{"url": "https://a", "states": ["failed"]}"#).unwrap().states, [EndState::Failed]);
        assert!(create(r#"{"url": "https://a", "states": ["running"]}"#).is_err());
        assert!(create(r#"{"url": "https://a", "secret": "mine"}"#).is_err());
    }

    #[test]
    fn its_texts_are_bounded_and_it_names_an_end() {
        let pointers = |text: &str| -> Vec<String> {
            serde_json::from_str::<CreateWebhook>(text).unwrap().check().into_iter().map(|error| error.pointer).collect()
        };
        assert!(pointers(r#"{"url": "", "name": "a", "project": "b", "tags": {"c": "d"}}"#).is_empty());
        assert_eq!(
            pointers(r#"{"url": "", "name": "", "project": " ", "tags": {"": "d"}, "states": []}"#),
            ["/name", "/project", "/tags/", "/states"]
        );
    }
}
