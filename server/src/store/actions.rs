//! What people ask of a run: cancel, pause, resume, retry.

use std::fmt;

use futures::FutureExt as _;
use trainyard_wire::job::Job;
use trainyard_wire::run::Run;
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, RunId, RunState};

use super::lifecycle::decide;
use super::runs::fill_in;
use super::writer::write_error;
use super::{Store, StoreError};
use crate::db;
use crate::db::runs::RunCore;

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
    /// 409.
    #[error("cannot {action} a run of a program outside of Trainyard")]
    External { action: Action },
    /// 409.
    #[error("a picture is not coloured once more: send it again")]
    Picture,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(ActionError, Store);

/// Why a run does not take an action.
fn illegal(run: &RunCore, action: Action) -> ActionError {
    match (run.kind, action) {
        (Kind::External, Action::Pause | Action::Resume | Action::Retry) => ActionError::External { action },
        (Kind::Picture, Action::Retry) => ActionError::Picture,
        _ => ActionError::Illegal { action, state: run.state },
    }
}

impl Store {
    /// Does `action` to a run, or asks its worker to. Repeating an action changes nothing. Answers the run as it is then.
    pub async fn run_action(&self, id: RunId, action: Action) -> Result<Run, ActionError> {
        let write = self.inner.writer.write::<_, ActionError, _>(move |transaction| {
            async move {
                let run = db::runs::core(&mut transaction.conn, id).await?.filter(|run| !run.deleted).ok_or(ActionError::NotFound)?;
                let step = decide(&run, action).ok_or_else(|| illegal(&run, action))?;
                transaction.perform(&run, step).await?;
                let mut run = db::run_rows::by_id(&mut transaction.conn, &[id]).await?.pop().ok_or(ActionError::NotFound)?;
                fill_in(&mut transaction.conn, &mut run.spec).await?;
                Ok(run)
            }
            .boxed()
        });
        write.await
    }

    /// Does `action` to those runs of a job for which it is legal; illegal if there is none. Answers the job as it is then.
    pub async fn job_action(&self, id: JobId, action: Action) -> Result<Job, ActionError> {
        let write = self.inner.writer.write::<_, ActionError, _>(move |transaction| {
            async move {
                let mut done = false;
                let mut refused = None;
                for run in db::jobs::run_ids(&mut transaction.conn, id).await? {
                    let run = db::runs::core(&mut transaction.conn, run).await?.ok_or(ActionError::NotFound)?;
                    match decide(&run, action) {
                        Some(step) => {
                            transaction.perform(&run, step).await?;
                            done = true;
                        }
                        None => refused = Some(illegal(&run, action)),
                    }
                }
                if let (false, Some(refused)) = (done, refused) {
                    return Err(refused);
                }
                db::jobs::get(&mut transaction.conn, id).await?.ok_or(ActionError::NotFound)
            }
            .boxed()
        });
        write.await
    }
}
