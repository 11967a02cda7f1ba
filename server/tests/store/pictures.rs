//! Pictures that are coloured with a run's model: their queue, what they hold on to, and what goes when.

use serde_json::json;
use trainyard_server::store::{Action, Idempotency, JobFilter, NewJob, NewPicture, NewRun, PictureError, Queued, RunFilter, VerifyError};
use trainyard_wire::colourize::{Colourized, MOST_COLOURIZED};
use trainyard_wire::retention::RetentionPolicy;
use trainyard_wire::spec::picture::PictureFormat;
use trainyard_wire::state::Kind;
use trainyard_wire::worker::{ClaimedRun, Finish, Outcome, Report};
use trainyard_wire::{RunId, RunState, Spec, Timestamp};

use crate::world::{TOKEN, World, job, report};

const NOTHING: RetentionPolicy = RetentionPolicy { older_than_seconds: Some(0), keep: None, max_bytes: None };

impl World {
    async fn claim_colourization(&self) -> ClaimedRun {
        let spec = json!({"kind": "colourization", "dataset": {"name": "synthetic"}, "network": {"name": "unet"},
            "optimizer": {"name": "adam", "learning_rate": 0.001}});
        let run = NewRun { spec: Spec::from_value(spec, "").unwrap(), ..crate::world::new_run() };
        self.store.submit(NewJob { kind: Kind::Colourization, runs: vec![run], ..job(1) }).await.unwrap();
        self.claim().await
    }

    /// A colourization that has succeeded, with a model of its own.
    async fn model(&self) -> RunId {
        let claimed = self.claim_colourization().await;
        let id = claimed.run_id;
        self.put(&claimed, "model.safetensors", format!("weights of {id}").as_bytes(), None).await.unwrap();
        self.put(&claimed, "model.json", format!("description of {id}").as_bytes(), None).await.unwrap();
        self.finish(&claimed, Outcome::Succeeded).await;
        id
    }

    async fn try_send(&self, model_run: RunId, bytes: &[u8], key: Option<&str>) -> Result<Queued, PictureError> {
        let mut staging = self.store.stage().await.unwrap();
        staging.write(bytes).await.unwrap();
        let blob = staging.finish().await.unwrap();
        let idempotency = key.map(|key| Idempotency { token: TOKEN, key: key.to_owned(), body_sha256: blob.sha256().to_owned() });
        let picture = NewPicture { model_run, format: PictureFormat::Jpeg, width: 6, height: 4, blob, memory_bytes: 1000, idempotency };
        self.store.colourize(picture).await
    }

    async fn send(&self, model_run: RunId, bytes: &[u8]) -> RunId {
        self.try_send(model_run, bytes, None).await.unwrap().picture.run_id
    }

    /// Colours the next picture of the queue.
    async fn colour(&self) -> RunId {
        let claimed = self.claim().await;
        let id = claimed.run_id;
        self.put(&claimed, "colourized.png", format!("colours of {id}").as_bytes(), None).await.unwrap();
        let result = Some(json!({"width": 6, "height": 4, "has_colours": true, "accuracy": 0.25}));
        let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result };
        self.store.report(TOKEN, id, Report { finish: Some(finish), ..report(claimed.attempt) }).await.unwrap();
        id
    }

    async fn pictures(&self, model_run: RunId) -> Vec<Colourized> {
        self.store.pictures(model_run).await.unwrap().unwrap()
    }

    async fn names(&self, id: RunId) -> Vec<String> {
        let artifacts = self.store.artifacts(id).await.unwrap().map(|artifacts| artifacts.artifacts).unwrap_or_default();
        artifacts.into_iter().map(|artifact| artifact.name).collect()
    }

    async fn holds(&self, bytes: &[u8]) -> bool {
        use sha2::Digest as _;
        let sha256: String = sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.path().join("blobs").join(&sha256[..2]).join(sha256).exists()
    }
}

#[tokio::test]
async fn a_picture_goes_through_the_queue_with_its_model_and_is_in_no_list_but_its_models() {
    let world = World::new().await;
    let model = world.model().await;
    let waiting = world.submit().await;
    let Queued { picture, replayed } = world.try_send(model, b"a photograph", None).await.unwrap();
    let id = picture.run_id;
    assert!(!replayed && picture.model_run_id == model && picture.state == RunState::Queued);
    assert_eq!((picture.width, picture.height, picture.size, picture.format), (6, 4, 12, PictureFormat::Jpeg));
    assert_eq!((picture.original.as_str(), picture.colourized), (format!("/v1/runs/{id}/artifacts/original.jpg").as_str(), None));
    assert_eq!(world.names(id).await, ["model.json", "model.safetensors", "original.jpg"]);

    // Somebody waits for it, so it goes first.
    let claimed = world.claim().await;
    assert_eq!((claimed.run_id, claimed.memory_bytes), (id, 1000));
    let Spec::Picture(spec) = &claimed.spec else { panic!("{claimed:?}") };
    let hash = |artifacts: &trainyard_wire::run::Artifacts, name: &str| {
        artifacts.artifacts.iter().find(|artifact| artifact.name == name).unwrap().sha256.clone()
    };
    let of_model = world.store.artifacts(model).await.unwrap().unwrap();
    assert_eq!((&spec.model_sha256, &spec.description_sha256), (&hash(&of_model, "model.safetensors"), &hash(&of_model, "model.json")));
    for name in ["model.safetensors", "model.json", "original.jpg"] {
        assert!(world.store.held_artifact(TOKEN, id, claimed.attempt, name).await.unwrap().is_some(), "{name}");
    }
    world.finish(&claimed, Outcome::Released).await;
    world.colour().await;

    let listed: Vec<RunId> =
        world.store.runs(RunFilter { limit: 100, ..RunFilter::default() }).await.unwrap().items.iter().map(|run| run.id).collect();
    assert_eq!(listed, [waiting, model]);
    assert_eq!(world.store.jobs(JobFilter { kind: None, state: None, before: None, limit: 100 }).await.unwrap().items.len(), 2);
    let pictures = world.pictures(model).await;
    assert_eq!((pictures.len(), pictures[0].state, pictures[0].accuracy), (1, RunState::Succeeded, Some(0.25)));
    assert_eq!(pictures[0].colourized, Some(format!("/v1/runs/{id}/artifacts/colourized.png")));
    // It needs the model no more.
    assert_eq!(world.names(id).await, ["colourized.png", "original.jpg"]);
    assert_eq!(world.events(id).await, ["queued", "claimed", "released", "claimed", "succeeded"]);
    assert!(matches!(world.store.verify(id, false).await, Err(VerifyError::Picture)));
    assert!(world.pictures(waiting).await.is_empty());
}

#[tokio::test]
async fn only_a_colourization_that_has_succeeded_and_has_its_model_colours() {
    let world = World::new().await;
    assert!(matches!(world.try_send(RunId(7), b"p", None).await, Err(PictureError::NotFound)));
    let regression = world.submit_and_claim().await;
    world.finish(&regression, Outcome::Succeeded).await;
    assert!(matches!(world.try_send(regression.run_id, b"p", None).await, Err(PictureError::NotColourization(Kind::Regression))));
    let running = world.claim_colourization().await;
    assert!(matches!(world.try_send(running.run_id, b"p", None).await, Err(PictureError::NotSucceeded(RunState::Running))));
    world.finish(&running, Outcome::Succeeded).await;
    assert!(matches!(world.try_send(running.run_id, b"p", None).await, Err(PictureError::NoModel("model.safetensors"))));
    let model = world.model().await;
    let picture = world.send(model, b"p").await;
    assert!(matches!(world.try_send(picture, b"p", None).await, Err(PictureError::NotColourization(Kind::Picture))));
    world.store.delete_run(model).await.unwrap();
    assert!(matches!(world.try_send(model, b"refused", None).await, Err(PictureError::NotFound)));
    assert!(world.store.pictures(model).await.unwrap().is_none());
    // What was refused has left its content to the sweep.
    world.store.sweep_blobs().await.unwrap();
    assert!(!world.holds(b"refused").await && world.holds(b"p").await);
}

#[tokio::test]
async fn a_key_has_a_picture_coloured_once() {
    let world = World::new().await;
    let model = world.model().await;
    let first = world.try_send(model, b"p", Some("key")).await.unwrap();
    assert_eq!(world.colour().await, first.picture.run_id);
    let again = world.try_send(model, b"p", Some("key")).await.unwrap();
    assert!(again.replayed && again.picture.run_id == first.picture.run_id && again.picture.state == RunState::Succeeded);
    assert!(matches!(world.try_send(model, b"other", Some("key")).await, Err(PictureError::KeyReused)));
    assert_eq!(world.pictures(model).await.len(), 1);
    assert!(world.try_claim(1).await.is_empty());
}

#[tokio::test]
async fn a_lost_attempt_is_repeated_and_a_cancelled_picture_stays_so() {
    let world = World::new().await;
    let model = world.model().await;
    let id = world.send(model, b"p").await;
    world.claim().await;
    assert_eq!(world.expire().await, 1);
    assert_eq!(world.names(id).await, ["model.json", "model.safetensors", "original.jpg"]);
    assert_eq!(world.colour().await, id);

    let other = world.send(model, b"q").await;
    world.store.run_action(other, Action::Cancel).await.unwrap();
    assert_eq!(world.names(other).await, ["original.jpg"]);
    assert!(world.store.run_action(other, Action::Retry).await.unwrap_err().to_string().contains("send it again"));
    let damaged = world.send(model, b"r").await;
    let claimed = world.claim().await;
    let failed = Finish { outcome: Outcome::Failed, stop_reason: None, error: Some("the picture cannot be read".to_owned()), result: None };
    world.store.report(TOKEN, damaged, Report { finish: Some(failed), ..report(claimed.attempt) }).await.unwrap();
    let pictures = world.pictures(model).await;
    assert_eq!(pictures.iter().map(|picture| picture.run_id).collect::<Vec<_>>(), [damaged, other, id]);
    assert_eq!((pictures[0].error.as_deref(), &pictures[0].colourized), (Some("the picture cannot be read"), &None));
}

#[tokio::test]
async fn the_newest_pictures_are_kept_and_those_that_wait_are_bounded() {
    let world = World::new().await;
    let (model, other) = (world.model().await, world.model().await);
    let elsewhere = world.send(other, b"elsewhere").await;
    world.colour().await;
    let bytes = |picture: u64| format!("picture {picture}").into_bytes();
    for picture in 0..MOST_COLOURIZED {
        world.send(model, &bytes(picture)).await;
    }
    assert!(matches!(world.try_send(model, b"one more", None).await, Err(PictureError::TooMany)));
    let first = world.colour().await;
    assert!(world.holds(&bytes(0)).await);
    let newest = world.send(model, b"one more").await;
    let pictures = world.pictures(model).await;
    assert_eq!((pictures.len() as u64, pictures[0].run_id), (MOST_COLOURIZED, newest));
    assert!(pictures.iter().all(|picture| picture.run_id != first));
    // It is gone for good, with what it alone referred to.
    assert!(world.store.restore_run(first).await.is_err());
    world.store.sweep_blobs().await.unwrap();
    assert!(!world.holds(&bytes(0)).await && world.holds(&bytes(1)).await);
    let kept = std::time::Duration::from_secs(3600);
    assert_eq!(world.store.remove_deleted_runs(kept, Timestamp::now()).await.unwrap(), 1);
    assert_eq!(world.pictures(other).await[0].run_id, elsewhere);
}

#[tokio::test]
async fn pictures_go_with_their_models_run_and_come_back_with_it() {
    let world = World::new().await;
    let model = world.model().await;
    let done = world.send(model, b"done").await;
    world.colour().await;
    let waiting = world.send(model, b"waiting").await;
    world.submit().await;
    world.store.delete_run(model).await.unwrap();
    assert!(world.store.run(done).await.unwrap().is_none() && world.store.run(waiting).await.unwrap().is_none());
    world.store.restore_run(model).await.unwrap();
    let states: Vec<_> = world.pictures(model).await.into_iter().map(|picture| (picture.run_id, picture.state)).collect();
    assert_eq!(states, [(waiting, RunState::Cancelled), (done, RunState::Succeeded)]);

    world.store.delete_run(model).await.unwrap();
    let later = Timestamp(Timestamp::now().0 + 10_000_000);
    assert_eq!(world.store.remove_deleted_runs(std::time::Duration::from_secs(3600), later).await.unwrap(), 3);
    world.store.sweep_blobs().await.unwrap();
    for bytes in [b"done".as_slice(), b"waiting", format!("weights of {model}").as_bytes(), format!("colours of {done}").as_bytes()] {
        assert!(!world.holds(bytes).await, "{}", String::from_utf8_lossy(bytes));
    }
    let World { folder, store, .. } = world;
    store.close().await.unwrap();
    let findings = trainyard_server::check::check(folder.path()).await.unwrap().findings;
    assert!(findings.is_empty(), "{findings:?}");
}

#[tokio::test]
async fn a_picture_that_waits_holds_its_model_whatever_a_policy_takes() {
    let world = World::new().await;
    let model = world.model().await;
    let weights = format!("weights of {model}").into_bytes();
    let done = world.send(model, b"done").await;
    world.colour().await;
    let waiting = world.send(model, b"waiting").await;
    let pruned = world.store.prune(NOTHING, false, Timestamp::now()).await.unwrap();
    // The pictures that are done go with the model, and are none of the runs that a policy counts.
    assert_eq!((pruned.run_count, pruned.artifact_count), (1, 2));
    assert_eq!(pruned.bytes, (b"done".len() + format!("colours of {done}").len()) as u64);
    assert!(world.holds(&weights).await && !world.holds(b"done").await);
    assert_eq!(world.pictures(model).await.iter().map(|picture| picture.run_id).collect::<Vec<_>>(), [waiting]);
    assert!(matches!(world.try_send(model, b"p", None).await, Err(PictureError::NoModel(_))));

    assert_eq!(world.colour().await, waiting);
    world.store.sweep_blobs().await.unwrap();
    assert!(!world.holds(&weights).await && world.holds(b"waiting").await);
    assert_eq!(world.pictures(model).await[0].state, RunState::Succeeded);
}
