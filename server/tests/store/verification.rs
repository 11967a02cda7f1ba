//! Verifying runs: what is queued for it, what is compared, what is told.

use serde_json::json;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnectOptions;
use trainyard_server::store::{RunFilter, VerifyError};
use trainyard_wire::verification::{DeterminismClass, Verdict, Verification};
use trainyard_wire::worker::{ClaimedRun, Finish, Outcome, Report};
use trainyard_wire::{RunId, RunState};

use crate::world::{TOKEN, World, batch, report};

/// What a run tells: two metrics, a time, a result and files.
async fn train(world: &World, claimed: &ClaimedRun, seconds: f64) {
    let metrics = vec![
        batch("loss", &[(1, 0.5), (2, 0.25), (3, f64::NAN)]),
        batch("gradient_norm", &[(2, 1.0), (3, 2.0)]),
        batch("epoch_seconds", &[(1, seconds)]),
        batch("gpu_utilization", &[(seconds as u64, seconds / 4.0)]),
        // Recorded by the clock too: not at the same steps each time.
        batch("train_batch_loss", &[(1, 3.0), (1 + seconds as u64, 3.0 / seconds.min(1.0)), (9, 0.25)]),
    ];
    world.put(claimed, "model.safetensors", b"weights", None).await.unwrap();
    world.put(claimed, "checkpoint.safetensors", format!("after {seconds} s").as_bytes(), Some(2)).await.unwrap();
    let finish = Finish { outcome: Outcome::Succeeded, stop_reason: None, error: None, result: Some(json!({"weights": [1.0, 2.0]})) };
    let last = Report { metrics, finish: Some(finish), ..report(claimed.attempt) };
    world.store.report(TOKEN, claimed.run_id, last).await.unwrap();
}

/// A run that has succeeded.
async fn trained(world: &World) -> RunId {
    let claimed = world.submit_and_claim().await;
    train(world, &claimed, 1.0).await;
    claimed.run_id
}

async fn verification(world: &World, id: RunId) -> Verification {
    world.store.verification(id).await.unwrap().unwrap()
}

async fn change(world: &World, sql: &'static str) {
    let options = SqliteConnectOptions::new().filename(world.folder.path().join("trainyard.db"));
    let mut conn = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    let changed = sqlx::query(sql).execute(&mut conn).await.unwrap().rows_affected();
    assert!(changed > 0, "{sql}");
}

#[tokio::test]
async fn a_run_that_comes_to_the_same_bits_is_verified_and_its_second_execution_leaves_nothing_behind() {
    let world = World::new().await;
    let id = trained(&world).await;
    let asked = world.store.verify(id, false).await.unwrap();
    assert_eq!((asked.run_id, asked.state, asked.verdict), (id, RunState::Queued, None));
    let again = asked.verification_run_id;

    let claimed = world.claim().await;
    assert_eq!((claimed.run_id, &claimed.spec), (again, &world.run(id).await.spec));
    train(&world, &claimed, 2.0).await;
    assert_eq!(world.store.conclude_verifications().await.unwrap(), 1);
    assert_eq!(world.store.conclude_verifications().await.unwrap(), 0);

    let found = verification(&world, id).await;
    assert_eq!((found.verdict, found.first_difference), (Some(Verdict::SameBits), None));
    let compared = found.compared.unwrap();
    assert_eq!((compared.metrics, compared.points, compared.artifacts), (3, 8, 1));
    let left_out: Vec<_> = found.left_out.iter().map(|left_out| left_out.claim.as_str()).collect();
    let sampled = "train_batch_loss at steps that one execution has alone";
    assert_eq!(left_out, ["epoch_seconds", "gpu_utilization", sampled, "checkpoint.safetensors"]);
    let determinism = found.determinism.unwrap();
    assert_eq!(determinism.class, Some(DeterminismClass::SameOnThis));
    assert_eq!((determinism.original[0].build.as_str(), determinism.original[0].device.as_str()), ("0+test", "cpu"));

    assert!(world.store.artifacts(again).await.unwrap().unwrap().artifacts.is_empty());
    assert!(world.run(again).await.summary.is_empty());
    assert_eq!(world.store.artifacts(id).await.unwrap().unwrap().artifacts.len(), 2);
    assert_eq!(world.events(id).await.last().unwrap(), "verified");
}

#[tokio::test]
async fn a_repeat_asks_for_no_second_execution_unless_it_is_to_be_anew() {
    let world = World::new().await;
    let id = trained(&world).await;
    let first = world.store.verify(id, false).await.unwrap();
    assert_eq!(world.store.verify(id, true).await.unwrap(), first, "one at a time");
    train(&world, &world.claim().await, 1.0).await;
    world.store.conclude_verifications().await.unwrap();
    let concluded = world.store.verify(id, false).await.unwrap();
    assert_eq!((concluded.verification_run_id, concluded.verdict), (first.verification_run_id, Some(Verdict::SameBits)));

    let anew = world.store.verify(id, true).await.unwrap();
    assert!(anew.verification_run_id != first.verification_run_id && anew.verdict.is_none());
    // One that fails says nothing, so the next request tries again.
    let claimed = world.claim().await;
    world.finish(&claimed, Outcome::Failed).await;
    world.store.conclude_verifications().await.unwrap();
    assert_eq!(verification(&world, id).await.verdict, Some(Verdict::Inconclusive));
    assert_eq!(world.store.verify(id, false).await.unwrap().verdict, None);
    assert_eq!(world.try_claim(10).await.len(), 1);
}

#[tokio::test]
async fn the_first_difference_is_named_whatever_was_changed() {
    let table = [
        ("UPDATE metrics SET value = value + 1e-16 WHERE step = 2 AND value = 0.25", "loss", Some(2)),
        ("UPDATE metrics SET value = 3.0 WHERE step = 3", "gradient_norm", Some(3)),
        ("DELETE FROM metrics WHERE step = 1 AND value = 0.5", "loss", Some(1)),
        ("UPDATE metrics SET value = 0.125 WHERE step = 9", "train_batch_loss", Some(9)),
        ("UPDATE runs SET result = '{\"weights\": [1.0, 2.0000000000000004]}' WHERE id = 1", "/weights/1", None),
        ("UPDATE artifacts SET sha256 = (SELECT MAX(sha256) FROM blobs) WHERE name = 'model.safetensors'", "model.safetensors", None),
    ];
    for (sql, place, step) in table {
        let world = World::new().await;
        let id = trained(&world).await;
        // A content that differs from the model's, whichever way the hashes come.
        let other = world.submit_and_claim().await;
        for number in 0..8 {
            world.put(&other, &format!("other-{number}"), format!("{number}").as_bytes(), None).await.unwrap();
        }
        change(&world, sql).await;
        let again = world.store.verify(id, false).await.unwrap().verification_run_id;
        train(&world, &world.claim().await, 1.0).await;
        world.store.conclude_verifications().await.unwrap();

        let found = verification(&world, id).await;
        assert_eq!(found.verdict, Some(Verdict::Differs), "{sql}");
        assert_eq!(found.determinism.unwrap().class, Some(DeterminismClass::DifferentOnThis));
        let difference = found.first_difference.unwrap();
        let named = difference.metric.as_deref().or(difference.result.as_deref()).or(difference.artifact.as_deref());
        assert_eq!((named, difference.step), (Some(place), step), "{sql}");
        assert_ne!(difference.original, difference.again);
        // It stays to be looked at.
        assert!(!world.run(again).await.summary.is_empty());
    }
}

#[tokio::test]
async fn only_what_has_succeeded_is_verified_and_no_verification_is() {
    let world = World::new().await;
    assert!(matches!(world.store.verify(RunId(9), false).await, Err(VerifyError::NotFound)));
    let queued = world.submit().await;
    assert!(matches!(world.store.verify(queued, false).await, Err(VerifyError::NotSucceeded(RunState::Queued))));
    train(&world, &world.claim().await, 1.0).await;
    let again = world.store.verify(queued, false).await.unwrap().verification_run_id;
    train(&world, &world.claim().await, 1.0).await;
    assert!(matches!(world.store.verify(again, false).await, Err(VerifyError::IsVerification)));
}

#[tokio::test]
async fn second_executions_are_in_no_list() {
    let world = World::new().await;
    let id = trained(&world).await;
    let again = world.store.verify(id, false).await.unwrap().verification_run_id;
    let filter = |state| RunFilter { state, limit: 10, ..RunFilter::default() };
    for state in [None, Some(RunState::Queued), Some(RunState::Succeeded)] {
        let listed = world.store.runs(filter(state)).await.unwrap().items;
        assert!(listed.iter().all(|run| run.id == id), "{state:?}: {listed:?}");
    }
    let jobs = trainyard_server::store::JobFilter { kind: None, state: None, before: None, limit: 10 };
    assert_eq!(world.store.jobs(jobs).await.unwrap().items.len(), 1);
    // By its id, and by that of its job, it is there.
    let job = world.run(again).await.job_id;
    assert_eq!(world.store.runs(RunFilter { job: Some(job), ..filter(None) }).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_verification_outlives_a_restart_and_pruned_files() {
    let world = World::new().await;
    let id = trained(&world).await;
    world.store.verify(id, false).await.unwrap();
    let claimed = world.claim().await;
    let policy = trainyard_wire::retention::RetentionPolicy { keep: Some(0), ..Default::default() };
    assert_eq!(world.store.prune(policy, false, trainyard_wire::Timestamp::now()).await.unwrap().run_count, 1);
    train(&world, &claimed, 1.0).await;
    let world = world.restart().await;
    assert_eq!(world.store.conclude_verifications().await.unwrap(), 1);
    let found = verification(&world, id).await;
    assert_eq!(found.verdict, Some(Verdict::SameBits));
    assert!(found.left_out.iter().any(|left_out| left_out.claim == "artifacts"), "{:?}", found.left_out);
}
