//! What a run has said and the server has not heard yet.
//!
//! The trainer puts in, the reporter takes out; neither waits for the other's work. The box is bounded. While the server is away, a full
//! box is thinned: every second point of its longest series goes, so that the curve keeps its shape. Where the server answers but a
//! trainer is still faster than it (every step of a tiny problem recorded), nothing may be lost, and the trainer waits for room.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{Certificate, LogLevel, LogLine, Progress};
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
    pub(super) uploads: Vec<Upload>,
    /// More is waiting.
    pub(super) more: bool,
}

impl Batch {
    /// Whether there is anything to report, apart from files.
    pub(super) fn tells(&self) -> bool {
        !self.metrics.is_empty() || self.progress.is_some() || !self.logs.is_empty() || !self.certificates.is_empty()
    }
}

/// A file with what becomes of it if the box is too full.
#[derive(Debug)]
struct Waiting {
    name: String,
    bytes: Bytes,
    checkpoint_step: Option<u64>,
    dispensable: bool,
}

#[derive(Debug, Default)]
struct Contents {
    series: Vec<SeriesBatch>,
    points: usize,
    progress: Option<Progress>,
    logs: VecDeque<LogLine>,
    certificates: Vec<Certificate>,
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

    /// Takes a report's worth out. Files come out only once everything that was told before them has: a checkpoint must not be stored
    /// before the metrics that a run resumed from it will not record again.
    pub(super) fn take(&self) -> Batch {
        let mut contents = self.contents();
        let mut batch = Batch {
            metrics: contents.take_points(self.bounds.report_points),
            progress: contents.progress.take(),
            logs: contents.logs.drain(..).collect(),
            certificates: std::mem::take(&mut contents.certificates),
            ..Batch::default()
        };
        batch.more = contents.points > 0;
        let files = if batch.more { VecDeque::new() } else { std::mem::take(&mut contents.files) };
        drop(contents);
        self.room.notify_all();
        batch.uploads = files.into_iter().map(Waiting::into_upload).collect();
        batch
    }

    fn put_file(&self, file: Waiting) {
        let mut contents = self.contents();
        // The newest of a name takes its place at the end, behind what was told before it.
        contents.files.retain(|other| other.name != file.name);
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
    /// Takes up to `most` points out, from the front of each series in proportion to its length.
    fn take_points(&mut self, most: usize) -> Vec<SeriesBatch> {
        if self.points <= most {
            self.points = 0;
            return std::mem::take(&mut self.series);
        }
        let total = self.points;
        let mut taken = Vec::with_capacity(self.series.len());
        for series in &mut self.series {
            let count = (series.steps.len() * most / total).max(1).min(series.steps.len());
            self.points -= count;
            taken.push(SeriesBatch {
                name: series.name.clone(),
                steps: series.steps.drain(..count).collect(),
                values: series.values.drain(..count).collect(),
                times: series.times.drain(..count).collect(),
            });
        }
        self.series.retain(|series| !series.steps.is_empty());
        taken
    }

    /// Removes every second point of the longest series, but not its ends.
    fn thin(&mut self, most_logs: usize) {
        let Some(series) = self.series.iter_mut().max_by_key(|series| series.steps.len()).filter(|series| series.steps.len() > 2) else {
            return;
        };
        let last = series.steps.len() - 1;
        let keep = |index: usize| index.is_multiple_of(2) || index == last;
        let mut index = 0..;
        series.steps.retain(|_| index.next().is_some_and(keep));
        let mut index = 0..;
        series.values.retain(|_| index.next().is_some_and(keep));
        let mut index = 0..;
        series.times.retain(|_| index.next().is_some_and(keep));
        self.points -= last + 1 - series.steps.len();
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
        while contents.points >= self.bounds.points {
            self.worth_a_report.notify_one();
            if contents.connected && self.control.stop().is_none() {
                let waited = self.room.wait_timeout(contents, Duration::from_millis(100));
                contents = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                let before = contents.points;
                contents.thin(self.bounds.logs);
                if contents.points == before {
                    break;
                }
            }
        }
        let time = Timestamp::now().0;
        let place = contents.series.iter().position(|series| series.name == name).unwrap_or_else(|| {
            contents.series.push(SeriesBatch { name: name.to_owned(), ..SeriesBatch::default() });
            contents.series.len() - 1
        });
        let series = &mut contents.series[place];
        series.steps.push(step);
        series.values.push(Number(value));
        series.times.push(time);
        contents.points += 1;
        if contents.points == self.bounds.report_points {
            self.worth_a_report.notify_one();
        }
    }

    fn progress(&self, progress: Progress) {
        self.contents().progress = Some(progress);
    }

    fn log(&self, level: LogLevel, message: String) {
        self.contents().log(level, message, self.bounds.logs);
    }

    fn certificates(&self, certificates: Vec<Certificate>) {
        self.contents().certificates.extend(certificates);
    }

    fn save_artifact(&self, artifact: Artifact) {
        let Artifact { name, bytes, dispensable } = artifact;
        self.put_file(Waiting { name, bytes, checkpoint_step: None, dispensable });
    }

    fn save_checkpoint(&self, step: u64, bytes: Bytes) {
        self.put_file(Waiting { name: CHECKPOINT.to_owned(), bytes, checkpoint_step: Some(step), dispensable: false });
    }

    fn stop(&self) -> Option<Stop> {
        self.control.stop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(bounds: Bounds) -> Outbox {
        Outbox::new(Arc::default(), bounds)
    }

    fn steps(batch: &Batch) -> Vec<u64> {
        batch.metrics.iter().flat_map(|series| series.steps.clone()).collect()
    }

    fn names(batch: &Batch) -> Vec<&str> {
        batch.uploads.iter().map(|upload| upload.name.as_str()).collect()
    }

    fn picture(name: &str, size: usize) -> Artifact {
        Artifact { name: name.to_owned(), bytes: vec![0; size].into(), dispensable: true }
    }

    #[test]
    fn files_wait_for_every_point_that_was_recorded_before_them() {
        let outbox = outbox(Bounds { report_points: 3, ..Bounds::default() });
        (0..7).for_each(|step| outbox.metric("loss", step, 0.5));
        outbox.save_checkpoint(7, Bytes::from_static(b"weights"));
        let batches: Vec<Batch> = (0..3).map(|_| outbox.take()).collect();
        assert_eq!(batches.iter().map(steps).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(batches.iter().map(names).collect::<Vec<_>>(), [vec![], vec![], vec![CHECKPOINT]]);
        assert_eq!(batches.iter().map(|batch| batch.more).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(batches[2].uploads[0].checkpoint_step, Some(7));
        assert_eq!(outbox.take(), Batch::default());
    }

    #[test]
    fn a_newer_file_of_a_name_replaces_the_waiting_one_and_goes_last() {
        let outbox = outbox(Bounds::default());
        outbox.save_checkpoint(1, Bytes::from_static(b"1"));
        outbox.save_artifact(picture("samples/epoch-001.png", 1));
        outbox.save_checkpoint(2, Bytes::from_static(b"2"));
        let batch = outbox.take();
        assert_eq!(names(&batch), ["samples/epoch-001.png", CHECKPOINT]);
        assert_eq!((batch.uploads[1].checkpoint_step, &batch.uploads[1].bytes[..]), (Some(2), &b"2"[..]));
        assert_eq!(batch.uploads[1].sha256, sha256(b"2"));
    }

    #[test]
    fn without_a_server_a_full_box_is_thinned_and_keeps_its_ends() {
        let outbox = outbox(Bounds { points: 100, ..Bounds::default() });
        outbox.set_connected(false);
        outbox.metric("val_loss", 1, 2.0);
        (0..10_000).for_each(|step| outbox.metric("loss", step, step as f64));
        let batch = outbox.take();
        let losses = &batch.metrics[1];
        assert!(losses.steps.len() <= 99, "{}", losses.steps.len());
        assert_eq!((losses.steps.first(), losses.steps.last()), (Some(&0), Some(&9999)));
        assert!(losses.steps.iter().zip(&losses.values).all(|(step, value)| value.0 == *step as f64));
        assert!(losses.steps.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(losses.times.len(), losses.steps.len());
        assert_eq!(batch.metrics[0].steps, [1]);
        assert_eq!(batch.logs.len(), 1);
    }

    #[test]
    fn with_a_server_a_fast_trainer_waits_and_loses_nothing() {
        let outbox = outbox(Bounds { points: 10, report_points: 4, ..Bounds::default() });
        let taken = std::thread::scope(|scope| {
            scope.spawn(|| (0..1000).for_each(|step| outbox.metric("loss", step, 0.0)));
            let mut taken = Vec::new();
            while taken.len() < 1000 {
                taken.extend(steps(&outbox.take()));
            }
            taken
        });
        assert_eq!(taken, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn too_many_pictures_push_the_oldest_out_but_never_a_model() {
        let outbox = outbox(Bounds { bytes: 25, ..Bounds::default() });
        outbox.save_artifact(Artifact { dispensable: false, ..picture("model.safetensors", 20) });
        outbox.save_artifact(picture("a.png", 4));
        outbox.save_artifact(picture("b.png", 4));
        outbox.save_checkpoint(3, vec![0; 10].into());
        let batch = outbox.take();
        assert_eq!(names(&batch), ["model.safetensors", CHECKPOINT]);
        assert_eq!(batch.logs.len(), 2);
    }

    #[test]
    fn many_series_share_a_report() {
        let outbox = outbox(Bounds { report_points: 10, ..Bounds::default() });
        for step in 0..30 {
            outbox.metric("loss", step, 0.0);
            if step % 10 == 0 {
                outbox.metric("val_loss", step, 0.0);
            }
        }
        let first = outbox.take();
        assert_eq!(first.metrics.iter().map(|series| series.steps.len()).collect::<Vec<_>>(), [9, 1]);
        let mut total = 10;
        loop {
            let batch = outbox.take();
            total += steps(&batch).len();
            if !batch.more {
                break;
            }
        }
        assert_eq!(total, 33);
    }
}
