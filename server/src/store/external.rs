//! Runs of programs outside of Trainyard: opened, added to and ended by the programs themselves.
//!
//! No worker claims such a run and no lease holds it: it is running until its program, or somebody else, ends it. Only here can it be
//! written to, and nothing else can be written to here.

mod points;

use std::collections::BTreeMap;

use futures::FutureExt as _;
use serde_json::json;
use sqlx::SqliteConnection;
use trainyard_wire::annotation::RunPatch;
use trainyard_wire::external::{EndState, Logged};
use trainyard_wire::spec::ExternalSpec;
use trainyard_wire::spec::check::Checker;
use trainyard_wire::spec::external::{Params, check_params};
use trainyard_wire::state::Kind;
use trainyard_wire::{FieldError, Revision, RunId, RunState, StopReason, Timestamp};

use super::annotations::{AnnotateError, patched};
use super::artifacts::is_artifact_name;
use super::lifecycle::{Next, describe};
use super::writer::{Transaction, write_error};
use super::{Idempotency, Store, StoreError};
use crate::blobs::StagedBlob;
use crate::db;
use crate::db::artifacts::ArtifactRow;
use crate::db::runs::{End, RunCore};

pub use points::{LoggedPoints, PointsError};

/// An external run to open.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewExternalRun {
    pub name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub spec: ExternalSpec,
    /// The id of an experiment of external runs; 0 is the default one.
    pub experiment: i64,
    /// Now, unless given.
    pub started_at: Option<Timestamp>,
    pub idempotency: Option<Idempotency>,
}

/// Why an external run was not opened or not written to. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// 404.
    #[error("there is no such run")]
    UnknownRun,
    /// 404.
    #[error("there is no such experiment")]
    UnknownExperiment,
    /// 409.
    #[error("the experiment holds the {0} runs that Trainyard trains, and no others")]
    NotItsExperiment(String),
    /// 409.
    #[error("run {run} is a {kind} run that Trainyard trains itself: only its worker writes to it")]
    NotExternal { run: RunId, kind: Kind },
    /// 409.
    #[error("run {run} is {state}: nothing is added to it any more")]
    Finished { run: RunId, state: RunState },
    /// 422.
    #[error(
        "an artifact's name is segments of letters, digits, `.`, `_` and `-`, joined by `/`, at most 200 characters; no segment is a device"
    )]
    ArtifactName,
    /// 422: the key was used before with another body.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    /// 422: with pointers.
    #[error("what is logged is not valid")]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(ExternalError, Store);

/// What may be added to a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// Nothing.
    Refused,
    /// All but to a cancelled one, as MLflow's clients are used to: they evaluate after the end.
    Taken,
}

/// A file to store for an external run.
#[derive(Debug)]
pub struct NewExternalFile {
    pub name: String,
    pub content_type: String,
    pub blob: StagedBlob,
}

/// What one request logs to a run, all or nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogBatch {
    pub points: LoggedPoints,
    /// Added, or put in the place of those with their names.
    pub params: Params,
    /// Refuses a parameter that is there with another value.
    pub params_stay: bool,
    /// The run's new name.
    pub name: Option<String>,
    /// Set, or taken away where there is no value.
    pub tags: BTreeMap<String, Option<String>>,
}

/// What becomes of a run's name and state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunUpdate {
    pub name: Option<String>,
    /// Running again, or ended.
    pub state: Option<RunState>,
    pub error: Option<String>,
    pub finished_at: Option<Timestamp>,
}

impl From<EndState> for RunUpdate {
    fn from(state: EndState) -> Self {
        Self { state: Some(state.into()), ..Self::default() }
    }
}

impl Store {
    /// Opens an external run, which is running from now on. With an idempotency key a repeat opens none and answers the first.
    pub async fn open_external(&self, run: NewExternalRun) -> Result<RunId, ExternalError> {
        let write = self.inner.writer.write::<_, ExternalError, _>(move |transaction| {
            async move {
                if let Some(id) = transaction.run_made_before(run.idempotency.as_ref(), ExternalError::KeyReused).await? {
                    return Ok(id);
                }
                let experiment = db::experiments::get(&mut transaction.conn, run.experiment).await?;
                let experiment = experiment.filter(|experiment| !experiment.deleted).ok_or(ExternalError::UnknownExperiment)?;
                if experiment.holds_kind {
                    return Err(ExternalError::NotItsExperiment(experiment.name));
                }
                let revision = transaction.upcoming_revision();
                let id = db::external::insert(&mut transaction.conn, &run, revision, transaction.now).await?;
                transaction.event(id, "opened", json!({})).await?;
                if let Some(idempotency) = &run.idempotency {
                    let job = known(&mut transaction.conn, id).await?.job_id;
                    transaction.note_made(idempotency, job, id).await?;
                }
                Ok(id)
            }
            .boxed()
        });
        write.await
    }

    /// Adds metrics, parameters and tags to an external run, all or nothing. What is there already changes nothing.
    pub async fn log(&self, id: RunId, batch: LogBatch, late: Late) -> Result<Logged, ExternalError> {
        self.inner.writer.write(move |transaction| async move { transaction.log(id, batch, late).await }.boxed()).await
    }

    /// Renames an external run, ends it or opens it again; whether one that has ended may end otherwise is `late`'s to say. A repeat
    /// changes nothing. Answers its state then.
    pub async fn update_external(&self, id: RunId, update: RunUpdate, late: Late) -> Result<RunState, ExternalError> {
        self.inner.writer.write(move |transaction| async move { transaction.update_external(id, update, late).await }.boxed()).await
    }

    /// Renames any run, and sets and takes away its own tags.
    pub async fn relabel(&self, id: RunId, name: Option<String>, tags: BTreeMap<String, Option<String>>) -> Result<(), ExternalError> {
        let write = self.inner.writer.write::<_, ExternalError, _>(move |transaction| {
            async move {
                let run = known(&mut transaction.conn, id).await?;
                let revision = transaction.upcoming_revision();
                if transaction.relabel(&run, name, &tags, revision).await? {
                    transaction.advance_revision(1);
                    db::runs::set_revision(&mut transaction.conn, &run, revision).await?;
                    transaction.changed(id, revision);
                }
                Ok(())
            }
            .boxed()
        });
        write.await
    }

    /// Notes that an MLflow client has deleted a run, or restored it.
    pub async fn set_deleted_in_mlflow(&self, id: RunId, deleted: bool) -> Result<(), ExternalError> {
        let write = self.inner.writer.write::<_, ExternalError, _>(move |transaction| {
            async move {
                let run = known(&mut transaction.conn, id).await?;
                Ok(db::external::set_deleted(&mut transaction.conn, run.id, deleted, transaction.now).await?)
            }
            .boxed()
        });
        write.await
    }

    /// Stores a file for an external run; replaces the one of the same name.
    pub async fn put_external(&self, id: RunId, file: NewExternalFile, late: Late) -> Result<Revision, ExternalError> {
        let NewExternalFile { name, content_type, blob } = file;
        // Looked at before the file gets a name; what counts is the look in the transaction.
        self.may_put(id, &name, late).await?;
        let sha256 = blob.sha256().to_owned();
        let write = self.publish(vec![blob], move |transaction| {
            async move { transaction.put_external(id, &name, &content_type, &sha256, late).await }.boxed()
        });
        write.await
    }

    /// Fails where a file of this name would be refused, before its bytes are received.
    pub async fn may_put(&self, id: RunId, name: &str, late: Late) -> Result<(), ExternalError> {
        if !is_artifact_name(name) {
            return Err(ExternalError::ArtifactName);
        }
        let run = known(&mut *self.reader().await?, id).await?;
        writable(&run, late)
    }
}

/// A run that is not deleted.
async fn known(conn: &mut SqliteConnection, id: RunId) -> Result<RunCore, ExternalError> {
    db::runs::core(conn, id).await?.filter(|run| !run.deleted).ok_or(ExternalError::UnknownRun)
}

/// Fails unless the run is external and takes more.
fn writable(run: &RunCore, late: Late) -> Result<(), ExternalError> {
    if run.kind != Kind::External {
        return Err(ExternalError::NotExternal { run: run.id, kind: run.kind });
    }
    match run.state {
        RunState::Running => Ok(()),
        RunState::Succeeded | RunState::Failed if late == Late::Taken => Ok(()),
        state => Err(ExternalError::Finished { run: run.id, state }),
    }
}

impl Transaction {
    async fn log(&mut self, id: RunId, batch: LogBatch, late: Late) -> Result<Logged, ExternalError> {
        let run = known(&mut self.conn, id).await?;
        writable(&run, late)?;
        let revision = self.upcoming_revision();
        let points = db::logged::insert(&mut self.conn, id, &batch.points.series, revision, self.now).await?;
        let mut news = points > 0;
        if points > 0 {
            let last = batch.points.series.iter().flat_map(|series| &series.steps).max().copied().unwrap_or(0);
            db::external::set_step(&mut self.conn, id, i64::try_from(last).unwrap_or(i64::MAX), revision).await?;
        }
        news |= self.set_params(id, &batch, revision).await?;
        if !batch.tags.is_empty() || batch.name.is_some() {
            news |= self.relabel(&run, batch.name, &batch.tags, revision).await?;
        }
        if !news {
            let revision = db::runs::revision(&mut self.conn, id).await?.ok_or(ExternalError::UnknownRun)?;
            return Ok(Logged { points, revision });
        }
        self.advance_revision(1);
        db::runs::set_revision(&mut self.conn, &run, revision).await?;
        self.changed(id, revision);
        Ok(Logged { points, revision })
    }

    /// Answers whether that changed anything.
    async fn set_params(&mut self, id: RunId, batch: &LogBatch, revision: Revision) -> Result<bool, ExternalError> {
        if batch.params.is_empty() {
            return Ok(false);
        }
        let mut spec = db::external::spec(&mut self.conn, id).await?;
        let mut news = false;
        for (name, value) in &batch.params {
            match spec.params.get(name) {
                Some(known) if known == value || (batch.params_stay && known.to_string() == value.to_string()) => continue,
                Some(known) if batch.params_stay => {
                    let detail = format!("is `{known}` already and cannot become `{value}`");
                    return Err(ExternalError::Invalid(vec![FieldError { pointer: format!("/params/{name}"), detail }]));
                }
                _ => news = true,
            }
            spec.params.insert(name.clone(), value.clone());
        }
        if news {
            let mut checker = Checker::new("");
            check_params(&spec.params, &mut checker, "/params");
            checker.finish().map_err(ExternalError::Invalid)?;
            db::external::set_spec(&mut self.conn, id, &spec, revision).await?;
        }
        Ok(news)
    }

    /// Changes the run's own name and tags. Answers whether that changed anything.
    async fn relabel(
        &mut self,
        run: &RunCore,
        name: Option<String>,
        tags: &BTreeMap<String, Option<String>>,
        revision: Revision,
    ) -> Result<bool, ExternalError> {
        let set = tags.iter().filter_map(|(tag, value)| Some((tag.clone(), value.clone()?))).collect();
        let mut checker = Checker::new("");
        trainyard_wire::external::check_tags(&set, &mut checker, "/tags");
        checker.finish().map_err(ExternalError::Invalid)?;
        let before = db::annotations::get(&mut self.conn, run.id).await?.ok_or(ExternalError::UnknownRun)?;
        let patch = RunPatch { name: name.map(Some), tags: Some(tags.clone()), ..RunPatch::default() };
        let too_many =
            |error: AnnotateError| ExternalError::Invalid(vec![FieldError { pointer: "/tags".to_owned(), detail: error.to_string() }]);
        let after = patched(&before, &patch).map_err(too_many)?;
        if after == before.own {
            return Ok(false);
        }
        db::annotations::set(&mut self.conn, run.id, &after, revision).await?;
        Ok(true)
    }

    async fn update_external(&mut self, id: RunId, update: RunUpdate, late: Late) -> Result<RunState, ExternalError> {
        let mut run = known(&mut self.conn, id).await?;
        if run.kind != Kind::External {
            return Err(ExternalError::NotExternal { run: id, kind: run.kind });
        }
        if update.name.is_some() {
            let revision = self.upcoming_revision();
            if self.relabel(&run, update.name, &BTreeMap::new(), revision).await? {
                self.advance_revision(1);
                db::runs::set_revision(&mut self.conn, &run, revision).await?;
                self.changed(id, revision);
            }
        }
        let Some(state) = update.state.filter(|state| *state != run.state) else { return Ok(run.state) };
        let stop_reason = match state {
            RunState::Running => {
                self.reopen(&mut run).await?;
                return Ok(state);
            }
            RunState::Succeeded => StopReason::Completed,
            RunState::Cancelled => StopReason::Cancelled,
            RunState::Failed => StopReason::Error,
            // Nobody waits for a program to begin.
            RunState::Queued | RunState::Paused => return Ok(run.state),
        };
        match (run.state, late) {
            (RunState::Running, _) => {}
            (_, Late::Taken) => self.reopen(&mut run).await?,
            (state, Late::Refused) => return Err(ExternalError::Finished { run: id, state }),
        }
        let end = End { state, stop_reason, error: update.error, result: None };
        let next = Next::Finish(end.clone());
        let (kind, detail) = describe(&next);
        self.leave_untold(&run, &next, kind, detail).await?;
        if let Some(time) = update.finished_at {
            db::external::set_finished_at(&mut self.conn, id, time).await?;
        }
        self.announce(&run, &end).await?;
        Ok(state)
    }

    async fn reopen(&mut self, run: &mut RunCore) -> Result<(), StoreError> {
        let revision = self.event(run.id, "reopened", json!({})).await?;
        db::external::reopen(&mut self.conn, run.id, revision).await?;
        run.state = RunState::Running;
        db::jobs::set_revision(&mut self.conn, run.job_id, revision).await
    }

    async fn put_external(
        &mut self,
        id: RunId,
        name: &str,
        content_type: &str,
        sha256: &str,
        late: Late,
    ) -> Result<Revision, ExternalError> {
        let run = known(&mut self.conn, id).await?;
        writable(&run, late)?;
        let row = ArtifactRow { run: id, name, content_type, sha256, attempt: run.attempt };
        if !db::artifacts::put(&mut self.conn, &row, self.now).await? {
            return db::runs::revision(&mut self.conn, id).await?.ok_or(ExternalError::UnknownRun);
        }
        let revision = self.advance_revision(1);
        db::runs::set_revision(&mut self.conn, &run, revision).await?;
        self.changed(id, revision);
        Ok(revision)
    }
}
