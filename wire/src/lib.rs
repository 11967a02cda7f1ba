//! What crosses HTTP in Trainyard.
//!
//! The server, the workers and the command line share these types and nothing else: a field is written once and means the same on
//! both sides. The crate does no I/O except in [`client`], the typed HTTP client. Parsing is strict where a person types (job
//! specs: an unknown field is an error with its JSON pointer, see [`spec`]) and ordinary serde where our own programs talk.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod annotation;
#[cfg(feature = "client")]
pub mod client;
pub mod colourize;
pub mod colours;
pub mod compare;
pub mod dataset;
pub mod external;
pub mod ids;
pub mod job;
pub mod metric;
pub mod number;
pub mod problem;
pub mod queue;
pub mod retention;
pub mod run;
pub mod spec;
pub mod state;
pub mod theory;
pub mod timestamp;
pub mod token;
pub mod tools;
pub mod verification;
pub mod webhook;
pub mod worker;

pub use ids::{Attempt, DatasetId, DeliveryId, JobId, Revision, RunId, TokenId, WebhookId, WorkerId};
pub use number::Number;
pub use problem::{FieldError, Problem};
pub use spec::Spec;
pub use state::{RunState, StopReason};
pub use timestamp::Timestamp;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list. The next page, if there is one, is in the `Link: <…>; rel="next"` header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
}
