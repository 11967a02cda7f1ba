//! `trainyard compare`: a column a run; settings that differ, metrics, results.

use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::Value;
use trainyard_wire::compare::Comparison;
use trainyard_wire::metric::MetricSummary;
use trainyard_wire::{JobId, RunId};

use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::format::{self, Better, better};
use crate::terminal::print;
use crate::terminal::table::Table;

/// Longest list of numbers in a cell.
const LONGEST_LIST: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// The runs to compare, two or more
    #[arg(num_args = 2.., required_unless_present = "job", conflicts_with = "job", value_name = "RUN")]
    runs: Vec<RunId>,
    /// Compare all runs of this job
    #[arg(long)]
    job: Option<JobId>,
    /// Print every digit as CSV: what,name, and a column a run
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    connection: Connection,
}

impl CompareArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        context.json_unless("--csv", self.csv)?;
        let client = self.connection.client(context)?;
        let comparison = match self.job {
            Some(job) => client.compare_job(job).await?,
            None => client.compare(&self.runs).await?,
        };
        if self.csv {
            print(&csv(&comparison)?)?;
        } else {
            context.answer(&comparison, text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A row of the comparison: a cell a run.
struct Row {
    /// `run`, `setting`, `metric` (its last value), `least` or `greatest` (the best that it was), `result`.
    what: &'static str,
    name: String,
    cells: Vec<Value>,
    better: Option<Better>,
}

fn rows(comparison: &Comparison) -> Vec<Row> {
    let runs = &comparison.runs;
    let plain = |what, name: &str, cells| Row { what, name: name.to_owned(), cells, better: None };
    let state = runs.iter().map(|run| run.stop_reason.map_or_else(|| run.state.to_string(), |why| format!("{}: {why}", run.state)));
    let mut rows = vec![plain("run", "state", state.map(Value::String).collect())];
    if runs.windows(2).any(|pair| pair[0].name != pair[1].name) {
        rows.push(plain("run", "name", runs.iter().map(|run| run.name.clone().map_or(Value::Null, Value::String)).collect()));
    }
    rows.extend(comparison.differences.iter().map(|difference| plain("setting", &difference.path, difference.values.clone())));
    for (name, summaries) in &comparison.metrics {
        let better = better(name);
        let values = |value: fn(&MetricSummary) -> f64| -> Vec<Value> {
            summaries.iter().map(|summary| summary.as_ref().map_or(Value::Null, |summary| number(value(summary)))).collect()
        };
        let last = values(|summary| summary.last.0);
        let best = match better {
            Some(Better::Less) => Some(("least", values(|summary| summary.min.0))),
            Some(Better::Greater) => Some(("greatest", values(|summary| summary.max.0))),
            None => None,
        };
        let best = best.filter(|(_, best)| *best != last);
        rows.push(Row { what: "metric", name: name.clone(), cells: last, better });
        rows.extend(best.map(|(what, cells)| Row { what, name: name.clone(), cells, better }));
    }
    rows.extend(results(comparison));
    rows
}

/// The entries of the results; those that no run has are not there.
fn results(comparison: &Comparison) -> Vec<Row> {
    let mut names: Vec<&String> = Vec::new();
    let objects: Vec<_> = comparison.runs.iter().map(|run| run.result.as_ref().and_then(Value::as_object)).collect();
    for name in objects.iter().flatten().flat_map(|result| result.keys()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let cell = |result: &Option<&serde_json::Map<String, Value>>, name: &String| result.and_then(|result| result.get(name)).cloned();
    let row = |name: &String| Row {
        what: "result",
        name: name.clone(),
        cells: objects.iter().map(|result| cell(result, name).unwrap_or(Value::Null)).collect(),
        better: None,
    };
    names.into_iter().map(row).collect()
}

/// As the API writes it: NaN and the infinities are strings.
fn number(value: f64) -> Value {
    serde_json::to_value(trainyard_wire::Number(value)).unwrap_or(Value::Null)
}

/// The columns of the best value, if there is a worse one.
fn best(row: &Row) -> Vec<usize> {
    let Some(better) = row.better else { return Vec::new() };
    let values: Vec<(usize, f64)> = row.cells.iter().enumerate().filter_map(|(column, cell)| Some((column, cell.as_f64()?))).collect();
    let first = |best: f64, value: f64| if better == Better::Less { value < best } else { value > best };
    let Some(best) = values.iter().map(|(_, value)| *value).reduce(|best, value| if first(best, value) { value } else { best }) else {
        return Vec::new();
    };
    let columns: Vec<usize> = values.iter().filter(|(_, value)| *value == best).map(|(column, _)| *column).collect();
    let contestants = row.cells.iter().filter(|cell| !cell.is_null()).count();
    if columns.len() == contestants { Vec::new() } else { columns }
}

fn text(comparison: &Comparison) -> String {
    let mut table = Table::new(&["", ""]);
    for run in &comparison.runs {
        table.column(format!("RUN {}", run.id));
    }
    let mut what = "";
    let mut is_marked = false;
    for row in rows(comparison) {
        let columns = best(&row);
        is_marked |= !columns.is_empty();
        let mark = |(column, cell): (usize, &Value)| if columns.contains(&column) { format!("{} *", short(cell)) } else { short(cell) };
        // A group is named once; the best of a metric stands under it.
        let group = if matches!(row.what, "least" | "greatest") { "metric" } else { row.what };
        let heading = if group == what { "" } else { group };
        let name = if group == row.what { row.name.clone() } else { format!("  {}", row.what) };
        table.row_of(heading, std::iter::once(name).chain(row.cells.iter().enumerate().map(mark)));
        what = group;
    }
    format!("{table}{}", if is_marked { "* the best of its row\n" } else { "" })
}

/// A value in a few characters.
fn short(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(value) if !number.is_i64() && !number.is_u64() => format::number(value),
            _ => number.to_string(),
        },
        Value::Array(items) if items.len() > LONGEST_LIST => format!("{} values", items.len()),
        Value::Array(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn csv(comparison: &Comparison) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let runs = comparison.runs.iter().map(|run| run.id.to_string());
    writer.write_record(["what".to_owned(), "name".to_owned()].into_iter().chain(runs))?;
    for row in rows(comparison) {
        let cells = row.cells.iter().map(|cell| match cell {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        writer.write_record([row.what.to_owned(), row.name.clone()].into_iter().chain(cells))?;
    }
    String::from_utf8(writer.into_inner().context("cannot write CSV")?).context("cannot write CSV")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::compare::Comparison;

    use super::{Better, Row, best, csv, text};

    fn comparison() -> Comparison {
        let summary = |last: f64, min: f64| json!({"last": last, "last_step": 9, "min": min, "max": 3.0});
        serde_json::from_value(json!({
            "runs": [
                {"id": 1, "name": null, "state": "succeeded", "stop_reason": "completed", "result": {"weights": [0.5, 0.25], "steps": 10}},
                {"id": 12, "name": null, "state": "failed", "stop_reason": "diverged", "result": null},
            ],
            "differences": [{"path": "optimizer.name", "values": ["gd", "sgd, with \"m\""]}],
            "metrics": {"loss": [summary(0.5, 0.25), {"last": "NaN", "last_step": 9, "min": 2.0, "max": 3.0}],
                "learning_rate": [summary(0.1, 0.1), null]},
        }))
        .unwrap()
    }

    #[test]
    fn the_best_of_a_row_is_marked_where_the_metrics_name_says_what_is_better() {
        let expected = "
                         RUN 1                 RUN 12
run      state           succeeded: completed  failed: diverged
setting  optimizer.name  gd                    sgd, with \"m\"
metric   learning_rate   0.1
         loss            0.5 *                 NaN
           least         0.25 *                2
result   weights         [0.5, 0.25]
         steps           10
* the best of its row
";
        assert_eq!(format!("\n{}", text(&comparison())), expected);
    }

    #[test]
    fn what_one_run_alone_has_is_not_the_best_of_anything() {
        let row = |cells| Row { what: "metric", name: "loss".to_owned(), cells, better: Some(Better::Less) };
        assert!(best(&row(vec![json!(0.5), json!(null)])).is_empty());
        assert_eq!(best(&row(vec![json!(0.5), json!(null), json!(0.7)])), [0]);
        assert!(best(&row(vec![json!(0.5), json!(null), json!(0.5)])).is_empty());
    }

    #[test]
    fn csv_has_every_digit_and_a_column_a_run() {
        let expected = "\
what,name,1,12
run,state,succeeded: completed,failed: diverged
setting,optimizer.name,gd,\"sgd, with \"\"m\"\"\"
metric,learning_rate,0.1,
metric,loss,0.5,NaN
least,loss,0.25,2.0
result,weights,\"[0.5,0.25]\",
result,steps,10,
";
        assert_eq!(csv(&comparison()).unwrap(), expected);
    }
}
