//! Where the server is reached from outside. Behind a proxy it cannot tell by itself, so its operator says it.

use std::str::FromStr;
use std::sync::Arc;

use url::Url;

/// Why text is no public address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicUrlError {
    #[error("is not an address, such as https://trainyard.example.org: {0}")]
    Unreadable(url::ParseError),
    #[error("must be http or https")]
    Scheme,
    #[error("must name no user and no password: whoever is told of a run would read them")]
    User,
    #[error("must end with its host, port or path: a query or a fragment stands in the way of what is put behind it")]
    Query,
}

/// The server's address from outside, maybe with the path under which a proxy has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Arc<str>);

impl PublicUrl {
    /// The address of what is at this path of the server.
    pub(crate) fn of(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let url = Url::parse(text).map_err(PublicUrlError::Unreadable)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(PublicUrlError::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(PublicUrlError::User);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(PublicUrlError::Query);
        }
        Ok(Self(url.as_str().trim_end_matches('/').into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_behind_the_address_whether_or_not_it_ends_with_a_slash() {
        for (address, run) in [
            ("https://trainyard.example.org", "https://trainyard.example.org/v1/runs/1"),
            ("https://Trainyard.example.org:443/", "https://trainyard.example.org/v1/runs/1"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080/v1/runs/1"),
            ("https://example.org/trainyard/", "https://example.org/trainyard/v1/runs/1"),
        ] {
            assert_eq!(address.parse::<PublicUrl>().unwrap().of("/v1/runs/1"), run);
        }
    }

    #[test]
    fn an_address_that_nothing_can_be_put_behind_is_refused() {
        for (text, error) in [
            ("ftp://example.org", PublicUrlError::Scheme),
            ("example.org:8080", PublicUrlError::Scheme),
            ("https://ada:secret@example.org", PublicUrlError::User),
            ("https://example.org?a", PublicUrlError::Query),
            ("https://example.org/#a", PublicUrlError::Query),
        ] {
            assert_eq!(text.parse::<PublicUrl>(), Err(error), "{text}");
        }
        for text in ["", "example.org", "/trainyard", "https://"] {
            assert!(matches!(text.parse::<PublicUrl>(), Err(PublicUrlError::Unreadable(_))), "{text:?}");
        }
    }
}
