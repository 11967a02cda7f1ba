//! What a client of `GET /v1/events` names: the runs that it wants to hear of, and the last message that it has.

use std::collections::HashSet;

use axum::http::{HeaderMap, HeaderName};
use trainyard_wire::{Revision, RunId};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Most runs of a stream that names them.
pub(super) const MOST_RUNS: usize = 1000;

/// Why a `Last-Event-ID` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Last-Event-ID must be the id of a message of this stream")]
pub(super) struct NoEventId;

/// The runs that a query names, each once; `None` where it is no list of at most [`MOST_RUNS`] ids.
pub(super) fn runs(text: &str) -> Option<Vec<RunId>> {
    let ids: HashSet<RunId> = text.split(',').map(|id| id.trim().parse()).collect::<Result<_, _>>().ok()?;
    (ids.len() <= MOST_RUNS).then(|| ids.into_iter().collect())
}

/// The revision of the last message that the client has.
///
/// # Errors
/// The header is there and is no id.
pub(super) fn last(headers: &HeaderMap) -> Result<Option<Revision>, NoEventId> {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    // A browser that has received no id yet sends none; an empty one stands for the same.
    let id = id.to_str().map(str::trim).map_err(|_| NoEventId)?;
    if id.is_empty() {
        return Ok(None);
    }
    id.parse().map(Some).map_err(|_| NoEventId)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue};
    use trainyard_wire::Revision;

    use super::{LAST_EVENT_ID, MOST_RUNS, NoEventId, last, runs};

    #[test]
    fn a_stream_names_up_to_a_thousand_runs() {
        assert_eq!(runs("2, 2,1").unwrap().len(), 2);
        let many: Vec<String> = (0..=MOST_RUNS).map(|id| id.to_string()).collect();
        assert!(runs(&many[1..].join(",")).is_some());
        for wrong in ["", "1,", "one", &many.join(",")] {
            assert!(runs(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_last_event_id_is_a_revision_or_missing() {
        let id = |text| last(&HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_static(text))]));
        assert_eq!(id("17"), Ok(Some(Revision(17))));
        assert_eq!(id(""), Ok(None));
        assert_eq!(last(&HeaderMap::new()), Ok(None));
        assert_eq!(id("yesterday"), Err(NoEventId));
    }
}
