//! What may become of a run, and when: pure decisions, and the one place that carries them out.
//!
//! ```text
//!            claim                 succeeded | failed | cancelled
//! queued ──────────────▶ running ─────────────────────────────────▶ finished
//!   ▲  │ pause ▲           │ paused        ▲                           │
//!   │  ▼       │ resume    ▼               │ three attempts lost       │
//!   │ paused ──┘         paused            │ in a row                  │
//!   └── released, lease lost ──────────────┘                           │
//!   └───────────────────────────── retry (failed, cancelled) ──────────┘
//! ```

use serde_json::{Value, json};
use trainyard_wire::run::RequestedAction;
use trainyard_wire::state::Kind;
use trainyard_wire::worker::{Finish, Outcome};
use trainyard_wire::{RunState, StopReason};

use super::writer::{Effect, Transaction};
use super::{Action, StoreError};
use crate::db;
use crate::db::runs::{End, RunCore};

/// Attempts lost in a row, without a new checkpoint between them, after which a run is given up.
pub(super) const MOST_LOST_ATTEMPTS: i64 = 3;

/// What an action does to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is so already.
    Nothing,
    Cancel,
    Pause,
    Resume,
    /// With its checkpoint and metrics, or from the start.
    Retry {
        keep: bool,
    },
    /// Ask the worker that holds the run, or withdraw what was asked.
    Request(Option<RequestedAction>),
}

/// What `action` does to a run, or `None` where it is illegal.
pub(super) fn decide(run: &RunCore, action: Action) -> Option<Move> {
    use RunState::{Cancelled, Failed, Paused, Queued, Running, Succeeded};
    let requested = run.requested;
    if run.kind == Kind::External {
        // Nobody else can make its program stop, go on or begin anew; it is told by its next write.
        return match (action, run.state) {
            (Action::Cancel, Running) => Some(Move::Cancel),
            (Action::Cancel, Cancelled) => Some(Move::Nothing),
            _ => None,
        };
    }
    if run.kind == Kind::Picture && action == Action::Retry && run.state != Queued {
        // It has let go of the model.
        return None;
    }
    match (action, run.state) {
        (Action::Cancel, Queued | Paused) => Some(Move::Cancel),
        (Action::Cancel, Running) if requested == Some(RequestedAction::Cancel) => Some(Move::Nothing),
        (Action::Cancel, Running) => Some(Move::Request(Some(RequestedAction::Cancel))),
        (Action::Cancel, Cancelled) => Some(Move::Nothing),

        (Action::Pause, Queued) => Some(Move::Pause),
        (Action::Pause, Paused) => Some(Move::Nothing),
        (Action::Pause, Running) => match requested {
            None => Some(Move::Request(Some(RequestedAction::Pause))),
            Some(RequestedAction::Pause) => Some(Move::Nothing),
            Some(RequestedAction::Cancel) => None,
        },

        (Action::Resume, Paused) => Some(Move::Resume),
        (Action::Resume, Queued) => Some(Move::Nothing),
        (Action::Resume, Running) => match requested {
            None => Some(Move::Nothing),
            Some(RequestedAction::Pause) => Some(Move::Request(None)),
            Some(RequestedAction::Cancel) => None,
        },

        (Action::Retry, Failed | Cancelled) => {
            let keep = run.checkpoint_step.is_some() && run.stop_reason != Some(StopReason::Diverged);
            Some(Move::Retry { keep })
        }
        (Action::Retry, Queued) => Some(Move::Nothing),

        (Action::Cancel, Succeeded | Failed)
        | (Action::Pause | Action::Resume, Succeeded | Failed | Cancelled)
        | (Action::Retry, Paused | Running | Succeeded) => None,
    }
}

/// What becomes of a run when nobody holds it any more.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    Queue,
    Pause,
    Finish(End),
}

fn cancelled(result: Option<Value>) -> Next {
    Next::Finish(End { state: RunState::Cancelled, stop_reason: StopReason::Cancelled, error: None, result })
}

/// What becomes of a run whose worker ended its attempt.
pub(super) fn after_finish(requested: Option<RequestedAction>, finish: Finish) -> Next {
    let Finish { outcome, stop_reason, error, result } = finish;
    let end = |state, reason| Next::Finish(End { state, stop_reason: stop_reason.unwrap_or(reason), error, result: result.clone() });
    match outcome {
        Outcome::Succeeded => end(RunState::Succeeded, StopReason::Completed),
        Outcome::Failed => end(RunState::Failed, StopReason::Error),
        Outcome::Cancelled => cancelled(result),
        // The worker obeyed, or stopped for reasons of its own; what was asked since has the last word.
        Outcome::Paused | Outcome::Released => after_loss(requested),
    }
}

/// What becomes of a run that its worker has let go: what someone has asked for, else the queue.
fn after_loss(requested: Option<RequestedAction>) -> Next {
    match requested {
        None => Next::Queue,
        Some(RequestedAction::Pause) => Next::Pause,
        Some(RequestedAction::Cancel) => cancelled(None),
    }
}

/// What becomes of a run whose lease expired, where `lost` attempts in a row, this one included, were lost.
pub(super) fn after_expiry(requested: Option<RequestedAction>, lost: i64) -> Next {
    match after_loss(requested) {
        Next::Queue if lost >= MOST_LOST_ATTEMPTS => {
            let error =
                format!("{lost} attempts in a row were lost without a new checkpoint: the worker died or did not report back in time");
            let (state, stop_reason) = (RunState::Failed, StopReason::AttemptsExhausted);
            Next::Finish(End { state, stop_reason, error: Some(error), result: None })
        }
        next => next,
    }
}

impl Transaction {
    /// Brings a run to its next state, with the event `kind`.
    pub(super) async fn leave(&mut self, run: &RunCore, next: &Next, kind: &str, detail: Value) -> Result<(), StoreError> {
        self.leave_untold(run, next, kind, detail).await?;
        match next {
            Next::Finish(end) => self.announce(run, end).await,
            Next::Queue | Next::Pause => Ok(()),
        }
    }

    /// As [`leave`](Self::leave), and whoever calls it has the end told to webhooks.
    pub(super) async fn leave_untold(&mut self, run: &RunCore, next: &Next, kind: &str, detail: Value) -> Result<(), StoreError> {
        let revision = self.event(run.id, kind, detail).await?;
        let now = self.now;
        match next {
            Next::Queue => {
                db::runs::set_waiting(&mut self.conn, run, RunState::Queued, revision).await?;
                self.after_commit(Effect::Queued);
            }
            Next::Pause => db::runs::set_waiting(&mut self.conn, run, RunState::Paused, revision).await?,
            Next::Finish(end) => db::runs::set_finished(&mut self.conn, run, end, revision, now).await?,
        }
        if run.kind == Kind::Picture && matches!(next, Next::Finish(_)) {
            db::pictures::let_go_of_model(&mut self.conn, run.id).await?;
        }
        if run.state == RunState::Running {
            self.after_commit(Effect::LeaseEnded(run.id));
        }
        db::jobs::set_revision(&mut self.conn, run.job_id, revision).await
    }

    /// Does what was decided about an action.
    pub(super) async fn perform(&mut self, run: &RunCore, step: Move) -> Result<(), StoreError> {
        match step {
            Move::Nothing => Ok(()),
            Move::Cancel => self.leave(run, &cancelled(None), "cancelled", json!({})).await,
            Move::Pause => self.leave(run, &Next::Pause, "paused", json!({})).await,
            Move::Resume => self.leave(run, &Next::Queue, "resumed", json!({})).await,
            Move::Retry { keep } => {
                db::runs::forget_end(&mut self.conn, run).await?;
                if !keep {
                    self.forget_outputs(run).await?;
                }
                self.leave(run, &Next::Queue, "retried", json!({ "resumes": keep })).await
            }
            Move::Request(requested) => {
                let kind = match requested {
                    Some(RequestedAction::Cancel) => "cancel_requested",
                    Some(RequestedAction::Pause) => "pause_requested",
                    None => "resumed",
                };
                let revision = self.event(run.id, kind, json!({})).await?;
                db::runs::set_requested(&mut self.conn, run, requested, revision).await?;
                self.after_commit(Effect::Requested(run.id, requested));
                Ok(())
            }
        }
    }

    /// Deletes what a run has put out, so that it starts anew.
    pub(super) async fn forget_outputs(&mut self, run: &RunCore) -> Result<(), StoreError> {
        db::runs::forget_progress(&mut self.conn, run).await?;
        db::metrics::delete(&mut self.conn, run.id).await?;
        db::artifacts::delete(&mut self.conn, run.id).await?;
        db::certificates::delete(&mut self.conn, run.id).await?;
        db::logs::delete(&mut self.conn, run.id).await
    }

    /// Ends an attempt whose lease expired, unless its worker was faster or the run is another's by now.
    pub(super) async fn expire(&mut self, run: &RunCore) -> Result<(), StoreError> {
        let lost = run.lost_attempts + 1;
        db::runs::set_lost_attempts(&mut self.conn, run, lost).await?;
        let next = after_expiry(run.requested, lost);
        let detail = json!({ "attempt": run.attempt, "worker_id": run.worker_id, "lost_attempts": lost });
        match &next {
            Next::Queue => self.leave(run, &next, "lease_expired", detail).await,
            Next::Pause | Next::Finish(_) => {
                self.event(run.id, "lease_expired", detail).await?;
                let (kind, detail) = describe(&next);
                self.leave(run, &next, kind, detail).await
            }
        }
    }
}

/// The event of a run that its worker has let go.
pub(super) fn describe(next: &Next) -> (&'static str, Value) {
    match next {
        Next::Queue => ("released", json!({})),
        Next::Pause => ("paused", json!({})),
        Next::Finish(end) => {
            let mut detail = json!({ "stop_reason": end.stop_reason });
            if let Some(error) = &end.error {
                detail["error"] = json!(error);
            }
            (end.state.as_str(), detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use trainyard_wire::{Attempt, JobId, RunId};

    use super::*;

    fn run(state: RunState) -> RunCore {
        RunCore {
            id: RunId(1),
            job_id: JobId(1),
            kind: Kind::Regression,
            state,
            stop_reason: None,
            attempt: Attempt(1),
            lost_attempts: 0,
            worker_id: None,
            holder: None,
            requested: None,
            ended: None,
            checkpoint_step: None,
            deleted: false,
        }
    }

    fn asked(requested: RequestedAction) -> RunCore {
        RunCore { requested: Some(requested), ..run(RunState::Running) }
    }

    #[test]
    fn each_action_is_legal_in_these_states_and_no_others() {
        use Action::{Cancel, Pause, Resume, Retry};
        use RunState::{Cancelled, Failed, Paused, Queued, Running, Succeeded};
        let ask = |action| Some(Move::Request(Some(action)));
        let table = [
            (Cancel, Queued, Some(Move::Cancel)),
            (Cancel, Paused, Some(Move::Cancel)),
            (Cancel, Running, ask(RequestedAction::Cancel)),
            (Cancel, Cancelled, Some(Move::Nothing)),
            (Cancel, Succeeded, None),
            (Cancel, Failed, None),
            (Pause, Queued, Some(Move::Pause)),
            (Pause, Paused, Some(Move::Nothing)),
            (Pause, Running, ask(RequestedAction::Pause)),
            (Pause, Cancelled, None),
            (Pause, Succeeded, None),
            (Pause, Failed, None),
            (Resume, Paused, Some(Move::Resume)),
            (Resume, Queued, Some(Move::Nothing)),
            (Resume, Running, Some(Move::Nothing)),
            (Resume, Cancelled, None),
            (Resume, Succeeded, None),
            (Resume, Failed, None),
            (Retry, Failed, Some(Move::Retry { keep: false })),
            (Retry, Cancelled, Some(Move::Retry { keep: false })),
            (Retry, Queued, Some(Move::Nothing)),
            (Retry, Paused, None),
            (Retry, Running, None),
            (Retry, Succeeded, None),
        ];
        for (action, state, expected) in table {
            assert_eq!(decide(&run(state), action), expected, "{action} of a run that is {state}");
        }
    }

    #[test]
    fn what_was_asked_of_a_running_run_decides_what_may_be_asked_next() {
        use RequestedAction::{Cancel, Pause};
        assert_eq!(decide(&asked(Cancel), Action::Cancel), Some(Move::Nothing));
        assert_eq!(decide(&asked(Pause), Action::Pause), Some(Move::Nothing));
        assert_eq!(decide(&asked(Pause), Action::Cancel), Some(Move::Request(Some(Cancel))));
        assert_eq!(decide(&asked(Pause), Action::Resume), Some(Move::Request(None)));
        assert_eq!(decide(&asked(Cancel), Action::Pause), None);
        assert_eq!(decide(&asked(Cancel), Action::Resume), None);
    }

    #[test]
    fn a_run_of_a_program_outside_can_only_be_cancelled_and_is_so_at_once() {
        for &state in RunState::ALL {
            let external = RunCore { kind: Kind::External, ..run(state) };
            for action in [Action::Pause, Action::Resume, Action::Retry] {
                assert_eq!(decide(&external, action), None, "{action} of one that is {state}");
            }
            let cancelled = match state {
                RunState::Running => Some(Move::Cancel),
                RunState::Cancelled => Some(Move::Nothing),
                _ => None,
            };
            assert_eq!(decide(&external, Action::Cancel), cancelled, "of one that is {state}");
        }
    }

    #[test]
    fn a_picture_that_was_not_coloured_is_sent_again_and_not_retried() {
        for &state in RunState::ALL {
            let picture = RunCore { kind: Kind::Picture, ..run(state) };
            let expected = (state == RunState::Queued).then_some(Move::Nothing);
            assert_eq!(decide(&picture, Action::Retry), expected, "of one that is {state}");
            assert_eq!(decide(&picture, Action::Cancel), decide(&run(state), Action::Cancel));
        }
    }

    #[test]
    fn a_retry_resumes_at_the_checkpoint_unless_the_run_diverged() {
        let failed = RunCore { checkpoint_step: Some(100), stop_reason: Some(StopReason::Error), ..run(RunState::Failed) };
        assert_eq!(decide(&failed, Action::Retry), Some(Move::Retry { keep: true }));
        let diverged = RunCore { stop_reason: Some(StopReason::Diverged), ..failed };
        assert_eq!(decide(&diverged, Action::Retry), Some(Move::Retry { keep: false }));
    }

    #[test]
    fn a_run_that_is_let_go_becomes_what_was_asked_for() {
        let finish = |outcome| Finish { outcome, stop_reason: None, error: None, result: None };
        for outcome in [Outcome::Paused, Outcome::Released] {
            assert_eq!(after_finish(None, finish(outcome)), Next::Queue);
            assert_eq!(after_finish(Some(RequestedAction::Pause), finish(outcome)), Next::Pause);
            assert_eq!(after_finish(Some(RequestedAction::Cancel), finish(outcome)), cancelled(None));
        }
        let Next::Finish(end) = after_finish(Some(RequestedAction::Cancel), finish(Outcome::Succeeded)) else { panic!() };
        assert_eq!((end.state, end.stop_reason), (RunState::Succeeded, StopReason::Completed));
    }

    #[test]
    fn the_third_attempt_lost_in_a_row_is_the_last() {
        assert_eq!(after_expiry(None, 2), Next::Queue);
        let Next::Finish(end) = after_expiry(None, 3) else { panic!() };
        assert_eq!((end.state, end.stop_reason), (RunState::Failed, StopReason::AttemptsExhausted));
        assert!(end.error.is_some_and(|error| error.starts_with("3 attempts in a row were lost")));
        assert_eq!(after_expiry(Some(RequestedAction::Pause), 3), Next::Pause);
        assert_eq!(after_expiry(Some(RequestedAction::Cancel), 1), cancelled(None));
    }
}
