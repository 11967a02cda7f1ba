//! CSV tables: a header, then rows of numbers.

use std::io::Read;

use trainyard_theory::regression::{Problem, problem_of_table};

use super::DataError;

/// The problem of predicting the column `target` from all others; see [`problem_of_table`].
///
/// # Errors
/// Where the file is not a table of finite numbers, or lacks the target or every other column.
pub fn problem(file: impl Read, target: &str, standardize: bool, intercept: bool) -> Result<Problem, DataError> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let unreadable = |error: csv::Error| DataError::Table(format!("cannot be read: {error}"));
    let header = reader.headers().map_err(unreadable)?.clone();
    let target_column = header.iter().position(|name| name == target);
    let target_column = target_column.ok_or_else(|| DataError::Table(format!("has no column `{target}`")))?;
    let columns = header.len();
    let mut cells = Vec::new();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(unreadable)? {
        for (column, field) in record.iter().enumerate() {
            let value: Option<f64> = field.parse().ok().filter(|value: &f64| value.is_finite());
            cells.push(value.ok_or_else(|| {
                let (name, line) = (header.get(column).unwrap_or_default(), record.position().map_or(0, csv::Position::line));
                DataError::Table(format!("has `{field}` in column `{name}` of line {line}, which is not a finite number"))
            })?);
        }
    }
    Ok(problem_of_table(&cells, columns, target_column, standardize, intercept)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "rooms, price, age\n2, 10, 0.1\n4, 20, 0.1\n6, 60, 0.1\n";

    #[test]
    fn the_cells_under_the_header_make_the_problem() {
        let problem = problem(TABLE.as_bytes(), "price", false, true).unwrap();
        assert_eq!(problem.t(), [10.0, 20.0, 60.0]);
        assert_eq!(problem.x(), [2.0, 0.1, 1.0, 4.0, 0.1, 1.0, 6.0, 0.1, 1.0]);
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
