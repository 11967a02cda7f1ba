//! Colouring pictures with the model of a finished run.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::run::Progress;
use crate::spec::picture::PictureFormat;
use crate::{RunId, RunState, Timestamp};

/// Most pictures that are kept of a run, the newest.
pub const MOST_COLOURIZED: u64 = 50;

/// A picture that was sent to be coloured: the answer of `POST /v1/runs/{id}/colourize`, and an item of `GET /v1/runs/{id}/colourized`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Colourized {
    /// The run that colours it, which lists of runs leave out. Its artifacts are the pictures.
    pub run_id: RunId,
    /// The run whose model it is coloured with.
    pub model_run_id: RunId,
    pub state: RunState,
    /// Why it was not coloured.
    pub error: Option<String>,
    pub progress: Progress,
    pub format: PictureFormat,
    /// In pixels, as they lie in the file.
    pub width: u64,
    pub height: u64,
    /// Bytes of the file that was sent.
    pub size: u64,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// The share of the pixels whose colour is the palette's nearest to the original's; null unless it was coloured and the original has
    /// colours.
    pub accuracy: Option<f64>,
    /// The address of the picture as it was sent.
    pub original: String,
    /// The addresses of the pictures that were made, PNG, null until they are there: what the network saw, its answer, and both beside
    /// each other (with the original where that has colours).
    pub grey: Option<String>,
    pub colourized: Option<String>,
    pub comparison: Option<String>,
}
