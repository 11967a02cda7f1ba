//! Batch normalization in training and in evaluation.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{Values, operand, result};
use crate::kernels::batch_norm::{self as kernel, Statistics};

struct BatchNorm2d {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
}

fn channels_and_plane(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<(usize, usize)> {
    let (_, channels, height, width) = x.dims4()?;
    if weight.dims() != [channels] || bias.dims() != [channels] {
        bail!("batch_norm: weight {:?} and bias {:?} for input {:?}", weight.dims(), bias.dims(), x.dims());
    }
    Ok((channels, height * width))
}

/// Normalizes x `[N, C, H, W]` with the batch's own mean and biased variance, then scales by weight `[C]` and shifts by
/// bias `[C]`. Returns the statistics for the running ones.
///
/// # Errors
/// Where shapes do not fit, an operand is not f32 on the CPU, or a channel has fewer than two values.
pub fn batch_norm_train(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<(Tensor, Statistics)> {
    let (channels, plane) = channels_and_plane(x, weight, bias)?;
    let x = x.contiguous()?;
    let statistics = kernel::statistics(Values::of(&x).as_slice()?, channels, plane);
    if statistics.count < 2 {
        bail!("batch_norm: more than one value per channel is needed in training, input {:?}", x.dims());
    }
    let operation =
        BatchNorm2d { mean: statistics.mean.clone(), inverse_deviation: kernel::inverse_deviation(&statistics.variance, epsilon) };
    let y = x.apply_op3(&weight.contiguous()?, &bias.contiguous()?, operation)?;
    Ok((y, statistics))
}

/// Normalizes x `[N, C, H, W]` with the given mean and variance; no gradient flows.
///
/// # Errors
/// Where shapes do not fit or an operand is not f32 on the CPU.
pub fn batch_norm_eval(x: &Tensor, weight: &Tensor, bias: &Tensor, mean: &[f32], variance: &[f32], epsilon: f64) -> Result<Tensor> {
    let (channels, _) = channels_and_plane(x, weight, bias)?;
    if mean.len() != channels || variance.len() != channels {
        bail!("batch_norm: {} means and {} variances for {channels} channels", mean.len(), variance.len());
    }
    let operation = BatchNorm2d { mean: mean.to_vec(), inverse_deviation: kernel::inverse_deviation(variance, epsilon) };
    x.contiguous()?.apply_op3_no_bwd(&weight.contiguous()?, &bias.contiguous()?, &operation)
}

impl CustomOp3 for BatchNorm2d {
    fn name(&self) -> &'static str {
        "batch_norm"
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
        let (_, _, height, width) = x_layout.shape().dims4()?;
        let input = operand(x, x_layout)?;
        let mut output = vec![0.0; input.len()];
        kernel::normalize(
            input,
            height * width,
            &self.mean,
            &self.inverse_deviation,
            operand(weight, weight_layout)?,
            operand(bias, bias_layout)?,
            &mut output,
        );
        Ok(result(output, x_layout.dims()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, channels, height, width) = x.dims4()?;
        let plane = height * width;
        let gradient = gradient.contiguous()?;
        let (x_values, gradient_values, weight_values) = (Values::of(x), Values::of(&gradient), Values::of(weight));
        let (input, output_gradient) = (x_values.as_slice()?, gradient_values.as_slice()?);
        let sums = kernel::parameter_gradients(input, output_gradient, plane, &self.mean, &self.inverse_deviation);
        let mut d_x = vec![0.0; input.len()];
        kernel::input_gradient(
            input,
            output_gradient,
            plane,
            &self.mean,
            &self.inverse_deviation,
            weight_values.as_slice()?,
            &sums,
            &mut d_x,
        );
        Ok((
            Some(Tensor::from_vec(d_x, x.shape(), x.device())?),
            Some(Tensor::from_vec(sums.weight, channels, x.device())?),
            Some(Tensor::from_vec(sums.bias, channels, x.device())?),
        ))
    }
}
