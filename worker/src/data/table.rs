//! CSV tables: a header, then rows of numbers.

use std::io::Read;

use trainyard_theory::regression::Problem;

use super::DataError;

/// The problem of predicting the column `target` from all others, in their order.
///
/// With `standardize` each input column is shifted to mean 0 and scaled to standard deviation 1 (of the population, divisor n); a
/// column that never changes becomes 0. With `intercept` a last column of ones is added.
///
/// # Errors
/// Where the file is not a table of finite numbers, or lacks the target or every other column.
pub fn problem(file: impl Read, target: &str, standardize: bool, intercept: bool) -> Result<Problem, DataError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let unreadable = |error: csv::Error| DataError::Table(format!("cannot be read: {error}"));
    let header = reader.headers().map_err(unreadable)?.clone();
    let target_column = header.iter().position(|name| name == target);
    let target_column = target_column.ok_or_else(|| DataError::Table(format!("has no column `{target}`")))?;
    let inputs = header.len() - 1;

    let (mut x, mut t) = (Vec::new(), Vec::new());
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        for (column, field) in record.iter().enumerate() {
            let value: Option<f64> = field.parse().ok().filter(|value: &f64| value.is_finite());
            let value = value.ok_or_else(|| {
                let (name, line) = (header.get(column).unwrap_or_default(), record.position().map_or(0, csv::Position::line));
                DataError::Table(format!("has `{field}` in column `{name}` of line {line}, which is not a finite number"))
            })?;
            if column == target_column { t.push(value) } else { x.push(value) }
        }
        if intercept {
            x.push(1.0);
        }
    }
    let features = inputs + usize::from(intercept);
    if standardize {
        for column in 0..inputs {
            standardize_column(&mut x, features, column);
        }
    }
    Ok(Problem::new(x, t, features)?)
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

    const TABLE: &str = "rooms, price, age\n2, 10, 0.1\n4, 20, 0.1\n6, 60, 0.1\n";

    #[test]
    fn the_target_is_taken_out_and_the_other_columns_keep_their_order() {
        let problem = problem(TABLE.as_bytes(), "price", false, false).unwrap();
        assert_eq!(problem.t(), [10.0, 20.0, 60.0]);
        assert_eq!(problem.x(), [2.0, 0.1, 4.0, 0.1, 6.0, 0.1]);
    }

    #[test]
    fn standardized_columns_have_mean_0_and_deviation_1_constant_ones_are_0_and_the_intercept_stays_1() {
        let problem = problem(TABLE.as_bytes(), "price", true, true).unwrap();
        let side = 1.5f64.sqrt();
        for (row, expected) in [-side, 0.0, side].into_iter().enumerate() {
            assert!((problem.row(row)[0] - expected).abs() < 1e-15);
            assert_eq!(problem.row(row)[1..], [0.0, 1.0]);
        }
    }

    #[test]
    fn a_long_constant_column_becomes_0_and_a_long_shifted_one_has_mean_0() {
        let rows = 5000;
        let table: String = (0..rows).map(|row| format!("0.7,{}.1,1\n", 1_000_000 + row)).collect();
        let problem = problem(format!("same,shifted,t\n{table}").as_bytes(), "t", true, false).unwrap();
        assert!((0..rows).all(|row| problem.row(row)[0] == 0.0));
        let mean = (0..rows).map(|row| problem.row(row)[1]).sum::<f64>() / rows as f64;
        let square = (0..rows).map(|row| problem.row(row)[1].powi(2)).sum::<f64>() / rows as f64;
        assert!(mean.abs() < 1e-12 && (square - 1.0).abs() < 1e-12, "{mean} {square}");
    }

    #[test]
    fn what_is_not_a_number_is_named_with_its_column_and_line() {
        let message = |table: &str, target| problem(table.as_bytes(), target, false, false).unwrap_err().to_string();
        assert_eq!(message("a,b\n1,2\n3,x\n", "a"), "the table has `x` in column `b` of line 3, which is not a finite number");
        assert!(message("a,b\n1,inf\n", "a").contains("not a finite number"));
        assert!(message("a,b\n1,2\n", "c").contains("no column `c`"));
        assert!(message("a,b\n1\n", "a").contains("cannot be read"));
        assert!(message("a,b\n", "a").contains("at least one example"));
        assert!(message("a\n1\n", "a").contains("one feature"));
    }
}
