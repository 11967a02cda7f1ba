//! The loss as a candle operation on the flat parameters.

use std::sync::{Arc, Mutex, OnceLock};

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, Var, bail};

use super::backward::backward;
use super::forward::{Finish, forward};
use super::{Engine, lock};

/// One training pass over the batch that was loaded last.
struct Loss {
    engine: Arc<Mutex<Option<Engine>>>,
    generation: u64,
    /// The gradient, once it is known: the backward pass uses its operands up.
    gradient: OnceLock<Tensor>,
}

/// Cross-entropy averaged over the pixels of the batch in the engine, a scalar tensor.
pub(super) fn loss(parameters: &Var, engine: Arc<Mutex<Option<Engine>>>, generation: u64) -> Result<Tensor> {
    parameters.as_tensor().apply_op1(Loss { engine, generation, gradient: OnceLock::new() })
}

/// The values of a contiguous tensor on the CPU.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the values are strided"),
    }
}

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "colourization_loss"
    }

    #[allow(clippy::cast_possible_truncation)]
    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut guard = lock(&self.engine);
        let Some(Engine { plan, workspace }) = &mut *guard else {
            bail!("{}: no batch was loaded", self.name());
        };
        let values = values(storage, layout)?;
        let score = forward(plan, workspace, values, None, Finish::Loss);
        let (loss, _) = score.means();
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(&self, parameters: &Tensor, _loss: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let own = match self.gradient.get() {
            Some(own) => own.clone(),
            None => {
                let own = self.gradient_of(parameters)?;
                self.gradient.get_or_init(|| own).clone()
            }
        };
        match gradient.to_scalar::<f32>()? {
            1.0 => Ok(Some(own)),
            factor => own.affine(f64::from(factor), 0.0).map(Some),
        }
    }
}

impl Loss {
    fn gradient_of(&self, parameters: &Tensor) -> Result<Tensor> {
        let mut guard = lock(&self.engine);
        let Some(Engine { plan, workspace }) = &mut *guard else {
            bail!("{}: backward before forward", self.name());
        };
        if workspace.generation != self.generation {
            bail!("{}: backward of a loss that is not the network's newest", self.name());
        }
        let mut gradient = vec![0.0; parameters.elem_count()];
        rayon::scope(|_| backward(plan, workspace, &mut gradient));
        Tensor::from_vec(gradient, parameters.shape(), &Device::Cpu)
    }
}
