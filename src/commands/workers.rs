//! `trainyard workers`.

use std::process::ExitCode;

use trainyard_wire::worker::Worker;

use crate::connection::ConnectionArgs;
use crate::context::Context;
use crate::terminal::format;
use crate::terminal::table::Table;

/// Lists the workers.
pub(crate) async fn list(args: ConnectionArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let page = args.connection.client(context)?.workers().await?;
    context.answer(&page, |page| table(&page.items))?;
    Ok(ExitCode::SUCCESS)
}

fn table(workers: &[Worker]) -> Table {
    let mut table = Table::new(&["WORKER", "HOST", "PID", "DEVICE", "THREADS", "VERSION", "RUNS", "LAST HEARD OF"]);
    for worker in workers {
        table.row([
            worker.id.to_string(),
            worker.host.clone(),
            worker.pid.to_string(),
            worker.device.clone(),
            worker.threads.to_string(),
            worker.version.clone(),
            format::list(&worker.run_ids),
            format!("{} ago", format::seconds(worker.idle_seconds)),
        ]);
    }
    table
}
