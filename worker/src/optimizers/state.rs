//! What an optimizer remembers between steps.

use super::Float;

/// The state of an optimizer: named vectors (velocity, moments) and the number of steps done.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizerState<F> {
    /// Steps done; only bias correction depends on it, all optimizers count.
    pub steps: u64,
    /// One vector of the weights' length per slot, in the optimizer's own order.
    pub slots: Vec<(String, Vec<F>)>,
}

/// A saved state does not fit the optimizer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The slots' names are not the optimizer's.
    #[error("optimizer state has the slots {found:?}, expected {expected:?}")]
    Slots {
        /// Names in the saved state.
        found: Vec<String>,
        /// Names the optimizer has.
        expected: Vec<String>,
    },
    /// A slot is of another length than the weights.
    #[error("optimizer state `{name}` has {found} values, expected {expected}")]
    Length {
        /// The slot.
        name: String,
        /// Its length in the saved state.
        found: usize,
        /// The number of weights.
        expected: usize,
    },
}

/// Checks a saved state against the slots of an optimizer, then copies it into them.
pub(super) fn restore<F: Float>(state: &OptimizerState<F>, slots: &mut [(&'static str, &mut Vec<F>)]) -> Result<(), StateError> {
    let fits = state.slots.len() == slots.len() && state.slots.iter().zip(slots.iter()).all(|(a, b)| a.0 == b.0);
    if !fits {
        return Err(StateError::Slots {
            found: state.slots.iter().map(|slot| slot.0.clone()).collect(),
            expected: slots.iter().map(|slot| slot.0.to_owned()).collect(),
        });
    }
    for ((name, saved), (_, own)) in state.slots.iter().zip(slots.iter()) {
        if saved.len() != own.len() {
            return Err(StateError::Length { name: name.clone(), found: saved.len(), expected: own.len() });
        }
    }
    for ((_, saved), (_, own)) in state.slots.iter().zip(slots.iter_mut()) {
        own.copy_from_slice(saved);
    }
    Ok(())
}
