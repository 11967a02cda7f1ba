//! Whether what is stored is what was promised: acknowledged ⊆ stored ⊆ attempted, each run completed once, no metric twice or missing,
//! and no write of an attempt that had lost its run.
//!
//! A pure function of a history and of what the server holds afterwards, so that it can be shown to fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use trainyard_wire::worker::Outcome;
use trainyard_wire::{Attempt, JobId, RunId, RunState};

use crate::history::{Answer, Ask, Exchange, Moment, Point};

/// A run as the server holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    pub state: RunState,
    pub attempt: Attempt,
    /// Kind, and the attempt where it has one.
    pub events: Vec<(String, Option<Attempt>)>,
    pub points: Vec<Point>,
    /// Name and sha256.
    pub artifacts: Vec<(String, String)>,
}

/// What the server holds of what is checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Id, name, runs.
    pub jobs: Vec<(JobId, String, Vec<RunId>)>,
    pub runs: BTreeMap<RunId, StoredRun>,
}

/// How a promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// Acknowledged and not stored.
    Lost,
    /// Stored and not attempted.
    Invented,
    /// Stored more than once.
    Doubled,
    /// Stored otherwise than it was sent.
    Changed,
    /// A run that two were given.
    GivenTwice,
    /// A write of an attempt that had lost its run was taken.
    Unfenced,
    /// Refused without a reason.
    Refused,
    /// The data folder itself is damaged.
    Damaged,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    pub breach: Breach,
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.breach, self.detail)
    }
}

/// The events with which a run ends for good.
const ENDS: [&str; 3] = ["succeeded", "failed", "cancelled"];
/// The events after which an attempt holds its run no more.
const LOSSES: [&str; 6] = ["succeeded", "failed", "cancelled", "lease_expired", "released", "paused"];

/// All that is wrong. Only the runs in `stored` are looked at, and the jobs that the history asked for.
pub fn check(history: &[Exchange], stored: &Stored) -> Vec<Violation> {
    let mut checker = Checker { stored, violations: Vec::new() };
    checker.jobs(history);
    let asked = Asked::of(history);
    checker.given(&asked);
    for (id, run) in &stored.runs {
        let asked = asked.runs.get(id).cloned().unwrap_or_default();
        checker.attempts(*id, run, &asked);
        checker.points(*id, run, &asked);
        checker.artifacts(*id, run, &asked);
        checker.ends(*id, run, &asked);
        checker.fence(*id, run, &asked);
    }
    for id in asked.runs.iter().filter(|(_, asked)| asked.is_known).map(|(id, _)| id) {
        if !stored.runs.contains_key(id) && stored.jobs.iter().any(|(_, _, runs)| runs.contains(id)) {
            checker.find(Breach::Lost, format!("run {id} was acknowledged and is not there"));
        }
    }
    checker.violations.sort();
    checker.violations
}

/// What the history says, by run.
#[derive(Default)]
struct Asked<'a> {
    runs: BTreeMap<RunId, AskedOfRun<'a>>,
}

#[derive(Clone, Default)]
struct AskedOfRun<'a> {
    /// Some answer named it.
    is_known: bool,
    /// Attempts that were acknowledged, with the moment.
    claims: Vec<(Attempt, Moment)>,
    writes: Vec<&'a Exchange>,
    actions: Vec<&'a Exchange>,
}

impl<'a> Asked<'a> {
    fn of(history: &'a [Exchange]) -> Self {
        let mut asked = Self::default();
        for exchange in history {
            match &exchange.ask {
                Ask::Report { run, .. } | Ask::Put { run, .. } => asked.runs.entry(*run).or_default().writes.push(exchange),
                Ask::Act { run, .. } => asked.runs.entry(*run).or_default().actions.push(exchange),
                Ask::Submit { .. } | Ask::Claim { .. } => {}
            }
            match &exchange.answer {
                Some((Answer::Submitted { runs, .. }, _)) => {
                    runs.iter().for_each(|run| asked.runs.entry(*run).or_default().is_known = true)
                }
                Some((Answer::Claimed { runs }, at)) => {
                    runs.iter().for_each(|(run, attempt)| asked.runs.entry(*run).or_default().claims.push((*attempt, *at)));
                }
                _ => {}
            }
        }
        asked
    }
}

/// A job with its runs.
type JobOf<'a> = (JobId, &'a [RunId]);

struct Checker<'a> {
    stored: &'a Stored,
    violations: Vec<Violation>,
}

impl Checker<'_> {
    fn find(&mut self, breach: Breach, detail: String) {
        self.violations.push(Violation { breach, detail });
    }

    /// Every key has at most one job, with as many runs as were asked for, and where it was acknowledged, that one.
    fn jobs(&mut self, history: &[Exchange]) {
        let mut asked: HashMap<&str, (usize, BTreeSet<JobOf<'_>>)> = HashMap::new();
        for exchange in history {
            let Ask::Submit { key, runs } = &exchange.ask else { continue };
            let (_, acknowledged) = asked.entry(key).or_insert((*runs, BTreeSet::new()));
            match &exchange.answer {
                Some((Answer::Submitted { job, runs }, _)) => drop(acknowledged.insert((*job, runs))),
                Some((Answer::Refused { status, detail }, _)) => {
                    self.find(Breach::Refused, format!("the submit of {key} was refused with {status}: {detail}"));
                }
                _ => {}
            }
        }
        let mut stored: HashMap<&str, Vec<JobOf<'_>>> = HashMap::new();
        for (id, name, runs) in &self.stored.jobs {
            stored.entry(name).or_default().push((*id, runs));
        }
        for (key, jobs) in &stored {
            match asked.get(key) {
                None => self.find(Breach::Invented, format!("job {} has the name {key}, which nobody submitted", jobs[0].0)),
                Some((runs, _)) if jobs[0].1.len() != *runs => {
                    self.find(Breach::Changed, format!("job {} has {} runs, and {runs} were asked for", jobs[0].0, jobs[0].1.len()));
                }
                Some(_) => {}
            }
            if jobs.len() > 1 {
                self.find(Breach::Doubled, format!("{} jobs came of the key {key}", jobs.len()));
            }
        }
        for (key, (_, acknowledged)) in &asked {
            if acknowledged.len() > 1 {
                self.find(Breach::Doubled, format!("the key {key} was answered with different jobs"));
            }
            for job in acknowledged {
                if !stored.get(key).is_some_and(|jobs| jobs.contains(job)) {
                    self.find(Breach::Lost, format!("job {} of the key {key} was acknowledged and is not there", job.0));
                }
            }
        }
    }

    /// Nobody is given what another was given.
    fn given(&mut self, asked: &Asked<'_>) {
        for (id, run) in &asked.runs {
            let distinct: BTreeSet<Attempt> = run.claims.iter().map(|(attempt, _)| *attempt).collect();
            if distinct.len() < run.claims.len() {
                self.find(Breach::GivenTwice, format!("an attempt of run {id} was given twice: {:?}", run.claims));
            }
        }
    }

    fn attempts(&mut self, id: RunId, run: &StoredRun, asked: &AskedOfRun<'_>) {
        let claimed: Vec<Attempt> = run.events.iter().filter(|(kind, _)| kind == "claimed").filter_map(|(_, attempt)| *attempt).collect();
        let distinct: BTreeSet<Attempt> = claimed.iter().copied().collect();
        if distinct.len() < claimed.len() {
            self.find(Breach::Doubled, format!("run {id} has an attempt twice: {claimed:?}"));
        }
        for (attempt, _) in &asked.claims {
            if *attempt > run.attempt || !distinct.contains(attempt) {
                self.find(Breach::Lost, format!("attempt {attempt} of run {id} was given and is not there"));
            }
        }
    }

    fn points(&mut self, id: RunId, run: &StoredRun, asked: &AskedOfRun<'_>) {
        let (mut attempted, mut acknowledged) = (HashMap::new(), BTreeSet::new());
        for exchange in &asked.writes {
            let Ask::Report { points, .. } = &exchange.ask else { continue };
            let stored = matches!(exchange.answer, Some((Answer::Stored, _)));
            for point in points {
                attempted.entry((point.name.as_str(), point.step)).or_insert_with(BTreeSet::new).insert(point.bits);
                if stored {
                    acknowledged.insert((point.name.as_str(), point.step));
                }
            }
        }
        let mut seen = BTreeSet::new();
        for Point { name, step, bits } in &run.points {
            let key = (name.as_str(), *step);
            if !seen.insert(key) {
                self.find(Breach::Doubled, format!("run {id} has the point {key:?} twice"));
            }
            match attempted.get(&key) {
                None => self.find(Breach::Invented, format!("run {id} has the point {key:?}, which nobody reported")),
                Some(values) if !values.contains(bits) => {
                    self.find(Breach::Changed, format!("run {id} has another value at {key:?}"));
                }
                Some(_) => {}
            }
        }
        for key in acknowledged.difference(&seen) {
            self.find(Breach::Lost, format!("the point {key:?} of run {id} was acknowledged and is not there"));
        }
    }

    fn artifacts(&mut self, id: RunId, run: &StoredRun, asked: &AskedOfRun<'_>) {
        let mut names: BTreeMap<&str, Vec<(&str, &Exchange)>> = BTreeMap::new();
        for exchange in &asked.writes {
            if let Ask::Put { name, sha256, .. } = &exchange.ask {
                names.entry(name).or_default().push((sha256, exchange));
            }
        }
        for (name, sha256) in &run.artifacts {
            if !names.get(name.as_str()).is_some_and(|puts| puts.iter().any(|(put, _)| put == sha256)) {
                self.find(Breach::Invented, format!("run {id} has contents of {name} that nobody put"));
            }
        }
        for (name, puts) in names {
            let acknowledged = puts.iter().rposition(|(_, exchange)| matches!(exchange.answer, Some((Answer::Stored, _))));
            let Some(last) = acknowledged else { continue };
            let found = run.artifacts.iter().find(|(stored, _)| stored == name).map(|(_, sha256)| sha256.as_str());
            // What was put after the last acknowledged one may have replaced it.
            if !puts[last..].iter().any(|(sha256, _)| Some(*sha256) == found) {
                self.find(Breach::Lost, format!("{name} of run {id} was acknowledged as {} and is {found:?}", puts[last].0));
            }
        }
    }

    /// Every run ends at most once, as its last attempt said or as somebody wished.
    fn ends(&mut self, id: RunId, run: &StoredRun, asked: &AskedOfRun<'_>) {
        let ends: Vec<&str> = run.events.iter().map(|(kind, _)| kind.as_str()).filter(|kind| ENDS.contains(kind)).collect();
        if ends.len() > 1 {
            self.find(Breach::Doubled, format!("run {id} ended {} times: {ends:?}", ends.len()));
        }
        if run.state.is_finished() == ends.is_empty() {
            self.find(Breach::Lost, format!("run {id} is {} and its events say {ends:?}", run.state));
        }
        let finishes = |wanted: RunState| {
            asked.writes.iter().any(|exchange| match &exchange.ask {
                Ask::Report { attempt, finish: Some(outcome), .. } => *attempt == run.attempt && after(*outcome) == Some(wanted),
                _ => false,
            })
        };
        if run.state == RunState::Succeeded && !finishes(RunState::Succeeded) {
            self.find(Breach::Invented, format!("run {id} succeeded, and its attempt {} never said so", run.attempt));
        }
        for exchange in &asked.writes {
            if let (Ask::Report { finish: Some(outcome), attempt, .. }, Some((Answer::Stored, _))) = (&exchange.ask, &exchange.answer)
                && let Some(state) = after(*outcome)
                && run.state != state
            {
                self.find(
                    Breach::Lost,
                    format!("the end of attempt {attempt} of run {id} was acknowledged as {state}, and it is {}", run.state),
                );
            }
        }
        for exchange in &asked.actions {
            let (Ask::Act { action: "cancel", .. }, Some((Answer::Acted { state: RunState::Cancelled }, _))) =
                (&exchange.ask, &exchange.answer)
            else {
                continue;
            };
            if run.state != RunState::Cancelled {
                self.find(Breach::Lost, format!("run {id} was cancelled, and is {}", run.state));
            }
        }
    }

    /// No write of an attempt is taken once another one was given the run, and none is refused before.
    fn fence(&mut self, id: RunId, run: &StoredRun, asked: &AskedOfRun<'_>) {
        for (index, exchange) in asked.writes.iter().enumerate() {
            let (Ask::Report { attempt, .. } | Ask::Put { attempt, .. }) = &exchange.ask else { continue };
            match &exchange.answer {
                Some((Answer::Stored, _)) => {
                    let newer = asked.claims.iter().any(|(newer, at)| newer > attempt && *at < exchange.asked);
                    // A repeat of what was stored before is answered as it was then.
                    let repeated = asked.writes[..index].iter().any(|earlier| earlier.ask == exchange.ask);
                    if newer && !repeated {
                        self.find(Breach::Unfenced, format!("attempt {attempt} of run {id} wrote after a later one was given it"));
                    }
                }
                Some((Answer::Refused { status: 409, .. }, _)) => {
                    let lost = run.attempt > *attempt || run.events.iter().any(|(kind, _)| LOSSES.contains(&kind.as_str()));
                    if !lost {
                        self.find(Breach::Refused, format!("attempt {attempt} of run {id} holds it and was told that it does not"));
                    }
                }
                Some((Answer::Refused { status, detail }, _)) => {
                    self.find(Breach::Refused, format!("a write of attempt {attempt} of run {id} was refused with {status}: {detail}"));
                }
                _ => {}
            }
        }
    }
}

/// The state in which a run ends for good with this outcome.
fn after(outcome: Outcome) -> Option<RunState> {
    match outcome {
        Outcome::Succeeded => Some(RunState::Succeeded),
        Outcome::Failed => Some(RunState::Failed),
        Outcome::Cancelled => Some(RunState::Cancelled),
        Outcome::Paused | Outcome::Released => None,
    }
}

#[cfg(test)]
mod tests;
