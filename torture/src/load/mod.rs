//! Clients of a server that may die at any moment: people who submit and change their minds, and workers that follow the protocol
//! without training.
//!
//! Each client does one thing after the other. What brought no answer it asks again with the same words, as a real client does, until
//! it is answered; so its state outlives the server's. What a run reports is a function of the run, as it is with real training.

mod people;
mod worker;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use trainyard_wire::RunId;
use trainyard_wire::client::{Client, ClientError};

use crate::dice::Dice;
use crate::history::{Answer, Ask, History};
pub use people::job;
use people::{Changer, Submitter};
pub(crate) use worker::hexadecimal;
pub use worker::{FakeWorker, value};

/// Most runs that are not known to have ended, so that a load has an end.
const MOST_OPEN: usize = 60;

/// What the clients of a load share.
#[derive(Debug)]
pub struct Shared {
    pub history: History,
    open: Mutex<Vec<RunId>>,
}

impl Shared {
    pub fn new(history: History) -> Self {
        Self { history, open: Mutex::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<RunId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the ask, has it answered, and notes the answer. `None` where there was no answer that says anything.
    async fn exchange<T>(
        &self,
        ask: Ask,
        call: impl Future<Output = Result<T, ClientError>>,
        answer: impl FnOnce(&T) -> Answer,
    ) -> Option<Result<T, u16>> {
        let exchange = self.history.ask(ask);
        let (answer, outcome) = settle(call.await, answer)?;
        self.history.answer(exchange, answer);
        Some(outcome)
    }
}

/// What an outcome says; `None` where it leaves open what became of the request.
fn settle<T>(outcome: Result<T, ClientError>, answer: impl FnOnce(&T) -> Answer) -> Option<(Answer, Result<T, u16>)> {
    match outcome {
        Ok(value) => Some((answer(&value), Ok(value))),
        Err(error) => {
            let status = error.status().filter(|_| !error.is_transient())?.as_u16();
            Some((Answer::Refused { status, detail: error.to_string() }, Err(status)))
        }
    }
}

/// Whether a client goes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Done,
    /// There was nothing to do, or no answer.
    Wait,
}

/// All clients of a battery.
#[derive(Debug)]
pub struct Load {
    pub shared: Arc<Shared>,
    submitters: Vec<Submitter>,
    changers: Vec<Changer>,
    workers: Vec<FakeWorker>,
}

impl Load {
    pub fn new(history: History, seed: u64) -> Self {
        Self::of(history, seed, 3, 3)
    }

    pub fn of(history: History, seed: u64, submitters: u64, workers: u64) -> Self {
        let submitter = |number| Submitter::new(format!("{seed}-{number}"), Dice::new(seed, 100 + number));
        Self {
            shared: Arc::new(Shared::new(history)),
            submitters: (0..submitters).map(submitter).collect(),
            changers: vec![Changer::new(Dice::new(seed, 200))],
            workers: (0..workers).map(|number| FakeWorker::new(Dice::new(seed, 300 + number))).collect(),
        }
    }

    /// Has all clients work until the stop. What they are about then goes on at the next call.
    pub async fn work(&mut self, client: &Client, stop: &CancellationToken) {
        let Self { shared, submitters, changers, workers } = self;
        let shared: &Shared = shared;
        let submitting = submitters.iter_mut().map(|submitter| repeat(stop, async || submitter.step(client, shared).await));
        let changing = changers.iter_mut().map(|changer| repeat(stop, async || changer.step(client, shared).await));
        let working = workers.iter_mut().map(|worker| repeat(stop, async || worker.step(client, shared).await));
        tokio::join!(futures::future::join_all(submitting), futures::future::join_all(changing), futures::future::join_all(working));
    }

    /// Nothing new is submitted and nobody changes their mind; what was begun is done, until no run is left that has not ended.
    ///
    /// # Errors
    /// Where that takes too long.
    pub async fn finish(&mut self, client: &Client) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let Self { shared, submitters, workers, .. } = self;
        let shared: &Shared = shared;
        let submitting = submitters.iter_mut().map(|submitter| repeat(&stop, async || submitter.settle(client, shared).await));
        let working = workers.iter_mut().map(|worker| repeat(&stop, async || worker.step(client, shared).await));
        let ended = async {
            let ended = crate::process::eventually("all runs to end", async || people::let_go(client, shared).await.ok()?.then_some(()));
            let ended = ended.await;
            stop.cancel();
            ended
        };
        let (_, _, ended) = tokio::join!(futures::future::join_all(submitting), futures::future::join_all(working), ended);
        ended
    }
}

async fn repeat(stop: &CancellationToken, mut step: impl AsyncFnMut() -> Step) {
    while !stop.is_cancelled() {
        if step().await == Step::Wait {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
