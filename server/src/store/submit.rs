//! Submitting a job: the job, its runs and their problems in one transaction.

use std::collections::BTreeMap;

use trainyard_wire::job::{JobAccepted, SweepPoint};
use trainyard_wire::spec::sweep::Sweep;
use trainyard_wire::state::Kind;
use trainyard_wire::{Spec, TokenId};

use super::{Store, StoreError};

/// A job to queue.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub priority: i32,
    pub kind: Kind,
    /// Empty where there was none.
    pub sweep: Sweep,
    /// At least one, in sweep order.
    pub runs: Vec<NewRun>,
    /// Kept with the idempotency key, so that a replay answers them too.
    pub warnings: Vec<String>,
    pub idempotency: Option<Idempotency>,
}

/// A run to queue.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Normalized. An inline problem has its numbers, or only the `sha256` of a problem that is stored already.
    pub spec: Spec,
    pub sweep_point: SweepPoint,
    /// So little work that a worker may take several at once.
    pub small: bool,
}

/// What makes a repeated submit the same submit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// Whose key it is; [`TokenId`] 0 where requests carry no token.
    pub token: TokenId,
    pub key: String,
    /// Of the request's body, lower-case hexadecimal.
    pub body_sha256: String,
}

/// A submit that is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Submitted {
    pub accepted: JobAccepted,
    /// The key was used before with the same body: nothing new was queued.
    pub replayed: bool,
}

/// Why a submit was refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// 422: the key was used before with another body.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    /// 422: `/spec/problem/sha256` names no stored problem.
    #[error("no problem with the sha256 {sha256} is stored")]
    UnknownProblem { sha256: String },
    /// 422: `/spec/problem/sha256` is not that of the numbers beside it.
    #[error("the sha256 of x and t is {computed}, not {given}")]
    ProblemMismatch { given: String, computed: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The numbers of an inline problem.
#[derive(Clone, Debug, PartialEq)]
pub struct InlineProblem {
    /// n rows of d numbers.
    pub x: Vec<Vec<f64>>,
    /// n numbers.
    pub t: Vec<f64>,
}

impl Store {
    /// Queues a job with all its runs, or nothing.
    pub async fn submit(&self, job: NewJob) -> Result<Submitted, SubmitError> {
        todo!()
    }

    /// The answer of an earlier submit with this key, to be given before any costly check; `None` if the key is new.
    pub async fn earlier_submit(&self, idempotency: &Idempotency) -> Result<Option<JobAccepted>, SubmitError> {
        todo!()
    }

    /// The numbers of a stored inline problem, to check and estimate a submit that gives only their hash.
    pub async fn problem(&self, sha256: &str) -> Result<Option<InlineProblem>, StoreError> {
        todo!()
    }
}
