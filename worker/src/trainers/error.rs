//! Why a run cannot be trained.

use trainyard_gpu::GpuError;

use super::checkpoint::CheckpointError;
use crate::data::DataError;
use crate::networks::NetworkError;
use crate::optimizers::StateError;

/// What makes a run fail, apart from divergence, which is an outcome.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The data are not what the spec says, or cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The checkpoint cannot be written or resumed from.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The spec and the problem do not fit each other.
    #[error("{0}")]
    Spec(String),
    /// The network could not be built, run or saved.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The GPU failed, or has no room for the run.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// A tensor operation failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    /// A picture that was sent cannot be decoded.
    #[error("the picture cannot be read: {0}")]
    Unreadable(String),
    /// A picture could not be written.
    #[error("cannot write a picture: {0}")]
    Picture(#[from] image::ImageError),
    /// What was counted could not be written as JSON.
    #[error("cannot write a file of counts: {0}")]
    Counts(#[from] serde_json::Error),
}

impl From<StateError> for TrainError {
    fn from(error: StateError) -> Self {
        Self::Checkpoint(error.into())
    }
}
