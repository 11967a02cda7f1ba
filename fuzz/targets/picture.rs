//! Heads of pictures: a size comes from a file that is long enough to say it, and is at least one pixel.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/colourize/head.rs"]
#[allow(dead_code)]
mod head;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(head) = head::read(Cursor::new(bytes)) {
        assert!(head.width >= 1 && head.height >= 1 && bytes.len() >= 11);
        assert_eq!(trainyard_wire::spec::picture::PictureFormat::of(bytes), Some(head.format));
    }
});
