//! `trainyard metrics`.

use std::process::ExitCode;

use trainyard_wire::RunId;
use trainyard_wire::client::Client;
use trainyard_wire::metric::{MetricHistory, Series};

use crate::connection::Connection;
use crate::context::Context;
use crate::terminal::table::Table;
use crate::terminal::{format, print, print_json};

#[derive(Debug, clap::Args)]
pub(crate) struct MetricsArgs {
    #[arg(value_name = "RUN")]
    run: RunId,
    /// Only these metrics
    #[arg(long, value_delimiter = ',', value_name = "NAME,…")]
    names: Vec<String>,
    /// Print every point as CSV: run,name,step,value,time
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    connection: Connection,
}

impl MetricsArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let as_json = context.json_unless("--csv", self.csv)?;
        self.warn_of_unknown_names(&client, context).await?;
        if self.csv {
            print("run,name,step,value,time\n")?;
        }
        let mut all: Option<MetricHistory> = None;
        let mut next = None;
        loop {
            let page;
            (page, next) = client.metric_page(self.run, &self.names, next.as_ref()).await?;
            if self.csv {
                print(&csv(self.run, &page))?;
            } else {
                match &mut all {
                    None => all = Some(page),
                    Some(all) => all.extend(page),
                }
            }
            if next.is_none() {
                break;
            }
        }
        if let Some(all) = all {
            if as_json { print_json(&all)? } else { print(&table(&all).to_string())? }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A name that is misspelt would otherwise be an empty table. It is no error: the run may come to log it yet.
    async fn warn_of_unknown_names(&self, client: &Client, context: &Context) -> anyhow::Result<()> {
        if self.names.is_empty() {
            return Ok(());
        }
        let known = client.run(self.run).await?.summary;
        let has = match known.is_empty() {
            true => "no metrics yet".to_owned(),
            false => known.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        };
        for name in self.names.iter().filter(|name| !known.contains_key(*name)) {
            context.warn(&format!("run {} has no metric {name}; it has {has}", self.run));
        }
        Ok(())
    }
}

/// RFC 4180; values as the shortest text that reads back as the same number.
fn csv(run: RunId, page: &MetricHistory) -> String {
    let mut text = String::new();
    for series in &page.series {
        let name = quoted(&series.name);
        for point in &series.points {
            text.push_str(&format!("{run},{name},{},{},{}\n", point.step, point.value.exact(), point.time));
        }
    }
    text
}

fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}

/// A column a metric would not fit a terminal: a row for each metric and step instead, thinned to a screenful.
fn table(history: &MetricHistory) -> Table {
    let mut table = Table::new(&["METRIC", "STEP", "VALUE"]);
    for series in &history.series {
        for point in thinned(series) {
            table.row([series.name.clone(), point.step.to_string(), format::number(point.value.0)]);
        }
    }
    table
}

/// At most 25 points, evenly spaced, with the last among them.
fn thinned(series: &Series) -> impl Iterator<Item = &trainyard_wire::metric::Point> {
    let stride = series.points.len().div_ceil(25).max(1);
    let rest = series.points.len().saturating_sub(1) % stride;
    series.points.iter().skip(rest).step_by(stride)
}

#[cfg(test)]
mod tests {
    use trainyard_wire::metric::{MetricHistory, Point, Series};
    use trainyard_wire::{Number, Revision, RunId, Timestamp};

    use super::{csv, thinned};

    fn series(count: u64) -> Series {
        let point = |step| Point { step, value: Number(0.1), time: Timestamp(0) };
        Series { name: "a,\"b\"".to_owned(), points: (1..=count).map(point).collect() }
    }

    #[test]
    fn csv_quotes_what_needs_it() {
        let history = MetricHistory { series: vec![series(1)], revision: Revision(1) };
        assert_eq!(csv(RunId(7), &history), "7,\"a,\"\"b\"\"\",1,0.1,1970-01-01T00:00:00Z\n");
    }

    #[test]
    fn thinning_keeps_the_last_point_and_few_others() {
        for count in [0, 1, 25, 26, 100, 1001] {
            let series = series(count);
            let steps: Vec<u64> = thinned(&series).map(|point| point.step).collect();
            assert!(steps.len() <= 26, "{count}");
            assert_eq!(steps.last().copied(), series.points.last().map(|point| point.step));
        }
    }
}
