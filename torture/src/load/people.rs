//! Those who submit, and those who cancel, pause and resume.

use serde_json::{Value, json};
use trainyard_wire::RunState;
use trainyard_wire::client::{Client, RunQuery};

use super::{MOST_OPEN, Shared, Step};
use crate::dice::Dice;
use crate::history::{Answer, Ask};

/// Submits jobs, each under a key of its own.
#[derive(Debug)]
pub(super) struct Submitter {
    name: String,
    dice: Dice,
    submitted: u64,
    /// What is not answered yet.
    pending: Option<(String, usize, Value)>,
}

impl Submitter {
    pub(super) fn new(name: String, dice: Dice) -> Self {
        Self { name, dice, submitted: 0, pending: None }
    }

    pub(super) async fn step(&mut self, client: &Client, shared: &Shared) -> Step {
        if self.pending.is_none() && shared.open().len() < MOST_OPEN {
            self.submitted += 1;
            let (key, runs) = (format!("key-{}-{}", self.name, self.submitted), 1 + self.dice.index(3));
            let job = job(&key, runs, self.dice.below(3) as i64 - 1);
            self.pending = Some((key, runs, job));
        }
        self.settle(client, shared).await
    }

    /// Submits what is not answered yet.
    pub(super) async fn settle(&mut self, client: &Client, shared: &Shared) -> Step {
        let Some((key, runs, job)) = &self.pending else { return Step::Wait };
        let ask = Ask::Submit { key: key.clone(), runs: *runs };
        let body = job.to_string().into_bytes();
        let answered = shared.exchange(ask, client.submit(body, Some(key)), |accepted| Answer::Submitted {
            job: accepted.id,
            runs: accepted.run_ids.clone(),
        });
        match answered.await {
            None => return Step::Wait,
            Some(Ok(accepted)) => shared.open().extend(accepted.run_ids),
            Some(Err(_)) => {}
        }
        self.pending = None;
        Step::Done
    }
}

/// A job of so many small regressions.
pub fn job(name: &str, runs: usize, priority: i64) -> Value {
    json!({
        "name": name,
        "priority": priority,
        "spec": {
            "kind": "regression",
            "problem": {"source": "synthetic", "n": 5, "d": 2, "condition": 3},
            "optimizer": {"name": "gd", "learning_rate": 0.1},
            "steps": 10,
        },
        "sweep": {"seed": (0..runs).collect::<Vec<_>>()},
    })
}

/// Cancels, pauses and resumes runs now and then.
#[derive(Debug)]
pub(super) struct Changer {
    dice: Dice,
}

impl Changer {
    pub(super) fn new(dice: Dice) -> Self {
        Self { dice }
    }

    pub(super) async fn step(&mut self, client: &Client, shared: &Shared) -> Step {
        let run = {
            let open = shared.open();
            if open.is_empty() {
                return Step::Wait;
            }
            open[self.dice.index(open.len())]
        };
        let action = ["cancel", "pause", "resume", "resume"][self.dice.index(4)];
        let answered = shared.exchange(Ask::Act { run, action }, client.run_action(run, action), |run| Answer::Acted { state: run.state });
        if let Some(Ok(after)) = answered.await
            && after.state.is_finished()
        {
            shared.open().retain(|open| *open != run);
        }
        Step::Wait
    }
}

/// Resumes what is paused; answers whether every run has ended.
pub(super) async fn let_go(client: &Client, shared: &Shared) -> anyhow::Result<bool> {
    let mut ended = true;
    for state in [RunState::Queued, RunState::Running, RunState::Paused] {
        for run in client.runs(&RunQuery { state: Some(state), limit: Some(1000), ..RunQuery::default() }).await?.items {
            ended = false;
            if run.state == RunState::Paused || run.requested.is_some() {
                let (run, action) = (run.id, "resume");
                shared.exchange(Ask::Act { run, action }, client.run_action(run, action), |run| Answer::Acted { state: run.state }).await;
            }
        }
    }
    Ok(ended)
}
