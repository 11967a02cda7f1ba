//! `trainyard submit`.

mod place;

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use trainyard_wire::client::ClientError;
use trainyard_wire::job::{DryRun, JobAccepted};

use super::watch::{Watched, follow};
use crate::connection::Connection;
use crate::context::Context;
use crate::failure::InOwnWords;
use crate::terminal::format;
use crate::terminal::table::Table;

#[derive(Debug, clap::Args)]
pub(crate) struct SubmitArgs {
    /// A file with the job as JSON, as POST /v1/jobs takes it; - for standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Follow the job's runs to their end; the exit code then tells whether all succeeded
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,
    /// Validate only, and print what would run
    #[arg(long)]
    dry_run: bool,
    /// The job's name, over that in the file
    #[arg(long)]
    name: Option<String>,
    /// A tag of the job, over that in the file; may be repeated
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = key_value)]
    tags: Vec<(String, String)>,
    /// Two submits with one key make one job
    #[arg(long, value_name = "KEY", conflicts_with = "dry_run")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

impl SubmitArgs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let client = self.connection.client(context)?;
        let written = self.read()?;
        let body = with_overrides(written.clone(), self.name, &self.tags).with_context(|| format!("cannot use {}", self.file))?;
        let refused = |error| in_the_file(error, &self.file, &written);
        if self.dry_run {
            let planned = client.dry_run(body).await.map_err(refused)?;
            planned.warnings.iter().for_each(|warning| context.warn(warning));
            context.answer(&planned, plan)?;
            return Ok(ExitCode::SUCCESS);
        }
        let accepted = client.submit(body, self.idempotency_key.as_deref()).await.map_err(refused)?;
        accepted.warnings.iter().for_each(|warning| context.warn(warning));
        // With --follow the one answer in JSON is what came of the runs.
        if !self.follow || !context.json() {
            context.answer(&accepted, told)?;
        }
        if self.follow { follow(&client, &Watched::Job(accepted.id), context).await } else { Ok(ExitCode::SUCCESS) }
    }

    fn read(&self) -> anyhow::Result<Vec<u8>> {
        if self.file == "-" {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body).context("cannot read standard input")?;
            return Ok(body);
        }
        std::fs::read(&self.file).with_context(|| format!("cannot read {}", self.file))
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

/// The body with the name and the tags of the command line. Without any the bytes go as they are, and only the server reads them.
fn with_overrides(body: Vec<u8>, name: Option<String>, tags: &[(String, String)]) -> anyhow::Result<Vec<u8>> {
    if name.is_none() && tags.is_empty() {
        return Ok(body);
    }
    let mut job: Map<String, Value> = serde_json::from_slice(&body)?;
    if let Some(name) = name {
        job.insert("name".to_owned(), Value::String(name));
    }
    if !tags.is_empty() {
        let all = job.entry("tags").or_insert_with(|| Value::Object(Map::new()));
        let all = all.as_object_mut().context("`tags` is not an object")?;
        all.extend(tags.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))));
    }
    Ok(serde_json::to_vec(&job)?)
}

fn told(accepted: &JobAccepted) -> String {
    let runs = match (accepted.run_ids.first(), accepted.run_ids.last()) {
        (Some(first), Some(last)) if first != last => format!("runs {first} to {last}"),
        (Some(first), _) => format!("run {first}"),
        _ => "no runs".to_owned(),
    };
    format!("job {}: {runs}", accepted.id)
}

/// The error with the places in the file that it is about.
fn in_the_file(error: ClientError, file: &str, written: &[u8]) -> anyhow::Error {
    let ClientError::Problem(problem) = &error else { return error.into() };
    let Ok(text) = std::str::from_utf8(written) else { return error.into() };
    // Who is refused for another reason is told that one.
    let syntax = if problem.status == 400 { serde_json::from_str::<IgnoredAny>(text).err() } else { None };
    if let Some(syntax) = syntax {
        let at = place::Place { line: syntax.line().max(1), column: syntax.column().max(1) };
        let shown = place::shown(text, at).replace('\n', "\n    ");
        let told = format!("{file} is not JSON: {syntax}\n    {shown}");
        return anyhow::Error::from(error).context(InOwnWords(told));
    }
    let lines = problem.errors.iter().map(|error| match place::of_pointer(text, &error.pointer) {
        Some(at) => {
            let shown = place::shown(text, at).replace('\n', "\n    ");
            format!("\n  {file}:{}:{} {}: {}\n    {shown}", at.line, at.column, error.pointer, error.detail)
        }
        None => format!("\n  {}: {}", error.pointer, error.detail),
    });
    let lines: String = lines.collect();
    if lines.is_empty() {
        return error.into();
    }
    let told = format!("{} ({}){lines}", problem.title, problem.status);
    anyhow::Error::from(error).context(InOwnWords(told))
}

fn plan(planned: &DryRun) -> String {
    let mut table = Table::new(&["RUN", "SETS", "STEPS", "PARAMETERS", "MEMORY", "DISK", "MULTIPLY-ADDS"]);
    for (number, run) in planned.runs.iter().enumerate() {
        let sets: Vec<String> = run.sweep_point.iter().map(|(path, value)| format!("{path}={value}")).collect();
        let estimate = &run.estimate;
        table.row([
            (number + 1).to_string(),
            sets.join(", "),
            estimate.steps.to_string(),
            estimate.parameters.to_string(),
            indicatif::BinaryBytes(estimate.memory_bytes).to_string(),
            indicatif::BinaryBytes(estimate.disk_bytes).to_string(),
            format::number(estimate.multiply_adds as f64),
        ]);
    }
    let mut theory = Table::new(&["RUN", "RANK", "λ_MAX", "CONDITION", "STABLE BELOW", "BEST RATE", "STEPS TO TOLERANCE", "LEFT OUT"]);
    for (number, known) in planned.runs.iter().enumerate().filter_map(|(number, run)| Some((number, run.theory.as_ref()?))) {
        let figure = |value: Option<f64>| value.map(format::number).unwrap_or_default();
        let count = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        theory.row([
            (number + 1).to_string(),
            count(known.rank),
            figure(known.lambda_max),
            figure(known.condition),
            figure(known.largest_stable_rate),
            figure(known.best_fixed_rate),
            count(known.predicted_steps),
            known.left_out.clone().unwrap_or_default(),
        ]);
    }
    let theory = if theory.is_empty() { String::new() } else { format!("\n{theory}\n") };
    let left_out = planned.run_count.saturating_sub(planned.runs.len() as u64);
    let more = if left_out > 0 { format!("and {left_out} more\n") } else { String::new() };
    format!("{table}{more}{theory}nothing was queued: this was a dry run\n")
}

#[cfg(test)]
mod tests {
    use super::with_overrides;

    #[test]
    fn the_command_lines_name_and_tags_go_over_those_in_the_file() {
        let body = br#"{"name": "old", "tags": {"a": "1", "b": "2"}, "spec": {}}"#.to_vec();
        let tags = [("b".to_owned(), "3".to_owned())];
        let body = with_overrides(body, Some("new".to_owned()), &tags).unwrap();
        assert_eq!(String::from_utf8(body).unwrap(), r#"{"name":"new","tags":{"a":"1","b":"3"},"spec":{}}"#);
    }

    #[test]
    fn without_overrides_the_bytes_are_left_to_the_server() {
        assert_eq!(with_overrides(b"not json".to_vec(), None, &[]).unwrap(), b"not json");
        assert!(with_overrides(b"not json".to_vec(), Some("name".to_owned()), &[]).is_err());
    }
}
