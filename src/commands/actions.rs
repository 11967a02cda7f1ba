//! `trainyard cancel`, `pause`, `resume` and `retry`.

use std::process::ExitCode;

use trainyard_wire::{JobId, RunId};

use crate::connection::Connection;
use crate::terminal::{format, plain, print};

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
    pub(crate) async fn run(self, action: Action) -> anyhow::Result<ExitCode> {
        let client = self.connection.client()?;
        if let Some(id) = self.job {
            let job = client.job_action(id, action.as_str()).await?;
            let states: Vec<String> = job.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
            print(&format!("job {id}: {}", states.join(", ")))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut code = ExitCode::SUCCESS;
        for id in self.runs {
            match client.run_action(id, action.as_str()).await {
                Ok(run) => print(&format!("run {id}: {}", format::state(&run)))?,
                Err(error) => {
                    eprintln!("error: run {id}: {}", plain(&error.to_string()));
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }
}
