//! `trainyard up`.

use std::process::ExitCode;

use serde_json::json;
use trainyard_worker::{DeviceChoice, Precision};

use super::server::{ServingArgs, end_without_writing};
use super::units;
use crate::context::Context;
use crate::signals;
use crate::yard::{WorkersConfig, Yard};

#[derive(Debug, clap::Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    serving: ServingArgs,
    /// Worker processes
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: u16,
    /// Threads of each worker; the cores shared out among them unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory that each worker may take, such as 4GiB: a run that asks for more is refused, one that grows past it fails; most of the
    /// machine's, shared out among the workers, unless given
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    worker_memory: Option<u64>,
    /// Where to train: auto, cpu or cuda
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// How a GPU multiplies: fp32, or tf32 for tensor cores, which are faster and keep 10 bits of each factor's mantissa
    #[arg(long, env = "TRAINYARD_GPU_PRECISION", value_name = "PRECISION", default_value_t)]
    gpu_precision: Precision,
}

impl UpArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let stop = signals::stop_on_signal()?;
        let workers = WorkersConfig {
            count: self.workers.into(),
            threads: self.threads.map(usize::from),
            memory: self.worker_memory,
            device: self.device,
            gpu_precision: self.gpu_precision,
            log: context.log,
            log_filter: "info",
        };
        let yard = Yard::start(self.serving.config(), &workers).await?;
        let threads = workers.threads();
        let started = json!({
            "address": yard.url(),
            "dashboard": yard.dashboard_url(),
            "admin_token_file": yard.admin_token_file().display().to_string(),
            "workers": workers.count,
            "threads": threads,
        });
        context.answer(&started, |_| {
            format!(
                "address      {}\ndashboard    {}\nadmin token  {token}\nworkers      {}, each with {threads} thread{}\n\n\
                 in another terminal: export TRAINYARD_URL={0} TRAINYARD_TOKEN=$(cat {token})\n",
                yard.url(),
                yard.dashboard_url(),
                workers.count,
                if threads == 1 { "" } else { "s" },
                token = yard.admin_token_file().display(),
            )
        })?;
        tokio::select! {
            () = stop.cancelled() => {}
            reason = yard.disk_failed() => end_without_writing(&reason).await,
        }
        tracing::info!("stopping");
        yard.shutdown().await;
        Ok(ExitCode::SUCCESS)
    }
}
