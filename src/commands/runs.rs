//! `trainyard runs`, `show` and `logs`.

use std::fmt::Write as _;
use std::process::ExitCode;

use trainyard_wire::client::RunQuery;
use trainyard_wire::run::{Artifact, Certificates, Run};
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, RunId, RunState};

use super::artifacts;
use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::table::Table;
use crate::terminal::{format, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct RunsArgs {
    /// Only runs in this state: queued, paused, running, succeeded, failed, cancelled
    #[arg(long)]
    state: Option<RunState>,
    /// Only this kind of run: regression, hypergradient, colourization
    #[arg(long)]
    kind: Option<Kind>,
    /// Only the runs of this job
    #[arg(long)]
    job: Option<JobId>,
    /// Only runs of this project; an empty name: those in none
    #[arg(long)]
    project: Option<String>,
    /// Only runs with this tag; several: with all of them
    #[arg(long = "tag", value_name = "NAME[:VALUE]")]
    tags: Vec<String>,
    /// Only runs with this in their name, notes or number
    #[arg(long = "query", short = 'q', value_name = "TEXT")]
    text: Option<String>,
    /// Only runs where this holds: `val_loss<0.5`, `loss.min<=1e-3`
    #[arg(long = "metric", value_name = "CONDITION")]
    metrics: Vec<String>,
    /// Only archived runs (`true`), or those too (`all`)
    #[arg(long, value_name = "WHICH", value_parser = ["true", "false", "all"])]
    archived: Option<String>,
    /// Order: created, name, state, kind, project, duration, progress, metric.NAME.last, param.PATH; `-` before it: from the greatest
    #[arg(long, allow_hyphen_values = true)]
    sort: Option<String>,
    /// Most runs to list
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    connection: Connection,
}

impl RunsArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let query = RunQuery {
            state: self.state,
            kind: self.kind,
            job: self.job,
            project: self.project,
            tags: self.tags,
            text: self.text,
            metrics: self.metrics,
            archived: self.archived,
            sort: self.sort,
            limit: Some(self.limit),
            ..RunQuery::default()
        };
        let page = self.connection.client(context)?.runs(&query).await?;
        context.answer(&page, |page| table(&page.items))?;
        Ok(ExitCode::SUCCESS)
    }
}

fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(&["RUN", "JOB", "NAME", "WHAT", "STATE", "PROGRESS", "LOSS", "ACCURACY", "SUBMITTED"]);
    for run in runs {
        table.row([
            run.id.to_string(),
            run.job_id.to_string(),
            run.name.clone().unwrap_or_default(),
            format::what(run),
            format::state(run),
            format::position(run),
            format::loss(run).map(format::number).unwrap_or_default(),
            format::accuracy(run).unwrap_or_default(),
            format::ago(run.created_at),
        ]);
    }
    table
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[arg(value_name = "RUN")]
    run: RunId,
    #[command(flatten)]
    connection: Connection,
}

impl ShowArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let run = client.run(self.run).await?;
        if context.json() {
            print_json(&run)?;
        } else {
            let (artifacts, certificates) = tokio::try_join!(client.artifacts(self.run), client.certificates(self.run))?;
            let waits = match run.state {
                RunState::Queued => client.queue_position(self.run).await?.detail,
                _ => None,
            };
            print(&description(&run, waits, &artifacts.artifacts, &certificates)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn description(run: &Run, waits: Option<String>, artifacts: &[Artifact], certificates: &Certificates) -> anyhow::Result<String> {
    let mut text = String::new();
    let facts = [
        ("run", format!("{} of job {}", run.id, run.job_id)),
        ("name", run.name.clone().unwrap_or_default()),
        ("what", format::what(run)),
        ("tags", run.tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect::<Vec<_>>().join(", ")),
        ("state", format::state(run)),
        ("waits", waits.unwrap_or_default()),
        ("error", run.error.clone().unwrap_or_default()),
        ("progress", format::position(run)),
        ("attempt", run.attempt.to_string()),
        ("worker", run.worker_id.map(|id| id.to_string()).unwrap_or_default()),
        ("submitted", run.created_at.to_string()),
        ("took", format::took(run)),
        ("result", run.result.as_ref().map(ToString::to_string).unwrap_or_default()),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(text, "{name:10} {value}")?;
    }
    writeln!(text, "\nspec\n{}", serde_json::to_string_pretty(&run.spec)?)?;
    let mut metrics = Table::new(&["METRIC", "LAST", "AT STEP", "LEAST", "GREATEST"]);
    for (name, summary) in &run.summary {
        let value = |value: f64| format::number(value);
        metrics.row([name.clone(), value(summary.last.0), summary.last_step.to_string(), value(summary.min.0), value(summary.max.0)]);
    }
    let mut claims = Table::new(&["CERTIFICATE", "HOLDS", "PREDICTED", "MEASURED", "TOLERANCE", "SOURCE"]);
    for certificate in &certificates.certificates {
        let holds = if certificate.holds { "yes" } else { "no" };
        let [predicted, measured, tolerance] =
            [certificate.predicted, certificate.measured, certificate.tolerance].map(|value| format::number(value.0));
        claims.row([certificate.claim.clone(), holds.to_owned(), predicted, measured, tolerance, certificate.source.clone()]);
    }
    let mut left_out = Table::new(&["NOT CERTIFIED", "WHY"]);
    for missing in &certificates.left_out {
        left_out.row([missing.claim.clone(), missing.reason.clone()]);
    }
    for table in [metrics, claims, left_out, artifacts::table(artifacts)].iter().filter(|table| !table.is_empty()) {
        write!(text, "\n{table}")?;
    }
    Ok(text)
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogsArgs {
    #[arg(value_name = "RUN")]
    run: RunId,
    #[command(flatten)]
    connection: Connection,
}

impl LogsArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let page = self.connection.client(context)?.logs(self.run).await?;
        context.answer(&page, |page| {
            let lines = page.items.iter().map(|line| format!("{} {:5} {}\n", line.time, line.level, line.message));
            let text: String = lines.collect();
            if text.is_empty() { format!("run {} has logged nothing\n", self.run) } else { text }
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
