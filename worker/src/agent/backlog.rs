//! What was claimed and is not done yet, and when to claim more of what.
//!
//! A worker that has nothing takes whatever comes first. One that was given small runs claims ahead: while the last of them train, it
//! asks for more small ones, so that neither its cores nor the server wait for the other. It asks for as many as it lately trained in
//! about a second, so that a second worker is left its share. What is not small is never claimed ahead; it might wait here while
//! another worker has nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Runs of a first claim, before it is known how long they take.
const FIRST_CLAIM: u32 = 8;
/// A claim that was used up sooner was too small.
const SHORT: Duration = Duration::from_millis(500);
/// One that lasted longer was too large.
const LONG: Duration = Duration::from_secs(2);
/// Claims that a worker may hold at one time: those that train and wait, and those whose reports are under way.
const CLAIMS_HELD: usize = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    held: usize,
    /// Held runs that have not begun.
    waiting: usize,
}

/// The runs of a worker, from the claim to the last report.
#[derive(Debug)]
pub(super) struct Backlog {
    load: watch::Sender<Load>,
    slots: Arc<Semaphore>,
}

impl Backlog {
    /// Trains up to `at_once` runs at one time.
    pub(super) fn new(at_once: u32) -> Self {
        Self { load: watch::Sender::new(Load::default()), slots: Arc::new(Semaphore::new(at_once.max(1) as usize)) }
    }

    /// Counts a run that was claimed, until the answer is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Place {
        self.load.send_modify(|load| (load.held, load.waiting) = (load.held + 1, load.waiting + 1));
        Place { backlog: Arc::clone(self), waits: true }
    }

    /// Waits until the next claim is due.
    pub(super) async fn wants(&self, next: &NextClaim) {
        let size = next.size as usize;
        let due = |load: &Load| match next.ahead {
            true => load.waiting <= size / 2 && load.held <= CLAIMS_HELD * size,
            false => load.held == 0,
        };
        // The sender is this backlog's own, so it is never gone.
        let _ = self.load.subscribe().wait_for(due).await;
    }
}

/// A run's place in the backlog.
#[derive(Debug)]
pub(super) struct Place {
    backlog: Arc<Backlog>,
    waits: bool,
}

impl Place {
    /// Waits until the run may train. Runs begin in the order in which they ask; the turn ends when the answer is dropped.
    pub(super) async fn turn(&mut self) -> Option<OwnedSemaphorePermit> {
        // Fails only once the semaphore is closed, which this one never is.
        let slot = Arc::clone(&self.backlog.slots).acquire_owned().await.ok();
        self.begin();
        slot
    }

    fn begin(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.backlog.load.send_modify(|load| load.waiting -= 1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.begin();
        self.backlog.load.send_modify(|load| load.held -= 1);
    }
}

/// What to ask for next.
#[derive(Debug)]
pub(super) struct NextClaim {
    pub(super) size: u32,
    most: u32,
    /// Small runs, while others still train.
    pub(super) ahead: bool,
    /// When the claim before was answered.
    last: Option<Instant>,
}

impl NextClaim {
    /// Claims of up to `most` runs.
    pub(super) fn new(most: u32) -> Self {
        let most = most.max(1);
        Self { size: most.min(FIRST_CLAIM), most, ahead: false, last: None }
    }

    /// Learns from an answer that brought `count` runs. Several at once are small.
    pub(super) fn answered(&mut self, count: usize, now: Instant) {
        if let Some(last) = self.last.filter(|_| self.ahead) {
            let lasted = now.saturating_duration_since(last);
            if lasted < SHORT {
                self.size = self.size.saturating_mul(2).min(self.most);
            } else if lasted > LONG {
                self.size = (self.size / 2).max(FIRST_CLAIM.min(self.most));
            }
        }
        self.ahead = count > 1 || (self.ahead && count > 0);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn claims_of_short_runs_grow_and_those_of_long_ones_shrink() {
        let (mut next, mut now) = (NextClaim::new(64), Instant::now());
        assert_eq!((next.size, next.ahead), (8, false));
        let mut after = |next: &mut NextClaim, count, milliseconds| {
            now += Duration::from_millis(milliseconds);
            next.answered(count, now);
            (next.size, next.ahead)
        };
        assert_eq!(after(&mut next, 8, 0), (8, true));
        assert_eq!(after(&mut next, 8, 100), (16, true));
        assert_eq!(after(&mut next, 16, 499), (32, true));
        assert_eq!(after(&mut next, 32, 1000), (32, true));
        assert_eq!(after(&mut next, 32, 100), (64, true));
        assert_eq!(after(&mut next, 64, 100), (64, true));
        assert_eq!(after(&mut next, 64, 2001), (32, true));
        // The queue is empty; what comes after it says nothing about the pace.
        assert_eq!(after(&mut next, 0, 1000), (32, false));
        assert_eq!(after(&mut next, 1, 60_000), (32, false));
        assert_eq!(NextClaim::new(0).size, 1);
    }

    #[test]
    fn more_is_claimed_when_half_of_a_claim_of_small_runs_has_begun_and_else_when_all_is_done() {
        let backlog = Arc::new(Backlog::new(64));
        let mut next = NextClaim::new(4);
        let due = |next: &NextClaim| backlog.wants(next).now_or_never().is_some();
        assert!(due(&next));
        let mut places: Vec<_> = (0..4).map(|_| backlog.enter()).collect();
        assert!(!due(&next));
        next.answered(4, Instant::now());
        assert!(!due(&next));
        let begin = |place: &mut Place| drop(place.turn().now_or_never().unwrap());
        places[..2].iter_mut().for_each(begin);
        assert!(due(&next));
        next.answered(0, Instant::now());
        assert!(!due(&next));
        places.clear();
        assert!(due(&next));
    }

    #[test]
    fn a_worker_whose_reports_are_not_taken_claims_no_more() {
        let backlog = Arc::new(Backlog::new(64));
        let mut next = NextClaim::new(2);
        next.answered(2, Instant::now());
        let mut trained: Vec<_> = (0..9).map(|_| backlog.enter()).collect();
        for place in &mut trained {
            drop(place.turn().now_or_never().unwrap());
        }
        assert!(backlog.wants(&next).now_or_never().is_none());
        trained.pop();
        assert!(backlog.wants(&next).now_or_never().is_some());
    }

    #[test]
    fn as_many_runs_train_at_one_time_as_there_are_slots() {
        let backlog = Arc::new(Backlog::new(1));
        let (mut first, mut second) = (backlog.enter(), backlog.enter());
        let turn = first.turn().now_or_never().unwrap();
        assert!(second.turn().now_or_never().is_none());
        drop(turn);
        assert!(second.turn().now_or_never().is_some());
    }
}
