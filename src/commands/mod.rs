//! The commands, a module for each family.

mod actions;
mod annotate;
mod artifacts;
mod backup;
mod check;
mod cifar10;
mod colourize;
mod compare;
mod completions;
mod config;
mod convolution;
mod datasets;
mod demo;
mod doctor;
mod each;
mod export;
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
mod webhooks;
mod worker;
mod workers;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use trainyard_wire::annotation::BulkAction;

use crate::connection::ConnectionArgs;
use crate::context::Context;
use crate::failure::EXIT_CODES;
use crate::logging::LogFormat;

/// How long a worker that was asked to stop may take to finish its step, checkpoint and give its runs back.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(20);

/// A self-hosted training service: submit regression and colourization runs, train them on this machine, watch and compare them
#[derive(Debug, Parser)]
#[command(name = "trainyard", version, max_term_width = 110, after_long_help = EXIT_CODES, after_help = "`trainyard --help` has the exit codes.")]
pub(crate) struct CommandLine {
    /// How log lines on stderr look; RUST_LOG chooses which there are
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub log: LogFormat,
    /// Print answers as the API's JSON, and errors as problem JSON; else as TRAINYARD_OUTPUT or the configuration's output says
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub json: Option<bool>,
    /// A profile of the configuration file; else TRAINYARD_PROFILE, the configuration's default_profile
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
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
    /// Give runs a name, a project, notes and tags of their own
    Annotate(annotate::AnnotateArgs),
    /// Leave runs out of lists
    Archive(annotate::ShelveArgs),
    /// Bring archived runs back into lists
    Unarchive(annotate::ShelveArgs),
    /// Delete runs that have ended; they can be restored for 7 days
    Delete(annotate::ShelveArgs),
    /// Bring deleted runs back
    Restore(annotate::ShelveArgs),
    /// List the projects that runs belong to
    Projects(ConnectionArgs),
    /// Execute a finished run again and tell whether it comes to the same bits (exit code 0 or 1)
    Verify(verify::VerifyArgs),
    /// Colour a picture (PNG or JPEG) with the model of a finished colourization
    Colourize(colourize::ColourizeArgs),
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
    /// Create, list, test or delete webhooks, and see what became of their messages
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// Write a running server's database and files into a tar archive that is a data folder once it is unpacked
    Backup(backup::BackupArgs),
    /// Check that the data folder of a stopped server, or an unpacked backup, is whole (exit code 0 or 1)
    Check(check::CheckArgs),
    /// Look whether this machine trains as it should, and how fast: networks, determinism, step times (exit code 0 or 1)
    Doctor(doctor::DoctorArgs),
    /// Remove checkpoints and artifacts of finished runs, but for what is protected
    Prune(prune::PruneArgs),
    /// Write runs with their metrics into files: CSV, NDJSON, and what TensorBoard reads
    Export(export::ExportArgs),
    /// List the workers that the server has heard of
    Workers(ConnectionArgs),
    /// Count a network's weights, outputs and connections, and tell the receptive field of each layer
    Network(network::NetworkArgs),
    /// Convolve a small plane of numbers with a kernel
    Convolution(convolution::ConvolutionArgs),
    /// Ask whether a server is up and ready (exit code 0 or 1)
    Health(health::HealthArgs),
    /// Show the settings of client commands, and where each comes from
    Config(config::ConfigArgs),
    /// Print a shell's completions
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(completions::ManArgs),
}

impl Command {
    /// What is logged where `RUST_LOG` does not say.
    pub(crate) fn default_log_filter(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Server(_) | Self::Worker(_) => "info",
            _ => "warn",
        }
    }

    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        match self {
            Self::Up(args) => args.run(context).await,
            Self::Demo(args) => args.run(context).await,
            Self::Server(args) => args.run(context).await,
            Self::Worker(args) => args.run().await,
            Self::Submit(args) => args.run(context).await,
            Self::Watch(args) => args.run(context).await,
            Self::Runs(args) => args.run(context).await,
            Self::Show(args) => args.run(context).await,
            Self::Jobs(args) => args.run(context).await,
            Self::Cancel(args) => args.run(actions::Action::Cancel, context).await,
            Self::Pause(args) => args.run(actions::Action::Pause, context).await,
            Self::Resume(args) => args.run(actions::Action::Resume, context).await,
            Self::Retry(args) => args.run(actions::Action::Retry, context).await,
            Self::Annotate(args) => args.run(context).await,
            Self::Archive(args) => args.run(BulkAction::Archive, context).await,
            Self::Unarchive(args) => args.run(BulkAction::Unarchive, context).await,
            Self::Delete(args) => args.run(BulkAction::Delete, context).await,
            Self::Restore(args) => args.run(BulkAction::Restore, context).await,
            Self::Projects(args) => annotate::projects(args, context).await,
            Self::Verify(args) => args.run(context).await,
            Self::Colourize(args) => args.run(context).await,
            Self::Metrics(args) => args.run(context).await,
            Self::Compare(args) => args.run(context).await,
            Self::Logs(args) => args.run(context).await,
            Self::Artifacts(args) => args.run(context).await,
            Self::Datasets(command) => command.run(context).await,
            Self::Tokens(command) => command.run(context).await,
            Self::Webhooks(command) => command.run(context).await,
            Self::Backup(args) => args.run(context).await,
            Self::Check(args) => args.run(context).await,
            Self::Doctor(args) => args.run(context).await,
            Self::Prune(args) => args.run(context).await,
            Self::Export(args) => args.run(context).await,
            Self::Workers(args) => workers::list(args, context).await,
            Self::Network(args) => args.run(context),
            Self::Convolution(args) => args.run(context),
            Self::Health(args) => args.run(context).await,
            Self::Config(args) => args.run(context),
            Self::Completions(args) => args.run(),
            Self::Man(args) => args.run(),
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
