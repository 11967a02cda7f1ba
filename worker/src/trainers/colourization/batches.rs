//! Training batches: which images a step sees, and their tensors.

use candle_core::{Device, Tensor};
use trainyard_theory::random::permutation_into;
use trainyard_wire::spec::ColourizationSpec;

use crate::data::Prepared;
use crate::data::prepared::Examples;

/// The batches of a run, in file order or in a fresh permutation each epoch. Any batch can be asked for, so that a resumed run needs
/// nothing but its position.
#[derive(Debug)]
pub(super) struct Batches {
    order: Vec<usize>,
    size: usize,
    /// The seed of the permutations; none for file order.
    seed: Option<u64>,
    /// The epoch that `order` belongs to.
    epoch: Option<u64>,
}

impl Batches {
    pub(super) fn new(spec: &ColourizationSpec, images: usize) -> Self {
        let size = usize::try_from(spec.batch_size).unwrap_or(usize::MAX).clamp(1, images.max(1));
        Self { order: (0..images).collect(), size, seed: spec.shuffle.then_some(spec.seed), epoch: None }
    }

    /// Images in the largest batch: no pass through the network needs to hold more.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Steps in an epoch.
    pub(super) fn per_epoch(&self) -> u64 {
        self.order.len().div_ceil(self.size) as u64
    }

    /// The images of batch `batch` (from 0) of epoch `epoch` (from 0). The last batch of an epoch may be smaller.
    pub(super) fn of(&mut self, epoch: u64, batch: u64) -> Vec<usize> {
        if let Some(seed) = self.seed
            && self.epoch != Some(epoch)
        {
            permutation_into(seed, epoch, &mut self.order);
            self.epoch = Some(epoch);
        }
        let images = self.order.chunks(self.size).nth(usize::try_from(batch).unwrap_or(usize::MAX));
        images.unwrap_or_default().to_vec()
    }
}

/// Grey `[N, 1, H, W]` and classes `[N, H, W]` of some images.
pub(super) fn tensors(
    prepared: &Prepared,
    examples: &Examples,
    images: impl ExactSizeIterator<Item = usize>,
    device: &Device,
) -> candle_core::Result<(Tensor, Tensor)> {
    let (height, width, pixels) = (prepared.height, prepared.width, prepared.pixels());
    let (mut grey, mut classes) = (Vec::with_capacity(images.len() * pixels), Vec::with_capacity(images.len() * pixels));
    for image in images {
        let range = image * pixels..(image + 1) * pixels;
        grey.extend_from_slice(&examples.grey[range.clone()]);
        classes.extend_from_slice(&examples.classes[range]);
    }
    let count = classes.len() / pixels;
    Ok((Tensor::from_vec(grey, (count, 1, height, width), device)?, Tensor::from_vec(classes, (count, height, width), device)?))
}
