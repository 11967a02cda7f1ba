//! Trainyard's command line: one binary that is the server, the worker, and the client of both.
//!
//! [`commands`] has a module for each family of commands, with its arguments and what it does. The service commands (`up`, `demo`,
//! `server`, `worker`) run the two library crates; [`yard`] is a server with worker processes of this same binary beside it. All
//! others are clients: they reach a server through [`connection`] and know nothing but HTTP. [`terminal`] is what people see:
//! tables, progress bars, JSON.
//!
//! Exit codes: 0 done, 1 failed (also: a watched run did not succeed), 2 wrong usage.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod commands;
mod connection;
mod logging;
mod signals;
mod supervisor;
mod terminal;
mod yard;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

/// The command cannot be carried out as it was given: exit code 2, as for an argument that clap refuses.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub String);

fn main() -> ExitCode {
    let command_line = commands::CommandLine::parse();
    logging::init(command_line.log, command_line.command.default_log_filter());
    // Fails only where a provider is installed already, and then that one serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(command_line.command.run(command_line.log));
    // Nothing that still blocks a thread may keep a finished command from ending.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| exit_code(&error))
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    // Not any cause further down: a connection that the server closes is a broken pipe too, and a failure.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        // Whoever read the output has seen enough (`trainyard runs | head`).
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {}", terminal::plain(&message(error)));
    if error.is::<UsageError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// The error with its causes, each once: some errors quote their cause in their own text.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |message, cause| {
        let cause = cause.to_string();
        match message.as_str() {
            "" => cause,
            text if text.contains(&cause) => message,
            text => format!("{text}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::message;

    #[test]
    fn a_cause_that_the_error_quotes_is_not_told_twice() {
        let refused = anyhow!("refused").context("no answer: refused").context("cannot follow the runs");
        assert_eq!(message(&refused), "cannot follow the runs: no answer: refused");
        assert_eq!(message(&anyhow!("disk full").context("cannot write")), "cannot write: disk full");
    }
}
