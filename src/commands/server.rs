//! `trainyard server`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use trainyard_server::webhooks::{PublicUrl, WebhookHost};
use trainyard_server::{Server, ServerConfig};

use super::prune::RetentionArgs;
use crate::connection::DEFAULT_DATA_DIR;
use crate::context::Context;
use crate::signals;
use crate::yard::local_url;

/// What a server is told, alone or under `up`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServingArgs {
    /// The folder of everything the server keeps; made if it is not there
    #[arg(long, default_value = DEFAULT_DATA_DIR, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Where to listen; port 0 lets the system choose one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Host names, beside the loopback ones, under which clients may address the server
    #[arg(long = "allowed-host", num_args = 1.., value_name = "NAME")]
    pub allowed_hosts: Vec<String>,
    /// Hosts that webhooks may name, each with a port unless it is 80 or 443; none unless given
    #[arg(long = "webhook-host", num_args = 1.., value_name = "HOST")]
    pub webhook_hosts: Vec<WebhookHost>,
    /// Where the server is reached from outside, such as `https://trainyard.example.org`: messages to webhooks then have their run's address
    #[arg(long, env = "TRAINYARD_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<PublicUrl>,
    /// How long a worker holds a run without a heartbeat
    #[arg(long, default_value_t = 20, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub lease_seconds: u64,
    #[command(flatten)]
    pub retention: RetentionArgs,
}

impl ServingArgs {
    pub(crate) fn config(&self) -> ServerConfig {
        ServerConfig {
            listen: self.listen,
            allowed_hosts: self.allowed_hosts.clone(),
            lease: Duration::from_secs(self.lease_seconds),
            retention: self.retention.policy(),
            webhook_hosts: self.webhook_hosts.clone(),
            public_url: self.public_url.clone(),
            ..ServerConfig::new(&self.data_dir)
        }
    }
}

/// Exit code of a server whose disk has failed: EX_IOERR of sysexits.h.
const DISK_FAILED: i32 = 74;
/// How long the refusals of requests in hand have to reach their clients.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Ends the process after a failed fsync. Nothing is closed, for that would write: the next start reads what the disk really holds.
pub(crate) async fn end_without_writing(reason: &str) -> ! {
    tokio::time::sleep(LAST_ANSWERS).await;
    eprintln!("error: the disk did not take an fsync ({reason}); the server ends without writing anything more");
    std::process::exit(DISK_FAILED);
}

#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    serving: ServingArgs,
    /// A file with the admin token; one is made in the data folder unless given
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// A file with the workers' token; one is made in the data folder unless given
    #[arg(long, value_name = "FILE")]
    worker_token_file: Option<PathBuf>,
}

impl ServerArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let stop = signals::stop_on_signal()?;
        let config =
            ServerConfig { admin_token_file: self.admin_token_file, worker_token_file: self.worker_token_file, ..self.serving.config() };
        let server = Server::start(config).await.context("cannot start the server")?;
        let started = json!({
            "address": local_url(server.address()),
            "dashboard": server.dashboard_url().to_string(),
            "admin_token_file": server.admin_token_file().display().to_string(),
            "worker_token_file": server.worker_token_file().display().to_string(),
        });
        context.answer(&started, |_| {
            format!(
                "address       {}\ndashboard     {}\nadmin token   {}\nworker token  {}\n",
                local_url(server.address()),
                server.dashboard_url(),
                server.admin_token_file().display(),
                server.worker_token_file().display(),
            )
        })?;
        tokio::select! {
            () = stop.cancelled() => {}
            reason = server.disk_failed() => end_without_writing(&reason).await,
        }
        tracing::info!("stopping");
        server.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }
}
