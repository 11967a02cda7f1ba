//! `trainyard-torture`: the long forms of the durability battery, and the processes that they kill.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use trainyard_server::store::{Store, StoreOptions};
use trainyard_server::webhooks::WebhookHost;
use trainyard_server::{Server, ServerConfig};
use trainyard_torture::dice::fresh_seed;
use trainyard_torture::figures::Summary;
use trainyard_torture::process::scratch;
use trainyard_torture::zombies::undead;
use trainyard_torture::{failures, histories, power_cut, server_kills, worker_kills, zombies};
use trainyard_worker::{DeviceChoice, Precision, WorkerConfig};

/// Kills servers and workers, stops them, cuts their power, and compares what is stored with what was acknowledged.
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

/// What all batteries are told.
#[derive(Debug, clap::Args)]
struct Common {
    /// Draws everything that is left to chance; a fresh one unless given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Prints the figures as JSON
    #[arg(long)]
    json: bool,
    /// Where everything is kept, histories and logs included; a temporary folder, in memory if possible, unless given
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The `trainyard` that is killed; this program, which has the same server and worker in it, unless given
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// What the server is to do wrong, such as `promise.fence=return`: the battery must then be red. Not with --binary
    #[arg(long, value_name = "FAULTS", conflicts_with = "binary")]
    faults: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// kill -9 of a server under load, again and again
    ServerKills {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 500)]
        rounds: usize,
        /// The longest that clients work before the kill
        #[arg(long, default_value_t = 400, value_name = "MS")]
        longest_ms: u64,
        /// Finished jobs that are stored before the first round
        #[arg(long, default_value_t = 0)]
        jobs: usize,
        /// Metric points of these jobs together
        #[arg(long, default_value_t = 0)]
        points: usize,
    },
    /// kill -9 of workers that train, again and again
    WorkerKills {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 500)]
        kills: usize,
        #[arg(long, default_value_t = 50)]
        runs: usize,
        /// Of each run, which has to be long enough for its share of the kills
        #[arg(long, default_value_t = 200)]
        epochs: u64,
        #[arg(long, default_value_t = 2)]
        workers: usize,
        #[arg(long, default_value_t = 1)]
        lease_seconds: u64,
    },
    /// Workers that are stopped past their lease and come back
    Zombies {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 200)]
        zombies: usize,
        #[arg(long, default_value_t = 10)]
        at_once: usize,
        #[arg(long, default_value_t = 1)]
        lease_seconds: u64,
    },
    /// An error, a panic and an abort at every commit, rename and acknowledgement boundary
    Failpoints {
        #[command(flatten)]
        common: Common,
        /// How often each place fails in each way
        #[arg(long, default_value_t = 3)]
        times: usize,
        /// How long clients go on after something failed
        #[arg(long, default_value_t = 300, value_name = "MS")]
        time_ms: u64,
        #[arg(long, default_value_t = 3)]
        at_once: usize,
    },
    /// Power cuts: what was not fsynced is gone, or half there
    PowerCut {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 1000)]
        cuts: usize,
        /// How long clients work, before and after a kill
        #[arg(long, default_value_t = 1000, value_name = "MS")]
        time_ms: u64,
    },
    /// Generated histories against a model of the queue
    Histories {
        #[command(flatten)]
        common: Common,
        #[arg(long, default_value_t = 1000)]
        histories: u32,
        #[arg(long, default_value_t = 80)]
        commands: usize,
    },
    /// `trainyard server`, which can be made to fail
    #[command(hide = true)]
    Server {
        #[arg(long)]
        data_dir: PathBuf,
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        lease_seconds: u64,
        #[arg(long)]
        webhook_host: Option<WebhookHost>,
    },
    /// `trainyard worker`, which can be made to fail
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        server: String,
        #[arg(long)]
        token_file: PathBuf,
        #[arg(long)]
        cache_dir: PathBuf,
        #[arg(long)]
        threads: usize,
        #[arg(long)]
        device: DeviceChoice,
    },
    /// A worker that does not take no for an answer
    #[command(hide = true)]
    Zombie {
        #[arg(long)]
        server: String,
        #[arg(long)]
        token_file: PathBuf,
        #[arg(long)]
        log: PathBuf,
    },
    /// Sweeps a store and closes it
    #[command(hide = true)]
    Upkeep {
        #[arg(long)]
        data_dir: PathBuf,
    },
}

impl Common {
    fn seed(&self) -> u64 {
        let seed = self.seed.unwrap_or_else(fresh_seed);
        println!("seed {seed}");
        seed
    }

    /// The folder, and what deletes it in the end if nobody named one.
    fn folder(&self) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
        match &self.folder {
            Some(folder) => Ok((std::path::absolute(folder)?, None)),
            None => scratch().map(|folder| (folder.path().to_owned(), Some(folder))).context("cannot make a folder"),
        }
    }

    fn program(&self) -> anyhow::Result<PathBuf> {
        self.binary.clone().map_or_else(|| Ok(std::env::current_exe()?), Ok)
    }

    fn environment(&self) -> Vec<(String, String)> {
        self.faults.iter().map(|faults| (trainyard_faults::VARIABLE.to_owned(), faults.clone())).collect()
    }

    fn tell(&self, summary: &Summary) -> anyhow::Result<ExitCode> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(summary)?);
        } else {
            print!("{summary}");
        }
        Ok(if summary.is_green() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let command = CommandLine::parse().command;
    tracing_subscriber::fmt().with_env_filter(filter(&command)).with_writer(std::io::stderr).with_ansi(false).init();
    // It makes its own runtime, and would block this one.
    if let Command::Histories { common, histories, commands } = &command {
        let (folder, _kept) = common.folder()?;
        let plan = histories::Plan { folder, seed: common.seed(), histories: *histories, commands: *commands };
        return common.tell(&histories::run(&plan)?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(command))
}

/// The processes that are killed log what `trainyard` does; the batteries themselves nothing.
fn filter(command: &Command) -> &'static str {
    match command {
        Command::Server { .. } | Command::Worker { .. } | Command::Upkeep { .. } => "info",
        _ => "off",
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::ServerKills { common, rounds, longest_ms, jobs, points } => {
            let (folder, _kept) = common.folder()?;
            let longest = Duration::from_millis(longest_ms);
            let (program, environment, seed) = (common.program()?, common.environment(), common.seed());
            let plan = server_kills::Plan { program, folder, seed, rounds, longest, jobs, points, environment };
            common.tell(&server_kills::run(&plan).await?)
        }
        Command::WorkerKills { common, kills, runs, epochs, workers, lease_seconds } => {
            let (folder, _kept) = common.folder()?;
            let (program, seed) = (common.program()?, common.seed());
            let plan = worker_kills::Plan { program, folder, seed, kills, runs, epochs, workers, lease_seconds };
            common.tell(&worker_kills::run(&plan).await?)
        }
        Command::Zombies { common, zombies, at_once, lease_seconds } => {
            let (folder, _kept) = common.folder()?;
            let (program, environment, seed, torture) = (common.program()?, common.environment(), common.seed(), std::env::current_exe()?);
            let plan = zombies::Plan { program, torture, folder, seed, zombies, at_once, lease_seconds, environment };
            common.tell(&zombies::run(&plan).await?)
        }
        Command::Failpoints { common, times, time_ms, at_once } => {
            let (folder, _kept) = common.folder()?;
            let (torture, seed) = (std::env::current_exe()?, common.seed());
            let plan = failures::Plan { torture, folder, seed, times, time: Duration::from_millis(time_ms), at_once };
            common.tell(&failures::run(&plan).await?)
        }
        Command::PowerCut { common, cuts, time_ms } => {
            let (folder, _kept) = common.folder()?;
            let (torture, environment, seed) = (std::env::current_exe()?, common.environment(), common.seed());
            let plan = power_cut::Plan { torture, folder, seed, time: Duration::from_millis(time_ms), cuts, environment };
            common.tell(&power_cut::run(&plan).await?)
        }
        Command::Server { data_dir, listen, lease_seconds, webhook_host } => {
            let stop = stop_on_signal()?;
            let (lease, webhook_hosts) = (Duration::from_secs(lease_seconds), webhook_host.into_iter().collect());
            let config = ServerConfig { listen, lease, webhook_hosts, ..ServerConfig::new(data_dir) };
            let server = Server::start(config).await?;
            stop.cancelled().await;
            server.shutdown().await;
            Ok(ExitCode::SUCCESS)
        }
        Command::Worker { server, token_file, cache_dir, threads, device } => {
            let config = WorkerConfig {
                server,
                token: token(&token_file)?,
                device,
                gpu_precision: Precision::Fp32,
                threads: Some(threads),
                cache_dir,
                claim_at_once: 64,
                memory_bytes: None,
            };
            trainyard_worker::run(config, stop_on_signal()?).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Zombie { server, token_file, log } => {
            undead::walk(&server, token(&token_file)?, &log).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Upkeep { data_dir } => {
            let store = Store::open(&data_dir, StoreOptions { upkeep: false, ..StoreOptions::default() }).await?;
            let swept = store.sweep_blobs().await;
            store.close().await?;
            swept?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Histories { .. } => unreachable!("they were run before"),
    }
}

fn token(file: &Path) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(file)?.trim().to_owned())
}

/// A token that SIGTERM cancels.
fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let (stop, mut terminate) = (CancellationToken::new(), signal(SignalKind::terminate())?);
    let stopped = stop.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stopped.cancel();
    });
    Ok(stop)
}
