//! `trainyard-load`: starts a server and puts load and faults on it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use trainyard_load::target::ServerProcess;
use trainyard_load::{Report, chart, claims, comparison, disk_full, metrics, mixed, mlflow, polling, proxy, submits, subscribers};

/// Put load and faults on a server of its own, and tell how it bears them (exit code 0, or 1 where a bound is missed)
#[derive(Debug, Parser)]
#[command(version)]
struct CommandLine {
    /// The program whose server is started; the one beside this program unless given
    #[arg(long, global = true, value_name = "FILE")]
    trainyard: Option<PathBuf>,
    /// Of all draws
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Print the figures as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Durable submits from many clients
    Submits {
        #[arg(long, default_value_t = 10_000)]
        submits: u64,
        #[arg(long, default_value_t = 32)]
        clients: u64,
    },
    /// Claims from a long queue
    Claims {
        #[arg(long, default_value_t = 10_000)]
        queued: u64,
        #[arg(long, default_value_t = 2000)]
        claims: u64,
        #[arg(long, default_value_t = 8)]
        workers: u64,
    },
    /// Metrics from many workers
    Metrics {
        #[arg(long, default_value_t = 20)]
        workers: u64,
        /// Of each worker
        #[arg(long, default_value_t = 100)]
        batches: u64,
        /// Of each batch
        #[arg(long, default_value_t = 1000)]
        points: u64,
        /// Different metrics of a batch
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
        metrics: u64,
        /// Points a second of all workers together, each batch timed from when it is due; as fast as they are taken unless given
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        pace: Option<u64>,
    },
    /// Metrics through MLflow's tracking API
    Mlflow {
        /// An MLflow server that is running, to put the same load on
        #[arg(long)]
        url: Option<String>,
        #[arg(long, default_value_t = 20)]
        clients: u64,
        /// Of each client
        #[arg(long, default_value_t = 50)]
        batches: u64,
        /// Of each batch
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1000))]
        points: u64,
        /// Different metrics of a batch
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
        metrics: u64,
    },
    /// The chart of a long run
    Chart {
        #[arg(long, default_value_t = 1_000_000)]
        points: u64,
        #[arg(long, default_value_t = 1000)]
        buckets: u32,
        /// How often it is asked for
        #[arg(long, default_value_t = 50)]
        asked: u64,
    },
    /// Many dashboards that look at one busy run
    Polling {
        #[arg(long, default_value_t = 200)]
        dashboards: u64,
        /// Of each of four metrics in a report, five reports a second
        #[arg(long, default_value_t = 50)]
        points: u64,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// The page that compares the runs of a sweep
    Comparison {
        #[arg(long, default_value_t = 100)]
        rates: u64,
        /// Of each rate
        #[arg(long, default_value_t = 10)]
        seeds: u64,
        /// Of each of six metrics of a run
        #[arg(long, default_value_t = 150)]
        points: u64,
        /// How often the page is opened
        #[arg(long, default_value_t = 30)]
        asked: u64,
    },
    /// Many subscribers and workers at once, with one stalled reader
    Subscribers {
        #[arg(long, default_value_t = 200)]
        subscribers: usize,
        #[arg(long, default_value_t = 50)]
        workers: usize,
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Everything at once, for long
    Mixed {
        #[arg(long, default_value_t = 30.0)]
        minutes: f64,
    },
    /// A small disk that fills up and is freed, over and over; needs root
    DiskFull {
        #[arg(long, default_value_t = 50)]
        cycles: u64,
        /// Of the disk
        #[arg(long, default_value_t = 64)]
        mebibytes: u64,
    },
    /// A network that resets, delays, loses and repeats
    Proxy {
        #[arg(long, default_value_t = 20_000)]
        operations: u64,
        #[arg(long, default_value_t = 16)]
        workers: u64,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let CommandLine { trainyard, seed, json, scenario } = CommandLine::parse();
    let program = match trainyard {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("trainyard"),
    };
    let report = run(&program, seed, scenario).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(if report.is_within() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(program: &std::path::Path, seed: u64, scenario: Scenario) -> anyhow::Result<Report> {
    if let Scenario::DiskFull { cycles, mebibytes } = scenario {
        return disk_full::run(program, disk_full::Settings { seed, cycles, mebibytes }).await;
    }
    if let Scenario::Mlflow { url: Some(url), clients, batches, points, metrics } = scenario {
        let tracking = mlflow::Tracking { url, token: None };
        return mlflow::run(&tracking, mlflow::Settings { seed, clients, batches, points, metrics, promised: false }).await;
    }
    let folder = tempfile::tempdir().context("cannot make a folder for the server")?;
    let mut server = ServerProcess::start(program, folder.path(), &[]).await?;
    let target = server.target().clone();
    match scenario {
        Scenario::Submits { submits, clients } => submits::run(&target, submits::Settings { seed, submits, clients }).await,
        Scenario::Claims { queued, claims, workers } => claims::run(&target, claims::Settings { seed, queued, claims, workers }).await,
        Scenario::Metrics { workers, batches, points, metrics, pace } => {
            metrics::run(&target, metrics::Settings { seed, workers, batches, points, metrics, pace }).await
        }
        Scenario::Mlflow { url: _, clients, batches, points, metrics } => {
            let tracking = mlflow::Tracking { url: target.url.clone(), token: Some(target.admin_token.clone()) };
            mlflow::run(&tracking, mlflow::Settings { seed, clients, batches, points, metrics, promised: true }).await
        }
        Scenario::Chart { points, buckets, asked } => chart::run(&target, chart::Settings { seed, points, buckets, asked }).await,
        Scenario::Polling { dashboards, points, seconds } => {
            let time = Duration::from_secs(seconds);
            polling::run(&target, polling::Settings { seed, dashboards, points, time }).await
        }
        Scenario::Comparison { rates, seeds, points, asked } => {
            comparison::run(&target, comparison::Settings { seed, rates, seeds, points, asked }).await
        }
        Scenario::Subscribers { subscribers, workers, seconds } => {
            let time = Duration::from_secs(seconds);
            subscribers::run(&target, subscribers::Settings { seed, subscribers, workers, time }).await
        }
        Scenario::Mixed { minutes } => {
            let time = Duration::try_from_secs_f64(60.0 * minutes).context("--minutes")?;
            mixed::run(&mut server, mixed::Settings { seed, time, ..mixed::Settings::default() }).await
        }
        Scenario::Proxy { operations, workers } => {
            proxy::run(&target, proxy::Settings { seed, operations, workers, faults: proxy::Faults::default() }).await
        }
        Scenario::DiskFull { .. } => unreachable!("it starts its own server"),
    }
}
