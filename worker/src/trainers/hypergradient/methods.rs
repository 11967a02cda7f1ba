//! The three methods behind one call, each with the bytes that it held.

use trainyard_theory::hypergradient::{Evaluation, Interrupted, Ledger, Unrolled};
use trainyard_wire::spec::hypergradient::Method;

use super::super::checkpoint::CheckpointError;
use super::autograd::Autograd;

/// Why a computation has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfinished {
    /// The session said stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// What a method found, and the most bytes that it held for it at one time, counted and not computed. The problem is not among them, and
/// candle's backward is over when its graph is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measured {
    pub(super) evaluation: Evaluation,
    pub(super) held_bytes: u64,
}

/// The methods on one problem.
pub(super) struct Methods<'a> {
    unrolled: Unrolled<'a>,
    autograd: Autograd,
    check: &'a dyn Fn() -> Result<(), Interrupted>,
}

impl<'a> Methods<'a> {
    /// `check` is asked before each inner step.
    pub(super) fn new(unrolled: Unrolled<'a>, check: &'a dyn Fn() -> Result<(), Interrupted>) -> candle_core::Result<Self> {
        Ok(Self { unrolled, autograd: Autograd::new(&unrolled)?, check })
    }

    /// The loss after `steps` steps with `rate`, and its derivative.
    pub(super) fn evaluate(&self, method: Method, rate: f64, steps: usize) -> Result<Measured, Unfinished> {
        let unrolled = self.unrolled.with_steps(steps);
        let ledger = Ledger::new();
        let evaluation = match method {
            Method::Forward => unrolled.forward(rate, &ledger, self.check)?,
            Method::Reverse => unrolled.reverse(rate, &ledger, self.check)?,
            Method::Autograd => return self.autograd.evaluate(rate, steps, self.check),
        };
        Ok(Measured { evaluation, held_bytes: ledger.peak() })
    }

    /// The loss alone.
    pub(super) fn loss(&self, rate: f64) -> Result<f64, Unfinished> {
        Ok(self.unrolled.loss(rate, self.check)?)
    }

    /// The derivative by central differences.
    pub(super) fn central_difference(&self, rate: f64) -> Result<f64, Unfinished> {
        Ok(self.unrolled.central_difference(rate, self.check)?)
    }
}
