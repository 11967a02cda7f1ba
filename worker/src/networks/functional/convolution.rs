//! Convolution and transposed convolution.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{Values, operand, result};
use crate::kernels::convolution::{self as kernel, Geometry};

/// Kernel side, stride and zero padding of a convolution or a transposed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Convolution {
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between outputs (for a transposed convolution: between inputs, in output pixels).
    pub stride: usize,
    /// Zero rows above and columns left.
    pub padding: usize,
    /// Zero rows below and columns right; a transposed convolution takes `padding` on both sides.
    pub padding_after: usize,
    /// Rows and columns that a transposed convolution adds below and right; less than `stride`.
    pub output_padding: usize,
}

struct Conv2d(Geometry);
struct ConvTranspose2d(Geometry);

/// Cross-correlation: x `[N, I, H, W]`, weight `[O, I, K, K]`, bias `[O]` → `[N, O, H', W']` with
/// `H' = (H + padding + padding_after − K)/stride + 1`.
///
/// # Errors
/// Where shapes do not fit each other or an operand is not f32 on the CPU.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, convolution: Convolution) -> Result<Tensor> {
    let (_, in_channels, height, width) = x.dims4()?;
    let Convolution { kernel, stride, padding, padding_after, .. } = convolution;
    let out_channels = bias.dims1()?;
    if weight.dims() != [out_channels, in_channels, kernel, kernel] {
        bail!("conv2d: weight {:?} for input {:?} and bias {:?}", weight.dims(), x.dims(), bias.dims());
    }
    if height.min(width) + padding + padding_after < kernel {
        bail!("conv2d: a kernel of {kernel} on {height}×{width} pixels");
    }
    let geometry = Geometry { in_channels, out_channels, kernel, stride, padding, padding_after, height, width };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Conv2d(geometry))
}

/// The adjoint of a convolution: x `[N, I, H, W]`, weight `[I, O, K, K]`, bias `[O]` → `[N, O, H', W']` with
/// `H' = (H − 1)·stride − 2·padding + K + output_padding`.
///
/// # Errors
/// Where shapes do not fit each other or an operand is not f32 on the CPU.
pub fn conv_transpose2d(x: &Tensor, weight: &Tensor, bias: &Tensor, convolution: Convolution) -> Result<Tensor> {
    let (_, in_channels, height, width) = x.dims4()?;
    let Convolution { kernel, stride, padding, output_padding, .. } = convolution;
    let out_channels = bias.dims1()?;
    if weight.dims() != [in_channels, out_channels, kernel, kernel] {
        bail!("conv_transpose2d: weight {:?} for input {:?} and bias {:?}", weight.dims(), x.dims(), bias.dims());
    }
    let size = |n: usize| ((n.max(1) - 1) * stride + kernel + output_padding).checked_sub(2 * padding);
    let (Some(out_height), Some(out_width)) = (size(height), size(width)) else {
        bail!("conv_transpose2d: a padding of {padding} on {height}×{width} pixels");
    };
    if output_padding >= stride {
        bail!("conv_transpose2d: output padding {output_padding} is not below stride {stride}");
    }
    // The convolution whose adjoint this is maps the larger image to the smaller one.
    let geometry = Geometry {
        in_channels: out_channels,
        out_channels: in_channels,
        kernel,
        stride,
        padding,
        padding_after: padding,
        height: out_height,
        width: out_width,
    };
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, ConvTranspose2d(geometry))
}

/// Sum over images and pixels per channel, where the bias has a variable behind it.
fn bias_gradient(bias: &Tensor, gradient: &[f32], plane: usize) -> Result<Option<Tensor>> {
    if !bias.track_op() {
        return Ok(None);
    }
    let mut sums = vec![0.0; bias.elem_count()];
    kernel::bias_gradient(gradient, plane, &mut sums);
    Tensor::from_vec(sums, bias.shape(), bias.device()).map(Some)
}

type Gradients = (Option<Tensor>, Option<Tensor>, Option<Tensor>);

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self(geometry) = self;
        let images = x_layout.dims()[0];
        let (height, width) = geometry.output_size();
        let mut output = vec![0.0; images * geometry.output_len()];
        kernel::forward(geometry, operand(x, x_layout)?, operand(weight, weight_layout)?, Some(operand(bias, bias_layout)?), &mut output);
        Ok(result(output, &[images, geometry.out_channels, height, width]))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Gradients> {
        let Self(geometry) = self;
        let gradient = gradient.contiguous()?;
        let (gradient_values, x_values) = (Values::of(&gradient), Values::of(x));
        let output_gradient = gradient_values.as_slice()?;
        let d_x = if x.track_op() {
            let mut d_x = vec![0.0; x.elem_count()];
            kernel::input_gradient(geometry, output_gradient, Values::of(weight).as_slice()?, None, &mut d_x);
            Some(Tensor::from_vec(d_x, x.shape(), x.device())?)
        } else {
            None
        };
        let mut d_weight = vec![0.0; geometry.weight_len()];
        kernel::weight_gradient(geometry, x_values.as_slice()?, output_gradient, &mut d_weight);
        let d_weight = Tensor::from_vec(d_weight, weight.shape(), weight.device())?;
        let (height, width) = geometry.output_size();
        Ok((d_x, Some(d_weight), bias_gradient(bias, output_gradient, height * width)?))
    }
}

impl CustomOp3 for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self(adjoint) = self;
        let images = x_layout.dims()[0];
        let mut output = vec![0.0; images * adjoint.input_len()];
        kernel::input_gradient(
            adjoint,
            operand(x, x_layout)?,
            operand(weight, weight_layout)?,
            Some(operand(bias, bias_layout)?),
            &mut output,
        );
        Ok(result(output, &[images, adjoint.in_channels, adjoint.height, adjoint.width]))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, bias: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Gradients> {
        let Self(adjoint) = self;
        let gradient = gradient.contiguous()?;
        let (gradient_values, x_values) = (Values::of(&gradient), Values::of(x));
        let output_gradient = gradient_values.as_slice()?;
        let d_x = if x.track_op() {
            let mut d_x = vec![0.0; x.elem_count()];
            kernel::forward(adjoint, output_gradient, Values::of(weight).as_slice()?, None, &mut d_x);
            Some(Tensor::from_vec(d_x, x.shape(), x.device())?)
        } else {
            None
        };
        let mut d_weight = vec![0.0; adjoint.weight_len()];
        kernel::weight_gradient(adjoint, output_gradient, x_values.as_slice()?, &mut d_weight);
        let d_weight = Tensor::from_vec(d_weight, weight.shape(), weight.device())?;
        Ok((d_x, Some(d_weight), bias_gradient(bias, output_gradient, adjoint.height * adjoint.width)?))
    }
}
