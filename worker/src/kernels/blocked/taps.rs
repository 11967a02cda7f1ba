//! Convolutions of every kind, along one axis, as lists of taps.
//!
//! On a grid `i = 0, 1, …` each tap says: `output[output_step·i + output]` takes `input[input_step·i + input]` times the
//! sum of the kernel's weights `kernel`. A list of them is
//! - an ordinary convolution with both steps 1,
//! - a strided one with input step 2,
//! - a transposed one with output step 2, where each output phase has its own taps,
//! - a convolution of a nearest-upsampled map with output step 2 on the small map: output `2i + o` with kernel weight `k`
//!   reads the upsampled `2i + o + k − p`, which is the small map's `i + ⌊(o + k − p)/2⌋`; weights that read the same
//!   position are summed first, so at K = 3 each phase has two taps.
//!
//! The input gradient of any list is again such a list ([`Taps::transpose`]), with the same taps in the same order.

use std::ops::Range;

/// One tap along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// Offset of the output, its phase: below the output step.
    pub output: usize,
    /// Offset of the input.
    pub input: isize,
    /// Kernel weights summed.
    pub kernel: Range<usize>,
}

/// The taps of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taps {
    /// Input positions per grid step.
    pub input_step: usize,
    /// Output positions per grid step.
    pub output_step: usize,
    /// The taps, phase by phase where the list is not a transposed one.
    pub taps: Vec<Tap>,
}

fn signed(n: usize) -> isize {
    n.cast_signed()
}

impl Taps {
    fn convolution(kernel: usize, padding: usize, step: usize) -> Self {
        let tap = |k| Tap { output: 0, input: signed(k) - signed(padding), kernel: k..k + 1 };
        Self { input_step: step, output_step: 1, taps: (0..kernel).map(tap).collect() }
    }

    /// Stride 1, as many outputs as inputs; an even kernel reaches one further forward than back.
    #[must_use]
    pub fn same(kernel: usize) -> Self {
        Self::convolution(kernel, (kernel - 1) / 2, 1)
    }

    /// Stride 2, half as many outputs as inputs.
    #[must_use]
    pub fn down(kernel: usize) -> Self {
        Self::convolution(kernel, (kernel - 1) / 2, 2)
    }

    /// Transposed with stride 2, twice as many outputs as inputs.
    #[must_use]
    pub fn up(kernel: usize) -> Self {
        Self::down(kernel).transpose()
    }

    /// [`Taps::same`] on a map upsampled by 2, as taps on the map itself.
    #[must_use]
    pub fn same_upsampled(kernel: usize) -> Self {
        let padding = (kernel - 1) / 2;
        let mut taps: Vec<Tap> = Vec::new();
        for output in 0..2 {
            for k in 0..kernel {
                let input = (signed(output + k) - signed(padding)).div_euclid(2);
                match taps.last_mut() {
                    Some(tap) if tap.output == output && tap.input == input => tap.kernel.end = k + 1,
                    _ => taps.push(Tap { output, input, kernel: k..k + 1 }),
                }
            }
        }
        Self { input_step: 1, output_step: 2, taps }
    }

    /// The taps of the input gradient: outputs become inputs and inputs outputs.
    #[must_use]
    pub fn transpose(&self) -> Self {
        let (input_step, output_step) = (signed(self.input_step), signed(self.output_step));
        let tap = |tap: &Tap| {
            let phase = tap.input.rem_euclid(input_step);
            let input = output_step * ((phase - tap.input) / input_step) + signed(tap.output);
            Tap { output: phase.unsigned_abs(), input, kernel: tap.kernel.clone() }
        };
        Self { input_step: self.output_step, output_step: self.input_step, taps: self.taps.iter().map(tap).collect() }
    }

    /// Indices of the taps of one output phase.
    pub fn phase(&self, output: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.taps.len()).filter(move |&t| self.taps[t].output == output)
    }

    /// How far taps reach beyond either end of an input, at most.
    #[must_use]
    pub fn halo(&self) -> usize {
        let reach = |tap: &Tap| {
            let after = tap.input + 1 - signed(self.input_step);
            (-tap.input).max(after).max(0).unsigned_abs()
        };
        self.taps.iter().map(reach).max().unwrap_or(0)
    }

    /// The input rows that grid positions of a tap read, as the part of `grid` where these are within `0..len`.
    #[must_use]
    pub fn valid(&self, tap: usize, grid: Range<usize>, len: usize) -> Range<usize> {
        let (step, offset) = (signed(self.input_step), self.taps[tap].input);
        // step·i + offset ≥ 0 and < len
        let from = (-offset + step - 1).div_euclid(step).max(0).unsigned_abs();
        let to = (signed(len) - offset + step - 1).div_euclid(step).max(0).unsigned_abs();
        let start = grid.start.max(from);
        start..grid.end.min(to).max(start)
    }
}
