//! The rectifier, `max(x, 0)`, with gradient 0 at 0 as in PyTorch.

use rayon::prelude::*;

use super::{ELEMENTS_PER_CHUNK, map2};

/// `output = max(input, 0)`; NaN stays NaN.
pub fn relu(input: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len(), "relu operands differ in length");
    output.par_chunks_mut(ELEMENTS_PER_CHUNK).zip(input.par_chunks(ELEMENTS_PER_CHUNK)).for_each(|(output, input)| {
        for (o, &x) in output.iter_mut().zip(input) {
            *o = if x <= 0.0 { 0.0 } else { x };
        }
    });
}

/// `input_gradient = output_gradient` where the output of [`relu`] is not 0, else 0.
pub fn relu_gradient(output: &[f32], output_gradient: &[f32], input_gradient: &mut [f32]) {
    map2(output, output_gradient, input_gradient, |y, g| if y <= 0.0 { 0.0 } else { g });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_at_zero_is_zero() {
        let mut output = [9.0f32; 4];
        relu(&[-1.0, 0.0, 2.0, f32::NAN], &mut output);
        assert_eq!(output[..3], [0.0, 0.0, 2.0]);
        assert!(output[3].is_nan());
        let mut gradient = [9.0f32; 3];
        relu_gradient(&output[..3], &[5.0, 5.0, 5.0], &mut gradient);
        assert_eq!(gradient, [0.0, 0.0, 5.0]);
    }
}
