//! `trainyard workers`.

use std::process::ExitCode;

use trainyard_wire::worker::Worker;

use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct WorkersArgs {
    #[command(flatten)]
    connection: Connection,
}

impl WorkersArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let page = self.connection.client(context)?.workers().await?;
        context.answer(&page, |page| table(&page.items))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(workers: &[Worker]) -> Table {
    let mut table = Table::new(&["WORKER", "HOST", "PID", "DEVICE", "THREADS", "VERSION", "RUNS", "LAST HEARD OF"]);
    for worker in workers {
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
    table
}
