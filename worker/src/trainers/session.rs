//! What a trainer tells and asks while it trains.

use bytes::Bytes;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, Progress};

/// Why a trainer is to stop before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The worker ends: checkpoint, so that the next one goes on from here.
    Release,
    /// Someone asked for a pause: checkpoint.
    Pause,
    /// Someone cancelled the run: nothing needs to be kept.
    Cancel,
    /// It takes more memory than the worker allows: it has failed.
    Memory,
    /// The run is another worker's now, or cannot be reported on: nothing that is said will be heard.
    Drop,
}

impl Stop {
    /// Whether the run goes on from here later.
    pub fn keeps_position(self) -> bool {
        matches!(self, Self::Release | Self::Pause)
    }
}

/// A file of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// `model.safetensors`, `samples/epoch-025.png`, …; its ending tells the content type.
    pub name: String,
    pub bytes: Bytes,
    /// It is a picture of the way, one of many, which may be left out if the server stays away for long.
    pub dispensable: bool,
}

/// A trainer's only way out: where its metrics and files go and whether it is to stop. No call waits for anything but,
/// at most, room in a buffer.
///
/// What is told before a checkpoint or an artifact is stored before it.
pub trait Session {
    /// One point of a metric.
    fn metric(&self, name: &'static str, step: u64, value: f64);

    /// How far the run is; replaces what was said before.
    fn progress(&self, progress: Progress);

    /// A line of the run's log.
    fn log(&self, level: LogLevel, message: String);

    /// Replaces the certificates of the same claims.
    fn certificates(&self, certificates: Vec<Certificate>);

    /// What cannot be certified on this run; replaces what was said of the same claims.
    fn left_out(&self, left_out: Vec<LeftOut>);

    /// Stores a file, over one of the same name.
    fn save_artifact(&self, artifact: Artifact);

    /// Stores all that is needed to go on from optimizer step `step`, over the checkpoint before it.
    fn save_checkpoint(&self, step: u64, bytes: Bytes);

    /// Whether to stop. Cheap: it is asked before every step.
    fn stop(&self) -> Option<Stop>;
}
