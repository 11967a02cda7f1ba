//! What a run has said and the server has not heard yet.
//!
//! The trainer puts in, the reporter takes out; neither waits for the other's work. The box is bounded. While the server is away, a full
//! box is thinned: every second point of its longest series goes, so that the curve keeps its shape. Where the server answers but a
//! trainer is still faster than it (every step of a tiny problem recorded), nothing may be lost, and the trainer waits for room.
//!
//! Points leave in the order they came in, and a file leaves once the points that were recorded before it have: a checkpoint must not be
//! stored before the metrics that a run resumed from it will not record again.

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

    /// Takes a report's worth out, with the files for which all earlier points are out by then.
    pub(super) fn take(&self) -> Batch {
        let mut contents = self.contents();
        let mut batch = Batch {
            metrics: contents.take_points(self.bounds.report_points),
            progress: contents.progress.take(),
            logs: contents.logs.drain(..).collect(),
            certificates: std::mem::take(&mut contents.certificates),
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
        let series = contents.series.iter().position(|series| *series == name).unwrap_or_else(|| {
            contents.series.push(name);
            contents.series.len() - 1
        });
        let number = contents.put;
        contents.put += 1;
        contents.points.push_back(Point { number, series, step, value, time: Timestamp::now().0 });
        if contents.points.len() == self.bounds.report_points {
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
        self.put_file(Waiting { name, after: 0, bytes, checkpoint_step: None, dispensable });
    }

    fn save_checkpoint(&self, step: u64, bytes: Bytes) {
        self.put_file(Waiting { name: CHECKPOINT.to_owned(), after: 0, bytes, checkpoint_step: Some(step), dispensable: false });
    }

    fn stop(&self) -> Option<Stop> {
        self.control.stop()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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
    fn a_trainer_that_always_has_points_to_tell_gets_its_checkpoints_through_each_behind_its_own_points() {
        let outbox = outbox(Bounds { report_points: 3, ..Bounds::default() });
        let mut told = BTreeSet::new();
        let mut arrived = Vec::new();
        // Four points come in for three that go out, with a checkpoint and a picture of a name of its own each time.
        for round in 0..20_u64 {
            (0..4).for_each(|index| outbox.metric(["loss", "val_loss"][index as usize % 2], 4 * round + index, 0.5));
            outbox.save_checkpoint(4 * (round + 1), Bytes::from_static(b"weights"));
            outbox.save_artifact(picture(&format!("samples/{round}.png"), 1));
            let batch = outbox.take();
            assert!(batch.more);
            told.extend(steps(&batch));
            for step in batch.uploads.iter().filter_map(|upload| upload.checkpoint_step) {
                assert!((0..step).all(|before| told.contains(&before)), "{step}: {told:?}");
                arrived.push(step);
            }
        }
        assert!(arrived.len() >= 5 && arrived.is_sorted(), "{arrived:?}");
        loop {
            let batch = outbox.take();
            arrived.extend(batch.uploads.iter().filter_map(|upload| upload.checkpoint_step));
            if !batch.more {
                break;
            }
        }
        assert_eq!(arrived.last(), Some(&80));
    }

    #[test]
    fn of_many_checkpoints_behind_the_same_points_the_first_and_the_newest_wait() {
        let outbox = outbox(Bounds { report_points: 2, ..Bounds::default() });
        for step in 1..=4 {
            outbox.metric("loss", step, 0.5);
            outbox.save_checkpoint(step, Bytes::from_static(b"weights"));
        }
        let arrived = |batch: Batch| batch.uploads.iter().filter_map(|upload| upload.checkpoint_step).collect::<Vec<_>>();
        assert_eq!([arrived(outbox.take()), arrived(outbox.take())], [vec![1], vec![4]]);
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
