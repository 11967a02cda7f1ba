//! The loss and gradient over all examples: on a GPU where there is one and the problem is large enough to profit, else on the CPU.

use std::sync::Arc;

use trainyard_gpu::{GpuError, Regression};
use trainyard_theory::regression::Problem;
use trainyard_wire::run::LogLevel;

use super::super::card::Card;
use super::super::session::Session;
use super::super::{TrainError, Workshop};

/// See the module.
pub(super) struct FullBatch<'a> {
    problem: &'a Problem,
    card: Option<(Regression, Arc<Card>)>,
    session: &'a dyn Session,
}

impl<'a> FullBatch<'a> {
    /// `each_step` tells whether every step asks: where only some do, the way to a card does not pay.
    ///
    /// # Errors
    /// Where a GPU that is required cannot be used.
    pub(super) fn new(problem: &'a Problem, each_step: bool, workshop: &Workshop, session: &'a dyn Session) -> Result<Self, TrainError> {
        let mut full_batch = Self { problem, card: None, session };
        let Some(card) = workshop.card.as_ref().filter(|card| each_step && card.takes(problem.x().len())) else { return Ok(full_batch) };
        match card.driver().and_then(|driver| Regression::new(&**driver, problem.x(), problem.t())) {
            Ok(regression) => {
                session.log(LogLevel::Info, "gradients are computed on the GPU, in f64".to_owned());
                full_batch.card = Some((regression, Arc::clone(card)));
            }
            Err(error) => full_batch.without(card, error)?,
        }
        Ok(full_batch)
    }

    /// `(1/n)·‖Xw − t‖² + l2·‖w‖²` and its gradient.
    ///
    /// # Errors
    /// Where a GPU that is required fails. Another one's work is done on the CPU from then on: nothing of the run lies on the card.
    pub(super) fn loss_and_gradient(&mut self, weights: &[f64], l2: f64, gradient: &mut [f64]) -> Result<f64, TrainError> {
        if let Some((regression, card)) = &mut self.card {
            match regression.loss_and_gradient(weights, gradient) {
                Ok(loss) => {
                    gradient.iter_mut().zip(weights).for_each(|(g, w)| *g += 2.0 * l2 * w);
                    return Ok(loss + l2 * weights.iter().map(|w| w * w).sum::<f64>());
                }
                Err(error) => {
                    let card = Arc::clone(card);
                    self.card = None;
                    self.without(&card, error)?;
                }
            }
        }
        Ok(self.problem.loss_and_gradient(weights, l2, gradient))
    }

    /// Goes on without the card, unless it is required.
    fn without(&self, card: &Card, error: GpuError) -> Result<(), TrainError> {
        if matches!(error, GpuError::Device(_)) {
            card.lose(&error);
        }
        if card.is_required() {
            return Err(error.into());
        }
        self.session.log(LogLevel::Warn, format!("gradients are computed on the CPU: {error}"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use trainyard_gpu_emulator::Emulator;

    use super::super::super::memory::MemorySession;
    use super::*;

    fn problem() -> Problem {
        let x = (0..60).map(|i| f64::from((i * 7919 + 13) % 101) / 50.0 - 1.0).collect();
        Problem::new(x, (0..12).map(|i| f64::from(i) / 6.0 - 1.0).collect(), 5).unwrap()
    }

    fn workshop(driver: Arc<Emulator>, from: usize, required: bool) -> Workshop {
        Workshop::new(candle_core::Device::Cpu).with_card(Card::new(driver, required).with_regressions_from(from))
    }

    #[test]
    fn a_large_problem_on_the_gpu_has_the_cpus_loss_and_gradient() {
        let (problem, session) = (problem(), MemorySession::default());
        let mut on_card = FullBatch::new(&problem, true, &workshop(Emulator::new(), 60, true), &session).unwrap();
        assert!(on_card.card.is_some());
        let weights = [0.5, -1.0, 0.25, 2.0, 0.125];
        let (mut own, mut expected) = ([0.0; 5], [0.0; 5]);
        let loss = on_card.loss_and_gradient(&weights, 0.1, &mut own).unwrap();
        assert!((loss - problem.loss_and_gradient(&weights, 0.1, &mut expected)).abs() < 1e-13);
        assert!(own.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-13));
    }

    #[test]
    fn small_problems_and_those_in_batches_stay_on_the_cpu() {
        let (problem, session) = (problem(), MemorySession::default());
        assert!(FullBatch::new(&problem, true, &workshop(Emulator::new(), 61, true), &session).unwrap().card.is_none());
        assert!(FullBatch::new(&problem, false, &workshop(Emulator::new(), 60, true), &session).unwrap().card.is_none());
    }

    #[test]
    fn a_gpu_that_is_lost_or_full_leaves_the_rest_to_the_cpu() {
        let problem = problem();
        for driver in [Emulator::failing_at(1), Emulator::with_memory(100)] {
            let (session, workshop) = (MemorySession::default(), workshop(driver, 60, false));
            let mut full_batch = FullBatch::new(&problem, true, &workshop, &session).unwrap();
            let mut gradient = [0.0; 5];
            for _ in 0..2 {
                let loss = full_batch.loss_and_gradient(&[0.0; 5], 0.0, &mut gradient).unwrap();
                assert!((loss - problem.loss_and_gradient(&[0.0; 5], 0.0, &mut gradient)).abs() < 1e-13);
            }
            assert!(session.logs.borrow().iter().any(|line| line.contains("on the CPU")), "{:?}", session.logs.borrow());
        }
        let required = workshop(Emulator::with_memory(100), 60, true);
        assert!(matches!(FullBatch::new(&problem, true, &required, &MemorySession::default()), Err(TrainError::Gpu(_))));
    }
}
