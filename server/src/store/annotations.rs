//! What people note on runs and where they put them: names, projects, tags, notes, the archive, and deleting with undo.
//!
//! None of it touches how a run trains. A deleted run is hidden from everything at once and stays whole until upkeep removes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::json;
use trainyard_wire::annotation::{ActOutcome, ActedRun, BulkAction, MOST_TAGS, RunPatch};
use trainyard_wire::run::Run;
use trainyard_wire::{Revision, RunId, RunState, Timestamp};

use super::lifecycle::{Move, decide};
use super::runs::fill_in;
use super::writer::{Together, Transaction, write_error};
use super::{Action, Store, StoreError};
use crate::db;
use crate::db::annotations::{Annotated, Annotations};

/// Why a run is not annotated, archived, deleted, restored or acted on.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// 404.
    #[error("there is no such run")]
    NotFound,
    /// 409.
    #[error("cannot {action} a run that is {state}")]
    Illegal { action: BulkAction, state: RunState },
    /// 422: `/tags`.
    #[error("a run has at most {MOST_TAGS} tags, and this one would have {count}")]
    TooManyTags { count: usize, state: RunState },
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(AnnotateError, Store);

impl Store {
    /// Changes what is noted on a run; answers it as it is then. What is so already is no change.
    pub async fn annotate(&self, id: RunId, patch: RunPatch) -> Result<Run, AnnotateError> {
        let write = self.inner.writer.write::<_, AnnotateError, _>(move |transaction| {
            async move {
                let before = transaction.annotated(id).await?;
                transaction.note(id, &before, &patch).await?;
                if let Some(archived) = patch.archived {
                    transaction.archive(id, &before, archived).await?;
                }
                transaction.shown(id).await
            }
            .boxed()
        });
        write.await
    }

    /// Hides a run that neither waits nor runs from everything. Repeating it finds nothing.
    pub async fn delete_run(&self, id: RunId) -> Result<(), AnnotateError> {
        let write = self.inner.writer.write::<_, AnnotateError, _>(move |transaction| {
            async move {
                let before = transaction.annotated(id).await?;
                transaction.delete(id, &before).await
            }
            .boxed()
        });
        write.await
    }

    /// Takes a delete back, as long as the run has not been removed; answers the run. One that is not deleted stays as it is.
    pub async fn restore_run(&self, id: RunId) -> Result<Run, AnnotateError> {
        let write = self.inner.writer.write::<_, AnnotateError, _>(move |transaction| {
            async move {
                transaction.restore(id).await?;
                transaction.shown(id).await
            }
            .boxed()
        });
        write.await
    }

    /// Does the same to each of these runs, in one commit; what became of each, in their order. `tags` are those of the action `tag`.
    pub async fn act_on_runs(
        &self,
        action: BulkAction,
        tags: &BTreeMap<String, Option<String>>,
        runs: &[RunId],
    ) -> Result<Vec<ActedRun>, StoreError> {
        let mut together = Together::<ActedRun, AnnotateError>::new();
        let patch = Arc::new(RunPatch { tags: Some(tags.clone()), ..RunPatch::default() });
        for &id in runs {
            let patch = Arc::clone(&patch);
            together.add(move |transaction| async move { transaction.act(id, action, &patch).await }.boxed());
        }
        let outcomes = self.inner.writer.write_all(together).await;
        let outcomes = outcomes.into_iter().zip(runs).map(|(outcome, &run_id)| {
            let (outcome, state, detail) = match outcome {
                Ok(acted) => return Ok(acted),
                Err(AnnotateError::NotFound) => (ActOutcome::Missing, None, None),
                Err(error @ (AnnotateError::Illegal { state, .. } | AnnotateError::TooManyTags { state, .. })) => {
                    (ActOutcome::Refused, Some(state), Some(error.to_string()))
                }
                Err(AnnotateError::Store(error)) => return Err(error),
            };
            Ok(ActedRun { run_id, outcome, state, detail })
        });
        outcomes.collect()
    }
}

impl Transaction {
    /// A run that is not deleted.
    async fn annotated(&mut self, id: RunId) -> Result<Annotated, AnnotateError> {
        let run = db::annotations::get(&mut self.conn, id).await?;
        run.filter(|run| run.deleted_at.is_none()).ok_or(AnnotateError::NotFound)
    }

    /// The run as it is answered.
    async fn shown(&mut self, id: RunId) -> Result<Run, AnnotateError> {
        let mut run = db::run_rows::by_id(&mut self.conn, &[id]).await?.pop().ok_or(AnnotateError::NotFound)?;
        fill_in(&mut self.conn, &mut run.spec).await?;
        Ok(run)
    }

    /// Answers whether that changed anything.
    async fn note(&mut self, id: RunId, before: &Annotated, patch: &RunPatch) -> Result<bool, AnnotateError> {
        let after = patched(before, patch)?;
        let changed = changes(&before.own, &after);
        if changed.is_empty() {
            return Ok(false);
        }
        let revision = self.event(id, "annotated", json!({ "changed": changed })).await?;
        db::annotations::set(&mut self.conn, id, &after, revision).await?;
        Ok(true)
    }

    /// Answers whether that changed anything.
    async fn archive(&mut self, id: RunId, before: &Annotated, archived: bool) -> Result<bool, AnnotateError> {
        if before.archived_at.is_some() == archived {
            return Ok(false);
        }
        let revision = self.event(id, if archived { "archived" } else { "unarchived" }, json!({})).await?;
        let at = archived.then_some(self.now);
        db::annotations::set_archived(&mut self.conn, id, at, revision).await?;
        Ok(true)
    }

    async fn delete(&mut self, id: RunId, before: &Annotated) -> Result<(), AnnotateError> {
        if matches!(before.state, RunState::Queued | RunState::Running) {
            return Err(AnnotateError::Illegal { action: BulkAction::Delete, state: before.state });
        }
        let revision = self.event(id, "deleted", json!({})).await?;
        // Never the epoch, which says that the removal has begun.
        let at = self.now.max(Timestamp(1));
        self.delete_pictures(id, at).await?;
        self.set_deleted(id, Some(at), revision).await
    }

    /// Answers whether the run was deleted.
    async fn restore(&mut self, id: RunId) -> Result<bool, AnnotateError> {
        let run = db::annotations::get(&mut self.conn, id).await?.ok_or(AnnotateError::NotFound)?;
        match run.deleted_at {
            None => Ok(false),
            Some(Timestamp(0)) => Err(AnnotateError::NotFound),
            Some(at) => {
                db::pictures::restore_with(&mut self.conn, id, at).await?;
                let revision = self.event(id, "restored", json!({})).await?;
                self.set_deleted(id, None, revision).await?;
                Ok(true)
            }
        }
    }

    async fn set_deleted(&mut self, id: RunId, at: Option<Timestamp>, revision: Revision) -> Result<(), AnnotateError> {
        db::annotations::set_deleted(&mut self.conn, id, at, revision).await?;
        // The job counts it no more, or again.
        let run = db::runs::core(&mut self.conn, id).await?.ok_or(AnnotateError::NotFound)?;
        Ok(db::jobs::set_revision(&mut self.conn, run.job_id, revision).await?)
    }

    async fn act(&mut self, id: RunId, action: BulkAction, patch: &RunPatch) -> Result<ActedRun, AnnotateError> {
        let changed = match action {
            BulkAction::Cancel => self.act_on_training(id, action, Action::Cancel).await?,
            BulkAction::Pause => self.act_on_training(id, action, Action::Pause).await?,
            BulkAction::Resume => self.act_on_training(id, action, Action::Resume).await?,
            BulkAction::Retry => self.act_on_training(id, action, Action::Retry).await?,
            BulkAction::Archive | BulkAction::Unarchive => {
                let before = self.annotated(id).await?;
                self.archive(id, &before, action == BulkAction::Archive).await?
            }
            BulkAction::Delete => {
                let run = db::annotations::get(&mut self.conn, id).await?.ok_or(AnnotateError::NotFound)?;
                let is_news = run.deleted_at.is_none();
                if is_news {
                    self.delete(id, &run).await?;
                }
                is_news
            }
            BulkAction::Restore => self.restore(id).await?,
            BulkAction::Tag => {
                let before = self.annotated(id).await?;
                self.note(id, &before, patch).await?
            }
        };
        let after = db::annotations::get(&mut self.conn, id).await?.filter(|run| run.deleted_at.is_none());
        let outcome = if changed { ActOutcome::Done } else { ActOutcome::Unchanged };
        Ok(ActedRun { run_id: id, outcome, state: after.map(|run| run.state), detail: None })
    }

    async fn act_on_training(&mut self, id: RunId, asked: BulkAction, action: Action) -> Result<bool, AnnotateError> {
        let run = db::runs::core(&mut self.conn, id).await?.filter(|run| !run.deleted).ok_or(AnnotateError::NotFound)?;
        let step = decide(&run, action).ok_or(AnnotateError::Illegal { action: asked, state: run.state })?;
        self.perform(&run, step).await?;
        Ok(step != Move::Nothing)
    }
}

/// What is noted on a run after a patch.
pub(super) fn patched(before: &Annotated, patch: &RunPatch) -> Result<Annotations, AnnotateError> {
    let mut own = before.own.clone();
    if let Some(name) = &patch.name {
        own.name.clone_from(name);
    }
    if let Some(project) = &patch.project {
        // What the job says anyway is not the run's own.
        own.project = match (project, &before.job_project) {
            (None, None) => None,
            (None, Some(_)) => Some(String::new()),
            (project, job) if project == job => None,
            (project, _) => project.clone(),
        };
    }
    if let Some(notes) = &patch.notes {
        own.notes = notes.clone().filter(|notes| !notes.is_empty());
    }
    for (tag, value) in patch.tags.iter().flatten() {
        if before.job_tags.get(tag) == value.as_ref() {
            own.tags.remove(tag);
        } else {
            own.tags.insert(tag.clone(), value.clone());
        }
    }
    let added = own.tags.iter().filter(|(tag, value)| value.is_some() && !before.job_tags.contains_key(*tag)).count();
    let taken = own.tags.iter().filter(|(_, value)| value.is_none()).count();
    let count = before.job_tags.len() + added - taken;
    if count > MOST_TAGS && patch.tags.is_some() {
        return Err(AnnotateError::TooManyTags { count, state: before.state });
    }
    Ok(own)
}

/// The names of what differs.
fn changes(before: &Annotations, after: &Annotations) -> Vec<&'static str> {
    let changed = [
        ("name", before.name != after.name),
        ("project", before.project != after.project),
        ("tags", before.tags != after.tags),
        ("notes", before.notes != after.notes),
    ];
    changed.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotated() -> Annotated {
        Annotated {
            state: RunState::Succeeded,
            job_project: Some("alpha".to_owned()),
            job_tags: [("topic".to_owned(), "rmsprop".to_owned())].into(),
            own: Annotations { name: None, project: None, notes: None, tags: [].into() },
            archived_at: None,
            deleted_at: None,
        }
    }

    fn after(patch: &str) -> Annotations {
        patched(&annotated(), &serde_json::from_str(patch).unwrap()).unwrap()
    }

    #[test]
    fn what_the_job_says_is_not_kept_as_the_runs_own() {
        let own = after(r#"{"project": "alpha", "tags": {"topic": "rmsprop", "missing": null}, "notes": ""}"#);
        assert!(changes(&annotated().own, &own).is_empty(), "{own:?}");
    }

    #[test]
    fn a_patch_sets_and_takes_away() {
        let own = after(r#"{"name": "best", "project": null, "notes": "n", "tags": {"topic": null, "keep": ""}}"#);
        assert_eq!(own.tags, [("topic".to_owned(), None), ("keep".to_owned(), Some(String::new()))].into());
        assert_eq!((own.name.as_deref(), own.project.as_deref(), own.notes.as_deref()), (Some("best"), Some(""), Some("n")));
        assert_eq!(changes(&annotated().own, &own), ["name", "project", "tags", "notes"]);
        assert_eq!(after(r#"{"project": "beta"}"#).project.as_deref(), Some("beta"));
    }

    #[test]
    fn a_run_has_a_bounded_number_of_tags() {
        let tags: std::collections::BTreeMap<String, Option<String>> =
            (0..MOST_TAGS).map(|tag| (format!("tag {tag}"), Some(String::new()))).collect();
        let patch = RunPatch { tags: Some(tags.clone()), ..RunPatch::default() };
        assert!(matches!(patched(&annotated(), &patch), Err(AnnotateError::TooManyTags { count: 65, .. })));
        let instead = tags.into_iter().chain([("topic".to_owned(), None)]).collect();
        assert!(patched(&annotated(), &RunPatch { tags: Some(instead), ..RunPatch::default() }).is_ok());
    }
}
