//! `trainyard health`: the health check of containers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use serde_json::json;
use trainyard_wire::client::Client;

use crate::connection::Address;
use crate::context::Context;

/// Less than the time that health checks are given.
const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    address: Address,
}

impl HealthArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let url = self.address.url(context.settings()?).value;
        let client = Client::new(&url, None)?;
        match tokio::time::timeout(PATIENCE, client.ready()).await {
            Ok(Ok(())) => {}
            // Health checks know 0 and 1 alone, so it does not matter here whose fault it is.
            Ok(Err(error)) => bail!("{url} is not ready: {error}"),
            Err(_) => bail!("{url} did not answer within {} s", PATIENCE.as_secs()),
        }
        context.answer(&json!({"ready": true}), |_| "ready")?;
        Ok(ExitCode::SUCCESS)
    }
}
