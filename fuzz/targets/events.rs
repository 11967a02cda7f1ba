//! What a client of the stream of events names: its runs, and the last message that it has.
#![no_main]

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;

#[path = "../../server/src/http/event_ids.rs"]
mod event_ids;

fuzz_target!(|text: &[u8]| {
    if let Ok(value) = HeaderValue::from_bytes(text) {
        let read = |value| event_ids::last(&HeaderMap::from_iter([(HeaderName::from_static("last-event-id"), value)]));
        match read(value) {
            // What is told as the id of the first message is taken again.
            Ok(Some(revision)) => assert_eq!(read(HeaderValue::try_from(revision.to_string()).unwrap()), Ok(Some(revision))),
            Ok(None) => assert!(text.iter().all(u8::is_ascii_whitespace)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    let Ok(text) = str::from_utf8(text) else { return };
    if let Some(mut runs) = event_ids::runs(text) {
        assert!((1..=event_ids::MOST_RUNS).contains(&runs.len()));
        let listed: Vec<String> = runs.iter().map(ToString::to_string).collect();
        let mut again = event_ids::runs(&listed.join(",")).unwrap();
        (runs.sort_unstable(), again.sort_unstable());
        assert_eq!(runs, again);
    }
});
