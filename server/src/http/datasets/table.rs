//! CSV tables: a header, then rows of finite numbers.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use trainyard_wire::spec::regression::{MOST_COLUMNS, MOST_ROWS};

/// Most bytes of a line. A file without line ends, or with a quotation mark that is never closed, would else be held in memory whole.
const LONGEST_RECORD: u64 = 2 << 20;
/// Most commas of a line, by which it is refused before it is read: names may hold some.
const MOST_COMMAS: u64 = 2 * MOST_COLUMNS;

/// What a table holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: u64,
}

/// Why a file is no table.
#[derive(Debug, thiserror::Error)]
pub(super) enum TableError {
    #[error("{0}")]
    Invalid(String),
    #[error("cannot read the staged file: {0}")]
    Io(#[from] io::Error),
}

/// The lines of a file that passes by. What no table could be is refused before the file is there whole.
#[derive(Debug, Default)]
pub(super) struct Lines {
    length: u64,
    commas: u64,
}

impl Lines {
    /// Looks at the next piece; says what is wrong with it.
    pub(super) fn read(&mut self, piece: &[u8]) -> Result<(), String> {
        for byte in piece {
            self.length += 1;
            match byte {
                b'\n' => *self = Self::default(),
                b',' => self.commas += 1,
                _ => {}
            }
            if self.length > LONGEST_RECORD {
                return Err(format!("a line has more than {LONGEST_RECORD} bytes"));
            }
            if self.commas > MOST_COMMAS {
                return Err(format!("a line has more than {MOST_COMMAS} cells"));
            }
        }
        Ok(())
    }
}

/// Reads the whole file at `path`. Blocks.
pub(super) fn read(path: &Path) -> Result<Table, TableError> {
    parse(BufReader::with_capacity(1 << 17, File::open(path)?))
}

/// Reads bytes to their end.
pub(super) fn parse(bytes: impl Read) -> Result<Table, TableError> {
    let read_ahead = Cell::new(0);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(Bounded { bytes, read: &read_ahead });
    let columns = header(reader.byte_headers().map_err(unreadable)?)?;
    read_ahead.set(0);
    let mut record = csv::ByteRecord::new();
    let mut rows = 0u64;
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        read_ahead.set(0);
        rows += 1;
        let line = record.position().map_or(0, csv::Position::line);
        let place = || format!("row {rows} (line {line})");
        if rows > MOST_ROWS {
            return Err(TableError::Invalid(format!("has more than {MOST_ROWS} rows")));
        }
        if record.len() != columns.len() {
            return Err(TableError::Invalid(format!("{}: has {} cells where the header has {}", place(), record.len(), columns.len())));
        }
        for (cell, column) in record.iter().zip(&columns) {
            let text = String::from_utf8_lossy(cell);
            if !text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
                let shown: String = text.chars().take(40).collect();
                return Err(TableError::Invalid(format!("{}, column `{column}`: `{shown}` is not a finite number", place())));
            }
        }
    }
    if rows == 0 {
        return Err(TableError::Invalid("has a header and no rows".to_owned()));
    }
    Ok(Table { columns, rows })
}

/// Bytes of which only so many may be read before `read` is set back.
struct Bounded<'a, R> {
    bytes: R,
    read: &'a Cell<u64>,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read.get() > LONGEST_RECORD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line has more than {LONGEST_RECORD} bytes")));
        }
        let count = self.bytes.read(buffer)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

fn header(record: &csv::ByteRecord) -> Result<Vec<String>, TableError> {
    let invalid = |detail: String| Err(TableError::Invalid(detail));
    if record.len() < 2 {
        return invalid("must have a header of at least two columns, a target and an input".to_owned());
    }
    // One more than a problem is wide: the target.
    if record.len() as u64 > MOST_COLUMNS + 1 {
        return invalid(format!("has {} columns; at most {} are allowed", record.len(), MOST_COLUMNS + 1));
    }
    let mut columns = Vec::with_capacity(record.len());
    let mut seen = HashSet::new();
    for (number, cell) in (1..).zip(record) {
        // Spreadsheets begin a file with a byte order mark.
        let cell = if number == 1 { cell.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(cell) } else { cell };
        let Ok(name) = str::from_utf8(cell).map(str::trim) else { return invalid(format!("the header's column {number} is not UTF-8")) };
        if name.is_empty() || name.chars().count() > 200 {
            return invalid(format!("the header's column {number} must have a name of 1 to 200 characters"));
        }
        if !seen.insert(name.to_owned()) {
            return invalid(format!("the header has the column `{name}` twice"));
        }
        columns.push(name.to_owned());
    }
    if columns.iter().all(|name| name.parse::<f64>().is_ok()) {
        return invalid("the first line must be a header of names, and has numbers only".to_owned());
    }
    Ok(columns)
}

fn unreadable(error: csv::Error) -> TableError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == io::ErrorKind::InvalidData => TableError::Invalid(error.to_string()),
        csv::ErrorKind::Io(error) => TableError::Io(error),
        other => TableError::Invalid(format!("cannot be read as CSV: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{LONGEST_RECORD, Lines, Table, parse};

    #[test]
    fn a_table_is_its_columns_and_its_rows() {
        let table = parse("\u{feff}size,\"price, net\"\r\n1,2.5\r\n-3e4,0\r\n".as_bytes()).unwrap();
        assert_eq!(table, Table { columns: vec!["size".to_owned(), "price, net".to_owned()], rows: 2 });
    }

    #[test]
    fn a_line_that_is_too_long_or_has_too_many_cells_is_refused_while_it_passes_by() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.read(&[b"1,2,3".repeat(1000), b"\n".to_vec()].concat()).unwrap();
        }
        let piece = vec![b'1'; 1 << 20];
        lines.read(&piece).unwrap();
        lines.read(&piece).unwrap();
        assert_eq!(lines.read(b"1").unwrap_err(), format!("a line has more than {LONGEST_RECORD} bytes"));
        assert!(Lines::default().read(&vec![b','; 1 << 18]).unwrap_err().contains("cells"));
    }

    #[test]
    fn a_line_without_end_is_refused_while_it_is_read() {
        let endless = "a,b\n1,\"".as_bytes().chain(std::io::repeat(b'1'));
        assert_eq!(parse(endless).unwrap_err().to_string(), format!("a line has more than {LONGEST_RECORD} bytes"));
        let long = "a,b\n".to_owned() + &"1,2\n".repeat(10_000);
        assert_eq!(parse(long.as_bytes()).unwrap().rows, 10_000);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_row_and_column() {
        for (text, detail) in [
            ("", "must have a header of at least two columns, a target and an input"),
            ("a\n1\n", "must have a header of at least two columns, a target and an input"),
            ("a,a\n1,2\n", "the header has the column `a` twice"),
            ("a,\n1,2\n", "the header's column 2 must have a name of 1 to 200 characters"),
            ("1,2\n3,4\n", "the first line must be a header of names, and has numbers only"),
            ("a,b\n", "has a header and no rows"),
            ("a,b\n1,2\n3\n", "row 2 (line 3): has 1 cells where the header has 2"),
            ("a,b\n1,2\n3,x\n", "row 2 (line 3), column `b`: `x` is not a finite number"),
            ("a,b\n1,NaN\n", "row 1 (line 2), column `b`: `NaN` is not a finite number"),
            ("a,b\n1,inf\n", "row 1 (line 2), column `b`: `inf` is not a finite number"),
            ("a,b\n1,\n", "row 1 (line 2), column `b`: `` is not a finite number"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().to_string(), detail, "for {text:?}");
        }
    }
}
