//! How long the files of finished runs are kept.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::RunId;

/// Which files of finished runs may go: the body of `POST /v1/retention`.
///
/// Every limit that is given protects: a run loses files only if it finished long enough ago, is not among the newest, and there are too
/// many bytes. Runs that have the tag `keep`, whatever its value, lose nothing, nor do runs that have not finished. A run that loses
/// files keeps its row, metrics, events, logs and certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Only runs that finished at least so many seconds ago may lose files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than_seconds: Option<u64>,
    /// So many of the runs that have files and finished last lose nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
    /// Files go until the artifacts of all runs have at most so many bytes together, equal contents counted once: first the
    /// checkpoints, then everything, both from the run on that finished first. Without it everything goes that may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

impl RetentionPolicy {
    /// Whether nothing is given: such a policy would protect nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The answer of `POST /v1/retention`: what went, or with `?dry_run=true` what would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pruned {
    pub dry_run: bool,
    /// Runs that lost files.
    pub run_count: u64,
    /// Files that went.
    pub artifact_count: u64,
    /// Bytes of contents that no artifact refers to any more.
    pub bytes: u64,
    /// Bytes of the artifacts that are left.
    pub remaining_bytes: u64,
    /// The runs that lost files, at most 1000 of them.
    pub runs: Vec<PrunedRun>,
}

/// What one run lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrunedRun {
    pub run_id: RunId,
    /// Names.
    pub artifacts: Vec<String>,
    /// Bytes of contents that no artifact refers to any more.
    pub bytes: u64,
}
