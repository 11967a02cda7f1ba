//! What was asked of the server and what it answered: every request is noted before it is sent, every answer when it has come.
//!
//! A request without an answer was attempted, and nobody knows more. The history is also a file of JSON lines, so that what a verdict
//! rests on can be read afterwards.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use trainyard_wire::worker::Outcome;
use trainyard_wire::{Attempt, JobId, RunId, RunState, WorkerId};

/// A point of a metric, with the bits of its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Point {
    pub name: String,
    pub step: u64,
    pub bits: u64,
}

/// Something that is asked of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// The key is also the job's name.
    Submit {
        key: String,
        runs: usize,
    },
    Claim {
        worker: WorkerId,
    },
    Report {
        run: RunId,
        attempt: Attempt,
        points: Vec<Point>,
        finish: Option<Outcome>,
    },
    Put {
        run: RunId,
        attempt: Attempt,
        name: String,
        sha256: String,
    },
    Act {
        run: RunId,
        action: &'static str,
    },
}

/// What the server said to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Submitted {
        job: JobId,
        runs: Vec<RunId>,
    },
    Claimed {
        runs: Vec<(RunId, Attempt)>,
    },
    Stored,
    /// The run as the action left it.
    Acted {
        state: RunState,
    },
    Refused {
        status: u16,
        detail: String,
    },
}

/// A request and its answer, each with its place in the order of everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub ask: Ask,
    pub asked: Moment,
    pub answer: Option<(Answer, Moment)>,
}

/// When something was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Moment {
    /// In the order of the history.
    pub place: usize,
    /// How long the record of the server's file operations was; 0 where there is none.
    pub recorded: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Ask { exchange: usize, at: Moment, ask: &'a Ask },
    Answer { exchange: usize, at: Moment, answer: &'a Answer },
}

#[derive(Debug, Default)]
struct Notes {
    exchanges: Vec<Exchange>,
    places: usize,
    file: Option<File>,
}

/// The history of one battery. Its clients share it.
#[derive(Debug, Default)]
pub struct History {
    notes: Mutex<Notes>,
    record: Option<std::path::PathBuf>,
}

impl History {
    /// A history that is also written to `file`; `record` is that of the server's file operations, if there is one.
    ///
    /// # Errors
    /// Where the file cannot be made.
    pub fn new(file: &Path, record: Option<&Path>) -> io::Result<Self> {
        let notes = Notes { file: Some(File::create(file)?), ..Notes::default() };
        Ok(Self { notes: Mutex::new(notes), record: record.map(Path::to_owned) })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moment(&self, notes: &mut Notes) -> Moment {
        notes.places += 1;
        let recorded = self.record.as_ref().and_then(|record| record.metadata().ok()).map_or(0, |record| record.len());
        Moment { place: notes.places, recorded }
    }

    /// Notes a request that is about to be sent.
    pub fn ask(&self, ask: Ask) -> usize {
        let mut notes = self.notes();
        let (exchange, asked) = (notes.exchanges.len(), self.moment(&mut notes));
        notes.write(&Line::Ask { exchange, at: asked, ask: &ask });
        notes.exchanges.push(Exchange { ask, asked, answer: None });
        exchange
    }

    /// Notes the answer to it.
    pub fn answer(&self, exchange: usize, answer: Answer) {
        let mut notes = self.notes();
        let at = self.moment(&mut notes);
        notes.write(&Line::Answer { exchange, at, answer: &answer });
        notes.exchanges[exchange].answer = Some((answer, at));
    }

    pub fn len(&self) -> usize {
        self.notes().exchanges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything so far.
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.notes().exchanges.clone()
    }

    /// The exchanges from `first` on, and those before that are about one of `runs`.
    pub fn about(&self, first: usize, runs: &BTreeSet<RunId>) -> Vec<Exchange> {
        let concerns = |exchange: &Exchange| match (&exchange.ask, &exchange.answer) {
            (Ask::Report { run, .. } | Ask::Put { run, .. } | Ask::Act { run, .. }, _) => runs.contains(run),
            (_, Some((Answer::Claimed { runs: claimed }, _))) => claimed.iter().any(|(run, _)| runs.contains(run)),
            _ => false,
        };
        let notes = self.notes();
        let chosen = notes.exchanges.iter().enumerate().filter(|(place, exchange)| *place >= first || concerns(exchange));
        chosen.map(|(_, exchange)| exchange.clone()).collect()
    }

    /// What was noted from the exchange `first` on.
    pub fn since(&self, first: usize) -> Vec<Exchange> {
        self.notes().exchanges[first..].to_vec()
    }
}

impl Notes {
    fn write(&mut self, line: &Line<'_>) {
        let Some(file) = &mut self.file else { return };
        let written = serde_json::to_string(line).map_err(io::Error::other).and_then(|line| writeln!(file, "{line}"));
        if let Err(error) = written {
            panic!("the history cannot be written, and without it nothing can be judged: {error}");
        }
    }
}

/// The history as it was when the record of file operations was `recorded` bytes long.
pub fn until(exchanges: &[Exchange], recorded: u64) -> Vec<Exchange> {
    let asked = exchanges.iter().filter(|exchange| exchange.asked.recorded <= recorded).cloned();
    asked
        .map(|mut exchange| {
            exchange.answer = exchange.answer.filter(|(_, at)| at.recorded <= recorded);
            exchange
        })
        .collect()
}
