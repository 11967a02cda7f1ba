//! Cursors of pages: what is taken as one is what would be given out.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/cursor.rs"]
#[allow(dead_code)]
mod cursor;

fuzz_target!(|text: &str| {
    if let Some(place) = cursor::decode::<i64>(text) {
        assert_eq!(cursor::decode::<i64>(&cursor::encode(&place).unwrap()), Some(place));
    }
    if let Some(place) = cursor::decode::<(String, u64, u64)>(text) {
        assert_eq!(cursor::decode::<(String, u64, u64)>(&cursor::encode(&place).unwrap()), Some(place));
    }
    let _ = cursor::decode::<serde_json::Value>(text);
});
