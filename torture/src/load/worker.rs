//! A worker that follows the protocol and trains nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{LogLevel, LogLine, Progress};
use trainyard_wire::worker::{ClaimRequest, Finish, Heartbeat, HeldRun, Outcome, Register, Report, Reports, RunReport};
use trainyard_wire::{Attempt, Number, RunId, Timestamp, WorkerId};

use super::{Shared, Step, settle};
use crate::dice::Dice;
use crate::history::{Answer, Ask, Point};

const HEARTBEAT: Duration = Duration::from_millis(500);
/// Steps of a report.
const STEPS: u64 = 5;
/// What a run has to tell, one after the other.
const STAGES: u64 = 5;

/// A run that is held.
#[derive(Clone, Debug)]
struct Held {
    run: RunId,
    attempt: Attempt,
    stage: u64,
}

/// What is sent, until it is answered.
#[derive(Clone, Debug)]
enum Sending {
    Reports(Vec<RunReport>),
    Put { run: RunId, attempt: Attempt, name: &'static str, bytes: Bytes, step: Option<u64> },
}

/// A worker, as far as the server can tell.
#[derive(Debug)]
pub struct FakeWorker {
    dice: Dice,
    id: Option<WorkerId>,
    held: Vec<Held>,
    pending: Option<Sending>,
    heard: Instant,
}

impl FakeWorker {
    pub fn new(dice: Dice) -> Self {
        Self { dice, id: None, held: Vec::new(), pending: None, heard: Instant::now() }
    }

    /// The next thing that it does.
    pub(super) async fn step(&mut self, client: &Client, shared: &Shared) -> Step {
        let Some(id) = self.id else { return self.register(client).await };
        if self.heard.elapsed() > HEARTBEAT {
            let runs = self.held.iter().map(|held| HeldRun { run_id: held.run, attempt: held.attempt }).collect();
            if let Err(error) = client.heartbeat(&Heartbeat { worker_id: id, runs }).await
                && error.status().is_some_and(|status| status.as_u16() == 404)
            {
                self.id = None;
            }
            self.heard = Instant::now();
        }
        if self.pending.is_none() {
            if self.held.is_empty() || (self.held.len() < 4 && self.dice.percent(10)) {
                return self.claim(id, client, shared).await;
            }
            self.pending = Some(self.next());
        }
        self.send(client, shared).await
    }

    async fn register(&mut self, client: &Client) -> Step {
        let register = Register::cpu("nowhere");
        match client.register(&register).await {
            Ok(registered) => self.id = Some(registered.worker_id),
            Err(_) => return Step::Wait,
        }
        Step::Done
    }

    async fn claim(&mut self, worker: WorkerId, client: &Client, shared: &Shared) -> Step {
        let claim = ClaimRequest { worker_id: worker, max: 4, small: false, wait_seconds: 0.02 };
        let answered = shared.exchange(Ask::Claim { worker }, client.claim(&claim), |claims| Answer::Claimed {
            runs: claims.runs.iter().map(|run| (run.run_id, run.attempt)).collect(),
        });
        match answered.await {
            // Which runs an answer that was lost has named nobody knows: their leases run out.
            None => Step::Wait,
            Some(Err(_)) => {
                self.id = None;
                Step::Wait
            }
            Some(Ok(claims)) if claims.runs.is_empty() => Step::Wait,
            Some(Ok(claims)) => {
                let held = claims.runs.into_iter().map(|run| Held { run: run.run_id, attempt: run.attempt, stage: 0 });
                self.held.extend(held);
                Step::Done
            }
        }
    }

    /// What one of the held runs, or several at once, have to say next.
    fn next(&mut self) -> Sending {
        let held = self.held[self.dice.index(self.held.len())].clone();
        match held.stage {
            1 => {
                let bytes = format!("run {} at step {STEPS}", held.run).into_bytes().into();
                Sending::Put { run: held.run, attempt: held.attempt, name: "checkpoint.safetensors", bytes, step: Some(STEPS) }
            }
            3 => {
                let mut bytes = format!("attempt {} of run {}", held.attempt, held.run).into_bytes();
                bytes.resize(bytes.len() + self.dice.index(20_000), b'.');
                Sending::Put { run: held.run, attempt: held.attempt, name: "samples/picture.png", bytes: bytes.into(), step: None }
            }
            _ => {
                let reporting = self.held.iter().filter(|held| !matches!(held.stage, 1 | 3));
                let together = self.dice.percent(30);
                let chosen: Vec<&Held> = reporting.filter(|other| together || other.run == held.run).collect();
                Sending::Reports(chosen.into_iter().map(Held::report).collect())
            }
        }
    }

    async fn send(&mut self, client: &Client, shared: &Shared) -> Step {
        let Some(sending) = self.pending.clone() else { return Step::Wait };
        let answered: Vec<(RunId, u16)> = match sending {
            Sending::Put { run, attempt, name, bytes, step } => {
                let sha256 = hexadecimal(&bytes);
                let ask = Ask::Put { run, attempt, name: name.to_owned(), sha256: sha256.clone() };
                let put = client.put_artifact(run, attempt, name, &sha256, step, bytes);
                match shared.exchange(ask, put, |()| Answer::Stored).await {
                    None => return Step::Wait,
                    Some(outcome) => vec![(run, outcome.err().unwrap_or(200))],
                }
            }
            Sending::Reports(reports) if reports.len() == 1 => {
                let RunReport { run_id, report } = &reports[0];
                match shared.exchange(ask(&reports[0]), client.report(*run_id, report), |_| Answer::Stored).await {
                    None => return Step::Wait,
                    Some(outcome) => vec![(*run_id, outcome.err().unwrap_or(200))],
                }
            }
            Sending::Reports(reports) => {
                let exchanges: Vec<(usize, RunId)> =
                    reports.iter().map(|report| (shared.history.ask(ask(report)), report.run_id)).collect();
                let Ok(outcomes) = client.report_all(&Reports { reports }).await else { return Step::Wait };
                let mut answered = Vec::new();
                for ((exchange, run), outcome) in exchanges.into_iter().zip(outcomes) {
                    // A failure of the server within the answer: what became of the report is open.
                    let Some((answer, outcome)) = settle(outcome, |_| Answer::Stored) else { return Step::Wait };
                    shared.history.answer(exchange, answer);
                    answered.push((run, outcome.err().unwrap_or(200)));
                }
                answered
            }
        };
        self.pending = None;
        for (run, status) in answered {
            self.take_note(run, status, shared);
        }
        Step::Done
    }

    /// A run that was refused is dropped, and one that was told to its end.
    fn take_note(&mut self, run: RunId, status: u16, shared: &Shared) {
        let Some(place) = self.held.iter().position(|held| held.run == run) else { return };
        self.held[place].stage += 1;
        let ended = self.held[place].stage >= STAGES;
        if status != 200 || ended {
            self.held.remove(place);
        }
        if status == 200 && ended {
            shared.open().retain(|open| *open != run);
        }
    }
}

impl Held {
    fn report(&self) -> RunReport {
        let (run, stage) = (self.run, self.stage);
        let steps: Vec<u64> = (stage * STEPS..(stage + 1) * STEPS).collect();
        let series = ["loss", "distance"].map(|name| SeriesBatch {
            name: name.to_owned(),
            steps: steps.clone(),
            values: steps.iter().map(|step| Number(value(run, name, *step))).collect(),
            times: steps.iter().map(|step| 1_700_000_000_000 + *step as i64).collect(),
        });
        let line = LogLine { time: Timestamp(1_700_000_000_000), level: LogLevel::Info, message: format!("stage {stage}") };
        let outcome = if run.0 % 20 == 7 { Outcome::Failed } else { Outcome::Succeeded };
        let report = Report {
            attempt: self.attempt,
            metrics: series.into(),
            progress: Some(Progress { step: (stage + 1) * STEPS, total_steps: STAGES * STEPS, epoch: None, eta_seconds: None }),
            logs: vec![line],
            certificates: Vec::new(),
            left_out: Vec::new(),
            finish: (stage + 1 == STAGES).then(|| Finish { outcome, stop_reason: None, error: None, result: None }),
        };
        RunReport { run_id: run, report }
    }
}

fn ask(RunReport { run_id, report }: &RunReport) -> Ask {
    let points = report.metrics.iter().flat_map(|series| {
        let values = series.steps.iter().zip(&series.values);
        values.map(|(step, value)| Point { name: series.name.clone(), step: *step, bits: value.0.to_bits() })
    });
    let finish = report.finish.as_ref().map(|finish| finish.outcome);
    Ask::Report { run: *run_id, attempt: report.attempt, points: points.collect(), finish }
}

/// The value of a metric at a step: a double with all its bits in use, the same for every attempt.
pub fn value(run: RunId, name: &str, step: u64) -> f64 {
    let digest = Sha256::digest(format!("{run} {name} {step}"));
    let bits = digest.iter().take(7).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    bits as f64 / (1u64 << 56) as f64
}

/// The sha256 of some bytes, in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
