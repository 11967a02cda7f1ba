//! `trainyard health`: the health check of containers.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use trainyard_wire::client::Client;

/// Less than the time that health checks are given.
const PATIENCE: Duration = Duration::from_secs(4);

#[derive(Debug, clap::Args)]
pub(crate) struct HealthArgs {
    /// The server's address
    #[arg(long, env = "TRAINYARD_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    url: String,
}

impl HealthArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let client = Client::new(&self.url, None)?;
        match tokio::time::timeout(PATIENCE, client.ready()).await {
            Ok(answer) => answer.with_context(|| format!("{} is not ready", self.url))?,
            Err(_) => bail!("{} did not answer within {} s", self.url, PATIENCE.as_secs()),
        }
        crate::terminal::print("ready")?;
        Ok(ExitCode::SUCCESS)
    }
}
