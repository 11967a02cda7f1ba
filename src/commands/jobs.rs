//! `trainyard jobs`.

use std::process::ExitCode;

use crate::connection::Connection;
use crate::terminal::table::Table;
use crate::terminal::{format, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct JobsArgs {
    /// Most jobs to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl JobsArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let page = self.connection.client()?.jobs(self.limit).await?;
        if self.json {
            print_json(&page)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["JOB", "NAME", "KIND", "PRIORITY", "RUNS", "STATES", "SUBMITTED"]);
        for job in &page.items {
            let states: Vec<String> = job.states.iter().map(|(state, count)| format!("{count} {state}")).collect();
            table.row([
                job.id.to_string(),
                job.name.clone().unwrap_or_default(),
                job.kind.to_string(),
                job.priority.to_string(),
                job.run_count.to_string(),
                states.join(", "),
                format::ago(job.created_at),
            ]);
        }
        print(&table.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
