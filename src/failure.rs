//! What goes wrong, as people and scripts are told: the message, the next command to try, and the exit code.

use std::io;
use std::process::ExitCode;

use serde_json::json;
use trainyard_wire::Problem;
use trainyard_wire::client::ClientError;

use crate::UsageError;
use crate::context::Context;
use crate::terminal::plain;

/// Under `trainyard --help`; `tests/cli` comes to each of them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done; of watch and submit --follow: every run succeeded
  1    failed here, or a run did not succeed, or verify, check, doctor or health found something wrong
  2    wrong usage: arguments, configuration, or no token
  3    the server cannot be reached, or did not answer to the end
  4    the server refused (4xx): 401 no valid token, 403 scope missing, 404 not there, 409 not in this state, 422 not valid
  5    the server failed (5xx), or answered something else than Trainyard does
  74   (server, up) the disk did not take an fsync
  130  interrupted";

pub(crate) const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
pub(crate) const REFUSED: u8 = 4;
const SERVER_FAILED: u8 = 5;

/// A refusal that is told in words of its own, as `submit` does for a file; JSON has the server's problem all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InOwnWords(pub String);

/// Tells what went wrong on stderr and answers the exit code.
pub(crate) fn report(error: &anyhow::Error, context: &Context) -> ExitCode {
    // Not any cause further down: a connection that the server closes is a broken pipe too, and a failure.
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        // Whoever read the output has seen enough (`trainyard runs | head`).
        return ExitCode::SUCCESS;
    }
    let code = code(error);
    tell(error, code, context.json());
    ExitCode::from(code)
}

/// Tells what went wrong and that the command goes on; answers the exit code that it should end with.
pub(crate) fn report_one(what: &str, error: ClientError, context: &Context) -> u8 {
    let error = anyhow::Error::from(error).context(what.to_owned());
    let code = code(&error);
    tell(&error, code, context.json());
    code
}

/// An error of clap's, as JSON.
pub(crate) fn report_usage(text: &str) -> ExitCode {
    let first = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    eprintln!("{}", json!({"type": "about:blank", "title": "Wrong usage", "detail": first, "exit_code": USAGE}));
    ExitCode::from(USAGE)
}

fn tell(error: &anyhow::Error, code: u8, as_json: bool) {
    let hint = hint(error);
    if as_json {
        eprintln!("{}", problem(error, code, hint.as_deref()));
        return;
    }
    let text = error.downcast_ref::<InOwnWords>().map_or_else(|| message(error), ToString::to_string);
    eprintln!("error: {}", plain(&text));
    if let Some(hint) = hint {
        eprintln!("hint: {}", plain(&hint));
    }
}

/// The problem of the server's, or one in its form, in one line.
fn problem(error: &anyhow::Error, code: u8, hint: Option<&str>) -> serde_json::Value {
    let of_server = match error.downcast_ref::<ClientError>() {
        Some(ClientError::Problem(problem)) => serde_json::to_value(problem).ok(),
        _ => None,
    };
    let mut problem = of_server.unwrap_or_else(|| {
        let title = match code {
            USAGE => "Wrong usage",
            UNREACHABLE => "The server cannot be reached",
            SERVER_FAILED => "The server failed",
            _ => "Failed",
        };
        json!({"type": "about:blank", "title": title, "detail": message(error)})
    });
    problem["exit_code"] = json!(code);
    if let Some(hint) = hint {
        problem["hint"] = json!(hint);
    }
    problem
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() {
        return USAGE;
    }
    match error.downcast_ref::<ClientError>() {
        None | Some(ClientError::File { .. }) => FAILED,
        Some(ClientError::Address(_)) => USAGE,
        Some(ClientError::Transport(_)) => UNREACHABLE,
        Some(error) if error.status().is_some_and(|status| status.is_client_error()) => REFUSED,
        Some(_) => SERVER_FAILED,
    }
}

/// The command that helps.
fn hint(error: &anyhow::Error) -> Option<String> {
    let hint = match error.downcast_ref::<ClientError>()? {
        ClientError::Transport(error) if error.is_connect() => {
            "start a server here with `trainyard up --data-dir trainyard-data`; `trainyard config` tells where the address comes from"
        }
        ClientError::Unexpected { .. } | ClientError::Decode(_) => {
            "is it a Trainyard server of about this version that listens there? `trainyard config` tells where the address comes from"
        }
        ClientError::Problem(problem) => return of_problem(problem),
        _ => return None,
    };
    Some(hint.to_owned())
}

fn of_problem(problem: &Problem) -> Option<String> {
    let detail = &problem.detail;
    let hint = match problem.status {
        401 => {
            "the server does not know this token; the admin token is in admin.token in the server's data folder: export TRAINYARD_TOKEN=$(cat trainyard-data/admin.token); `trainyard config` tells which token is used"
        }
        403 if problem.r#type.ends_with("/forbidden") => {
            let scope = detail.rsplit(' ').next().unwrap_or("SCOPE");
            return Some(format!("with the admin token, `trainyard tokens create NAME --scope {scope}` makes one that may"));
        }
        400 | 422 if misplaced(problem, |pointer| ["/kind", "/problem", "/optimizer", "/dataset", "/network"].contains(&pointer)) => {
            "what is trained stands under `spec`: {\"spec\": {\"kind\": …}, \"sweep\": {…}}"
        }
        422 if misplaced(problem, |pointer| pointer.starts_with("/sweep/")) => {
            "a sweep's paths begin at the spec's top, like `optimizer.learning_rate`"
        }
        422 if detail.contains("no dataset is named") => {
            "`trainyard datasets list` lists the datasets, `trainyard datasets add` takes files of yours"
        }
        403 => "the server answers to loopback names and to those given with `trainyard up --allowed-host NAME`",
        404 if detail.starts_with("run ") => "`trainyard runs` lists the runs",
        404 if detail.starts_with("job ") => "`trainyard jobs` lists the jobs",
        404 if detail.starts_with("token ") => "`trainyard tokens list` lists the tokens",
        404 if detail.starts_with("the dataset ") => "`trainyard datasets list` lists the datasets",
        404 if detail.contains(" of run ") => "`trainyard artifacts RUN` lists what a run has",
        409 if detail.contains("a run that is") => "`trainyard show RUN` tells its state and why",
        507 => "`trainyard prune --older-than 30d --dry-run` tells which files of finished runs could go",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Whether a field stands where none is known, at a pointer like that.
fn misplaced(problem: &Problem, at: impl Fn(&str) -> bool) -> bool {
    problem.errors.iter().any(|error| error.detail.starts_with("unknown field") && at(&error.pointer))
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
    use trainyard_wire::Problem;
    use trainyard_wire::client::ClientError;

    use super::{UsageError, code, hint, message, problem};

    fn refused(status: u16, detail: &str) -> anyhow::Error {
        let problem = Problem {
            r#type: "/problems/forbidden".to_owned(),
            title: "No".to_owned(),
            status,
            detail: detail.to_owned(),
            errors: Vec::new(),
            request_id: "r".to_owned(),
        };
        anyhow::Error::from(ClientError::Problem(Box::new(problem))).context("cannot do it")
    }

    #[test]
    fn a_cause_that_the_error_quotes_is_not_told_twice() {
        let refused = anyhow!("refused").context("no answer: refused").context("cannot follow the runs");
        assert_eq!(message(&refused), "cannot follow the runs: no answer: refused");
        assert_eq!(message(&anyhow!("disk full").context("cannot write")), "cannot write: disk full");
    }

    #[test]
    fn the_exit_code_tells_whose_fault_it_is() {
        assert_eq!(code(&refused(404, "")), 4);
        assert_eq!(code(&refused(507, "")), 5);
        assert_eq!(code(&UsageError("no".to_owned()).into()), 2);
        assert_eq!(code(&ClientError::Address("x".to_owned()).into()), 2);
        assert_eq!(code(&anyhow!("disk full")), 1);
    }

    #[test]
    fn the_next_command_is_named() {
        for (status, detail, command) in [
            (404, "run 9 does not exist", "trainyard runs"),
            (404, "job 9 does not exist", "trainyard jobs"),
            (404, "the dataset `x` does not exist", "trainyard datasets list"),
            (403, "the token lacks the scope submit", "trainyard tokens create NAME --scope submit"),
            (409, "cannot retry a run that is paused", "trainyard show"),
            (401, "", "admin.token"),
        ] {
            assert!(hint(&refused(status, detail)).unwrap().contains(command), "{status} {detail}");
        }
        assert_eq!(hint(&anyhow!("disk full")), None);
    }

    #[test]
    fn an_error_in_json_is_the_servers_problem_with_the_exit_code_and_the_hint() {
        let told = problem(&refused(404, "run 9 does not exist"), 4, Some("look"));
        assert_eq!((&told["status"], &told["detail"], &told["hint"]), (&404.into(), &"run 9 does not exist".into(), &"look".into()));
        let own = problem(&anyhow!("disk full").context("cannot write"), 1, None);
        assert_eq!(own, serde_json::json!({"type": "about:blank", "title": "Failed", "detail": "cannot write: disk full", "exit_code": 1}));
    }
}
