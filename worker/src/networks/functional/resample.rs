//! Maximum pooling and nearest upsampling by a factor of 2.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{Values, even_dims4, operand, result};
use crate::kernels::resample::{self, Size};

struct MaxPool2d(Size);
struct UpsampleNearest2d(Size);

/// Maximum of each 2×2 window: `[N, C, H, W]` → `[N, C, H/2, W/2]`. The first of equal maxima gets the gradient.
///
/// # Errors
/// Where `x` is not f32 on the CPU, or H or W is odd.
pub fn max_pool2d(x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = even_dims4(x)?;
    x.contiguous()?.apply_op1(MaxPool2d(Size { height, width }))
}

/// Each pixel repeated in a 2×2 window: `[N, C, H, W]` → `[N, C, 2H, 2W]`.
///
/// # Errors
/// Where `x` is not f32 on the CPU.
pub fn upsample_nearest2d(x: &Tensor) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    x.contiguous()?.apply_op1(UpsampleNearest2d(Size { height: 2 * height, width: 2 * width }))
}

impl CustomOp1 for MaxPool2d {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        let input = operand(storage, layout)?;
        let mut output = vec![0.0; input.len() / 4];
        resample::max_pool2d(self.0, input, &mut output);
        Ok(result(output, &[images, channels, height / 2, width / 2]))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let (input, output_gradient) = (Values::of(x), Values::of(&gradient));
        let mut input_gradient = vec![0.0; x.elem_count()];
        resample::max_pool2d_gradient(self.0, input.as_slice()?, output_gradient.as_slice()?, &mut input_gradient);
        Tensor::from_vec(input_gradient, x.shape(), x.device()).map(Some)
    }
}

impl CustomOp1 for UpsampleNearest2d {
    fn name(&self) -> &'static str {
        "upsample_nearest2d"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (images, channels, height, width) = layout.shape().dims4()?;
        let input = operand(storage, layout)?;
        let mut output = vec![0.0; 4 * input.len()];
        resample::upsample_nearest2d(self.0, input, &mut output);
        Ok(result(output, &[images, channels, 2 * height, 2 * width]))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let mut input_gradient = vec![0.0; x.elem_count()];
        resample::upsample_nearest2d_gradient(self.0, Values::of(&gradient).as_slice()?, &mut input_gradient);
        Tensor::from_vec(input_gradient, x.shape(), x.device()).map(Some)
    }
}
