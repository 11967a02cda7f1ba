//! Problems made of a table's columns.

use super::problem::{Problem, ProblemError};

/// The problem of predicting one column of a table from all others, in their order. `cells` holds
/// the rows one after another, `columns` cells each; `target` is the position of the column to
/// predict.
///
/// With `standardize` each input column is shifted to mean 0 and scaled to standard deviation 1 (of
/// the population, divisor n); a column that never changes becomes 0. With `intercept` a last
/// column of ones is added.
///
/// # Errors
/// Where there is no row or no input, or where the rows are not that long.
///
/// # Panics
/// If there is no column `target`.
pub fn problem_of_table(cells: &[f64], columns: usize, target: usize, standardize: bool, intercept: bool) -> Result<Problem, ProblemError> {
    assert!(target < columns, "the target is one of the columns");
    let inputs = columns - 1;
    let features = inputs + usize::from(intercept);
    let rows = cells.len() / columns;
    let (mut x, mut t) = (Vec::with_capacity(rows * features), Vec::with_capacity(rows));
    for row in cells.chunks(columns) {
        for (column, value) in row.iter().enumerate() {
            if column == target { t.push(*value) } else { x.push(*value) }
        }
        if intercept {
            x.push(1.0);
        }
    }
    if standardize {
        for column in 0..inputs {
            standardize_column(&mut x, features, column);
        }
    }
    Problem::new(x, t, features)
}

fn standardize_column(x: &mut [f64], features: usize, column: usize) {
    let values = || x.iter().skip(column).step_by(features);
    let count = values().count() as f64;
    // The mean of a constant column is rounded, and dividing by that rounding would blow it up.
    let constant = values().all(|value| Some(value) == values().next());
    let rounded = values().sum::<f64>() / count;
    // The rounding of a long sum is taken back by the sum of what it left over.
    let mean = rounded + values().map(|value| value - rounded).sum::<f64>() / count;
    let deviation = (values().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count).sqrt();
    // Differences can be too small for their squares.
    let scale = if constant || deviation == 0.0 { 0.0 } else { 1.0 / deviation };
    x.iter_mut().skip(column).step_by(features).for_each(|value| *value = (*value - mean) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rooms, price, age.
    const TABLE: [f64; 9] = [2.0, 10.0, 0.1, 4.0, 20.0, 0.1, 6.0, 60.0, 0.1];

    #[test]
    fn the_target_is_taken_out_and_the_other_columns_keep_their_order() {
        let problem = problem_of_table(&TABLE, 3, 1, false, false).unwrap();
        assert_eq!(problem.t(), [10.0, 20.0, 60.0]);
        assert_eq!(problem.x(), [2.0, 0.1, 4.0, 0.1, 6.0, 0.1]);
    }

    #[test]
    fn standardized_columns_have_mean_0_and_deviation_1_constant_ones_are_0_and_the_intercept_stays_1() {
        let problem = problem_of_table(&TABLE, 3, 1, true, true).unwrap();
        let side = 1.5f64.sqrt();
        for (row, expected) in [-side, 0.0, side].into_iter().enumerate() {
            assert!((problem.row(row)[0] - expected).abs() < 1e-15);
            assert_eq!(problem.row(row)[1..], [0.0, 1.0]);
        }
    }

    #[test]
    fn a_long_constant_column_becomes_0_and_a_long_shifted_one_has_mean_0() {
        let rows = 5000;
        let cells: Vec<f64> = (0..rows).flat_map(|row| [0.7, f64::from(1_000_000 + row) + 0.1, 1.0]).collect();
        let problem = problem_of_table(&cells, 3, 2, true, false).unwrap();
        assert!((0..rows as usize).all(|row| problem.row(row)[0] == 0.0));
        let column = || (0..rows as usize).map(|row| problem.row(row)[1]);
        let (mean, square) = (column().sum::<f64>() / f64::from(rows), column().map(|x| x * x).sum::<f64>() / f64::from(rows));
        assert!(mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-12, "{mean} {square}");
    }

    #[test]
    fn a_table_without_rows_or_inputs_is_no_problem() {
        assert_eq!(problem_of_table(&[], 2, 0, true, true).unwrap_err(), ProblemError::Empty);
        assert_eq!(problem_of_table(&[1.0, 2.0], 1, 0, false, false).unwrap_err(), ProblemError::Empty);
        assert!(problem_of_table(&[1.0, 2.0, 3.0], 2, 1, false, false).is_err());
    }
}
