//! That the checker finds each way in which a promise can be broken, and nothing where none is.

use trainyard_wire::worker::Outcome;
use trainyard_wire::{Attempt, JobId, RunId, RunState};

use super::*;
use crate::history::{Answer, Ask, History};

const RUN: RunId = RunId(1);

fn point(step: u64) -> Point {
    Point { name: "loss".to_owned(), step, bits: step }
}

fn report(attempt: i64, steps: &[u64], finish: Option<Outcome>) -> Ask {
    Ask::Report { run: RUN, attempt: Attempt(attempt), points: steps.iter().map(|step| point(*step)).collect(), finish }
}

fn claimed(attempt: i64) -> (Ask, Option<Answer>) {
    (Ask::Claim { worker: trainyard_wire::WorkerId(1) }, Some(Answer::Claimed { runs: vec![(RUN, Attempt(attempt))] }))
}

fn submitted(key: &str, job: i64) -> (Ask, Option<Answer>) {
    (Ask::Submit { key: key.to_owned(), runs: 1 }, Some(Answer::Submitted { job: JobId(job), runs: vec![RUN] }))
}

/// A run that was submitted, claimed, reported on twice, and succeeded.
fn history() -> Vec<(Ask, Option<Answer>)> {
    vec![
        submitted("key", 1),
        claimed(1),
        (report(1, &[1, 2], None), Some(Answer::Stored)),
        (Ask::Put { run: RUN, attempt: Attempt(1), name: "file".to_owned(), sha256: "one".to_owned() }, Some(Answer::Stored)),
        (report(1, &[3], Some(Outcome::Succeeded)), Some(Answer::Stored)),
    ]
}

fn stored() -> Stored {
    let event = |kind: &str, attempt: Option<i64>| (kind.to_owned(), attempt.map(Attempt));
    let run = StoredRun {
        state: RunState::Succeeded,
        attempt: Attempt(1),
        events: vec![event("queued", None), event("claimed", Some(1)), event("succeeded", None)],
        points: vec![point(1), point(2), point(3)],
        artifacts: vec![("file".to_owned(), "one".to_owned())],
    };
    Stored { jobs: vec![(JobId(1), "key".to_owned(), vec![RUN])], runs: [(RUN, run)].into() }
}

fn breaches(history: Vec<(Ask, Option<Answer>)>, stored: &Stored) -> Vec<Breach> {
    let notes = History::default();
    for (ask, answer) in history {
        let exchange = notes.ask(ask);
        if let Some(answer) = answer {
            notes.answer(exchange, answer);
        }
    }
    let mut breaches: Vec<Breach> = check(&notes.exchanges(), stored).into_iter().map(|violation| violation.breach).collect();
    breaches.dedup();
    breaches
}

fn with(change: impl FnOnce(&mut StoredRun)) -> Stored {
    let mut stored = stored();
    change(stored.runs.get_mut(&RUN).unwrap());
    stored
}

#[test]
fn nothing_is_wrong_with_what_was_promised() {
    assert_eq!(breaches(history(), &stored()), []);
    // Whatever was not answered may be stored or not.
    let mut unanswered = history();
    unanswered.iter_mut().skip(2).for_each(|(_, answer)| *answer = None);
    assert_eq!(breaches(unanswered.clone(), &stored()), []);
    let none = with(|run| {
        run.state = RunState::Running;
        run.events.pop();
        run.points.clear();
        run.artifacts.clear();
    });
    assert_eq!(breaches(unanswered, &none), []);
}

#[test]
fn what_was_acknowledged_and_is_gone_is_found() {
    assert_eq!(breaches(history(), &Stored::default()), [Breach::Lost]);
    assert_eq!(breaches(history(), &with(|run| drop(run.points.remove(1)))), [Breach::Lost]);
    assert_eq!(breaches(history(), &with(|run| run.artifacts.clear())), [Breach::Lost]);
    let mut unfinished = stored();
    let run = unfinished.runs.get_mut(&RUN).unwrap();
    run.state = RunState::Running;
    run.events.pop();
    assert_eq!(breaches(history(), &unfinished), [Breach::Lost]);
    assert_eq!(breaches(history(), &with(|run| drop(run.events.remove(1)))), [Breach::Lost]);
}

#[test]
fn what_is_stored_and_was_not_attempted_is_found() {
    assert_eq!(breaches(history(), &with(|run| run.points.push(point(4)))), [Breach::Invented]);
    assert_eq!(breaches(history(), &with(|run| run.artifacts.push(("other".to_owned(), "two".to_owned())))), [Breach::Invented]);
    assert_eq!(breaches(history(), &with(|run| run.points[0].bits = 7)), [Breach::Changed]);
    let mut invented = stored();
    invented.jobs.push((JobId(2), "nobody's".to_owned(), Vec::new()));
    assert_eq!(breaches(history(), &invented), [Breach::Invented]);
}

#[test]
fn what_is_there_twice_is_found() {
    assert_eq!(breaches(history(), &with(|run| run.points.push(point(3)))), [Breach::Doubled]);
    assert_eq!(breaches(history(), &with(|run| run.events.push(("succeeded".to_owned(), None)))), [Breach::Doubled]);
    let mut twice = stored();
    twice.jobs.push((JobId(2), "key".to_owned(), vec![RunId(2)]));
    assert_eq!(breaches(history(), &twice), [Breach::Doubled]);
    let mut given = history();
    given.insert(2, claimed(1));
    assert_eq!(breaches(given, &stored()), [Breach::GivenTwice]);
}

#[test]
fn a_write_after_another_was_given_the_run_is_found_and_its_refusal_is_not() {
    let late = |answer| {
        let mut history = vec![submitted("key", 1), claimed(1), claimed(2)];
        history.push((report(1, &[1], None), Some(answer)));
        history.push((report(2, &[2], None), Some(Answer::Stored)));
        history
    };
    let mut stored = with(|run| {
        (run.state, run.attempt) = (RunState::Running, Attempt(2));
        run.events = vec![
            ("claimed".to_owned(), Some(Attempt(1))),
            ("lease_expired".to_owned(), Some(Attempt(1))),
            ("claimed".to_owned(), Some(Attempt(2))),
        ];
        run.points = vec![point(2)];
        run.artifacts.clear();
    });
    assert_eq!(breaches(late(Answer::Refused { status: 409, detail: String::new() }), &stored), []);
    stored.runs.get_mut(&RUN).unwrap().points.insert(0, point(1));
    assert_eq!(breaches(late(Answer::Stored), &stored), [Breach::Unfenced]);
}

#[test]
fn a_refusal_of_who_holds_the_run_is_found() {
    let history =
        vec![submitted("key", 1), claimed(1), (report(1, &[1], None), Some(Answer::Refused { status: 409, detail: String::new() }))];
    let stored = with(|run| {
        run.state = RunState::Running;
        run.events.pop();
        run.points.clear();
        run.artifacts.clear();
    });
    assert_eq!(breaches(history, &stored), [Breach::Refused]);
}
