//! Pictures that are coloured with the model of a finished run: each is a run that lists leave out, through the same queue.
//!
//! What its worker needs are artifacts of that run: the picture as it was sent, and, until it has ended, the model and its description,
//! under the same contents as the model's own run has them. So nothing that a worker is going to ask for can be pruned or swept before,
//! and everything goes with the run. The newest [`MOST_COLOURIZED`] of a model are kept.

use futures::FutureExt as _;
use serde_json::json;
use sqlx::SqliteConnection;
use trainyard_wire::colourize::{Colourized, MOST_COLOURIZED};
use trainyard_wire::run::Artifact;
use trainyard_wire::spec::picture::{DESCRIPTION, MODEL, PictureFile, PictureFormat};
use trainyard_wire::spec::{ColourizationSpec, PictureSpec};
use trainyard_wire::state::Kind;
use trainyard_wire::{Attempt, RunId, RunState, Spec, Timestamp};

use super::lifecycle::decide;
use super::submit::Idempotency;
use super::writer::{Effect, Transaction, write_error};
use super::{Action, Store, StoreError};
use crate::blobs::StagedBlob;
use crate::db;
use crate::db::artifacts::ArtifactRow;
use crate::db::pictures::NewPictureRow;

/// Somebody waits in front of the page: pictures take moments, and go before all that was submitted.
const PRIORITY: i32 = 1001;

/// A picture to be coloured.
#[derive(Debug)]
pub struct NewPicture {
    pub model_run: RunId,
    pub format: PictureFormat,
    /// In pixels.
    pub width: u64,
    pub height: u64,
    pub blob: StagedBlob,
    /// Bytes that colouring it takes, by estimate.
    pub memory_bytes: u64,
    pub idempotency: Option<Idempotency>,
}

/// A picture that is queued.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    pub picture: Colourized,
    /// The key was used before with the same picture: nothing new was queued.
    pub replayed: bool,
}

/// Why a picture is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// 404.
    #[error("there is no such run")]
    NotFound,
    /// 409.
    #[error("pictures are coloured with the model of a colourization, and this is a run of kind {0}")]
    NotColourization(Kind),
    /// 409.
    #[error("pictures are coloured with the model of a run that has succeeded, and this one is {0}")]
    NotSucceeded(RunState),
    /// 409.
    #[error("the run has no {0} any more: its files were removed by a retention policy")]
    NoModel(&'static str),
    /// 409.
    #[error("{MOST_COLOURIZED} pictures wait already to be coloured with this run's model")]
    TooMany,
    /// 422: the key was used before with another picture, or for something else.
    #[error("the idempotency key was used before with another body")]
    KeyReused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

write_error!(PictureError, Store);

/// What a picture is coloured with.
struct Model {
    weights: Artifact,
    description: Artifact,
}

/// The model of a run, if pictures can be coloured with it.
async fn model_of(conn: &mut SqliteConnection, id: RunId) -> Result<Model, PictureError> {
    let run = db::runs::core(conn, id).await?.filter(|run| !run.deleted).ok_or(PictureError::NotFound)?;
    if run.kind != Kind::Colourization {
        return Err(PictureError::NotColourization(run.kind));
    }
    if run.state != RunState::Succeeded {
        return Err(PictureError::NotSucceeded(run.state));
    }
    let weights = db::artifacts::get(conn, id, MODEL).await?.ok_or(PictureError::NoModel(MODEL))?;
    let description = db::artifacts::get(conn, id, DESCRIPTION).await?.ok_or(PictureError::NoModel(DESCRIPTION))?;
    Ok(Model { weights, description })
}

impl Store {
    /// The spec of a run with whose model pictures can be coloured; fails where they cannot, before a picture's bytes are received.
    pub async fn model_spec(&self, id: RunId) -> Result<ColourizationSpec, PictureError> {
        let mut conn = self.snapshot().await?;
        model_of(&mut conn, id).await?;
        match db::run_rows::by_id(&mut conn, &[id]).await?.pop().map(|run| run.spec) {
            Some(Spec::Colourization(spec)) => Ok(spec),
            _ => Err(PictureError::NotFound),
        }
    }

    /// Queues a picture. With an idempotency key a repeat queues nothing and answers the first as it is now.
    pub async fn colourize(&self, picture: NewPicture) -> Result<Queued, PictureError> {
        let NewPicture { model_run, format, width, height, blob, memory_bytes, idempotency } = picture;
        let (sha256, size) = (blob.sha256().to_owned(), blob.size());
        let file = PictureFile { format, width, height, size, sha256 };
        let write = self.publish(vec![blob], move |transaction| {
            async move { transaction.queue_picture(model_run, file, memory_bytes, idempotency).await }.boxed()
        });
        write.await
    }

    /// The pictures that were sent to be coloured with a run's model, newest first; `None` if there is no such run.
    pub async fn pictures(&self, id: RunId) -> Result<Option<Vec<Colourized>>, StoreError> {
        let mut conn = self.snapshot().await?;
        if db::runs::revision(&mut conn, id).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(db::pictures::of(&mut conn, id).await?))
    }

    /// One picture by the run that colours it.
    pub async fn picture(&self, id: RunId) -> Result<Option<Colourized>, StoreError> {
        db::pictures::get(&mut *self.reader().await?, id).await
    }
}

impl Transaction {
    async fn queue_picture(
        &mut self,
        model_run: RunId,
        picture: PictureFile,
        memory_bytes: u64,
        idempotency: Option<Idempotency>,
    ) -> Result<Queued, PictureError> {
        if let Some(run) = self.run_made_before(idempotency.as_ref(), PictureError::KeyReused).await? {
            return Ok(Queued { picture: self.queued_picture(run).await?, replayed: true });
        }
        let model = model_of(&mut self.conn, model_run).await?;
        self.make_room(model_run).await?;
        let spec = PictureSpec {
            model_run_id: model_run,
            model_sha256: model.weights.sha256.clone(),
            description_sha256: model.description.sha256.clone(),
            picture,
        };
        let upcoming = self.upcoming_revision();
        let row = NewPictureRow { spec: &spec, priority: PRIORITY, memory_bytes };
        let (job, run) = db::pictures::queue(&mut self.conn, &row, upcoming, self.now).await?;
        let PictureFile { format, sha256, .. } = &spec.picture;
        let original = (format.original_name(), format.media_type(), sha256.as_str());
        let [weights, description] =
            [&model.weights, &model.description].map(|file| (file.name.as_str(), file.content_type.as_str(), file.sha256.as_str()));
        for (name, content_type, sha256) in [original, weights, description] {
            let artifact = ArtifactRow { run, name, content_type, sha256, attempt: Attempt(0) };
            db::artifacts::put(&mut self.conn, &artifact, self.now).await?;
        }
        self.event(run, "queued", json!({ "model_run_id": model_run })).await?;
        if let Some(idempotency) = &idempotency {
            self.note_made(idempotency, job, run).await?;
        }
        self.after_commit(Effect::Queued);
        Ok(Queued { picture: self.queued_picture(run).await?, replayed: false })
    }

    async fn queued_picture(&mut self, run: RunId) -> Result<Colourized, PictureError> {
        db::pictures::get(&mut self.conn, run).await?.ok_or(PictureError::NotFound)
    }

    /// Has the oldest pictures that are done go until there is room for one more.
    async fn make_room(&mut self, model_run: RunId) -> Result<(), PictureError> {
        let kept = db::pictures::kept(&mut self.conn, model_run).await?;
        let surplus = (kept.len() as u64 + 1).saturating_sub(MOST_COLOURIZED);
        let mut going = kept.iter().filter(|picture| picture.finished);
        for _ in 0..surplus {
            let oldest = going.next().ok_or(PictureError::TooMany)?;
            self.remove_picture(oldest.id).await?;
        }
        Ok(())
    }

    /// Has a picture that is done go for good: nobody restores it, and upkeep removes it.
    async fn remove_picture(&mut self, run: RunId) -> Result<(), StoreError> {
        db::artifacts::delete(&mut self.conn, run).await?;
        let revision = self.event(run, "deleted", json!({})).await?;
        db::annotations::set_deleted(&mut self.conn, run, Some(Timestamp(0)), revision).await
    }

    /// Removes the pictures of a model whose run loses its files; answers the artifacts that go.
    pub(super) async fn prune_pictures(&mut self, model_run: RunId) -> Result<Vec<Artifact>, StoreError> {
        let mut gone = Vec::new();
        for picture in db::pictures::kept(&mut self.conn, model_run).await?.into_iter().filter(|picture| picture.finished) {
            gone.extend(db::artifacts::list(&mut self.conn, picture.id).await?);
            self.remove_picture(picture.id).await?;
        }
        Ok(gone)
    }

    /// Deletes the pictures of a run that is deleted at `at`; those that are not done are cancelled.
    pub(super) async fn delete_pictures(&mut self, model_run: RunId, at: Timestamp) -> Result<(), StoreError> {
        for picture in db::pictures::kept(&mut self.conn, model_run).await?.into_iter().filter(|picture| !picture.finished) {
            let Some(run) = db::runs::core(&mut self.conn, picture.id).await? else { continue };
            if let Some(step) = decide(&run, Action::Cancel) {
                self.perform(&run, step).await?;
            }
        }
        db::pictures::delete_with(&mut self.conn, model_run, at).await
    }
}
