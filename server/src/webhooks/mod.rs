//! Webhooks: who may be called (`hosts`), where a message says its run is (`public_url`), how it is signed (`signature`), when it is sent
//! again (`backoff`), and the task that sends (`sender`). What is to be sent stands in the store's outbox ([`store`](crate::store)).

mod backoff;
mod hosts;
mod public_url;
mod sender;
mod signature;

pub(crate) use backoff::{LONGEST_DELAY, delay};
pub use hosts::{AddressError, HostError, WebhookHost, WebhookHosts};
pub use public_url::{PublicUrl, PublicUrlError};
pub(crate) use sender::Sender;
pub use signature::WebhookSecret;
