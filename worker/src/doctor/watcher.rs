//! A session that keeps what a run says.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, Progress};

use crate::trainers::{Artifact, Session, Stop};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    metrics: RefCell<BTreeMap<&'static str, Vec<(u64, f64)>>>,
    artifacts: RefCell<BTreeMap<String, Bytes>>,
    checkpoint: RefCell<Option<Bytes>>,
    log: RefCell<Vec<String>>,
    asked: Cell<u64>,
    stop_after: Option<u64>,
}

impl Watcher {
    /// Stops the run when it has asked that often whether to.
    pub(super) fn stopping_after(asked: u64) -> Self {
        Self { stop_after: Some(asked), ..Self::default() }
    }

    /// An artifact's bytes, none where there is none.
    pub(super) fn artifact(&self, name: &str) -> Vec<u8> {
        self.artifacts.borrow().get(name).map(|bytes| bytes.to_vec()).unwrap_or_default()
    }

    /// The last checkpoint.
    pub(super) fn checkpoint(&self) -> Option<Bytes> {
        self.checkpoint.borrow().clone()
    }

    /// All lines.
    pub(super) fn log(&self) -> String {
        self.log.borrow().join("; ")
    }

    /// The (upper) median of a metric after a step; NaN where it has no values.
    pub(super) fn median(&self, name: &str, after: u64) -> f64 {
        let metrics = self.metrics.borrow();
        let points = metrics.get(name).into_iter().flatten().filter(|(step, _)| *step > after);
        let mut values: Vec<f64> = points.map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl Session for Watcher {
    fn metric(&self, name: &'static str, step: u64, value: f64) {
        self.metrics.borrow_mut().entry(name).or_default().push((step, value));
    }

    fn progress(&self, _progress: Progress) {}

    fn log(&self, _level: LogLevel, message: String) {
        self.log.borrow_mut().push(message);
    }

    fn certificates(&self, _certificates: Vec<Certificate>) {}

    fn left_out(&self, _left_out: Vec<LeftOut>) {}

    fn save_artifact(&self, artifact: Artifact) {
        self.artifacts.borrow_mut().insert(artifact.name, artifact.bytes);
    }

    fn save_checkpoint(&self, _step: u64, bytes: Bytes) {
        *self.checkpoint.borrow_mut() = Some(bytes);
    }

    fn stop(&self) -> Option<Stop> {
        let asked = self.asked.replace(self.asked.get() + 1);
        self.stop_after.filter(|after| asked >= *after).map(|_| Stop::Release)
    }
}
