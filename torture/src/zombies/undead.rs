//! The process of a zombie: a worker that does not take no for an answer.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use trainyard_wire::client::{Client, ClientError};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{LogLevel, LogLine, Progress};
use trainyard_wire::worker::{
    ClaimRequest, ClaimedRun, Directive, Finish, Heartbeat, HeldRun, Outcome, Register, Report, Reports, RunReport,
};
use trainyard_wire::{Attempt, Number, RunId, Timestamp, WorkerId};

use crate::load::hexadecimal;

/// The one request of a zombie that would write nothing.
pub const HEARTBEAT: &str = "heartbeat";

/// A line of a zombie's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Claimed {
        run: RunId,
        attempt: Attempt,
    },
    /// Written before it is sent.
    Ask {
        what: String,
    },
    /// 200 for every success.
    Answer {
        status: u16,
    },
}

/// The log so far; a line that is being written is left out.
pub fn read(log: &Path) -> anyhow::Result<Vec<Line>> {
    let text = std::fs::read_to_string(log)?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

/// The number, the words and the answer of each request that was answered.
pub fn statuses(log: &Path) -> anyhow::Result<Vec<(usize, String, u16)>> {
    let (mut statuses, mut asks) = (Vec::new(), Vec::new());
    for line in read(log)? {
        match line {
            Line::Claimed { .. } => {}
            Line::Ask { what } => asks.push(what),
            Line::Answer { status } => {
                let what = asks.last().cloned().context("an answer without a request")?;
                statuses.push((asks.len() - 1, what, status));
            }
        }
    }
    Ok(statuses)
}

struct Undead {
    client: Client,
    log: File,
    worker: WorkerId,
    run: RunId,
    attempt: Attempt,
}

/// Claims a run, writes until it is refused or told that the run is lost, and then writes everything that there is to write.
///
/// # Errors
/// Where it cannot begin.
pub async fn walk(server: &str, token: String, log: &Path) -> anyhow::Result<()> {
    let client = Client::new(server, Some(token))?;
    let register = Register::cpu("zombie");
    let worker = client.register(&register).await?.worker_id;
    let claim = ClaimRequest { worker_id: worker, max: 1, small: false, wait_seconds: 20.0 };
    let Some(ClaimedRun { run_id: run, attempt, .. }) = client.claim(&claim).await?.runs.pop() else { bail!("nothing was queued") };
    let mut undead = Undead { client, log: File::create(log)?, worker, run, attempt };
    undead.write(&Line::Claimed { run, attempt })?;
    undead.put("checkpoint.safetensors", "first", Some(1)).await?;
    let mut step = 0;
    while undead.report(&undead.points(step)).await? != 409 && undead.word().await? != Some(Directive::Lost) {
        step += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    undead.report(&undead.points(1_000_000)).await?;
    undead.together(step).await?;
    undead.put("checkpoint.safetensors", "last", Some(1_000_000)).await?;
    undead.put("samples/picture.png", "a picture", None).await?;
    for outcome in [Outcome::Released, Outcome::Paused, Outcome::Failed, Outcome::Succeeded] {
        let finish = Finish { outcome, stop_reason: None, error: None, result: None };
        undead.report(&Report { finish: Some(finish), ..undead.points(2_000_000) }).await?;
    }
    undead.heartbeat().await
}

impl Undead {
    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        // In one piece: the process may be stopped at any instruction.
        Ok(self.log.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes())?)
    }

    fn points(&self, step: u64) -> Report {
        let series = SeriesBatch { name: "loss".to_owned(), steps: vec![step], values: vec![Number(step as f64)], times: vec![0] };
        let line = LogLine { time: Timestamp(step as i64), level: LogLevel::Info, message: format!("at step {step}") };
        Report {
            attempt: self.attempt,
            metrics: vec![series],
            progress: Some(Progress { step, total_steps: 10, epoch: None, eta_seconds: None }),
            logs: vec![line],
            certificates: Vec::new(),
            left_out: Vec::new(),
            finish: None,
        }
    }

    fn note<T>(&mut self, outcome: Result<T, ClientError>) -> anyhow::Result<u16> {
        let status = match outcome {
            Ok(_) => 200,
            Err(error) => error.status().with_context(|| error.to_string())?.as_u16(),
        };
        self.write(&Line::Answer { status })?;
        Ok(status)
    }

    async fn report(&mut self, report: &Report) -> anyhow::Result<u16> {
        let what = report.finish.as_ref().map_or("report".to_owned(), |finish| format!("report that it {}", finish.outcome));
        self.write(&Line::Ask { what })?;
        let outcome = self.client.report(self.run, report).await;
        self.note(outcome)
    }

    async fn together(&mut self, step: u64) -> anyhow::Result<u16> {
        self.write(&Line::Ask { what: "report among others".to_owned() })?;
        let reports = vec![RunReport { run_id: self.run, report: self.points(step + 1) }];
        let outcome = self.client.report_all(&Reports { reports }).await?.pop().context("an answer for each report")?;
        self.note(outcome)
    }

    async fn put(&mut self, name: &str, text: &str, step: Option<u64>) -> anyhow::Result<u16> {
        self.write(&Line::Ask { what: format!("put of {name}") })?;
        let bytes = Bytes::from(format!("{text} of run {}", self.run));
        let outcome = self.client.put_artifact(self.run, self.attempt, name, &hexadecimal(&bytes), step, bytes).await;
        self.note(outcome)
    }

    /// What a heartbeat is told of the run.
    async fn word(&self) -> anyhow::Result<Option<Directive>> {
        let held = vec![HeldRun { run_id: self.run, attempt: self.attempt }];
        Ok(self.client.heartbeat(&Heartbeat { worker_id: self.worker, runs: held }).await?.runs.pop())
    }

    /// The heartbeat's word is its answer: `lost` counts as 409.
    async fn heartbeat(&mut self) -> anyhow::Result<()> {
        self.write(&Line::Ask { what: HEARTBEAT.to_owned() })?;
        let word = self.word().await?;
        self.write(&Line::Answer { status: if word == Some(Directive::Lost) { 409 } else { 200 } })
    }
}
