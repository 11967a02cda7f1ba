//! The trainers: from a spec to a trained model, without knowing where metrics and files go.
//!
//! [`train`] runs one attempt of one run on the calling thread. All that it has to say goes through a [`Session`], and before each
//! step it asks the session whether to stop. Every random draw is a function of (seed, purpose, index), and a
//! [`checkpoint`] holds every number that later steps depend on: an attempt that begins with one ends at the same bits as a run
//! that was never interrupted.

mod card;
pub mod checkpoint;
mod colourization;
mod error;
mod hypergradient;
#[cfg(test)]
pub(crate) mod memory;
mod optimizer;
mod pace;
mod picture;
mod regression;
mod regularization_pair;
pub mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use candle_core::Device;
use trainyard_wire::{Spec, StopReason};

use crate::data::{LocalDataset, PreparedCache, ProblemCache};
pub use card::Card;
pub use error::TrainError;
pub use picture::PictureInputs;
pub use session::{Artifact, Session, Stop};

/// What one attempt begins with.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub spec: Spec,
    /// The uploaded dataset that the spec names, on this machine.
    pub dataset: Option<LocalDataset>,
    /// The `checkpoint.safetensors` of an earlier attempt.
    pub checkpoint: Option<Bytes>,
    /// What a run that colours a picture needs.
    pub picture: Option<PictureInputs>,
}

/// What a worker's runs share.
#[derive(Clone, Debug)]
pub struct Workshop {
    /// What networks are trained on where there is no card.
    pub device: Device,
    /// The GPU, where there is one to train on.
    pub card: Option<Arc<Card>>,
    /// Image sets that are ready for training.
    pub prepared: Arc<PreparedCache>,
    /// Regression problems with their spectra.
    pub problems: Arc<ProblemCache>,
    /// Time between two checkpoints of a regression, of a pair of them, or of a hypergradient.
    pub regression_checkpoint: Duration,
    /// Most time between two checkpoints of a colourization, which also has one at the end of each epoch.
    pub colourization_checkpoint: Duration,
}

impl Workshop {
    /// With the usual times: 5 s for a regression, 10 s for a colourization.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            card: None,
            prepared: Arc::new(PreparedCache::default()),
            problems: Arc::new(ProblemCache::default()),
            regression_checkpoint: Duration::from_secs(5),
            colourization_checkpoint: Duration::from_secs(10),
        }
    }
}

impl Workshop {
    /// As it is, with a GPU.
    #[must_use]
    pub fn with_card(mut self, card: Card) -> Self {
        self.card = Some(Arc::new(card));
        self
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The run is done.
    Succeeded { stop_reason: StopReason, result: serde_json::Value },
    /// The loss went to NaN, to infinity or over 10⁸ times the first; the sentence says which and when.
    Diverged { error: String },
    /// It was asked to stop.
    Stopped(Stop),
}

/// Trains until the run is done or the session says stop.
///
/// # Errors
/// [`TrainError`] where the run cannot be trained: it has failed.
pub fn train(assignment: &Assignment, workshop: &Workshop, session: &dyn Session) -> Result<Ended, TrainError> {
    match &assignment.spec {
        Spec::Regression(spec) => regression::train(spec, assignment, workshop, session),
        Spec::RegularizationPair(spec) => regularization_pair::train(spec, assignment, workshop, session),
        Spec::Hypergradient(spec) => hypergradient::train(spec, assignment, workshop, session),
        Spec::Colourization(spec) => colourization::train(spec, assignment, workshop, session),
        Spec::Picture(spec) => picture::colour(spec, assignment, workshop, session),
        Spec::External(_) => Err(TrainError::Spec("an external run is not trained here".to_owned())),
    }
}
