//! Tables: what is taken has as many rows and columns as it says, whatever is in its cells and however its bytes are cut into pieces, and is
//! what the crate `csv` reads. The first byte is the pieces' size.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/datasets/table.rs"]
mod table;

use table::{Table, TableReader};

fn read(text: &[u8], size: usize) -> Result<Table, String> {
    let mut reader = TableReader::new();
    text.chunks(size).try_for_each(|piece| reader.read(piece))?;
    reader.finish()
}

fuzz_target!(|input: &[u8]| {
    let Some((size, text)) = input.split_first() else { return };
    let table = read(text, usize::from(*size).max(1));
    assert_eq!(table, read(text, usize::MAX));
    let Ok(table) = table else { return };
    assert!(table.columns.len() >= 2 && table.rows >= 1);
    assert!(table.columns.iter().all(|name| !name.is_empty() && name.trim() == name));
    let mut rows = 0;
    for row in csv::ReaderBuilder::new().from_reader(text).byte_records() {
        let row = row.unwrap();
        assert_eq!(row.len(), table.columns.len());
        assert!(row.iter().all(|cell| str::from_utf8(cell).unwrap().trim().parse::<f64>().unwrap().is_finite()));
        rows += 1;
    }
    assert_eq!(rows, table.rows);
});
