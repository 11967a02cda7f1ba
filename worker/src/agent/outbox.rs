//! What a run has said and the server has not heard yet.
//!
//! The trainer puts in, the reporter takes out; neither waits for the other's work. The box is bounded. While the server is away, a full
//! box is thinned: every second point of its longest series goes, so that the curve keeps its shape. Where the server answers but a
//! trainer is still faster than it (every step of a tiny problem recorded), nothing may be lost, and the trainer waits for room.
//!
//! Points leave in the order they came in, and a file leaves once the points that were recorded before it have: a checkpoint must not be
//! stored before the metrics that a run resumed from it will not record again.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, LogLine, Progress};
use trainyard_wire::{Number, Timestamp};

use super::held::Control;
use super::server::{CHECKPOINT, Upload};
use crate::data::files::sha256;
use crate::trainers::{Artifact, Session, Stop};

/// The bounds of a box.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Points of one report; as many are worth one before its time.
    pub(super) report_points: usize,
    pub(super) points: usize,
    pub(super) logs: usize,
    /// Bytes of files.
    pub(super) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { report_points: 5_000, points: 200_000, logs: 1_000, bytes: 256 << 20 }
    }
}

/// What one round of the reporter takes: told first, then uploaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batch {
    pub(super) metrics: Vec<SeriesBatch>,
    pub(super) progress: Option<Progress>,
    pub(super) logs: Vec<LogLine>,
    pub(super) certificates: Vec<Certificate>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) uploads: Vec<Upload>,
    /// More is waiting.
    pub(super) more: bool,
}

impl Batch {
    /// Whether there is anything to report, apart from files.
    pub(super) fn tells(&self) -> bool {
        let says = !self.logs.is_empty() || !self.certificates.is_empty() || !self.left_out.is_empty();
        says || !self.metrics.is_empty() || self.progress.is_some()
    }
}

/// A point of the series `series`, the `number`th of all that were put in.
#[derive(Clone, Copy, Debug)]
struct Point {
    number: u64,
    series: usize,
    step: u64,
    value: f64,
    time: i64,
}

/// A file with what becomes of it if the box is too full.
#[derive(Debug)]
struct Waiting {
    name: String,
    /// The number of points that were put in before it.
    after: u64,
    bytes: Bytes,
    checkpoint_step: Option<u64>,
    dispensable: bool,
}

#[derive(Debug, Default)]
struct Contents {
    /// The names of all series so far, in the order of their first points.
    series: Vec<&'static str>,
    points: VecDeque<Point>,
    /// How many points were put in so far.
    put: u64,
    progress: Option<Progress>,
    /// The step that the run was last known to be at, and the one at which it was told what its process takes.
    step: u64,
    usage_step: u64,
    logs: VecDeque<LogLine>,
    certificates: Vec<Certificate>,
    left_out: Vec<LeftOut>,
    files: VecDeque<Waiting>,
    connected: bool,
    thinned: bool,
}

/// The box of one run, and the trainer's session.
#[derive(Debug)]
pub(super) struct Outbox {
    contents: Mutex<Contents>,
    bounds: Bounds,
    room: Condvar,
    worth_a_report: Notify,
    control: Arc<Control>,
}

impl Outbox {
    pub(super) fn new(control: Arc<Control>, bounds: Bounds) -> Self {
        let contents = Mutex::new(Contents { connected: true, ..Contents::default() });
        Self { contents, bounds, room: Condvar::new(), worth_a_report: Notify::new(), control }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // No operation leaves the contents half changed.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is so much that it should not wait for the next regular report.
    pub(super) async fn worth_a_report(&self) {
        self.worth_a_report.notified().await;
    }

    /// Whether the server answers.
    pub(super) fn set_connected(&self, connected: bool) {
        self.contents().connected = connected;
        self.room.notify_all();
    }

    /// Puts in what the process takes of the machine, at the run's step; nothing where the run has not gone on since, or where there is no room.
    pub(super) fn note_usage(&self, values: &[(&'static str, f64)]) {
        let mut contents = self.contents();
        if contents.step <= contents.usage_step || contents.points.len() + values.len() > self.bounds.points {
            return;
        }
        let step = contents.step;
        for (name, value) in values {
            contents.usage_step = step;
            contents.put_point(name, step, *value);
        }
    }

    /// Takes a report's worth out, with the files for which all earlier points are out by then.
    pub(super) fn take(&self) -> Batch {
        let mut contents = self.contents();
        let mut batch = Batch {
            metrics: contents.take_points(self.bounds.report_points),
            progress: contents.progress.take(),
            logs: contents.logs.drain(..).collect(),
            certificates: std::mem::take(&mut contents.certificates),
            left_out: std::mem::take(&mut contents.left_out),
            ..Batch::default()
        };
        batch.more = !contents.points.is_empty();
        let taken = contents.taken();
        let ready = contents.files.iter().take_while(|file| file.after <= taken).count();
        let files: Vec<Waiting> = contents.files.drain(..ready).collect();
        drop(contents);
        self.room.notify_all();
        batch.uploads = files.into_iter().map(Waiting::into_upload).collect();
        batch
    }

    fn put_file(&self, mut file: Waiting) {
        let mut contents = self.contents();
        file.after = contents.put;
        // The newest of a name goes to the end, behind what was told before it, and replaces those that wait. But while points are still
        // before it, the one that is due first stays: a trainer that always has points to tell would else never get any file through.
        let mut stays = contents.taken() < file.after;
        contents.files.retain(|other| other.name != file.name || std::mem::take(&mut stays));
        contents.files.push_back(file);
        let size = |files: &VecDeque<Waiting>| files.iter().map(|file| file.bytes.len()).sum::<usize>();
        while size(&contents.files) > self.bounds.bytes
            && let Some(place) = contents.files.iter().position(|file| file.dispensable)
            && let Some(file) = contents.files.remove(place)
        {
            let message = format!("{} was left out: too much is waiting for the server", file.name);
            contents.log(LogLevel::Warn, message, self.bounds.logs);
        }
        drop(contents);
        self.worth_a_report.notify_one();
    }
}

impl Contents {
    /// How many of the points that were put in are out, by report or by thinning; none behind them is.
    fn taken(&self) -> u64 {
        self.points.front().map_or(self.put, |point| point.number)
    }

    fn put_point(&mut self, name: &'static str, step: u64, value: f64) {
        let series = self.series.iter().position(|series| *series == name).unwrap_or_else(|| {
            self.series.push(name);
            self.series.len() - 1
        });
        let number = self.put;
        self.put += 1;
        self.points.push_back(Point { number, series, step, value, time: Timestamp::now().0 });
    }

    /// Takes the oldest points out, up to `most`.
    fn take_points(&mut self, most: usize) -> Vec<SeriesBatch> {
        let named = |name: &&str| SeriesBatch { name: (*name).to_owned(), ..SeriesBatch::default() };
        let mut batches: Vec<SeriesBatch> = self.series.iter().map(named).collect();
        for point in self.points.drain(..most.min(self.points.len())) {
            let batch = &mut batches[point.series];
            batch.steps.push(point.step);
            batch.values.push(Number(point.value));
            batch.times.push(point.time);
        }
        batches.retain(|batch| !batch.steps.is_empty());
        batches
    }

    /// Removes every second point of the longest series, but not its ends.
    fn thin(&mut self, most_logs: usize) {
        let mut lengths = vec![0_usize; self.series.len()];
        self.points.iter().for_each(|point| lengths[point.series] += 1);
        let Some((longest, &length)) = lengths.iter().enumerate().max_by_key(|(_, length)| **length).filter(|(_, length)| **length > 2)
        else {
            return;
        };
        let mut index = 0;
        self.points.retain(|point| {
            let place = index;
            index += usize::from(point.series == longest);
            point.series != longest || place.is_multiple_of(2) || place == length - 1
        });
        if !self.thinned {
            self.thinned = true;
            let message = "points of long series were left out: too many were waiting for the server".to_owned();
            self.log(LogLevel::Warn, message, most_logs);
        }
    }

    fn log(&mut self, level: LogLevel, message: String, most: usize) {
        self.logs.push_back(LogLine { time: Timestamp::now(), level, message });
        if self.logs.len() > most {
            self.logs.pop_front();
        }
    }
}

impl Waiting {
    fn into_upload(self) -> Upload {
        let Self { name, bytes, checkpoint_step, .. } = self;
        Upload { sha256: sha256(&bytes), name, bytes, checkpoint_step }
    }
}

impl Session for Outbox {
    fn metric(&self, name: &'static str, step: u64, value: f64) {
        let mut contents = self.contents();
        while contents.points.len() >= self.bounds.points {
            self.worth_a_report.notify_one();
            if contents.connected && self.control.stop().is_none() {
                let waited = self.room.wait_timeout(contents, Duration::from_millis(100));
                contents = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                let before = contents.points.len();
                contents.thin(self.bounds.logs);
                if contents.points.len() == before {
                    break;
                }
            }
        }
        contents.put_point(name, step, value);
        if contents.points.len() == self.bounds.report_points {
            self.worth_a_report.notify_one();
        }
    }

    fn progress(&self, progress: Progress) {
        let mut contents = self.contents();
        contents.step = progress.step;
        contents.progress = Some(progress);
    }

    fn log(&self, level: LogLevel, message: String) {
        self.contents().log(level, message, self.bounds.logs);
    }

    fn certificates(&self, certificates: Vec<Certificate>) {
        self.contents().certificates.extend(certificates);
    }

    fn left_out(&self, left_out: Vec<LeftOut>) {
        self.contents().left_out.extend(left_out);
    }

    fn save_artifact(&self, artifact: Artifact) {
        let Artifact { name, bytes, dispensable } = artifact;
        self.put_file(Waiting { name, after: 0, bytes, checkpoint_step: None, dispensable });
    }

    fn save_checkpoint(&self, step: u64, bytes: Bytes) {
        self.put_file(Waiting { name: CHECKPOINT.to_owned(), after: 0, bytes, checkpoint_step: Some(step), dispensable: false });
    }

    fn stop(&self) -> Option<Stop> {
        self.control.stop()
    }
}
