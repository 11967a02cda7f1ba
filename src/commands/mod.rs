//! The commands, a module for each family.

mod actions;
mod artifacts;
mod backup;
mod check;
mod cifar10;
mod compare;
mod convolution;
mod datasets;
mod demo;
mod doctor;
mod health;
mod jobs;
mod metrics;
mod network;
mod prune;
mod runs;
mod server;
mod submit;
mod tokens;
mod units;
mod up;
mod verify;
mod watch;
mod worker;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::logging::LogFormat;

/// How long a worker that was asked to stop may take to finish its step, checkpoint and give its runs back.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(20);

/// A self-hosted training service: submit regression and colourization runs, train them on this machine, watch and compare them
#[derive(Debug, Parser)]
#[command(name = "trainyard", version, max_term_width = 110)]
pub(crate) struct CommandLine {
    /// How log lines on stderr look; RUST_LOG chooses which there are
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log: LogFormat,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a server and worker processes on this machine
    Up(up::UpArgs),
    /// Train one job of each kind, with progress bars and a table of results
    Demo(demo::DemoArgs),
    /// Start a server alone
    Server(server::ServerArgs),
    /// Start a worker of a server
    Worker(worker::WorkerArgs),
    /// Submit a job from a JSON file
    Submit(submit::SubmitArgs),
    /// Follow runs until they end
    Watch(watch::WatchArgs),
    /// List runs, newest first
    Runs(runs::RunsArgs),
    /// Show one run: its state, result, metrics and artifacts
    Show(runs::ShowArgs),
    /// List jobs, newest first
    Jobs(jobs::JobsArgs),
    /// Cancel runs
    Cancel(actions::ActionArgs),
    /// Hold runs back; a running one checkpoints first
    Pause(actions::ActionArgs),
    /// Queue paused runs again
    Resume(actions::ActionArgs),
    /// Queue failed or cancelled runs again
    Retry(actions::ActionArgs),
    /// Execute a finished run again and tell whether it comes to the same bits (exit code 0 or 1)
    Verify(verify::VerifyArgs),
    /// Print the history of a run's metrics
    Metrics(metrics::MetricsArgs),
    /// Show runs side by side: where their specs differ, and what they came to
    Compare(compare::CompareArgs),
    /// Print what a run's worker logged
    Logs(runs::LogsArgs),
    /// List a run's artifacts, or download one
    Artifacts(artifacts::ArtifactsArgs),
    /// List, upload or fetch datasets
    #[command(subcommand)]
    Datasets(datasets::DatasetsCommand),
    /// Create, list or revoke bearer tokens
    #[command(subcommand)]
    Tokens(tokens::TokensCommand),
    /// Write a running server's database and files into a tar archive that is a data folder once it is unpacked
    Backup(backup::BackupArgs),
    /// Check that the data folder of a stopped server, or an unpacked backup, is whole (exit code 0 or 1)
    Check(check::CheckArgs),
    /// Look whether this machine trains as it should, and how fast: networks, determinism, step times (exit code 0 or 1)
    Doctor(doctor::DoctorArgs),
    /// Remove checkpoints and artifacts of finished runs, but for what is protected
    Prune(prune::PruneArgs),
    /// List the workers that the server has heard of
    Workers(workers::WorkersArgs),
    /// Count a network's weights, outputs and connections, and tell the receptive field of each layer
    Network(network::NetworkArgs),
    /// Convolve a small plane of numbers with a kernel
    Convolution(convolution::ConvolutionArgs),
    /// Ask whether a server is up and ready (exit code 0 or 1)
    Health(health::HealthArgs),
}

impl Command {
    /// What is logged where `RUST_LOG` does not say.
    pub(crate) fn default_log_filter(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Server(_) | Self::Worker(_) => "info",
            _ => "warn",
        }
    }

    /// `log` is how this process logs, for the processes it starts.
    pub(crate) async fn run(self, log: LogFormat) -> anyhow::Result<ExitCode> {
        match self {
            Self::Up(args) => args.run(log).await,
            Self::Demo(args) => args.run(log).await,
            Self::Server(args) => args.run().await,
            Self::Worker(args) => args.run().await,
            Self::Submit(args) => args.run().await,
            Self::Watch(args) => args.run().await,
            Self::Runs(args) => args.run().await,
            Self::Show(args) => args.run().await,
            Self::Jobs(args) => args.run().await,
            Self::Cancel(args) => args.run(actions::Action::Cancel).await,
            Self::Pause(args) => args.run(actions::Action::Pause).await,
            Self::Resume(args) => args.run(actions::Action::Resume).await,
            Self::Retry(args) => args.run(actions::Action::Retry).await,
            Self::Verify(args) => args.run().await,
            Self::Metrics(args) => args.run().await,
            Self::Compare(args) => args.run().await,
            Self::Logs(args) => args.run().await,
            Self::Artifacts(args) => args.run().await,
            Self::Datasets(command) => command.run().await,
            Self::Tokens(command) => command.run().await,
            Self::Backup(args) => args.run().await,
            Self::Check(args) => args.run().await,
            Self::Doctor(args) => args.run().await,
            Self::Prune(args) => args.run().await,
            Self::Workers(args) => args.run().await,
            Self::Network(args) => args.run(),
            Self::Convolution(args) => args.run(),
            Self::Health(args) => args.run().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::CommandLine;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }
}
