//! Answers that come in pages: the next one's address is in `Link: <…>; rel="next"`.
//!
//! Only the query of that address is used, on the path that was asked first: a link cannot send the token elsewhere, and a server
//! behind a path prefix need not know it.

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use super::{Client, ClientError};
use crate::Page;
use crate::metric::{BucketHistory, MetricHistory};
use crate::{Revision, RunId};

/// Most points to ask for at once.
const METRIC_PAGE: u32 = 50_000;

/// Where the next page of an answer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextPage {
    query: String,
}

impl NextPage {
    pub(super) fn of(response: &Response) -> Option<Self> {
        next_query(response.headers()).map(|query| Self { query })
    }
}

fn next_query(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let next = values.flat_map(|value| value.split(',')).find(|link| {
        let mut parameters = link.split(';').skip(1).map(str::trim);
        parameters.any(|parameter| parameter == "rel=\"next\"" || parameter == "rel=next")
    })?;
    let (_, target) = next.split_once('<')?;
    let (target, _) = target.split_once('>')?;
    target.split_once('?').map(|(_, query)| query.to_owned())
}

impl Client {
    /// A request for the page at `next`, or the first one.
    pub(super) fn page_request(&self, path: &[&str], next: Option<&NextPage>) -> RequestBuilder {
        match next {
            None => self.request(Method::GET, path),
            Some(next) => {
                let pairs: Vec<_> = url::form_urlencoded::parse(next.query.as_bytes()).collect();
                self.request(Method::GET, path).query(&pairs)
            }
        }
    }

    async fn page<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<(T, Option<NextPage>), ClientError> {
        let response = self.send(request).await?;
        let next = NextPage::of(&response);
        Ok((serde_json::from_slice(&response.bytes().await?)?, next))
    }

    /// All items of a list, page after page.
    pub(super) async fn all<T: DeserializeOwned>(&self, path: &[&str]) -> Result<Page<T>, ClientError> {
        let mut items = Vec::new();
        let mut next = None;
        loop {
            let page: Page<T>;
            (page, next) = self.page(self.page_request(path, next.as_ref())).await?;
            items.extend(page.items);
            if next.is_none() {
                return Ok(Page { items });
            }
        }
    }

    /// One metric of a run, reduced to at most so many buckets of steps.
    pub async fn metric_buckets(&self, id: RunId, name: &str, buckets: u32) -> Result<BucketHistory, ClientError> {
        let request = self.request(Method::GET, &["v1", "runs", &id.to_string(), "metrics"]);
        self.json(request.query(&[("names", name)]).query(&[("buckets", buckets)])).await
    }

    /// A page of a run's metrics, by name and step: of `names` only, if there are any.
    pub async fn metric_page(
        &self,
        id: RunId,
        names: &[String],
        next: Option<&NextPage>,
    ) -> Result<(MetricHistory, Option<NextPage>), ClientError> {
        let mut request = self.page_request(&["v1", "runs", &id.to_string(), "metrics"], next);
        if next.is_none() {
            request = request.query(&[("limit", METRIC_PAGE)]);
            if !names.is_empty() {
                request = request.query(&[("names", names.join(","))]);
            }
        }
        self.page(request).await
    }

    /// The whole history of a run's metrics; only what is newer than `after`, if given.
    pub async fn metrics(&self, id: RunId, after: Option<Revision>) -> Result<MetricHistory, ClientError> {
        let id = id.to_string();
        let path = ["v1", "runs", &id, "metrics"];
        let mut first = self.page_request(&path, None).query(&[("limit", METRIC_PAGE)]);
        if let Some(after) = after {
            first = first.query(&[("after_revision", after)]);
        }
        let (mut history, mut next): (MetricHistory, _) = self.page(first).await?;
        while let Some(place) = next {
            let page;
            (page, next) = self.page(self.page_request(&path, Some(&place))).await?;
            history.extend(page);
        }
        Ok(history)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue, LINK};

    use super::next_query;

    fn query(link: &'static str) -> Option<String> {
        next_query(&HeaderMap::from_iter([(LINK, HeaderValue::from_static(link))]))
    }

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(query("</v1/runs?limit=5&cursor=a>; rel=\"next\"").as_deref(), Some("limit=5&cursor=a"));
        assert_eq!(query("</v1/runs>; rel=\"first\", </v1/runs?cursor=b>; rel=\"next\"").as_deref(), Some("cursor=b"));
        assert_eq!(query("</v1/runs?cursor=c>; rel=\"prev\""), None);
        assert_eq!(next_query(&HeaderMap::new()), None);
    }
}
