//! Differentiable operations on candle tensors, named as in `torch.nn.functional`.
//!
//! Each is a candle custom operation around a kernel and brings its own gradient, because candle's are wrong (maximum
//! pooling, the rectifier at 0, upsampling) or naive loops (convolution). They run on f32 tensors on the CPU and accept
//! any strides. A gradient that nothing asks for is not computed: that of a tensor without a variable behind it, such as
//! the input images or a detached bias.

mod activation;
mod batch_norm;
mod convolution;
mod cross_entropy;
mod resample;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, Layout, Result, Shape, Storage, StorageRef, Tensor, bail};

pub use activation::relu;
pub use batch_norm::{batch_norm_eval, batch_norm_train};
pub use convolution::{Convolution, conv_transpose2d, conv2d};
pub use cross_entropy::{class_indices, cross_entropy};
pub use resample::{max_pool2d, upsample_nearest2d};

/// The values of a contiguous f32 operand of a custom operation.
fn operand<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("a custom operation was given a strided operand"),
    }
}

/// The result of a custom operation.
fn result(values: Vec<f32>, shape: &[usize]) -> (CpuStorage, Shape) {
    (CpuStorage::F32(values), Shape::from_dims(shape))
}

/// Read access to the values of a contiguous f32 tensor on the CPU.
struct Values<'a> {
    storage: StorageRef<'a>,
    layout: &'a Layout,
}

impl<'a> Values<'a> {
    fn of(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self { storage, layout }
    }

    fn as_slice(&self) -> Result<&[f32]> {
        match &*self.storage {
            Storage::Cpu(storage) => operand(storage, self.layout),
            _ => bail!("this operation runs on the CPU only"),
        }
    }
}

/// `[N, C, H, W]` of a tensor whose height and width are even.
fn even_dims4(tensor: &Tensor) -> Result<(usize, usize, usize, usize)> {
    let (images, channels, height, width) = tensor.dims4()?;
    if !height.is_multiple_of(2) || !width.is_multiple_of(2) {
        bail!("height {height} and width {width} must be even");
    }
    Ok((images, channels, height, width))
}
