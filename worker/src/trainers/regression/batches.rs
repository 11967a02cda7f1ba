//! Mini-batches without replacement: each epoch's permutation of the examples, a function of (seed, epoch), cut into batches.

use trainyard_theory::random::permutation_into;

/// The batches of a run. Any step can be asked for, so that a resumed run needs nothing but its step number.
#[derive(Debug)]
pub(in super::super) struct Batches {
    order: Vec<usize>,
    /// The epoch that `order` belongs to.
    epoch: Option<u64>,
    size: usize,
    seed: u64,
}

impl Batches {
    /// Batches of `size` out of `examples`; the last of an epoch may be smaller.
    pub(in super::super) fn new(examples: usize, size: u64, seed: u64) -> Self {
        let size = usize::try_from(size).map_or(examples, |size| size.clamp(1, examples));
        Self { order: vec![0; examples], epoch: None, size, seed }
    }

    /// The examples of update `step` (from 0).
    pub(in super::super) fn of_step(&mut self, step: u64) -> &[usize] {
        let per_epoch = self.order.len().div_ceil(self.size) as u64;
        let (epoch, batch) = (step / per_epoch, (step % per_epoch) as usize);
        if self.epoch != Some(epoch) {
            permutation_into(self.seed, epoch, &mut self.order);
            self.epoch = Some(epoch);
        }
        let first = batch * self.size;
        &self.order[first..(first + self.size).min(self.order.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_sees_every_example_once_and_its_last_batch_may_be_smaller() {
        let mut batches = Batches::new(10, 4, 3);
        for epoch in 0..3 {
            let mut seen = Vec::new();
            let sizes: Vec<usize> = (0..3)
                .map(|batch| {
                    let batch = batches.of_step(epoch * 3 + batch);
                    seen.extend_from_slice(batch);
                    batch.len()
                })
                .collect();
            assert_eq!(sizes, [4, 4, 2]);
            assert_eq!(seen, trainyard_theory::random::permutation(3, epoch, 10));
        }
    }

    #[test]
    fn the_batch_of_a_step_does_not_depend_on_the_steps_before() {
        let mut in_order = Batches::new(7, 2, 1);
        let all: Vec<Vec<usize>> = (0..20).map(|step| in_order.of_step(step).to_vec()).collect();
        for step in (0..20).rev() {
            assert_eq!(Batches::new(7, 2, 1).of_step(step), all[step as usize]);
            assert_eq!(in_order.of_step(step), all[step as usize]);
        }
    }
}
