//! `trainyard workers`.

use std::process::ExitCode;

use crate::connection::Connection;
use crate::terminal::table::Table;
use crate::terminal::{format, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct WorkersArgs {
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl WorkersArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let page = self.connection.client()?.workers().await?;
        if self.json {
            print_json(&page)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new(&["WORKER", "HOST", "PID", "DEVICE", "THREADS", "VERSION", "RUNS", "LAST HEARD OF"]);
        for worker in &page.items {
            let runs: Vec<String> = worker.run_ids.iter().map(ToString::to_string).collect();
            table.row([
                worker.id.to_string(),
                worker.host.clone(),
                worker.pid.to_string(),
                worker.device.clone(),
                worker.threads.to_string(),
                worker.version.clone(),
                runs.join(", "),
                format!("{} ago", format::seconds(worker.idle_seconds)),
            ]);
        }
        print(&table.to_string())?;
        Ok(ExitCode::SUCCESS)
    }
}
