//! `trainyard prune`, and the same policy as an option of a server.

use std::process::ExitCode;

use trainyard_wire::retention::{Pruned, RetentionPolicy};

use super::units::{bytes, seconds};
use crate::UsageError;
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// Only runs that finished at least so long ago lose files, such as 12h or 30d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    older_than: Option<u64>,
    /// The N runs that finished last lose nothing
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
    /// Remove no more than is needed to come down to this size, such as 10GB: checkpoints first, then all files of the oldest runs
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_bytes: Option<u64>,
    /// Only print what would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connection: Connection,
}

impl PruneArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let policy = RetentionPolicy { older_than_seconds: self.older_than, keep: self.keep, max_bytes: self.max_bytes };
        if policy.is_empty() {
            return Err(UsageError("give at least one of --older-than, --keep and --max-bytes".to_owned()).into());
        }
        let pruned = self.connection.client(context)?.prune(&policy, self.dry_run).await?;
        context.answer(&pruned, text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn text(pruned: &Pruned) -> String {
    let size = |bytes| indicatif::BinaryBytes(bytes).to_string();
    let mut table = Table::new(&["RUN", "FILES", "SIZE"]);
    for run in &pruned.runs {
        table.row([run.run_id.to_string(), run.artifacts.len().to_string(), size(run.bytes)]);
    }
    let table = if table.is_empty() { String::new() } else { table.to_string() };
    let (verb, left) = if pruned.dry_run { ("would go", "would be left") } else { ("went", "are left") };
    let (files, runs) = (count(pruned.artifact_count, "file"), count(pruned.run_count, "run"));
    format!("{table}{files} of {runs} {verb} ({}); {} {left}", size(pruned.bytes), size(pruned.remaining_bytes))
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// What a server lets go of by itself, every hour.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Retention")]
pub(crate) struct RetentionArgs {
    /// Every hour, remove files of runs that finished at least so long ago, such as 30d
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    prune_older_than: Option<u64>,
    /// Every hour, remove files of finished runs, but for the N that finished last
    #[arg(long, value_name = "N")]
    prune_keep: Option<u64>,
    /// Every hour, remove files of finished runs until all files have at most this size, such as 10GB
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    prune_max_bytes: Option<u64>,
}

impl RetentionArgs {
    pub(crate) fn policy(&self) -> Option<RetentionPolicy> {
        let policy = RetentionPolicy { older_than_seconds: self.prune_older_than, keep: self.prune_keep, max_bytes: self.prune_max_bytes };
        Some(policy).filter(|policy| !policy.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use trainyard_wire::retention::Pruned;

    use super::text;

    #[test]
    fn what_went_is_told_apart_from_what_would_go() {
        let pruned = Pruned { run_count: 1, artifact_count: 2, bytes: 2048, ..Pruned::default() };
        assert_eq!(text(&pruned), "2 files of 1 run went (2.00 KiB); 0 B are left");
        let planned = Pruned { dry_run: true, ..pruned };
        assert_eq!(text(&planned), "2 files of 1 run would go (2.00 KiB); 0 B would be left");
    }
}
