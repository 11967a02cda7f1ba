//! Identifiers. Each is a number of its own type, so that a run's id cannot be passed where a job's is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was given for an id is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number, like 12")]
pub struct NotAnId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = i64)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self).map_err(|_| NotAnId)
            }
        }

        impl From<i64> for $name {
            fn from(value: i64) -> Self {
                Self(value)
            }
        }
    };
}

id!(
    /// A submitted job: a spec and maybe a sweep over it.
    JobId
);
id!(
    /// One training execution of one concrete spec.
    RunId
);
id!(
    /// A worker process, from its registration to its end.
    WorkerId
);
id!(
    /// An immutable, named, hashed set of bytes.
    DatasetId
);
id!(
    /// A bearer token (its number, never its secret).
    TokenId
);
id!(
    /// An address that is told of the ends of runs.
    WebhookId
);
id!(
    /// A message to a webhook, counted over all of them.
    DeliveryId
);
id!(
    /// The n-th claim of a run, counted from 1: the fencing number that every write of a worker carries.
    Attempt
);
id!(
    /// The store's one counter: every visible change increments it. A run's revision is that of its last change.
    Revision
);
