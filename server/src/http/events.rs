//! `GET /v1/events?runs=1,2`: one stream for many runs (server-sent events).
//!
//! A message's id is its revision, which is one counter for the whole store: a client that comes back with `Last-Event-ID` has what it
//! missed read from the store, for all its runs at once. While it is connected it reads the ring that the writer fills after each commit
//! ([`store::feed`](crate::store)). The body is only asked for more when the socket takes it, so a slow reader waits for itself alone: the
//! ring goes on without it, and it then reads from the store. One that does not keep the [`pace`](super::pace) loses its connection.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse as _, Response};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{Interval, MissedTickBehavior};
use trainyard_wire::run::News;
use trainyard_wire::{Problem, Revision, RunId};
use utoipa::IntoParams;

use super::app::Shared;
use super::event_ids::{self, MOST_RUNS};
use super::extract::Query;
use super::problem::ApiError;
use crate::store::{Commit, StoreError, Told};

/// nginx holds answers back unless told not to.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How often a stream shows that it lives, and that its sender may still read.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// About the most bytes of one piece of the body.
const PIECE: usize = 16 << 10;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamQuery {
    /// Ids, separated by commas; at most 1000. All runs without.
    runs: Option<String>,
    /// Begin after this revision; without it, and without `Last-Event-ID`, with what happens from now on.
    after_revision: Option<i64>,
}

/// What happens to runs, as it happens.
///
/// Each message is JSON, and its id is its revision. The kind `changed` tells that a run has new metrics, progress or files: ask for them
/// with `?after_revision=`. Of a run that changed several times while a client was away, it hears once; events are never left out.
#[utoipa::path(get, path = "/v1/events", tag = "runs",
    params(StreamQuery, ("Last-Event-ID" = Option<String>, Header, pattern = "^[-+]?[0-9]*$",
        description = "The id of the last message that was received; empty where there was none")),
    responses((status = 200, description = "A stream of messages (`data:` is News)", content_type = "text/event-stream", body = News),
        (status = 404, description = "One of the runs does not exist", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "There are too many streams", body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn stream(
    State(app): State<Shared>,
    Query(query): Query<StreamQuery>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let runs = query.runs.as_deref().map(|text| {
        event_ids::runs(text).ok_or_else(|| ApiError::query("runs", format!("must be at most {MOST_RUNS} ids, separated by commas")))
    });
    let runs = runs.transpose()?;
    let after = match event_ids::last(&headers).map_err(|error| ApiError::Malformed(error.to_string()))? {
        Some(after) => Some(after),
        None => query.after_revision.map(Revision),
    };
    if let Some(runs) = &runs
        && let Some(missing) = app.store.missing_runs(runs).await?.first()
    {
        return Err(super::runs::no_run(*missing));
    }
    let place = Arc::clone(&app.subscribers).try_acquire_owned();
    let place = place.map_err(|_| ApiError::Unavailable("there are too many streams of events already".to_owned()))?;
    // Received from before the revision is read, so that nothing falls between the two.
    let ring = app.store.subscribe();
    let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
    keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
    keep_alive.reset();
    let subscriber = Subscriber {
        wanted: runs.as_ref().map(|runs| runs.iter().copied().collect()),
        runs,
        told: after.unwrap_or_else(|| app.store.revision()),
        behind: after.is_some(),
        begun: false,
        ring,
        keep_alive,
        credentials: (method, headers),
        app,
        _place: place,
    };
    let body = Body::from_stream(futures::stream::try_unfold(subscriber, async |mut subscriber| {
        Ok::<_, StoreError>(subscriber.next().await?.map(|piece| (piece, subscriber)))
    }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

/// One client's stream.
struct Subscriber {
    app: Shared,
    runs: Option<Vec<RunId>>,
    /// The same.
    wanted: Option<HashSet<RunId>>,
    /// All up to this revision has been told.
    told: Revision,
    /// Whether the store is to be read, because the ring does not have what comes next.
    behind: bool,
    begun: bool,
    ring: Receiver<Commit>,
    keep_alive: Interval,
    credentials: (Method, HeaderMap),
    /// Among those that there may be at one time.
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    /// The next piece of the body; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        if !self.begun {
            self.begun = true;
            // An id without data is remembered by the client: it can come back before anything has happened.
            return Ok(Some(format!("retry: 1000\nid: {}\n\n", self.told).into()));
        }
        loop {
            if self.behind {
                let piece = self.read_store().await?;
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
                continue;
            }
            tokio::select! {
                () = self.app.stop.cancelled() => return Ok(None),
                commit = self.ring.recv() => match commit {
                    Ok(commit) => {
                        let piece = self.take(commit);
                        if !piece.is_empty() {
                            return Ok(Some(piece));
                        }
                    }
                    Err(RecvError::Lagged(_)) => self.behind = true,
                    Err(RecvError::Closed) => return Ok(None),
                },
                _ = self.keep_alive.tick() => {
                    // A token may have ended or been revoked since.
                    let (method, headers) = &self.credentials;
                    if self.app.credentials.identify(method, headers).is_err() {
                        return Ok(None);
                    }
                    return Ok(Some(Bytes::from_static(b":\n\n")));
                }
            }
        }
    }

    /// A page of what the store has to tell; empty where that is nothing.
    async fn read_store(&mut self) -> Result<Bytes, StoreError> {
        let page = self.app.store.news(self.runs.as_deref(), self.told).await?;
        self.behind = page.more;
        let mut piece = BytesMut::new();
        page.news.iter().for_each(|told| piece.extend_from_slice(&told.frame));
        self.told = page.until.max(self.told);
        Ok(piece.freeze())
    }

    /// What this client is told of a commit, and of those that are there already, up to about a piece.
    fn take(&mut self, first: Commit) -> Bytes {
        let mut piece = BytesMut::new();
        let mut next = Some(first);
        while let Some(commit) = next.take() {
            match commit {
                Commit::News(news) => news.iter().for_each(|told| self.tell(told, &mut piece)),
                Commit::Much => self.behind = true,
            }
            if self.behind || piece.len() >= PIECE {
                break;
            }
            match self.ring.try_recv() {
                Ok(commit) => next = Some(commit),
                Err(TryRecvError::Lagged(_)) => self.behind = true,
                Err(TryRecvError::Empty | TryRecvError::Closed) => {}
            }
        }
        piece.freeze()
    }

    fn tell(&mut self, told: &Told, piece: &mut BytesMut) {
        // What was read from the store comes through the ring as well.
        if told.revision > self.told {
            self.told = told.revision;
            if self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&told.run_id)) {
                piece.extend_from_slice(&told.frame);
            }
        }
    }
}
