//! `trainyard cancel`, `pause`, `resume` and `retry`.

use std::process::ExitCode;

use trainyard_wire::{JobId, Page, RunId};

use crate::connection::Connection;
use crate::context::Context;
use crate::failure::report_one;
use crate::terminal::{format, print, print_json};

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
            context.answer(&job, |job| {
                let states: Vec<String> = job.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
                format!("job {id}: {}", states.join(", "))
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut first_code = None;
        let mut items = Vec::new();
        for id in self.runs {
            match client.run_action(id, action.as_str()).await {
                Ok(run) if context.json() => items.push(run),
                Ok(run) => print(&format!("run {id}: {}", format::state(&run)))?,
                Err(error) => {
                    let code = report_one(&format!("run {id}"), error, context);
                    first_code.get_or_insert(code);
                }
            }
        }
        if context.json() {
            print_json(&Page { items })?;
        }
        Ok(first_code.map_or(ExitCode::SUCCESS, ExitCode::from))
    }
}
