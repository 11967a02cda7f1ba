//! Ids of events and revisions, as clients name those that they have.
#![no_main]

use axum::http::{HeaderMap, HeaderValue, header};
use libfuzzer_sys::fuzz_target;
use trainyard_wire::{Attempt, Revision, RunId, Timestamp};

#[path = "../../server/src/http/conditional.rs"]
#[allow(dead_code)]
mod conditional;

fuzz_target!(|text: &[u8]| {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]);
        for revision in conditional::known_revisions(&headers) {
            // Both are answered as "you have it".
            assert!(conditional::not_modified(&headers, revision).is_some());
        }
        let _ = conditional::matches(&headers, "17");
    }
    let Ok(text) = str::from_utf8(text) else { return };
    if let Ok(id) = text.parse::<Revision>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    if let Ok(id) = text.parse::<RunId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
    let _ = (text.parse::<Attempt>(), serde_json::from_str::<Timestamp>(text));
});
