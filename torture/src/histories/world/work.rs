//! What workers ask of the store: claims, reports and checkpoints, some of them of attempts that have lost their run.

use std::time::Duration;

use anyhow::{bail, ensure};
use trainyard_server::store::{NewArtifact, WorkerError};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::worker::{Finish, HeldRun, Outcome, Report};
use trainyard_wire::{Attempt, Number, RunId, StopReason};

use super::{Effect, TOKEN, World, failed, happened, place_of};
use crate::histories::model::{Model, Told};
use crate::load::value;

impl World {
    pub(super) async fn claim(&mut self, mut model: Model, worker: usize, max: usize, small: bool) -> anyhow::Result<(Effect, bool)> {
        let expected = model.claimable(max, small);
        model.claim(worker, &expected);
        let (id, most) = (self.workers[worker], max as u32);
        let answer = match small {
            true => self.store.claim_small(TOKEN, id, most).await,
            false => self.store.claim(TOKEN, id, most, Duration::ZERO).await,
        };
        let held = expected.iter().map(|place| HeldRun { run_id: RunId(*place as i64 + 1), attempt: Attempt(model.runs[*place].attempt) });
        let held: Vec<HeldRun> = held.collect();
        self.given[worker].extend(&held);
        match answer {
            Ok(runs) => {
                let claimed: Vec<HeldRun> = runs.iter().map(|run| HeldRun { run_id: run.run_id, attempt: run.attempt }).collect();
                ensure!(claimed == held, "{claimed:?} were given instead of {held:?}");
                for run in runs {
                    let resumes = model.runs[place_of(run.run_id)].checkpoint.is_some();
                    ensure!(run.checkpoint.is_some() == resumes, "run {} was given with {:?}", run.run_id, run.checkpoint);
                }
                happened(model)
            }
            Err(WorkerError::Store(error)) => failed(model, error),
            Err(error) => bail!("{error}"),
        }
    }

    pub(super) async fn report(
        &mut self,
        mut model: Model,
        place: usize,
        behind: i64,
        steps: std::ops::Range<u64>,
        finish: Option<(Outcome, bool)>,
    ) -> anyhow::Result<(Effect, bool)> {
        let (id, run) = (RunId(place as i64 + 1), &mut model.runs[place]);
        let attempt = run.attempt - behind;
        // What diverged failed; the other outcomes have no reason of their own.
        let diverged = matches!(finish, Some((Outcome::Failed, true)));
        let finish = finish.map(|(outcome, _)| outcome);
        let expected = run.told(attempt, finish);
        let points: Vec<(u64, u64)> = steps.map(|step| (step, value(id, "loss", step).to_bits())).collect();
        run.report(attempt, &points, finish, diverged);
        let series = SeriesBatch {
            name: "loss".to_owned(),
            steps: points.iter().map(|(step, _)| *step).collect(),
            values: points.iter().map(|(_, bits)| Number(f64::from_bits(*bits))).collect(),
            times: points.iter().map(|(step, _)| *step as i64).collect(),
        };
        let stop_reason = diverged.then_some(StopReason::Diverged);
        let report = Report {
            attempt: Attempt(attempt),
            metrics: vec![series],
            progress: None,
            logs: Vec::new(),
            certificates: Vec::new(),
            left_out: Vec::new(),
            finish: finish.map(|outcome| Finish { outcome, stop_reason, error: None, result: None }),
        };
        match (self.store.report(TOKEN, id, report).await, expected) {
            (Ok(answer), Told::Stored(directive)) if answer.directive == directive => happened(model),
            (Err(WorkerError::Stale), Told::Stale) => Ok((Effect::None, false)),
            (Err(WorkerError::Store(error)), _) => failed(model, error),
            (answer, expected) => bail!("a report of attempt {attempt} of run {id} was answered {answer:?}, not {expected:?}"),
        }
    }

    pub(super) async fn checkpoint(&mut self, mut model: Model, place: usize, behind: i64, step: u64) -> anyhow::Result<(Effect, bool)> {
        let (id, run) = (RunId(place as i64 + 1), &mut model.runs[place]);
        let attempt = run.attempt - behind;
        let taken = run.takes_checkpoint(attempt, step);
        run.put_checkpoint(attempt, step);
        let mut staging = self.store.stage().await?;
        staging.write(format!("run {id} at step {step}").as_bytes()).await?;
        let artifact = NewArtifact {
            attempt: Attempt(attempt),
            name: "checkpoint.safetensors".to_owned(),
            content_type: "application/octet-stream".to_owned(),
            blob: staging.finish().await?,
            checkpoint_step: Some(step),
        };
        match self.store.put_artifact(TOKEN, id, artifact).await {
            Ok(()) if taken => happened(model),
            Err(WorkerError::Stale) if !taken => Ok((Effect::None, false)),
            Err(WorkerError::Store(error)) => failed(model, error),
            answer => bail!("a checkpoint of attempt {attempt} of run {id} was answered {answer:?}, and should be taken: {taken}"),
        }
    }
}
