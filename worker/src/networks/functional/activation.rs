//! The rectifier.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{Values, operand, result};
use crate::kernels::activation;

struct Relu;

/// `max(x, 0)` with gradient 0 at 0, any shape.
///
/// # Errors
/// Where `x` is not f32 on the CPU.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Relu)
}

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = operand(storage, layout)?;
        let mut output = vec![0.0; input.len()];
        activation::relu(input, &mut output);
        Ok(result(output, layout.dims()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        let (output, output_gradient) = (Values::of(y), Values::of(&gradient));
        let mut input_gradient = vec![0.0; y.elem_count()];
        activation::relu_gradient(output.as_slice()?, output_gradient.as_slice()?, &mut input_gradient);
        Tensor::from_vec(input_gradient, y.shape(), y.device()).map(Some)
    }
}
