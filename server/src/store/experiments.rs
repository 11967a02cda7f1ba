//! Experiments, as MLflow's clients call groups of runs, and what their searches ask of runs.
//!
//! Each kind that Trainyard trains has an experiment of its own, which is there from the start and cannot be changed; external runs are
//! in the default one (id 0) or in one that a client made.

use std::collections::{BTreeMap, HashMap};

use futures::FutureExt as _;
use trainyard_wire::external::check_tags;
use trainyard_wire::spec::check::Checker;
use trainyard_wire::state::Kind;
use trainyard_wire::{JobId, Number, RunId, RunState, Spec, StopReason, Timestamp};

use super::writer::write_error;
use super::{Store, StoreError};
use crate::db;

/// A group of runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    pub id: i64,
    pub name: String,
    /// Whether it holds all trained runs of a kind.
    pub holds_kind: bool,
    pub tags: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub deleted: bool,
}

/// Why an experiment was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// 404.
    #[error("there is no such experiment")]
    Unknown,
    /// 409.
    #[error("the experiment `{0}` exists already")]
    Exists(String),
    /// 409.
    #[error("the experiment `{0}` belongs to Trainyard and stays as it is")]
    Fixed(String),
    /// 422.
    #[error("an experiment's name has 1 to 500 characters")]
    Name,
    /// 422.
    #[error("an experiment has at most 500 tags with names of 1 to 250 characters and values of at most 8000")]
    Tags,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(ExperimentError, Store);

/// What changes of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub enum ExperimentChange {
    Rename(String),
    SetTag(String, String),
    DeleteTag(String),
    Delete,
    Restore,
}

/// A run, as a search looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRun {
    pub id: RunId,
    pub job_id: JobId,
    pub experiment: i64,
    /// By an MLflow client.
    pub deleted: bool,
    pub name: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub kind: Kind,
    pub state: RunState,
    pub stop_reason: Option<StopReason>,
    pub created_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Where it was asked for; without the numbers of an inline problem.
    pub spec: Option<Spec>,
}

/// The last point of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastValue {
    pub value: Number,
    pub step: u64,
    pub time: Timestamp,
}

/// The last points of runs' metrics by name.
pub type LastValues = HashMap<RunId, BTreeMap<String, LastValue>>;

impl Store {
    /// All experiments, the newest first.
    pub async fn experiments(&self) -> Result<Vec<Experiment>, StoreError> {
        db::experiments::list(&mut *self.reader().await?).await
    }

    pub async fn experiment(&self, id: i64) -> Result<Option<Experiment>, StoreError> {
        db::experiments::get(&mut *self.reader().await?, id).await
    }

    pub async fn experiment_by_name(&self, name: &str) -> Result<Option<Experiment>, StoreError> {
        db::experiments::by_name(&mut *self.reader().await?, name).await
    }

    /// Makes an experiment for external runs; answers its id.
    pub async fn create_experiment(&self, name: String, tags: BTreeMap<String, String>) -> Result<i64, ExperimentError> {
        check(&name, &tags)?;
        let write = self.inner.writer.write::<_, ExperimentError, _>(move |transaction| {
            async move {
                if db::experiments::by_name(&mut transaction.conn, &name).await?.is_some() {
                    return Err(ExperimentError::Exists(name));
                }
                Ok(db::experiments::insert(&mut transaction.conn, &name, &tags, transaction.now).await?)
            }
            .boxed()
        });
        write.await
    }

    /// Changes an experiment that is not Trainyard's own. A repeat changes nothing.
    pub async fn change_experiment(&self, id: i64, change: ExperimentChange) -> Result<(), ExperimentError> {
        let write = self.inner.writer.write::<_, ExperimentError, _>(move |transaction| {
            async move {
                let known = db::experiments::get(&mut transaction.conn, id).await?.ok_or(ExperimentError::Unknown)?;
                let mut experiment = known.clone();
                match change {
                    ExperimentChange::Rename(name) => {
                        let other = db::experiments::by_name(&mut transaction.conn, &name).await?;
                        if other.is_some_and(|other| other.id != id) {
                            return Err(ExperimentError::Exists(name));
                        }
                        experiment.name = name;
                    }
                    ExperimentChange::SetTag(tag, value) => drop(experiment.tags.insert(tag, value)),
                    ExperimentChange::DeleteTag(tag) => drop(experiment.tags.remove(&tag)),
                    ExperimentChange::Delete => experiment.deleted = true,
                    ExperimentChange::Restore => experiment.deleted = false,
                }
                let fixed = known.holds_kind || (id == 0 && (experiment.deleted || experiment.name != known.name));
                if experiment == known {
                    return Ok(());
                }
                if fixed {
                    return Err(ExperimentError::Fixed(known.name));
                }
                check(&experiment.name, &experiment.tags)?;
                Ok(db::experiments::update(&mut transaction.conn, &experiment, transaction.now).await?)
            }
            .boxed()
        });
        write.await
    }

    /// Runs of these experiments, newest first, from behind `before` on, without those that verify others; with their specs where they
    /// are needed.
    pub async fn found_runs(&self, experiments: &[i64], before: RunId, with_spec: bool, limit: u32) -> Result<Vec<FoundRun>, StoreError> {
        db::run_search::page(&mut *self.reader().await?, experiments, before, with_spec, i64::from(limit)).await
    }

    /// Those of these runs that exist, with their specs.
    pub async fn found_runs_by_id(&self, ids: &[RunId]) -> Result<Vec<FoundRun>, StoreError> {
        db::run_search::by_id(&mut *self.reader().await?, ids).await
    }

    /// The last points of the metrics of these runs; of these names alone, where there are any.
    pub async fn last_values(&self, ids: &[RunId], names: Option<&[&str]>) -> Result<LastValues, StoreError> {
        db::run_search::last_values(&mut *self.reader().await?, ids, names).await
    }
}

fn check(name: &str, tags: &BTreeMap<String, String>) -> Result<(), ExperimentError> {
    if !(1..=500).contains(&name.chars().count()) {
        return Err(ExperimentError::Name);
    }
    let mut checker = Checker::new("");
    check_tags(tags, &mut checker, "/tags");
    checker.finish().map_err(|_| ExperimentError::Tags)
}
