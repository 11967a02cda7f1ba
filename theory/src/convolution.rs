//! Two-dimensional convolution and cross-correlation of small planes, with zero padding.
//!
//! With an input `I` (H×W) and a kernel `J` (h×w), zero outside their bounds, and a shift `(a, b)`:
//!
//! ```text
//! convolution         O[r][c] = Σ_{i,j} J[i][j]·I[r + a − i][c + b − j]                       (the kernel is flipped)
//! cross-correlation   O[r][c] = Σ_{i,j} J[i][j]·I[r − a + i][c − b + j]                       (it is not)
//! ```
//!
//! | mode | output | shift (a, b), convolution | shift (a, b), cross-correlation |
//! |---|---|---|---|
//! | full | (H+h−1)×(W+w−1): every overlap | 0, 0 | h−1, w−1 |
//! | same | H×W | ⌊(h−1)/2⌋, ⌊(w−1)/2⌋ | ⌊(h−1)/2⌋, ⌊(w−1)/2⌋ |
//! | valid | (H−h+1)×(W−w+1): whole overlaps alone | h−1, w−1 | 0, 0 |
//!
//! `same` convolution is the middle of `full` as SciPy's `convolve2d` cuts it; `same`
//! cross-correlation is what PyTorch's `Conv2d` computes with `padding="same"`. For an odd kernel
//! each is the other with the kernel turned by 180°; for an even one they differ by a shift of one
//! as well.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How much of the output is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    #[default]
    Same,
    Valid,
    Full,
}

/// Whether the kernel is flipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvolutionOperation {
    #[default]
    Convolution,
    CrossCorrelation,
}

/// A rectangle of numbers, row-major, with at least one row and one column. Nested rows convert to
/// and from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<f64>>", into = "Vec<Vec<f64>>")]
pub struct Plane {
    values: Vec<f64>,
    columns: usize,
}

/// Why planes cannot be made or convolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConvolutionError {
    #[error("there must be at least one row and one column")]
    Empty,
    #[error("row {row} has {found} columns where the first has {expected}")]
    Ragged { row: usize, found: usize, expected: usize },
    #[error(
        "a valid convolution needs a kernel no larger than the input in either direction: the kernel is {kernel_rows}×{kernel_columns}, the input {rows}×{columns}"
    )]
    KernelExceedsInput { kernel_rows: usize, kernel_columns: usize, rows: usize, columns: usize },
    #[error("the output's size exceeds the memory's addresses")]
    TooLarge,
}

impl TryFrom<Vec<Vec<f64>>> for Plane {
    type Error = ConvolutionError;

    fn try_from(rows: Vec<Vec<f64>>) -> Result<Self, ConvolutionError> {
        let expected = rows.first().map_or(0, Vec::len);
        if expected == 0 {
            return Err(ConvolutionError::Empty);
        }
        if let Some((row, values)) = rows.iter().enumerate().find(|(_, r)| r.len() != expected) {
            return Err(ConvolutionError::Ragged { row, found: values.len(), expected });
        }
        Ok(Self { values: rows.concat(), columns: expected })
    }
}

impl From<Plane> for Vec<Vec<f64>> {
    fn from(plane: Plane) -> Self {
        plane.values.chunks_exact(plane.columns).map(<[f64]>::to_vec).collect()
    }
}

impl Plane {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// The number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }
}

/// One direction of the sum: how many outputs there are, and `output + offset ± tap` is the input
/// that meets a kernel's tap.
struct Axis {
    input: usize,
    outputs: usize,
    shift: usize,
    flipped: bool,
}

impl Axis {
    fn new(input: usize, kernel: usize, mode: Mode, flipped: bool) -> Option<Self> {
        let outputs = match mode {
            Mode::Same => input,
            Mode::Full => input.checked_add(kernel - 1)?,
            Mode::Valid => (input + 1).checked_sub(kernel).filter(|left| *left > 0)?,
        };
        let shift = match (mode, flipped) {
            (Mode::Same, _) => (kernel - 1) / 2,
            (Mode::Full, true) | (Mode::Valid, false) => 0,
            (Mode::Full, false) | (Mode::Valid, true) => kernel - 1,
        };
        Some(Self { input, outputs, shift, flipped })
    }

    /// The index of the input that output `output` meets at tap `tap`, unless it is padding.
    fn input_at(&self, output: usize, tap: usize) -> Option<usize> {
        let index = if self.flipped { (output + self.shift).checked_sub(tap)? } else { (output + tap).checked_sub(self.shift)? };
        (index < self.input).then_some(index)
    }
}

/// The multiply-adds that [`convolve`] makes at most for these sizes: outputs times kernel
/// elements, for refusing oversized requests.
pub fn convolution_cost(input: &Plane, kernel: &Plane, mode: Mode) -> u64 {
    let side = |input: usize, kernel: usize| match mode {
        Mode::Full => input.saturating_add(kernel) as u64,
        Mode::Same | Mode::Valid => input as u64,
    };
    side(input.rows(), kernel.rows()).saturating_mul(side(input.columns(), kernel.columns())).saturating_mul(kernel.values.len() as u64)
}

/// Convolves or cross-correlates `input` with `kernel`.
///
/// Sums run over the kernel's rows, then its columns. Fails where a valid output would be empty.
pub fn convolve(input: &Plane, kernel: &Plane, mode: Mode, operation: ConvolutionOperation) -> Result<Plane, ConvolutionError> {
    let flipped = operation == ConvolutionOperation::Convolution;
    let failure = match mode {
        Mode::Valid => ConvolutionError::KernelExceedsInput {
            kernel_rows: kernel.rows(),
            kernel_columns: kernel.columns(),
            rows: input.rows(),
            columns: input.columns(),
        },
        Mode::Same | Mode::Full => ConvolutionError::TooLarge,
    };
    let vertical = Axis::new(input.rows(), kernel.rows(), mode, flipped).ok_or(failure)?;
    let horizontal = Axis::new(input.columns(), kernel.columns(), mode, flipped).ok_or(failure)?;
    let size = vertical.outputs.checked_mul(horizontal.outputs).ok_or(ConvolutionError::TooLarge)?;
    let mut values = Vec::with_capacity(size);
    for row in 0..vertical.outputs {
        for column in 0..horizontal.outputs {
            let mut sum = 0.0;
            for tap_row in 0..kernel.rows() {
                let Some(read) = vertical.input_at(row, tap_row) else {
                    continue;
                };
                let pixels = input.row(read);
                for (tap_column, weight) in kernel.row(tap_row).iter().enumerate() {
                    if let Some(read) = horizontal.input_at(column, tap_column) {
                        sum += weight * pixels[read];
                    }
                }
            }
            values.push(sum);
        }
    }
    Ok(Plane { values, columns: horizontal.outputs })
}

#[cfg(test)]
mod tests {
    use super::ConvolutionOperation::{Convolution, CrossCorrelation};
    use super::*;

    fn plane<const C: usize>(rows: &[[f64; C]]) -> Plane {
        rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>().try_into().unwrap()
    }

    fn apply(input: &Plane, kernel: &Plane, mode: Mode, operation: ConvolutionOperation) -> Vec<Vec<f64>> {
        convolve(input, kernel, mode, operation).unwrap().into()
    }

    #[test]
    fn identity_minus_laplacian_sharpens_the_example_picture() {
        let picture = plane(&[
            [0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 1.0, 1.0],
            [1.0, 1.0, 1.0, 1.0, 0.0],
            [0.0, 1.0, 1.0, 1.0, 0.0],
            [0.0, 0.0, 1.0, 0.0, 0.0],
        ]);
        let kernel = plane(&[[0.0, -1.0, 0.0], [-1.0, 5.0, -1.0], [0.0, -1.0, 0.0]]);
        let sharpened = vec![
            vec![0.0, 0.0, -1.0, -1.0, -1.0],
            vec![-1.0, -2.0, 3.0, 2.0, 4.0],
            vec![4.0, 2.0, 1.0, 2.0, -2.0],
            vec![-2.0, 3.0, 1.0, 3.0, -1.0],
            vec![0.0, -2.0, 4.0, -2.0, 0.0],
        ];
        // The kernel is its own flip, so both operations agree.
        for operation in [Convolution, CrossCorrelation] {
            assert_eq!(apply(&picture, &kernel, Mode::Same, operation), sharpened);
        }
    }

    #[test]
    fn one_dot_shows_the_kernel_as_it_is_or_flipped() {
        let dot = plane(&[[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]);
        let kernel = plane(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]);
        let as_it_is: Vec<Vec<f64>> = kernel.clone().into();
        assert_eq!(apply(&dot, &kernel, Mode::Same, Convolution), as_it_is);
        assert_eq!(apply(&dot, &kernel, Mode::Same, CrossCorrelation), [[9.0, 8.0, 7.0], [6.0, 5.0, 4.0], [3.0, 2.0, 1.0]]);
    }

    #[test]
    fn modes_cut_the_full_output_as_numpy_does() {
        let input = plane(&[[1.0, 2.0, 3.0]]);
        let kernel = plane(&[[0.0, 1.0, 0.5]]);
        // numpy.convolve([1, 2, 3], [0, 1, 0.5], …) and numpy.correlate.
        assert_eq!(apply(&input, &kernel, Mode::Full, Convolution), [[0.0, 1.0, 2.5, 4.0, 1.5]]);
        assert_eq!(apply(&input, &kernel, Mode::Same, Convolution), [[1.0, 2.5, 4.0]]);
        assert_eq!(apply(&input, &kernel, Mode::Valid, Convolution), [[2.5]]);
        assert_eq!(apply(&input, &kernel, Mode::Full, CrossCorrelation), [[0.5, 2.0, 3.5, 3.0, 0.0]]);
        assert_eq!(apply(&input, &kernel, Mode::Valid, CrossCorrelation), [[3.5]]);
    }

    #[test]
    fn an_even_kernel_pads_one_less_before_than_after() {
        let input = plane(&[[1.0, 10.0, 100.0]]);
        let kernel = plane(&[[1.0, 2.0]]);
        // Cross-correlation reads the pixel and its right neighbour; convolution's middle starts at
        // the full output's first.
        assert_eq!(apply(&input, &kernel, Mode::Same, CrossCorrelation), [[21.0, 210.0, 100.0]]);
        assert_eq!(apply(&input, &kernel, Mode::Same, Convolution), [[1.0, 12.0, 120.0]]);
    }

    #[test]
    fn correlation_is_convolution_with_the_kernel_turned_in_full_and_valid_mode() {
        let input = plane(&[[1.0, -2.0, 3.0, 0.5], [4.0, 5.0, -6.0, 2.0], [7.0, 1.0, 9.0, -3.0]]);
        let kernel = plane(&[[1.0, 2.0, -1.0], [0.5, 3.0, 4.0]]);
        let turned = plane(&[[4.0, 3.0, 0.5], [-1.0, 2.0, 1.0]]);
        for mode in [Mode::Full, Mode::Valid] {
            let correlated = apply(&input, &kernel, mode, CrossCorrelation);
            assert_eq!(correlated, apply(&input, &turned, mode, Convolution));
            let size = if mode == Mode::Full { (4, 6) } else { (2, 2) };
            assert_eq!((correlated.len(), correlated[0].len()), size);
        }
    }

    #[test]
    fn a_kernel_larger_than_the_input_has_full_and_same_outputs_but_no_valid_one() {
        let input = plane(&[[2.0]]);
        let kernel = plane(&[[1.0, 2.0, 3.0]]);
        assert_eq!(apply(&input, &kernel, Mode::Full, Convolution), [[2.0, 4.0, 6.0]]);
        assert_eq!(apply(&input, &kernel, Mode::Same, Convolution), [[4.0]]);
        assert!(matches!(
            convolve(&input, &kernel, Mode::Valid, Convolution),
            Err(ConvolutionError::KernelExceedsInput { kernel_columns: 3, columns: 1, .. })
        ));
    }

    #[test]
    fn ragged_and_empty_rows_make_no_plane() {
        let plane = |rows: &[&[f64]]| Plane::try_from(rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>());
        assert_eq!(plane(&[]), Err(ConvolutionError::Empty));
        assert_eq!(plane(&[&[]]), Err(ConvolutionError::Empty));
        assert_eq!(plane(&[&[1.0, 2.0], &[3.0]]), Err(ConvolutionError::Ragged { row: 1, found: 1, expected: 2 }));
    }

    #[test]
    fn the_cost_bounds_the_work_before_it_is_done() {
        let input = plane(&[[0.0; 10]; 4]);
        let kernel = plane(&[[0.0; 3]; 2]);
        assert_eq!(convolution_cost(&input, &kernel, Mode::Same), 4 * 10 * 6);
        assert!(convolution_cost(&input, &kernel, Mode::Full) >= 5 * 12 * 6);
    }
}
