//! Answers that many ask for at the same time.
//!
//! Two hundred dashboards that look at one busy run ask the same questions every second, and as long as the store's revision stands, each
//! question has one answer: every visible change moves the revision. So an answer is made once a revision, by whoever asks first while the
//! others wait for it, and whoever has it already is answered 304. A new revision forgets all of them; of what did not change with it, the
//! first who asks with its entity tag has only that looked at.
//!
//! Only routes that answer from the store alone and need the scope `read` may share ([`Endpoints::add_shared`](super::endpoints::Endpoints)).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use trainyard_wire::Revision;

use super::app::Shared;
use super::conditional::opaque_tags;
use super::prefer;
use super::problem::ApiError;
use crate::admission::hex;

/// Answers of one revision that are kept.
const MOST_ANSWERS: usize = 512;
/// Bytes of one answer that is kept, and of all together.
const MOST_BYTES_OF_ONE: u64 = 1 << 20;
const MOST_BYTES: u64 = 16 << 20;

/// An answer that succeeded, or that nothing is new.
#[derive(Debug)]
struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Where an answer comes once it is made; nothing comes where it is none that is kept.
type Place = Arc<OnceCell<Option<Arc<Kept>>>>;

/// The answers of the last revision that was asked at.
#[derive(Debug)]
pub(crate) struct Answers {
    last: Mutex<Generation>,
}

#[derive(Debug)]
struct Generation {
    revision: Revision,
    places: HashMap<String, Place>,
    bytes: u64,
}

impl Generation {
    fn of(revision: Revision) -> Self {
        Self { revision, places: HashMap::new(), bytes: 0 }
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self { last: Mutex::new(Generation::of(Revision(0))) }
    }
}

impl Answers {
    /// The place of an answer at a revision; `None` where that is over already, or there are too many.
    fn place(&self, revision: Revision, question: String) -> Option<Place> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if revision > last.revision {
            *last = Generation::of(revision);
        }
        if revision < last.revision {
            return None;
        }
        if let Some(place) = last.places.get(&question) {
            return Some(Arc::clone(place));
        }
        if last.places.len() >= MOST_ANSWERS || last.bytes >= MOST_BYTES {
            return None;
        }
        Some(Arc::clone(last.places.entry(question).or_default()))
    }

    /// Counts an answer that was kept.
    fn keep(&self, revision: Revision, bytes: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.revision == revision {
            last.bytes += bytes;
        }
    }
}

/// The layer on a route that shares its answers. It lies within those that check the sender and the query.
pub(crate) async fn share(request: Request, next: Next) -> Response {
    let Some(app) = request.extensions().get::<Shared>().cloned() else { return next.run(request).await };
    let Some(question) = question(&request) else { return next.run(request).await };
    // Before the answer is made: what is made from a newer state is no worse.
    let revision = app.store.revision();
    let known = opaque_tags(request.headers());
    let Some(whole) = app.answers.place(revision, question.clone()) else { return next.run(request).await };
    match whole.get() {
        Some(Some(kept)) => return kept.answer(&known),
        Some(None) => return next.run(request).await,
        None => {}
    }
    // Who has an answer already may be told so with less work than making it anew.
    let place = match known.is_empty() {
        true => Some(Arc::clone(&whole)),
        false => app.answers.place(revision, format!("{question}\n\n{}", known.join(","))),
    };
    let Some(place) = place else { return next.run(request).await };
    let mut asked = Some(request);
    let mut own = None;
    let kept = place
        .get_or_init(|| async {
            match keep(next.clone().run(asked.take()?).await).await {
                Ok(kept) => {
                    app.answers.keep(revision, kept.body.len() as u64);
                    Some(Arc::new(kept))
                }
                Err(response) => {
                    own = Some(response);
                    None
                }
            }
        })
        .await;
    match (kept, own, asked) {
        (Some(kept), ..) => {
            if kept.status == StatusCode::OK {
                // Fails where it is there already.
                let _ = whole.set(Some(Arc::clone(kept)));
            }
            kept.answer(&known)
        }
        (None, Some(own), _) => own,
        // It was asked for by somebody else, and is not to be kept.
        (None, None, Some(request)) => next.run(request).await,
        (None, None, None) => ApiError::Internal("a question was lost".to_owned()).into_response(),
    }
}

/// What an answer depends on beside the store; `None` where it is nobody else's.
fn question(request: &Request) -> Option<String> {
    if request.method() != Method::GET || prefer::wait(request.headers()).is_some() {
        return None;
    }
    let path = request.uri().path_and_query()?;
    let mut question = path.as_str().to_owned();
    for accepted in request.headers().get_all(header::ACCEPT) {
        question.push('\n');
        question.push_str(accepted.to_str().ok()?);
    }
    Some(question)
}

/// Takes an answer in, if it succeeded and is short enough.
async fn keep(response: Response) -> Result<Kept, Response> {
    let (status, exact) = (response.status(), response.body().size_hint().exact());
    let succeeded = [StatusCode::OK, StatusCode::NOT_MODIFIED].contains(&status);
    if !succeeded || exact.is_none_or(|bytes| bytes > MOST_BYTES_OF_ONE) {
        return Err(response);
    }
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.map_err(|error| ApiError::internal(error).into_response())?;
    let mut headers = parts.headers;
    if !headers.contains_key(header::ETAG) {
        // What has no revision of its own is known by what it says.
        let tag = format!("W/\"{}\"", &hex(&Sha256::digest(&body))[..32]);
        headers.insert(header::ETAG, HeaderValue::try_from(tag).map_err(|error| ApiError::internal(error).into_response())?);
    }
    Ok(Kept { status, headers, body })
}

impl Kept {
    fn answer(&self, known: &[String]) -> Response {
        let tag =
            self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(|tag| tag.trim_start_matches("W/").trim_matches('"'));
        let is_known = self.status == StatusCode::NOT_MODIFIED || tag.is_some_and(|tag| known.iter().any(|known| known == tag));
        let mut response = match is_known {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => Body::from(self.body.clone()).into_response(),
        };
        for (name, value) in &self.headers {
            if response.status() == StatusCode::OK || [header::ETAG, header::VARY].contains(name) {
                response.headers_mut().append(name, value.clone());
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: &'static str) -> Kept {
        let headers = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("W/\"7\""))]);
        Kept { status: StatusCode::OK, headers, body: Bytes::from_static(bytes.as_bytes()) }
    }

    #[tokio::test]
    async fn an_answer_is_found_at_its_revision_and_forgotten_at_the_next() {
        let answers = Answers::default();
        let place = answers.place(Revision(7), "/a".to_owned()).unwrap();
        place.get_or_init(async || Some(Arc::new(kept("one")))).await;
        assert!(answers.place(Revision(7), "/a".to_owned()).unwrap().get().is_some());
        assert!(answers.place(Revision(7), "/b".to_owned()).unwrap().get().is_none());
        assert!(answers.place(Revision(8), "/a".to_owned()).unwrap().get().is_none());
        assert!(answers.place(Revision(7), "/a".to_owned()).is_none(), "an old answer must not come after a newer one");
    }

    #[test]
    fn answers_are_bounded_in_number_and_in_bytes() {
        let answers = Answers::default();
        let places = (0..1000).filter(|number| answers.place(Revision(1), format!("/{number}")).is_some()).count();
        assert_eq!(places, MOST_ANSWERS);
        assert!(answers.place(Revision(2), "/a".to_owned()).is_some());
        answers.keep(Revision(1), u64::MAX);
        answers.keep(Revision(2), MOST_BYTES);
        assert!(answers.place(Revision(2), "/b".to_owned()).is_none());
        assert!(answers.place(Revision(2), "/a".to_owned()).is_some(), "what is there is there");
    }

    #[tokio::test]
    async fn who_has_an_answer_is_told_so() {
        let kept = kept("one");
        assert_eq!(kept.answer(&["6".to_owned(), "7".to_owned()]).status(), StatusCode::NOT_MODIFIED);
        let whole = kept.answer(&["6".to_owned()]);
        assert_eq!((whole.status(), whole.headers().get(header::ETAG).unwrap()), (StatusCode::OK, &HeaderValue::from_static("W/\"7\"")));
    }
}
