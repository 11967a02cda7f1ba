//! The cells of an uploaded table, which were found to be numbers when it came.

/// A table's file.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) columns: usize,
    pub(super) bytes: Vec<u8>,
}

/// The stored file is not the table that was uploaded.
#[derive(Debug, thiserror::Error)]
#[error("the stored table cannot be read")]
pub(super) struct UnreadableTable;

impl Table {
    /// The numbers below the header, row after row.
    pub(super) fn cells(&self) -> Result<Vec<f64>, UnreadableTable> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(self.bytes.as_slice());
        let (mut cells, mut record) = (Vec::new(), csv::StringRecord::new());
        while reader.read_record(&mut record).map_err(|_| UnreadableTable)? {
            for field in &record {
                cells.push(field.parse().map_err(|_| UnreadableTable)?);
            }
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn the_cells_are_read_row_after_row_without_the_header() {
        let table = |text: &str| Table { columns: 2, bytes: text.as_bytes().to_vec() };
        assert_eq!(table("a, b\n1, 2\n-3e1,0.5\n").cells().unwrap(), [1.0, 2.0, -30.0, 0.5]);
        assert!(table("a,b\n1,x\n").cells().is_err());
    }
}
