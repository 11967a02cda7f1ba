//! The file `checkpoint.safetensors`: vectors as tensors, and everything else as one JSON object in the file's metadata.
//!
//! Both keep every bit of a finite number, so that a resumed run continues as if nothing had happened.

use std::collections::HashMap;

use bytes::Bytes;
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, TensorView, serialize};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::optimizers::{Float, OptimizerState, StateError};

/// The key of the JSON object in the file's metadata. There is no other key: a map of several has no fixed order.
const POSITION: &str = "position";
/// What the optimizer's vectors are named after.
const OPTIMIZER: &str = "optimizer.";

/// Why a checkpoint cannot be resumed from.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The bytes are not a safetensors file.
    #[error("the checkpoint is not a safetensors file: {0}")]
    SafeTensors(#[from] SafeTensorError),
    /// The position is missing or not one of this trainer's.
    #[error("the checkpoint's position cannot be read: {0}")]
    Position(#[from] serde_json::Error),
    /// A tensor is of the wrong type or length.
    #[error("the checkpoint's tensor `{name}` does not fit this run: {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The optimizer's state is another optimizer's.
    #[error("the checkpoint does not fit this run: {0}")]
    Optimizer(#[from] StateError),
}

/// A float that a checkpoint holds.
pub trait Element: Float {
    /// Its type in the file.
    const DTYPE: Dtype;
    /// Appends its little-endian bytes.
    fn write(self, bytes: &mut Vec<u8>);
    /// The values of little-endian bytes.
    fn read_all(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($float:ty, $dtype:expr) => {
        impl Element for $float {
            const DTYPE: Dtype = $dtype;

            fn write(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }

            fn read_all(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|chunk| <$float>::from_le_bytes(*chunk)).collect()
            }
        }
    };
}

element!(f32, Dtype::F32);
element!(f64, Dtype::F64);

/// A checkpoint in the making.
#[derive(Debug, Default)]
pub struct CheckpointWriter {
    tensors: Vec<(String, Dtype, usize, Vec<u8>)>,
}

impl CheckpointWriter {
    /// Adds a vector.
    pub fn vector<F: Element>(mut self, name: &str, values: &[F]) -> Self {
        let mut bytes = Vec::with_capacity(size_of_val(values));
        values.iter().for_each(|value| value.write(&mut bytes));
        self.tensors.push((name.to_owned(), F::DTYPE, values.len(), bytes));
        self
    }

    /// Adds the vectors of an optimizer. `prefix` tells those of several apart; it is empty where there is one.
    pub fn optimizer<F: Element>(self, prefix: &str, state: &OptimizerState<F>) -> Self {
        state.slots.iter().fold(self, |writer, (name, values)| writer.vector(&format!("{prefix}{OPTIMIZER}{name}"), values))
    }

    /// The file. The numbers in `position` must be finite.
    ///
    /// # Errors
    /// Where the position cannot be written as JSON.
    pub fn finish(self, position: &impl Serialize) -> Result<Bytes, CheckpointError> {
        let metadata = HashMap::from([(POSITION.to_owned(), serde_json::to_string(position)?)]);
        let tensors = self.tensors.iter().map(|(name, dtype, len, bytes)| Ok((name, TensorView::new(*dtype, vec![*len], bytes)?)));
        let tensors = tensors.collect::<Result<Vec<_>, SafeTensorError>>()?;
        Ok(serialize(tensors, Some(metadata))?.into())
    }
}

/// A checkpoint that is read.
pub struct CheckpointReader<'a> {
    tensors: SafeTensors<'a>,
    position: String,
}

impl<'a> CheckpointReader<'a> {
    /// Reads the file's head.
    ///
    /// # Errors
    /// Where it is not a safetensors file.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CheckpointError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let position = metadata.metadata().as_ref().and_then(|metadata| metadata.get(POSITION)).cloned().unwrap_or_default();
        Ok(Self { tensors: SafeTensors::deserialize(bytes)?, position })
    }

    /// All that is not a vector.
    ///
    /// # Errors
    /// Where it is missing or of another kind.
    pub fn position<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        Ok(serde_json::from_str(&self.position)?)
    }

    /// A vector of `len` elements.
    ///
    /// # Errors
    /// Where it is missing, or of another type or length.
    pub fn vector<F: Element>(&self, name: &str, len: usize) -> Result<Vec<F>, CheckpointError> {
        let tensor = self.tensors.tensor(name)?;
        if tensor.dtype() != F::DTYPE || tensor.shape() != [len] {
            let reason = format!("{:?} {:?} instead of {:?} [{len}]", tensor.dtype(), tensor.shape(), F::DTYPE);
            return Err(CheckpointError::Tensor { name: name.to_owned(), reason });
        }
        Ok(F::read_all(tensor.data()))
    }

    /// The state of an optimizer with the slots of `fresh`, after `steps` steps, that was written with `prefix`.
    ///
    /// # Errors
    /// Where a slot is missing or of another length.
    pub fn optimizer<F: Element>(&self, prefix: &str, fresh: &OptimizerState<F>, steps: u64) -> Result<OptimizerState<F>, CheckpointError> {
        let slot =
            |(name, values): &(String, Vec<F>)| Ok((name.clone(), self.vector(&format!("{prefix}{OPTIMIZER}{name}"), values.len())?));
        let slots = fresh.slots.iter().map(slot);
        Ok(OptimizerState { steps, slots: slots.collect::<Result<_, CheckpointError>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_vectors_and_position_comes_back() {
        let awkward = [0.1, -0.0, 5e-324, f64::MAX, 1.0 / 3.0];
        let state = OptimizerState { steps: 7, slots: vec![("velocity".to_owned(), awkward.to_vec())] };
        let bytes = CheckpointWriter::default().vector("weights", &[0.1f32, 2.0]).optimizer("", &state).finish(&awkward).unwrap();
        let reader = CheckpointReader::new(&bytes).unwrap();
        let position: Vec<f64> = reader.position().unwrap();
        assert_eq!(position.iter().map(|x| x.to_bits()).collect::<Vec<_>>(), awkward.map(f64::to_bits));
        assert_eq!(reader.vector::<f32>("weights", 2).unwrap(), [0.1, 2.0]);
        let fresh = OptimizerState { steps: 0, slots: vec![("velocity".to_owned(), vec![0.0; 5])] };
        assert_eq!(reader.optimizer("", &fresh, 7).unwrap(), state);
    }

    #[test]
    fn a_checkpoint_of_another_shape_or_of_no_shape_is_refused() {
        let bytes = CheckpointWriter::default().vector("weights", &[1.0f64]).finish(&"here").unwrap();
        let reader = CheckpointReader::new(&bytes).unwrap();
        assert!(matches!(reader.vector::<f64>("weights", 2), Err(CheckpointError::Tensor { .. })));
        assert!(matches!(reader.vector::<f32>("weights", 1), Err(CheckpointError::Tensor { .. })));
        assert!(matches!(reader.vector::<f64>("velocity", 1), Err(CheckpointError::SafeTensors(_))));
        assert!(matches!(reader.position::<u64>(), Err(CheckpointError::Position(_))));
        assert!(matches!(CheckpointReader::new(b"PK"), Err(CheckpointError::SafeTensors(_))));
    }
}
