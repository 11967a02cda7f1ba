//! CSV tables: a header, then rows of finite numbers. They are read while they pass by, so that what is none is refused where it ends being
//! one, before the rest has come and before anything is fsynced.

use std::collections::HashSet;

use csv_core::ReadRecordResult;
use trainyard_wire::spec::regression::{MOST_COLUMNS, MOST_ROWS};

/// Most bytes of a line. A file without line ends, or with a quotation mark that is never closed, would else be held in memory whole.
const LONGEST_LINE: usize = 2 << 20;
/// Most cells of a line: one more than a problem is wide, the target.
const MOST_CELLS: usize = MOST_COLUMNS as usize + 1;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What a table holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: Vec<String>,
    pub(super) rows: u64,
}

/// Reads a table, piece by piece. An error says what is wrong, and is the last that is to be asked of it.
pub(super) struct TableReader {
    csv: csv_core::Reader,
    /// The first bytes, until they are enough to tell a byte order mark.
    first: Option<Vec<u8>>,
    /// Of the line that is being read: its cells one after the other, where each ends, how much of both there is, its bytes in the file, and
    /// where it begins.
    cells: Vec<u8>,
    ends: Vec<usize>,
    cell_bytes: usize,
    cell_count: usize,
    read: usize,
    line: u64,
    columns: Vec<String>,
    rows: u64,
    /// Ends of lines that the CSV reader has not seen, and whether it saw only the first half of one.
    passed: u64,
    returned: bool,
}

impl TableReader {
    pub(super) fn new() -> Self {
        Self {
            csv: csv_core::Reader::new(),
            first: Some(Vec::new()),
            cells: vec![0; 1 << 10],
            ends: vec![0; 1 << 7],
            cell_bytes: 0,
            cell_count: 0,
            read: 0,
            line: 1,
            columns: Vec::new(),
            rows: 0,
            passed: 0,
            returned: false,
        }
    }

    /// Reads the next piece of the file.
    pub(super) fn read(&mut self, piece: &[u8]) -> Result<(), String> {
        let Some(first) = &mut self.first else { return self.advance(piece) };
        // Spreadsheets begin a file with the mark; the reader takes it away if it gets it whole.
        first.extend_from_slice(piece);
        if first.len() < BYTE_ORDER_MARK.len() {
            return Ok(());
        }
        let first = self.first.take().unwrap_or_default();
        self.advance(&first)
    }

    /// The table, when there are no more pieces.
    pub(super) fn finish(mut self) -> Result<Table, String> {
        if let Some(first) = self.first.take() {
            self.advance(&first)?;
        }
        // An empty input is the end of the file, and may end a line.
        while self.step(&[])?.0 != ReadRecordResult::End {}
        if self.columns.is_empty() {
            self.header()?;
        }
        if self.rows == 0 {
            return Err("has a header and no rows".to_owned());
        }
        Ok(Table { columns: self.columns, rows: self.rows })
    }

    fn advance(&mut self, mut piece: &[u8]) -> Result<(), String> {
        while !piece.is_empty() {
            let read = match self.pass_by(piece) {
                Some(length) => length,
                None => self.step(piece)?.1,
            };
            piece = &piece[read..];
        }
        Ok(())
    }

    /// Takes the line with which `piece` begins, if it is a row of the plainest kind, or what is left of the end of the line before; answers
    /// its length. The CSV reader would say the same of it at several times the price. It is between two lines then, and misses none.
    fn pass_by(&mut self, piece: &[u8]) -> Option<usize> {
        if self.read > 0 {
            return None;
        }
        let length = if std::mem::take(&mut self.returned) && piece.starts_with(b"\n") {
            1
        } else {
            let length = plain_line(piece, self.columns.len()).filter(|_| self.rows < MOST_ROWS)?;
            self.rows += 1;
            length
        };
        self.passed += 1;
        self.line += 1;
        Some(length)
    }

    /// Reads up to the end of a line, of `piece`, or of the space for cells. Answers which, and how much was read.
    fn step(&mut self, piece: &[u8]) -> Result<(ReadRecordResult, usize), String> {
        let (cells, ends) = (&mut self.cells[self.cell_bytes..], &mut self.ends[self.cell_count..]);
        let (result, read, bytes, count) = self.csv.read_record(piece, cells, ends);
        self.read += read;
        self.cell_bytes += bytes;
        self.cell_count += count;
        if self.read > LONGEST_LINE {
            return Err(format!("a line has more than {LONGEST_LINE} bytes"));
        }
        match result {
            ReadRecordResult::OutputFull => self.cells.resize(2 * self.cells.len(), 0),
            // There may be one too many, which ends it.
            ReadRecordResult::OutputEndsFull if self.ends.len() > MOST_CELLS => {
                return Err(format!("a line has more than {MOST_CELLS} cells"));
            }
            ReadRecordResult::OutputEndsFull => self.ends.resize((2 * self.ends.len()).min(MOST_CELLS + 1), 0),
            ReadRecordResult::Record => {
                if self.columns.is_empty() {
                    self.header()?
                } else {
                    self.row()?
                }
                (self.cell_bytes, self.cell_count, self.read) = (0, 0, 0);
                self.line = self.csv.line() + self.passed;
                self.returned = piece[..read].ends_with(b"\r");
            }
            ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
        }
        Ok((result, read))
    }

    /// The cells of the line.
    fn line_cells(&self) -> impl Iterator<Item = &[u8]> {
        let ends = &self.ends[..self.cell_count];
        let begins = std::iter::once(0).chain(ends.iter().copied());
        begins.zip(ends).map(|(begin, end)| &self.cells[begin..*end])
    }

    fn header(&mut self) -> Result<(), String> {
        if self.cell_count < 2 {
            return Err("must have a header of at least two columns, a target and an input".to_owned());
        }
        if self.cell_count > MOST_CELLS {
            return Err(format!("has {} columns; at most {MOST_CELLS} are allowed", self.cell_count));
        }
        let mut columns = Vec::with_capacity(self.cell_count);
        for (number, cell) in (1..).zip(self.line_cells()) {
            let name = str::from_utf8(cell).map_err(|_| format!("the header's column {number} is not UTF-8"))?.trim();
            if name.is_empty() || name.chars().count() > 200 {
                return Err(format!("the header's column {number} must have a name of 1 to 200 characters"));
            }
            columns.push(name);
        }
        let mut seen = HashSet::with_capacity(columns.len());
        if let Some(name) = columns.iter().find(|name| !seen.insert(**name)) {
            return Err(format!("the header has the column `{name}` twice"));
        }
        if columns.iter().all(|name| name.parse::<f64>().is_ok()) {
            return Err("the first line must be a header of names, and has numbers only".to_owned());
        }
        self.columns = columns.into_iter().map(str::to_owned).collect();
        Ok(())
    }

    fn row(&mut self) -> Result<(), String> {
        self.rows += 1;
        if self.rows > MOST_ROWS {
            return Err(format!("has more than {MOST_ROWS} rows"));
        }
        let place = || format!("row {} (line {})", self.rows, self.line);
        if self.cell_count != self.columns.len() {
            return Err(format!("{}: has {} cells where the header has {}", place(), self.cell_count, self.columns.len()));
        }
        match self.line_cells().zip(&self.columns).find(|(cell, _)| !is_finite(cell)) {
            None => Ok(()),
            Some((cell, column)) => {
                let shown: String = String::from_utf8_lossy(cell).chars().take(40).collect();
                Err(format!("{}, column `{column}`: `{shown}` is not a finite number", place()))
            }
        }
    }
}

/// Whether a cell is a finite number, maybe with space around it.
fn is_finite(cell: &[u8]) -> bool {
    str::from_utf8(cell).is_ok_and(|text| text.trim().parse::<f64>().is_ok_and(f64::is_finite))
}

/// The length of the line at the beginning of `text`, with its end, where it is whole and has so many cells and all of them are decimals of
/// at most 100 digits: those are finite whatever they are, so nothing needs to be computed. As most lines are.
fn plain_line(text: &[u8], columns: usize) -> Option<usize> {
    let (mut count, mut begin, mut digits, mut points) = (0, 0, 0, 0);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' => points += 1,
            b'-' if at == begin => {}
            b'\r' if text.get(at + 1) == Some(&b'\n') => {}
            b',' | b'\n' if (1..=100).contains(&digits) && points <= 1 => {
                count += 1;
                if *byte == b'\n' {
                    return (count == columns).then_some(at + 1);
                }
                (begin, digits, points) = (at + 1, 0, 0);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_LINE, MOST_CELLS, Table, TableReader};

    fn parse(text: &[u8]) -> Result<Table, String> {
        let mut reader = TableReader::new();
        reader.read(text)?;
        reader.finish()
    }

    /// How many bytes of an endless repetition are read until it is refused, and why.
    fn read_until_refused(begin: &str, again: &str) -> (usize, String) {
        let mut reader = TableReader::new();
        reader.read(begin.as_bytes()).unwrap();
        let piece = again.repeat(1 << 10);
        for read in (0..).step_by(piece.len()) {
            if let Err(detail) = reader.read(piece.as_bytes()) {
                return (read, detail);
            }
        }
        unreachable!()
    }

    #[test]
    fn a_table_is_its_columns_and_its_rows() {
        let text = "\u{feff}\"size\",\"price, net\"\r\n1,2.5\r\n-3e4,\" 0\n\"\r\n\n+7,.5";
        let table = Table { columns: vec!["size".to_owned(), "price, net".to_owned()], rows: 3 };
        assert_eq!(parse(text.as_bytes()), Ok(table));
        for size in 1..text.len() {
            let mut reader = TableReader::new();
            text.as_bytes().chunks(size).try_for_each(|piece| reader.read(piece)).unwrap();
            assert_eq!(reader.finish(), parse(text.as_bytes()), "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_table_is_refused_while_it_passes_by() {
        let line = format!("a line has more than {LONGEST_LINE} bytes");
        for (begin, again, at, detail) in [
            ("", "1", LONGEST_LINE, line.as_str()),
            ("", "\n", LONGEST_LINE, &line),
            ("a,b\n1,\"", "1", LONGEST_LINE, &line),
            ("", ",", MOST_CELLS, "a line has more than 100001 cells"),
            ("a,b\n", "\"\n\",", 4 * MOST_CELLS, "a line has more than 100001 cells"),
            ("a,b\n", "1,2\n", 4_000_000, "has more than 1000000 rows"),
            ("a,b\n1,2\n1,x\n", "1,2\n", 0, "row 2 (line 3), column `b`: `x` is not a finite number"),
        ] {
            if at == 0 {
                assert_eq!(TableReader::new().read(begin.as_bytes()), Err(detail.to_owned()));
                continue;
            }
            let (read, told) = read_until_refused(begin, again);
            assert_eq!(told, detail, "{begin:?}");
            assert!(read <= at && at <= read + 4096, "{begin:?}{again:?}: after {read} bytes");
        }
    }

    #[test]
    fn a_table_may_be_as_wide_and_as_long_as_is_allowed() {
        let wide = |cells: usize| (0..cells).map(|cell| format!("c{cell}")).collect::<Vec<_>>().join(",") + "\n";
        let row = "1,".repeat(MOST_CELLS - 1) + "2\n";
        assert_eq!(parse((wide(MOST_CELLS) + &row).as_bytes()).unwrap().columns.len(), MOST_CELLS);
        assert_eq!(parse((wide(MOST_CELLS + 1) + &row).as_bytes()), Err("has 100002 columns; at most 100001 are allowed".to_owned()));
        assert_eq!(parse(format!("a,b\n{}", "1,2\n".repeat(1_000_000)).as_bytes()).unwrap().rows, 1_000_000);
    }

    #[test]
    fn a_cell_is_what_rust_reads_as_a_finite_number() {
        // On a line of which nothing else is to be said, and on one that has to be read as CSV.
        let taken = |cell: &str| {
            let rows = [format!("{cell},0\n"), format!("{cell},\"0\"\r\n"), format!("-1,{cell}\r\n")];
            let taken: Vec<bool> = rows.iter().map(|row| parse(format!("a,b\n{row}").as_bytes()).is_ok()).collect();
            assert!(taken.iter().all(|one| *one == taken[0]), "{cell}: {taken:?}");
            taken[0]
        };
        for cell in ["0", "-0", "1.", ".5", "-12.25", "+3", " 7 ", "1e-9", "1E308", &"9".repeat(101), &format!("0.{}", "1".repeat(400))] {
            assert!(taken(cell) && cell.trim().parse::<f64>().unwrap().is_finite(), "{cell}");
        }
        for cell in ["", ".", "-", "-.", "1..2", "1.2.3", "1-", "--1", "1-2", "1e999", "inf", "NaN", "0x1", "\u{661}", &"9".repeat(400)] {
            assert!(!taken(cell) && !cell.trim().parse::<f64>().is_ok_and(f64::is_finite), "{cell}");
        }
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
            ("a,b\r\n1,2\r\n\r\n\"3\n\",4\r\n5,6\r\n7,8,9\r\n", "row 4 (line 7): has 3 cells where the header has 2"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(detail.to_owned()), "for {text:?}");
        }
    }
}
