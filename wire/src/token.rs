//! Bearer tokens and their scopes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::state::words;
use crate::{Timestamp, TokenId};

words!(
    /// What a token may do. `admin` includes the other three; the others include nothing but themselves.
    Scope {
        /// Ask for jobs, runs, metrics, artifacts, datasets, workers.
        Read = "read",
        /// Submit, cancel, pause, resume, retry; upload datasets.
        Submit = "submit",
        /// The worker protocol.
        Worker = "worker",
        /// Tokens, and everything else.
        Admin = "admin",
    }
);

/// The body of `POST /v1/tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    pub name: String,
    pub scopes: Vec<Scope>,
    /// Seconds from now; without it the token does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u64>,
}

/// The only answer that ever holds a token's secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TokenCreated {
    pub id: TokenId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub token: String,
    pub expires_at: Option<Timestamp>,
}

/// A token without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub scopes: Vec<Scope>,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}
