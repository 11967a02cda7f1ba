//! What people ask of a run: cancel, pause, resume, retry.

use std::fmt;

use trainyard_wire::job::Job;
use trainyard_wire::run::Run;
use trainyard_wire::{JobId, RunId, RunState};

use super::{Store, StoreError};

/// What someone asks of a run, or of all runs of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Cancel,
    Pause,
    Resume,
    Retry,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
        })
    }
}

/// Why an action was refused.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    /// 404.
    #[error("there is no such run or job")]
    NotFound,
    /// 409.
    #[error("cannot {action} a run that is {state}")]
    Illegal { action: Action, state: RunState },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Does `action` to a run, or asks its worker to. Repeating an action changes nothing. Answers the run as it is then.
    pub async fn run_action(&self, id: RunId, action: Action) -> Result<Run, ActionError> {
        todo!()
    }

    /// Does `action` to those runs of a job for which it is legal; illegal if there is none. Answers the job as it is then.
    pub async fn job_action(&self, id: JobId, action: Action) -> Result<Job, ActionError> {
        todo!()
    }
}
