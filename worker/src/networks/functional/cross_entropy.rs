//! Softmax cross-entropy averaged over pixels.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};

use super::{operand, result};
use crate::kernels::cross_entropy as kernel;

struct CrossEntropy {
    classes: Vec<u32>,
    /// Made with the loss in one pass over the exponentials; the backward pass hands it on.
    gradient: OnceLock<Tensor>,
}

/// The classes `[N, H, W]`, u8 or u32, of logits `[N, C, H, W]`, as a plain vector.
///
/// # Errors
/// Where shapes or the type do not fit, or a class is not below C.
pub fn class_indices(logits: &[usize], classes: &Tensor) -> Result<Vec<u32>> {
    let [images, colours, height, width] = *logits else {
        bail!("cross_entropy: logits {logits:?} are not [N, C, H, W]");
    };
    if classes.dims() != [images, height, width] || !matches!(classes.dtype(), DType::U8 | DType::U32) {
        bail!("cross_entropy: {:?} classes {:?} for logits {logits:?}", classes.dtype(), classes.dims());
    }
    let classes = classes.flatten_all()?;
    let indices = match classes.dtype() {
        DType::U8 => classes.to_vec1::<u8>()?.into_iter().map(u32::from).collect(),
        _ => classes.to_vec1::<u32>()?,
    };
    match indices.iter().max() {
        Some(&class) if class as usize >= colours => bail!("cross_entropy: class {class} of {colours}"),
        _ => Ok(indices),
    }
}

/// Mean over all pixels of `−log softmax(logits)[class]`, a scalar; logits `[N, C, H, W]`, classes u8 or u32 `[N, H, W]`.
///
/// # Errors
/// Where shapes or types do not fit, or a class is not below C.
pub fn cross_entropy(logits: &Tensor, classes: &Tensor) -> Result<Tensor> {
    let classes = class_indices(logits.dims(), classes)?;
    logits.contiguous()?.apply_op1(CrossEntropy { classes, gradient: OnceLock::new() })
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, colours, height, width) = layout.shape().dims4()?;
        let logits = operand(storage, layout)?;
        let mut gradient = vec![0.0; logits.len()];
        let loss = kernel::loss_and_gradient(logits, &self.classes, colours, height * width, &mut gradient);
        let gradient = Tensor::from_vec(gradient, layout.shape(), &Device::Cpu)?;
        self.gradient.get_or_init(|| gradient);
        Ok(result(vec![loss], &[]))
    }

    fn bwd(&self, _logits: &Tensor, _loss: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let Some(own) = self.gradient.get() else {
            bail!("cross_entropy: backward before forward");
        };
        match gradient.to_scalar::<f32>()? {
            1.0 => Ok(Some(own.clone())),
            factor => own.affine(f64::from(factor), 0.0).map(Some),
        }
    }
}
