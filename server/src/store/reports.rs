//! What runs report: all that one report tells is stored in one transaction, or nothing of it, and only for the attempt that holds the
//! run and the token of its worker.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use trainyard_faults::Promise;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::worker::{Directive, Report, ReportAnswer, RunReport};
use trainyard_wire::{Attempt, RunId, RunState, Timestamp, TokenId};

use super::lifecycle::{after_finish, describe};
use super::writer::{Effect, Together, Transaction};
use super::{Store, StoreError, WorkerError};
use crate::db;
use crate::db::metrics::Points;
use crate::db::runs::RunCore;

/// Fails unless the run is running, this attempt is its last, and the token is the one that speaks for the worker that holds it.
pub(super) fn hold(run: &RunCore, attempt: Attempt, by: TokenId) -> Result<(), WorkerError> {
    let held = run.state == RunState::Running && run.attempt == attempt && run.holder == Some(by);
    if held || trainyard_faults::is_broken(Promise::Fence) { Ok(()) } else { Err(WorkerError::Stale) }
}

/// Takes the metrics out of a report, checks them, joins those of the same name and brings them into the form that the database takes:
/// work over which the writer would keep all others waiting.
fn take_points(report: &mut Report) -> Result<Points, WorkerError> {
    Ok(Points::of(merge(std::mem::take(&mut report.metrics))?))
}

impl Store {
    /// Stores all that a report tells, or nothing. A repeated report changes nothing.
    pub async fn report(&self, by: TokenId, id: RunId, mut report: Report) -> Result<ReportAnswer, WorkerError> {
        let points = take_points(&mut report)?;
        self.inner.writer.write(move |transaction| async move { transaction.report(by, id, report, points).await }.boxed()).await
    }

    /// Stores the reports of several runs in one commit. Each is stored as a whole or refused by itself, and answered in its place.
    pub async fn report_all(&self, by: TokenId, reports: Vec<RunReport>) -> Vec<Result<ReportAnswer, WorkerError>> {
        let (mut checks, mut writes) = (Vec::with_capacity(reports.len()), Together::new());
        for RunReport { run_id, mut report } in reports {
            let points = take_points(&mut report);
            let write = |points| {
                writes.add(move |transaction| async move { transaction.report(by, run_id, report, points).await }.boxed());
            };
            checks.push(points.map(write));
        }
        // The writer answers every write that was handed in, in order.
        let mut stored = self.inner.writer.write_all(writes).await.into_iter();
        let mut answer = |()| stored.next().unwrap_or(Err(StoreError::Closed.into()));
        checks.into_iter().map(|check| check.and_then(&mut answer)).collect()
    }
}

/// The series of a report with those of the same name joined, by name.
fn merge(metrics: Vec<SeriesBatch>) -> Result<Vec<SeriesBatch>, WorkerError> {
    let wrong = |index: usize, field: &str, detail: &str| {
        Err(WorkerError::Report { pointer: format!("/metrics/{index}{field}"), detail: detail.to_owned() })
    };
    let mut merged: BTreeMap<String, SeriesBatch> = BTreeMap::new();
    for (index, batch) in metrics.into_iter().enumerate() {
        if batch.name.is_empty() || batch.name.len() > 200 {
            return wrong(index, "/name", "must have 1 to 200 bytes");
        }
        if batch.steps.len() != batch.values.len() || batch.steps.len() != batch.times.len() {
            return wrong(index, "", "steps, values and times must be equally many");
        }
        if batch.steps.iter().any(|step| i64::try_from(*step).is_err()) {
            return wrong(index, "/steps", "must be below 2^63");
        }
        if let Some(place) = batch.times.iter().position(|time| !(Timestamp::MIN.0..=Timestamp::MAX.0).contains(time)) {
            return wrong(index, &format!("/times/{place}"), "must be in the years 0 to 9999");
        }
        match merged.get_mut(&batch.name) {
            None => drop(merged.insert(batch.name.clone(), batch)),
            Some(first) => {
                first.steps.extend(batch.steps);
                first.values.extend(batch.values);
                first.times.extend(batch.times);
            }
        }
    }
    Ok(merged.into_values().collect())
}

impl Transaction {
    /// `points` are the report's metrics.
    async fn report(&mut self, by: TokenId, id: RunId, report: Report, points: Points) -> Result<ReportAnswer, WorkerError> {
        let run = db::runs::core(&mut self.conn, id).await?.ok_or(WorkerError::UnknownRun)?;
        if let Err(stale) = hold(&run, report.attempt, by) {
            // A repeat of the report that ended the attempt, whose answer was lost, is no error.
            let ended = report.finish.map(|finish| (report.attempt, finish.outcome));
            let repeated = ended.is_some() && ended == run.ended;
            return if repeated { Ok(ReportAnswer { directive: Directive::Continue }) } else { Err(stale) };
        }
        self.after_commit(Effect::LeaseRenewed { run: run.id, attempt: run.attempt });

        let revision = self.upcoming_revision();
        let mut news = db::metrics::insert(&mut self.conn, id, &points, revision).await? > 0;
        if let Some(progress) = &report.progress {
            news |= db::runs::set_progress(&mut self.conn, &run, progress).await?;
        }
        if !report.logs.is_empty() {
            news |= db::logs::insert(&mut self.conn, id, &report.logs).await? > 0;
        }
        for certificate in &report.certificates {
            news |= db::certificates::put(&mut self.conn, id, certificate).await?;
        }
        for left_out in &report.left_out {
            news |= db::certificates::put_left_out(&mut self.conn, id, left_out).await?;
        }
        match report.finish {
            Some(finish) => {
                db::runs::set_ended(&mut self.conn, &run, finish.outcome).await?;
                let next = after_finish(run.requested, finish);
                let (kind, detail) = describe(&next);
                // The event takes the revision that the metrics above have.
                self.leave(&run, &next, kind, detail).await?;
                Ok(ReportAnswer { directive: Directive::Continue })
            }
            None => {
                if news {
                    self.advance_revision(1);
                    db::runs::set_revision(&mut self.conn, &run, revision).await?;
                    self.changed(id, revision);
                }
                Ok(ReportAnswer { directive: Directive::from(run.requested) })
            }
        }
    }
}
