//! `trainyard cancel`, `pause`, `resume` and `retry`.

use std::process::ExitCode;

use trainyard_wire::{JobId, RunId};

use super::each::each_run;
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::format;

/// What is asked of runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Cancel,
    Pause,
    Resume,
    Retry,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ActionArgs {
    #[arg(required_unless_present = "job", conflicts_with = "job", value_name = "RUN")]
    runs: Vec<RunId>,
    /// All runs of this job that it can be done to
    #[arg(long)]
    job: Option<JobId>,
    #[command(flatten)]
    connection: Connection,
}

impl ActionArgs {
    /// Asks for each run in turn; one that refuses does not keep the others from being asked.
    pub(crate) async fn run(self, action: Action, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        if let Some(id) = self.job {
            let job = client.job_action(id, action.as_str()).await?;
            context.answer(&job, |job| format!("job {id}: {}", format::states(&job.states)))?;
            return Ok(ExitCode::SUCCESS);
        }
        each_run(&self.runs, async |id| client.run_action(id, action.as_str()).await, format::state, context).await
    }
}
