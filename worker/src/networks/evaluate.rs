//! Loss and accuracy of a network on images it is not trained on.

use candle_core::Tensor;

use super::functional::class_indices;
use super::{ColourizationNetwork, NetworkError, Result};
use crate::kernels::cross_entropy::{Score, score};

/// What [`evaluate`] measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evaluation {
    /// Cross-entropy averaged over all pixels, in nats.
    pub loss: f64,
    /// Share of pixels whose largest logit is their class, in [0, 1].
    pub accuracy: f64,
}

/// Evaluates in batches, as batch size bounds the memory: grey `[M, in_channels, H, W]`, classes u8 or u32 `[M, H, W]`.
///
/// # Errors
/// [`NetworkError::Input`] where shapes or classes do not fit, or there is nothing to evaluate.
pub fn evaluate(network: &dyn ColourizationNetwork, grey: &Tensor, classes: &Tensor, batch_size: usize) -> Result<Evaluation> {
    let images = grey.dims().first().copied().unwrap_or(0);
    if images == 0 || batch_size == 0 || classes.dims().first() != Some(&images) {
        return Err(NetworkError::Input(format!(
            "evaluation of {:?} images with classes {:?} in batches of {batch_size}",
            grey.dims(),
            classes.dims()
        )));
    }
    let mut total = Score::default();
    for start in (0..images).step_by(batch_size) {
        let len = batch_size.min(images - start);
        total += network.score(&grey.narrow(0, start, len)?, &classes.narrow(0, start, len)?)?;
    }
    let (loss, accuracy) = total.means();
    Ok(Evaluation { loss, accuracy })
}

/// Scores logits `[N, C, H, W]` against classes u8 or u32 `[N, H, W]`.
///
/// # Errors
/// [`NetworkError::Input`] where shapes or classes do not fit.
pub fn score_logits(logits: &Tensor, classes: &Tensor) -> Result<Score> {
    let indices = class_indices(logits.dims(), classes).map_err(|error| NetworkError::Input(error.to_string()))?;
    let (_, colours, height, width) = logits.dims4()?;
    let values = logits.flatten_all()?.to_vec1::<f32>()?;
    Ok(score(&values, &indices, colours, height * width))
}
