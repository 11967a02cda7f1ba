//! `trainyard jobs`.

use std::process::ExitCode;

use trainyard_wire::job::Job;

use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct JobsArgs {
    /// Most jobs to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

impl JobsArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let page = self.connection.client(context)?.jobs(self.limit).await?;
        context.answer(&page, |page| table(&page.items))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(jobs: &[Job]) -> Table {
    let mut table = Table::new(&["JOB", "NAME", "KIND", "PRIORITY", "RUNS", "STATES", "SUBMITTED"]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            job.name.clone().unwrap_or_default(),
            job.kind.to_string(),
            job.priority.to_string(),
            job.run_count.to_string(),
            format::states(&job.states),
            format::ago(job.created_at),
        ]);
    }
    table
}
