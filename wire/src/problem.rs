//! Error bodies: RFC 9457 `application/problem+json`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem body.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// One offending value of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// RFC 6901 JSON pointer into the request body; for a query parameter, `?name`.
    #[schema(example = "/spec/optimizer/learning_rate")]
    pub pointer: String,
    #[schema(example = "must be greater than 0, is -0.1")]
    pub detail: String,
}

/// The body of every error answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A URI reference that names the kind of problem, such as `/problems/invalid-spec`.
    pub r#type: String,
    pub title: String,
    pub status: u16,
    /// What went wrong this time, in a sentence.
    pub detail: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The id that the server's log line of this request carries.
    #[serde(default)]
    pub request_id: String,
}
