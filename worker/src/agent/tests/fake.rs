//! A server in memory: it gives out runs, notes every call that it takes, and fails those that a test wants to fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::watch;
use trainyard_wire::dataset::{Dataset, DatasetFile, DatasetKind, FileRole};
use trainyard_wire::worker::*;
use trainyard_wire::{DatasetId, JobId, Revision, RunId, Spec, Timestamp, WorkerId};

use super::super::server::{CallError, Pieces, Server, Upload};
use crate::data::files::sha256;

/// A call that reached the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Call {
    Register,
    Claim(WorkerId),
    Heartbeat(Vec<HeldRun>),
    Report(RunId, Report),
    /// Reports of several runs in one request; each is noted as a call of its own too.
    ReportAll(Vec<RunId>),
    Upload(RunId, String, Bytes),
    Checkpoint,
    Input(String),
    Dataset,
    DatasetFile,
}

type Fail = Box<dyn FnMut(&Call) -> Option<CallError> + Send>;

pub(super) struct State {
    pub(super) queue: VecDeque<ClaimedRun>,
    pub(super) calls: Vec<Call>,
    /// The word on every run.
    pub(super) directive: Directive,
    pub(super) drain: bool,
    pub(super) workers: i64,
    pub(super) checkpoint: Bytes,
    /// Files of runs that are no checkpoints.
    pub(super) inputs: BTreeMap<String, Bytes>,
    /// Files of datasets begin to arrive and never end.
    pub(super) stalled: bool,
    /// A CSV file that is the dataset of any name.
    pub(super) table: &'static str,
    fail: Fail,
}

#[derive(Clone)]
pub(super) struct FakeServer {
    state: Arc<Mutex<State>>,
    changes: Arc<watch::Sender<()>>,
    /// While a test holds it, claims are not answered.
    pub(super) answers: Arc<tokio::sync::Mutex<()>>,
    /// While a test holds it, reports are not taken.
    pub(super) reports: Arc<tokio::sync::Mutex<()>>,
}

impl FakeServer {
    pub(super) fn new() -> Self {
        let state = State {
            queue: VecDeque::new(),
            calls: Vec::new(),
            directive: Directive::Continue,
            drain: false,
            workers: 0,
            checkpoint: Bytes::new(),
            inputs: BTreeMap::new(),
            stalled: false,
            table: "",
            fail: Box::new(|_| None),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            changes: Arc::new(watch::Sender::new(())),
            answers: Arc::default(),
            reports: Arc::default(),
        }
    }

    /// Looks at the state or changes it.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let looked = look(&mut self.state.lock().unwrap());
        self.changes.send_replace(());
        looked
    }

    /// From now on calls fail with what `fail` says of them.
    pub(super) fn fail(&self, fail: impl FnMut(&Call) -> Option<CallError> + Send + 'static) {
        self.with(|state| state.fail = Box::new(fail));
    }

    pub(super) fn queue(&self, run_id: i64, spec: serde_json::Value) {
        self.queue_spec(run_id, Spec::from_value(spec, "").unwrap());
    }

    pub(super) fn queue_spec(&self, run_id: i64, spec: Spec) {
        let run = ClaimedRun {
            run_id: RunId(run_id),
            job_id: JobId(1),
            attempt: trainyard_wire::Attempt(1),
            spec,
            checkpoint: None,
            memory_bytes: 0,
        };
        self.with(|state| state.queue.push_back(run));
    }

    /// Waits until the state is as wanted.
    pub(super) async fn until(&self, mut wanted: impl FnMut(&State) -> bool) {
        let mut changes = self.changes.subscribe();
        let reached = async {
            loop {
                changes.mark_unchanged();
                if wanted(&self.state.lock().unwrap()) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), reached).await.is_err() {
            panic!("it never came to that; calls: {:#?}", self.with(|state| state.calls.clone()));
        }
    }

    /// The reports that were taken, in order.
    pub(super) fn reports(&self, run: i64) -> Vec<Report> {
        let of_run = |call: &Call| match call {
            Call::Report(id, report) if id.0 == run => Some(report.clone()),
            _ => None,
        };
        self.with(|state| state.calls.iter().filter_map(of_run).collect())
    }

    /// How a run was said to have ended.
    pub(super) async fn finish(&self, run: i64) -> Finish {
        let finished = |call: &Call| match call {
            Call::Report(id, report) if id.0 == run => report.finish.clone(),
            _ => None,
        };
        self.until(|state| state.calls.iter().any(|call| finished(call).is_some())).await;
        self.with(|state| state.calls.iter().find_map(finished).unwrap())
    }

    fn take_report(&self, run: RunId, report: &Report) -> Result<ReportAnswer, CallError> {
        self.take(Call::Report(run, report.clone()))?;
        Ok(ReportAnswer { directive: self.with(|state| state.directive) })
    }

    fn take(&self, call: Call) -> Result<(), CallError> {
        self.with(|state| match (state.fail)(&call) {
            Some(error) => Err(error),
            None => {
                state.calls.push(call);
                Ok(())
            }
        })
    }
}

impl Server for FakeServer {
    async fn register(&self, _: &Register) -> Result<Registered, CallError> {
        self.take(Call::Register)?;
        let worker_id = self.with(|state| {
            state.workers += 1;
            WorkerId(state.workers)
        });
        Ok(Registered { worker_id, lease_seconds: 1.0, heartbeat_seconds: 0.02 })
    }

    async fn claim(&self, claim: &ClaimRequest) -> Result<Claims, CallError> {
        self.take(Call::Claim(claim.worker_id))?;
        let runs: Vec<ClaimedRun> = self.with(|state| {
            let count = state.queue.len().min(claim.max as usize);
            state.queue.drain(..count).collect()
        });
        drop(self.answers.lock().await);
        if runs.is_empty() {
            tokio::time::sleep(Duration::from_secs_f64(claim.wait_seconds)).await;
        }
        Ok(Claims { runs })
    }

    async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, CallError> {
        self.take(Call::Heartbeat(heartbeat.runs.clone()))?;
        Ok(self.with(|state| HeartbeatAnswer { runs: vec![state.directive; heartbeat.runs.len()], drain: state.drain }))
    }

    async fn report(&self, run: RunId, report: &Report) -> Result<ReportAnswer, CallError> {
        drop(self.reports.lock().await);
        self.take_report(run, report)
    }

    async fn report_all(&self, reports: &Reports) -> Result<Vec<Result<ReportAnswer, CallError>>, CallError> {
        drop(self.reports.lock().await);
        self.take(Call::ReportAll(reports.reports.iter().map(|report| report.run_id).collect()))?;
        Ok(reports.reports.iter().map(|RunReport { run_id, report }| self.take_report(*run_id, report)).collect())
    }

    async fn upload(&self, run: HeldRun, upload: &Upload) -> Result<(), CallError> {
        assert_eq!(upload.sha256, sha256(&upload.bytes));
        self.take(Call::Upload(run.run_id, upload.name.clone(), upload.bytes.clone()))
    }

    async fn checkpoint(&self, _: HeldRun) -> Result<Bytes, CallError> {
        self.take(Call::Checkpoint)?;
        Ok(self.with(|state| state.checkpoint.clone()))
    }

    async fn input(&self, _: HeldRun, name: &str) -> Result<Bytes, CallError> {
        self.take(Call::Input(name.to_owned()))?;
        self.with(|state| state.inputs.get(name).cloned()).ok_or_else(|| CallError::NotFound(format!("no {name}")))
    }

    async fn dataset(&self, name: &str) -> Result<Dataset, CallError> {
        self.take(Call::Dataset)?;
        let table = self.with(|state| state.table);
        let size = table.len() as u64;
        let file = DatasetFile { role: FileRole::Csv, name: "t.csv".to_owned(), size, sha256: sha256(table.as_bytes()), records: 1 };
        Ok(Dataset {
            id: DatasetId(1),
            name: name.to_owned(),
            kind: DatasetKind::Table,
            sha256: sha256(b"manifest"),
            size,
            files: vec![file],
            columns: Vec::new(),
            labels: Vec::new(),
            created_at: Timestamp(0),
            revision: Revision(1),
        })
    }

    async fn dataset_file(&self, _: &str, _: &str) -> Result<Pieces, CallError> {
        self.take(Call::DatasetFile)?;
        let (table, stalled) = self.with(|state| (state.table, state.stalled));
        let pieces: Vec<Result<Bytes, CallError>> = table.as_bytes().chunks(5).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let pieces = futures::stream::iter(pieces);
        Ok(if stalled { pieces.take(1).chain(futures::stream::pending()).boxed() } else { pieces.boxed() })
    }
}
