//! Commands that do the same to several things, one after the other.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use trainyard_wire::client::ClientError;
use trainyard_wire::run::Run;
use trainyard_wire::{Page, RunId};

use crate::context::Context;
use crate::failure::report_one;
use crate::terminal::{print, print_json};

/// Asks for each run in turn and prints what it is then; one that refuses does not keep the others from being asked. Answers the exit code of
/// the first that refused.
pub(super) async fn each_run(
    runs: &[RunId],
    ask: impl AsyncFn(RunId) -> Result<Run, ClientError>,
    text: impl Fn(&Run) -> String,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    let (mut first_code, mut items) = (None, Vec::new());
    for &id in runs {
        match ask(id).await {
            Ok(run) if context.json() => items.push(run),
            Ok(run) => print(&format!("run {id}: {}", text(&run)))?,
            Err(error) => {
                let code = report_one(&format!("run {id}"), error, context);
                first_code.get_or_insert(code);
            }
        }
    }
    if context.json() {
        print_json(&Page { items })?;
    }
    Ok(first_code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

/// Has each `what` become what the word `gone` says, up to the first that is refused.
pub(super) async fn each_gone<Id: Copy + fmt::Display + Serialize>(
    ids: &[Id],
    (what, gone): (&str, &str),
    ask: impl AsyncFn(Id) -> Result<(), ClientError>,
    context: &Context,
) -> anyhow::Result<()> {
    for &id in ids {
        ask(id).await?;
        if !context.json() {
            print(&format!("{what} {id} is {gone}"))?;
        }
    }
    if context.json() { print_json(&json!({ gone: ids })) } else { Ok(()) }
}
