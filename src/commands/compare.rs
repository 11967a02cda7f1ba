//! `trainyard compare`.

use std::process::ExitCode;

use serde_json::Value;
use trainyard_wire::RunId;
use trainyard_wire::compare::Comparison;

use crate::connection::Connection;
use crate::terminal::table::Table;
use crate::terminal::{format, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    #[arg(num_args = 2.., required = true, value_name = "RUN")]
    runs: Vec<RunId>,
    /// Print the API's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl CompareArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let comparison = self.connection.client()?.compare(&self.runs).await?;
        if self.json {
            print_json(&comparison)?;
        } else {
            print(&table(&comparison).to_string())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A column a run: its state, the settings that differ, and the last value of each metric.
fn table(comparison: &Comparison) -> Table {
    let runs = &comparison.runs;
    let mut table = Table::new(&[""]);
    for run in runs {
        table.column(format!("RUN {}", run.id));
    }
    table.row_of(
        "state",
        runs.iter().map(|run| run.stop_reason.map_or_else(|| run.state.to_string(), |why| format!("{}: {why}", run.state))),
    );
    for difference in &comparison.differences {
        table.row_of(&difference.path, difference.values.iter().map(setting));
    }
    for (name, summaries) in &comparison.metrics {
        let last = |summary: &Option<_>| summary.as_ref().map(last_value).unwrap_or_default();
        table.row_of(name, summaries.iter().map(last));
    }
    table
}

fn last_value(summary: &trainyard_wire::metric::MetricSummary) -> String {
    format::number(summary.last.0)
}

fn setting(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
