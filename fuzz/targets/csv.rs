//! Tables: what is taken has as many rows and columns as it says, whatever is in its cells.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/datasets/table.rs"]
#[allow(dead_code)]
mod table;

fuzz_target!(|text: &[u8]| {
    if let Ok(table) = table::parse(text) {
        assert!(table.columns.len() >= 2 && table.rows >= 1);
        assert!(table.columns.iter().all(|name| !name.is_empty() && name.trim() == name));
        assert!(table.rows <= text.len() as u64);
    }
});
