//! Trainyard's command line: one binary that is the server, the worker, and the client of both.
//!
//! [`commands`] has a module for each family of commands, with its arguments and what it does. The service commands (`up`, `demo`,
//! `server`, `worker`) run the two library crates; [`yard`] is a server with worker processes of this same binary beside it. All
//! others are clients: they reach a server through [`connection`], as the [`settings`] say, and know nothing but HTTP. [`terminal`] is what
//! people see: tables, progress, JSON. What goes wrong is told by [`failure`], which has the exit codes.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod commands;
mod connection;
mod context;
mod failure;
mod logging;
mod settings;
mod signals;
mod supervisor;
mod terminal;
mod yard;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use context::Context;

/// The command cannot be carried out as it was given: exit code 2, as for an argument that clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub String);

fn main() -> ExitCode {
    let command_line = match commands::CommandLine::try_parse() {
        Ok(command_line) => command_line,
        Err(error) => return refused(&error),
    };
    logging::init(command_line.log, command_line.command.default_log_filter());
    // Fails only where a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let context = Context::new(command_line.log, command_line.json, command_line.profile.as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failure::report(&anyhow::Error::from(error).context("cannot start the runtime"), &context),
    };
    let outcome = runtime.block_on(command_line.command.run(&context));
    // Nothing that still blocks a thread may keep a finished command from ending.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| failure::report(&error, &context))
}

/// What clap refuses or shows instead of a command. The arguments have not been read, so whether errors are JSON is looked up in them.
fn refused(error: &clap::Error) -> ExitCode {
    let is_shown = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !is_shown && std::env::args().any(|argument| argument == "--json") {
        return failure::report_usage(&error.to_string());
    }
    // Fails only where the reader has gone.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::FAILED))
}
