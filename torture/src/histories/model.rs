//! The queue in a few lines, written after DESIGN.md and not after the code: what each command does to the runs, and what it answers.

use std::collections::BTreeMap;

use trainyard_wire::run::RequestedAction;
use trainyard_wire::worker::{Directive, Outcome};
use trainyard_wire::{RunState, StopReason};

use trainyard_server::store::Action;

/// Attempts lost in a row after which a run is given up.
const PATIENCE: u32 = 3;

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub priority: i32,
    pub small: bool,
    pub state: RunState,
    pub reason: Option<StopReason>,
    pub attempt: i64,
    pub worker: Option<usize>,
    pub requested: Option<RequestedAction>,
    /// Attempts lost since the last progress.
    pub lost: u32,
    /// The last attempt that its worker ended, and how.
    pub ended: Option<(i64, Outcome)>,
    /// The checkpoint's step.
    pub checkpoint: Option<u64>,
    /// Step and attempt of the stored file of the checkpoint.
    pub file: Option<(u64, i64)>,
    /// Steps of the one metric that there is.
    pub points: BTreeMap<u64, u64>,
    /// Somebody's lease is running.
    pub leased: bool,
}

/// What the writer of a run is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Stored(Directive),
    Stale,
}

/// All runs, by id from 1, and the keys of the submits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    pub runs: Vec<Run>,
    /// First run and number of runs.
    pub jobs: Vec<(usize, usize)>,
}

impl Model {
    pub fn submit(&mut self, runs: usize, priority: i32, small: bool) {
        self.jobs.push((self.runs.len(), runs));
        let run = Run {
            priority,
            small,
            state: RunState::Queued,
            reason: None,
            attempt: 0,
            worker: None,
            requested: None,
            lost: 0,
            ended: None,
            checkpoint: None,
            file: None,
            points: BTreeMap::new(),
            leased: false,
        };
        self.runs.extend(vec![run; runs]);
    }

    /// The runs that a claim takes: the first by priority, then age, and further ones only while all are small.
    pub fn claimable(&self, max: usize, small: bool) -> Vec<usize> {
        let mut queue: Vec<usize> = (0..self.runs.len()).filter(|run| self.runs[*run].state == RunState::Queued).collect();
        queue.sort_by_key(|run| (-self.runs[*run].priority, *run));
        let mut taken = Vec::new();
        for run in queue.into_iter().take(max) {
            let all_small = self.runs[run].small && taken.iter().all(|taken: &usize| self.runs[*taken].small);
            if all_small || (taken.is_empty() && !small) {
                taken.push(run);
            } else {
                break;
            }
        }
        taken
    }

    pub fn claim(&mut self, worker: usize, taken: &[usize]) {
        for run in taken {
            let run = &mut self.runs[*run];
            (run.state, run.attempt, run.worker, run.requested, run.leased) =
                (RunState::Running, run.attempt + 1, Some(worker), None, true);
        }
    }
}

impl Run {
    pub fn holds(&self, attempt: i64) -> bool {
        self.state == RunState::Running && self.attempt == attempt
    }

    /// What a report is told; nothing is changed.
    pub fn told(&self, attempt: i64, finish: Option<Outcome>) -> Told {
        match (self.holds(attempt), finish) {
            (true, None) => Told::Stored(Directive::from(self.requested)),
            (true, Some(_)) => Told::Stored(Directive::Continue),
            (false, Some(outcome)) if self.ended == Some((attempt, outcome)) => Told::Stored(Directive::Continue),
            (false, _) => Told::Stale,
        }
    }

    pub fn report(&mut self, attempt: i64, points: &[(u64, u64)], finish: Option<Outcome>, diverged: bool) {
        if !self.holds(attempt) {
            return;
        }
        for (step, bits) in points {
            self.points.entry(*step).or_insert(*bits);
        }
        let Some(outcome) = finish else { return };
        (self.ended, self.lost) = (Some((attempt, outcome)), 0);
        match outcome {
            Outcome::Succeeded => self.finish(RunState::Succeeded, StopReason::Completed),
            Outcome::Failed if diverged => self.finish(RunState::Failed, StopReason::Diverged),
            Outcome::Failed => self.finish(RunState::Failed, StopReason::Error),
            Outcome::Cancelled => self.finish(RunState::Cancelled, StopReason::Cancelled),
            Outcome::Paused | Outcome::Released => self.let_go(),
        }
    }

    /// Whether a put of a checkpoint is taken.
    pub fn takes_checkpoint(&self, attempt: i64, step: u64) -> bool {
        self.holds(attempt) || self.file == Some((step, attempt))
    }

    pub fn put_checkpoint(&mut self, attempt: i64, step: u64) {
        if !self.holds(attempt) {
            return;
        }
        // An attempt's checkpoints go forward: one that is behind has been under way for long.
        let is_behind = self.checkpoint.is_some_and(|before| step < before);
        if is_behind && self.file.is_some_and(|(_, by)| by == attempt) {
            return;
        }
        // The same bytes are the same file, whoever puts them.
        if self.file.is_none_or(|(stored, _)| stored != step) {
            self.file = Some((step, attempt));
        }
        if self.checkpoint.is_none_or(|before| step > before) {
            self.lost = 0;
        }
        self.checkpoint = Some(step);
    }

    /// The lease ran out.
    pub fn expire(&mut self) {
        if !std::mem::take(&mut self.leased) || self.state != RunState::Running {
            return;
        }
        self.lost += 1;
        if self.requested.is_none() && self.lost >= PATIENCE {
            self.finish(RunState::Failed, StopReason::AttemptsExhausted);
        } else {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        match self.requested {
            None => self.wait(RunState::Queued),
            Some(RequestedAction::Pause) => self.wait(RunState::Paused),
            Some(RequestedAction::Cancel) => self.finish(RunState::Cancelled, StopReason::Cancelled),
        }
    }

    fn wait(&mut self, state: RunState) {
        (self.state, self.requested, self.leased) = (state, None, false);
    }

    fn finish(&mut self, state: RunState, reason: StopReason) {
        self.wait(state);
        self.reason = Some(reason);
    }

    /// Whether the action is legal; if so, it is done.
    pub fn act(&mut self, action: Action) -> bool {
        use RunState::{Cancelled, Failed, Paused, Queued, Running, Succeeded};
        match (action, self.state) {
            (Action::Cancel, Succeeded | Failed) => return false,
            (Action::Cancel, Cancelled) => {}
            (Action::Cancel, Running) => self.requested = Some(RequestedAction::Cancel),
            (Action::Cancel, Queued | Paused) => self.finish(Cancelled, StopReason::Cancelled),
            (Action::Pause | Action::Resume, Running) if self.requested == Some(RequestedAction::Cancel) => return false,
            (Action::Pause, Running) => self.requested = Some(RequestedAction::Pause),
            (Action::Resume, Running) => self.requested = None,
            (Action::Pause, Queued | Paused) => self.wait(Paused),
            (Action::Resume, Queued | Paused) => self.wait(Queued),
            (Action::Pause | Action::Resume, _) => return false,
            (Action::Retry, Queued) => {}
            (Action::Retry, Failed | Cancelled) => {
                if self.checkpoint.is_none() || self.reason == Some(StopReason::Diverged) {
                    (self.checkpoint, self.file) = (None, None);
                    self.points.clear();
                }
                (self.reason, self.lost) = (None, 0);
                self.wait(Queued);
            }
            (Action::Retry, _) => return false,
        }
        true
    }
}
