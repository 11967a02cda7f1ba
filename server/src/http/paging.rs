//! Pages of lists: opaque cursors and the `Link` header.

use axum::http::{HeaderName, HeaderValue, Uri, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor;
use super::problem::ApiError;

/// Items of a page where the client does not say.
const DEFAULT_LIMIT: u32 = 100;
/// Most items of a page.
const MOST: u32 = 1000;

/// The page size that `?limit=` asks for.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    limit_up_to(asked, DEFAULT_LIMIT, MOST)
}

/// As [`limit`], with other bounds.
pub(crate) fn limit_up_to(asked: Option<u32>, default: u32, most: u32) -> Result<u32, ApiError> {
    match asked {
        None => Ok(default),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(ApiError::query("limit", format!("must be from 1 to {most}, is {limit}"))),
    }
}

/// Where a page ended, as text that promises nothing to its reader.
pub(crate) fn encode_cursor(place: &impl Serialize) -> Result<String, ApiError> {
    cursor::encode(place).map_err(ApiError::internal)
}

/// The place that `?cursor=` names.
pub(crate) fn decode_cursor<T: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<T>, ApiError> {
    let Some(cursor) = cursor else { return Ok(None) };
    cursor::decode(cursor).map(Some).ok_or_else(|| ApiError::query("cursor", "is none that this server gave out"))
}

/// `Link: <…>; rel="next"`: the same request with another cursor.
pub(crate) fn next_link(uri: &Uri, place: &impl Serialize) -> Result<(HeaderName, HeaderValue), ApiError> {
    let cursor = encode_cursor(place)?;
    let others = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).filter(|(name, _)| name != "cursor");
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).append_pair("cursor", &cursor).finish();
    let value = HeaderValue::try_from(format!("<{}?{query}>; rel=\"next\"", uri.path())).map_err(ApiError::internal)?;
    Ok((header::LINK, value))
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::{decode_cursor, encode_cursor, limit, next_link};

    #[test]
    fn a_cursor_comes_back_and_a_made_up_one_is_refused() {
        let cursor = encode_cursor(&42i64).unwrap();
        assert_eq!(decode_cursor::<i64>(Some(&cursor)).unwrap(), Some(42));
        assert_eq!(decode_cursor::<i64>(None).unwrap(), None);
        for made_up in ["", "42", "!!", "eyJ9"] {
            assert!(decode_cursor::<i64>(Some(made_up)).is_err(), "{made_up}");
        }
    }

    #[test]
    fn the_next_link_keeps_the_other_parameters() {
        let uri = Uri::from_static("/v1/runs?state=failed&cursor=old&limit=5");
        let (_, value) = next_link(&uri, &7i64).unwrap();
        assert_eq!(
            value.to_str().unwrap(),
            format!("</v1/runs?state=failed&limit=5&cursor={}>; rel=\"next\"", encode_cursor(&7i64).unwrap())
        );
    }

    #[test]
    fn a_page_has_1_to_1000_items() {
        assert_eq!(limit(None).unwrap(), 100);
        assert_eq!(limit(Some(1000)).unwrap(), 1000);
        assert!(limit(Some(0)).is_err() && limit(Some(1001)).is_err());
    }
}
