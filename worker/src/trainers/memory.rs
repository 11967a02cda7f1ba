//! A session in memory, for tests of trainers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, Progress};

use super::session::{Artifact, Session, Stop};

/// Keeps all that a trainer says, and stops it when it asks for the n-th time.
#[derive(Debug, Default)]
pub(crate) struct MemorySession {
    pub(crate) metrics: RefCell<BTreeMap<&'static str, BTreeMap<u64, f64>>>,
    pub(crate) progress: RefCell<Vec<Progress>>,
    pub(crate) logs: RefCell<Vec<String>>,
    pub(crate) certificates: RefCell<Vec<Certificate>>,
    pub(crate) left_out: RefCell<Vec<LeftOut>>,
    pub(crate) artifacts: RefCell<BTreeMap<String, Bytes>>,
    pub(crate) checkpoints: RefCell<Vec<(u64, Bytes)>>,
    pub(crate) asked: Cell<u64>,
    stop_at: Option<(u64, Stop)>,
}

impl MemorySession {
    /// Answers the question number `asked` (from 0), and all after it, with `stop`.
    pub(crate) fn stopping_at(asked: u64, stop: Stop) -> Self {
        Self { stop_at: Some((asked, stop)), ..Self::default() }
    }

    /// The values of a metric in the order of their steps.
    pub(crate) fn series(&self, name: &str) -> Vec<(u64, f64)> {
        self.metrics.borrow().get(name).map(|points| points.iter().map(|(step, value)| (*step, *value)).collect()).unwrap_or_default()
    }

    pub(crate) fn last_checkpoint(&self) -> Option<Bytes> {
        self.checkpoints.borrow().last().map(|(_, bytes)| bytes.clone())
    }

    pub(crate) fn artifact(&self, name: &str) -> Bytes {
        self.artifacts.borrow().get(name).cloned().unwrap_or_else(|| panic!("no artifact {name}"))
    }
}

impl Session for MemorySession {
    fn metric(&self, name: &'static str, step: u64, value: f64) {
        self.metrics.borrow_mut().entry(name).or_default().insert(step, value);
    }

    fn progress(&self, progress: Progress) {
        self.progress.borrow_mut().push(progress);
    }

    fn log(&self, _level: LogLevel, message: String) {
        self.logs.borrow_mut().push(message);
    }

    fn certificates(&self, certificates: Vec<Certificate>) {
        self.certificates.borrow_mut().extend(certificates);
    }

    fn left_out(&self, left_out: Vec<LeftOut>) {
        self.left_out.borrow_mut().extend(left_out);
    }

    fn save_artifact(&self, artifact: Artifact) {
        self.artifacts.borrow_mut().insert(artifact.name, artifact.bytes);
    }

    fn save_checkpoint(&self, step: u64, bytes: Bytes) {
        self.checkpoints.borrow_mut().push((step, bytes));
    }

    fn stop(&self) -> Option<Stop> {
        let asked = self.asked.replace(self.asked.get() + 1);
        self.stop_at.filter(|(at, _)| asked >= *at).map(|(_, stop)| stop)
    }
}
