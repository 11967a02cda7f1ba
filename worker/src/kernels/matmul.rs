//! Matrix products on slices, on one thread.

use gemm::Parallelism;

/// A matrix in a slice: element (i, j) is at `i·row_stride + j·column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major.
    pub(super) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "slice of another length than {rows}×{columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, without moving anything.
    pub(super) fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }
}

/// `output = lhs·rhs`, or `output += lhs·rhs` where `accumulate`; `output` is row-major. The order of sums depends on
/// the shapes and the machine's cache sizes, not on threads.
#[allow(unsafe_code)]
pub(super) fn matmul(output: &mut [f32], lhs: Matrix<'_>, rhs: Matrix<'_>, accumulate: bool) {
    let (m, n, k) = (lhs.rows, rhs.columns, lhs.columns);
    assert_eq!(k, rhs.rows, "inner dimensions differ");
    assert_eq!(output.len(), m * n, "output of another length than {m}×{n}");
    // SAFETY: `Matrix` can only be made by `new`, which checks `data.len() == rows·columns` for the dense row-major
    // strides, and by `t`, which swaps rows with columns and their strides together; so every (i, j) below the
    // dimensions lies inside the slice. `output` is m·n long with strides (n, 1) and, as `&mut`, overlaps neither
    // operand. The inner dimensions agree. All strides fit `isize`, because they are at most a slice's length.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            output.as_mut_ptr(),
            1,
            n as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::testing::{assert_near, random};

    proptest! {
        #[test]
        fn products_of_any_shape_and_transposition_are_those_of_the_definition(
            m in 1usize..20, n in 1usize..20, k in 1usize..20,
            transpose_lhs: bool, transpose_rhs: bool, accumulate: bool,
        ) {
            let (a, b, start) = (random(1, m * k), random(2, k * n), random(3, m * n));
            let lhs = if transpose_lhs { Matrix::new(&a, k, m).t() } else { Matrix::new(&a, m, k) };
            let rhs = if transpose_rhs { Matrix::new(&b, n, k).t() } else { Matrix::new(&b, k, n) };
            let mut output = start.clone();
            matmul(&mut output, lhs, rhs, accumulate);
            let at = |x: &Matrix<'_>, i: usize, j: usize| x.data[i * x.row_stride + j * x.column_stride];
            let mut expected = vec![0.0; m * n];
            for i in 0..m {
                for j in 0..n {
                    let product: f32 = (0..k).map(|l| at(&lhs, i, l) * at(&rhs, l, j)).sum();
                    expected[i * n + j] = product + if accumulate { start[i * n + j] } else { 0.0 };
                }
            }
            assert_near(&output, &expected, 1e-5);
        }
    }
}
