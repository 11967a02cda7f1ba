//! Where a page ended, as text that promises nothing to its reader.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The text of a place.
pub(crate) fn encode(place: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_vec(place).map(|json| URL_SAFE_NO_PAD.encode(json))
}

/// The place of a text; `None` where [`encode`] never wrote it.
pub(crate) fn decode<T: DeserializeOwned>(cursor: &str) -> Option<T> {
    URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|json| serde_json::from_slice(&json).ok())
}
