//! Plain aligned tables.

use std::fmt;

use super::plain_line;

/// Rows of cells under a header; every column is as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a column at the right.
    pub(crate) fn column(&mut self, name: String) {
        self.header.push(plain_line(&name).into_owned());
    }

    /// Adds a row with a cell for every column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.header.len(), "a cell for every column");
        self.rows.push(cells.iter().map(|cell| plain_line(cell).into_owned()).collect());
    }

    /// Adds a row whose first cell says what the others are.
    pub(crate) fn row_of(&mut self, name: &str, cells: impl Iterator<Item = String>) {
        let cells = std::iter::once(name.to_owned()).chain(cells);
        self.rows.push(cells.map(|cell| plain_line(&cell).into_owned()).collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.chain(self.header.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded = cells.zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect::<Vec<_>>().join("  ");
            writeln!(f, "{}", padded.trim_end())
        };
        line(&mut self.header.iter().map(String::as_str))?;
        self.rows.iter().try_for_each(|row| line(&mut row.iter().map(String::as_str)))
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_spaces() {
        let mut table = Table::new(&["RUN", "STATE", "LOSS"]);
        table.row(["1".into(), "succeeded".into(), "0.5".into()]);
        table.row(["12345".into(), "queued".into(), String::new()]);
        assert_eq!(table.to_string(), "RUN    STATE      LOSS\n1      succeeded  0.5\n12345  queued\n");
    }

    #[test]
    fn a_cell_is_one_line_whatever_is_in_it() {
        let mut table = Table::new(&["RUN", "NAME"]);
        table.row(["1".into(), "x\n2    forged".into()]);
        assert_eq!(table.to_string(), "RUN  NAME\n1    x\\n2    forged\n");
    }
}
