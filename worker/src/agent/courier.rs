//! Carries the reports of all runs to the server, those that are handed in at about the same time in one request.
//!
//! There is no time to wait for company: whoever finds a request free takes all that is waiting along, and what comes while the requests
//! are under way goes with the next. So a single run's reports leave at once, and the more runs report, the more share a request, and at
//! the server a commit. Each report is still stored or refused by itself. Where the server does not take them together, as when
//! together they are too large, each goes alone.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use trainyard_wire::RunId;
use trainyard_wire::worker::{Report, ReportAnswer, Reports, RunReport};

use super::server::{CallError, Server};

/// Requests under way at one time: the server reads one while it stores the other.
const REQUESTS: usize = 2;
/// The most reports of one request.
const MOST_REPORTS: usize = 64;
/// About the most bytes of one request; a report that alone has more goes alone.
const MOST_BYTES: usize = 2 << 20;
/// About the bytes of a point and of a number of a result, as JSON.
const POINT_BYTES: usize = 40;
const NUMBER_BYTES: usize = 24;

type Answer = Result<ReportAnswer, CallError>;

/// A report that waits, and where its answer goes.
#[derive(Debug)]
struct Letter {
    report: RunReport,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

/// The way of all reports to the server.
#[derive(Debug)]
pub(super) struct Courier {
    waiting: Mutex<VecDeque<Letter>>,
    requests: Semaphore,
}

impl Courier {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), requests: Semaphore::new(REQUESTS) }
    }

    /// Has a report carried, and answers what the server said to it.
    ///
    /// # Errors
    /// What the report alone would have met with. [`CallError::Transient`] also where the request was given up with the one who made it.
    pub(super) async fn report(&self, server: &impl Server, run_id: RunId, report: &Report) -> Answer {
        let (sender, mut answer) = oneshot::channel();
        let letter = Letter { bytes: bytes(report), report: RunReport { run_id, report: report.clone() }, answer: sender };
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(letter);
        let given_up = |_| Err(CallError::Transient("the request was given up".to_owned()));
        loop {
            tokio::select! {
                biased;
                answered = &mut answer => return answered.unwrap_or_else(given_up),
                // The semaphore is never closed.
                _request = self.requests.acquire() => {
                    let letters = self.take();
                    if letters.is_empty() {
                        // The report is under way with others.
                        break;
                    }
                    carry(server, letters).await;
                }
            }
        }
        answer.await.unwrap_or_else(given_up)
    }

    /// Takes a request's worth of what waits, oldest first; nothing where another request has taken all.
    fn take(&self) -> Vec<Letter> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut count, mut total) = (0, 0_usize);
        for letter in waiting.iter().take(MOST_REPORTS) {
            total = total.saturating_add(letter.bytes);
            if count > 0 && total > MOST_BYTES {
                break;
            }
            count += 1;
        }
        waiting.drain(..count).collect()
    }
}

/// Makes one request with what some runs report.
async fn carry(server: &impl Server, letters: Vec<Letter>) {
    let (reports, answers): (Vec<RunReport>, Vec<_>) = letters.into_iter().map(|letter| (letter.report, letter.answer)).unzip();
    let answered = match reports.as_slice() {
        [RunReport { run_id, report }] => vec![server.report(*run_id, report).await],
        _ => carry_together(server, &Reports { reports }).await,
    };
    for (answer, answered) in answers.into_iter().zip(answered) {
        // A run that was dropped meanwhile does not listen.
        let _ = answer.send(answered);
    }
}

/// Makes one request with several reports, or where the server does not take them together, one with each.
async fn carry_together(server: &impl Server, reports: &Reports) -> Vec<Answer> {
    match server.report_all(reports).await {
        Ok(answers) => answers,
        Err(error @ (CallError::Transient(_) | CallError::Unauthorized(_))) => vec![Err(error); reports.reports.len()],
        Err(CallError::Refused(_) | CallError::NotFound(_) | CallError::Stale(_)) => {
            let mut answers = Vec::with_capacity(reports.reports.len());
            for RunReport { run_id, report } in &reports.reports {
                answers.push(server.report(*run_id, report).await);
            }
            answers
        }
    }
}

/// About how long a report is as JSON.
fn bytes(report: &Report) -> usize {
    let points: usize = report.metrics.iter().map(|series| series.steps.len()).sum();
    let logs: usize = report.logs.iter().map(|line| line.message.len()).sum();
    let result = report.finish.as_ref().and_then(|finish| finish.result.as_ref()).map_or(0, values);
    POINT_BYTES * points + logs + NUMBER_BYTES * result
}

/// The numbers, words and so on of a JSON value.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(fields) => fields.values().map(values).sum(),
        _ => 1,
    }
}
