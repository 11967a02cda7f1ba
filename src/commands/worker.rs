//! `trainyard worker`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use trainyard_worker::{DeviceChoice, Precision, WorkerConfig};

use super::{STOP_BOUND, units};
use crate::UsageError;
use crate::connection::read_token;
use crate::signals;
use crate::yard::machine_share;

/// Most small runs to claim at once.
const CLAIM_AT_ONCE: u32 = 64;
/// How long a worker may outlive the process that started it: the server may have gone with it.
const ORPHAN_BOUND: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArgs {
    /// The server's address
    #[arg(long, value_name = "URL")]
    server: String,
    /// A file with a token of scope worker, such as worker.token in the server's data folder
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Threads to train with; all cores unless given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Memory that the worker may take, such as 4GiB: larger runs are left to others, one that grows past it fails; most of the machine's
    /// unless given
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    memory: Option<u64>,
    /// Where to train: auto, cpu or cuda
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// How a GPU multiplies: fp32, or tf32 for tensor cores, which are faster and keep 10 bits of each factor's mantissa
    #[arg(long, env = "TRAINYARD_GPU_PRECISION", value_name = "PRECISION", default_value_t)]
    gpu_precision: Precision,
    /// Where fetched datasets are kept; a folder of the user's cache unless given
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    exit_with_parent: bool,
}

impl WorkerArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let stop = signals::stop_on_signal()?;
        if self.exit_with_parent {
            signals::stop_with_parent(stop.clone(), ORPHAN_BOUND);
        }
        let config = WorkerConfig {
            server: self.server,
            token: read_token(&self.token_file)?,
            device: self.device,
            gpu_precision: self.gpu_precision,
            threads: self.threads.map(usize::from),
            memory_bytes: self.memory.or_else(|| machine_share(1)),
            cache_dir: match self.cache_dir {
                Some(folder) => folder,
                None => user_cache()?,
            },
            claim_at_once: CLAIM_AT_ONCE,
        };
        let overdue = async {
            stop.cancelled().await;
            tokio::time::sleep(STOP_BOUND).await;
        };
        tokio::select! {
            outcome = trainyard_worker::run(config, stop.clone()) => outcome.context("the worker ended")?,
            () = overdue => bail!("the worker did not stop within {} s", STOP_BOUND.as_secs()),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// `$XDG_CACHE_HOME/trainyard`, or where the XDG base directory specification puts it without that.
pub(super) fn user_cache() -> Result<PathBuf, UsageError> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("trainyard")).ok_or_else(|| UsageError("there is no user's cache folder: give --cache-dir".to_owned()))
}
