//! What subscribers are told: the events of runs, and which runs have changed otherwise, in the order of their revisions.
//!
//! After each commit the writer puts what it told into a ring that all subscribers read, so telling two hundred costs the writer the same
//! as telling one, and nobody is ever waited for. A subscriber whom the ring has overtaken, and one that comes back with the last
//! revision it saw, reads from the store instead ([`Store::news`]). Nothing is lost either way, for events are stored; of a run that
//! changed several times without an event, such a subscriber hears once.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::broadcast;
use trainyard_wire::run::News;
use trainyard_wire::{Revision, RunId};

use super::{Store, StoreError};
use crate::db;

/// Commits that the ring holds.
const RING: usize = 256;
/// Most news of one commit that go through the ring; more are read from the store.
const MOST_OF_A_COMMIT: usize = 256;
/// Events of one page from the store.
const PAGE: u32 = 1000;

/// One piece of news, as `text/event-stream` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub revision: Revision,
    pub run_id: RunId,
    pub frame: Bytes,
}

impl Told {
    pub(super) fn new(news: &News) -> Self {
        // A struct of numbers and text always serializes, and JSON of one line has no line breaks.
        let data = serde_json::to_string(news).unwrap_or_default();
        let frame = format!("id: {}\ndata: {data}\n\n", news.revision).into();
        Self { revision: news.revision, run_id: news.run_id, frame }
    }
}

/// What one commit told.
#[derive(Clone, Debug)]
pub enum Commit {
    News(Arc<[Told]>),
    /// More than goes through the ring.
    Much,
}

/// The ring.
#[derive(Debug)]
pub(super) struct Feed {
    ring: broadcast::Sender<Commit>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { ring: broadcast::Sender::new(RING) }
    }
}

impl Feed {
    /// Tells all subscribers what a commit has to tell.
    pub(super) fn tell(&self, mut news: Vec<News>) {
        if news.is_empty() || self.ring.receiver_count() == 0 {
            return;
        }
        news.sort_by_key(|news| news.revision);
        let commit = match news.len() {
            0..=MOST_OF_A_COMMIT => Commit::News(news.iter().map(Told::new).collect()),
            _ => Commit::Much,
        };
        // Fails only where the last subscriber has just gone.
        let _ = self.ring.send(commit);
    }
}

/// A part of what the store has to tell.
#[derive(Clone, Debug, PartialEq)]
pub struct NewsPage {
    /// By revision.
    pub news: Vec<Told>,
    /// All up to this revision has been told.
    pub until: Revision,
    pub more: bool,
}

impl Store {
    /// Receives what each commit from now on tells.
    pub fn subscribe(&self) -> broadcast::Receiver<Commit> {
        self.inner.followers.feed.ring.subscribe()
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> usize {
        self.inner.followers.feed.ring.receiver_count()
    }

    /// Those of these runs that do not exist.
    pub async fn missing_runs(&self, ids: &[RunId]) -> Result<Vec<RunId>, StoreError> {
        db::events::missing_runs(&mut *self.reader().await?, ids).await
    }

    /// What happened after a revision to these runs, or to all: a page of the events, and the runs that changed without one.
    pub async fn news(&self, runs: Option<&[RunId]>, after: Revision) -> Result<NewsPage, StoreError> {
        let mut conn = self.snapshot().await?;
        let now = db::revision::get(&mut conn).await?;
        let limit = i64::from(PAGE) + 1;
        let events = match runs {
            Some(runs) => db::events::list(&mut conn, runs, after, limit).await?,
            None => db::events::list_all(&mut conn, after, limit).await?,
        };
        let events = db::split_more(events, PAGE);
        let until = events.items.last().filter(|_| events.more).map_or(now, |event| event.revision);
        let changed = db::events::changed_runs(&mut conn, runs, after, until).await?;
        let of_events: HashSet<Revision> = events.items.iter().map(|event| event.revision).collect();
        let changed = changed.into_iter().filter(|(_, revision)| !of_events.contains(revision));
        let mut news: Vec<News> = events.items.into_iter().map(News::from).collect();
        news.extend(changed.map(|(run, revision)| News::changed(run, revision)));
        news.sort_by_key(|news| news.revision);
        Ok(NewsPage { news: news.iter().map(Told::new).collect(), until, more: events.more })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use trainyard_wire::Timestamp;
    use trainyard_wire::run::Event;

    use super::*;

    fn changed(revision: i64) -> News {
        News::changed(RunId(3), Revision(revision))
    }

    #[test]
    fn a_piece_of_news_is_one_frame_whatever_it_says() {
        let detail = json!({"error": "two\nlines"});
        let event = Event { revision: Revision(17), run_id: RunId(3), time: Timestamp(0), kind: "failed".to_owned(), detail };
        let told = Told::new(&event.into());
        let text = std::str::from_utf8(&told.frame).unwrap();
        assert_eq!(
            text,
            "id: 17\ndata: {\"revision\":17,\"run_id\":3,\"kind\":\"failed\",\"time\":\"1970-01-01T00:00:00Z\",\"detail\":{\"error\":\"two\\nlines\"}}\n\n"
        );
        let told = Told::new(&changed(18));
        assert_eq!(std::str::from_utf8(&told.frame).unwrap(), "id: 18\ndata: {\"revision\":18,\"run_id\":3,\"kind\":\"changed\"}\n\n");
    }

    #[tokio::test]
    async fn a_commit_is_told_in_the_order_of_revisions_and_one_with_too_much_is_read_from_the_store() {
        let feed = Feed::default();
        feed.tell(vec![changed(1)]);
        let mut receiver = feed.ring.subscribe();
        feed.tell(Vec::new());
        feed.tell(vec![changed(5), changed(4)]);
        feed.tell((6..1000).map(changed).collect());
        let Commit::News(news) = receiver.recv().await.unwrap() else { panic!("two fit") };
        assert_eq!(news.iter().map(|told| told.revision.0).collect::<Vec<_>>(), [4, 5]);
        assert!(matches!(receiver.recv().await.unwrap(), Commit::Much));
    }

    #[tokio::test]
    async fn a_subscriber_that_takes_nothing_is_overtaken_and_holds_nobody_up() {
        let feed = Feed::default();
        let mut receiver = feed.ring.subscribe();
        for revision in 0..10 * RING as i64 {
            feed.tell(vec![changed(revision)]);
        }
        assert!(matches!(receiver.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
    }
}
