//! The outbox of webhooks: which ends are put into it, when a message is due, and what becomes of it in the end.

use std::time::Duration;

use serde_json::{Value, json};
use trainyard_server::store::{Action, Attempted, Late, MOST_WEBHOOKS, NewExternalRun, NewJob, RunUpdate, WaitingDelivery, WebhookError};
use trainyard_server::webhooks::WebhookSecret;
use trainyard_wire::external::EndState;
use trainyard_wire::webhook::{CreateWebhook, Delivery, DeliveryState, Webhook, all_ends};
use trainyard_wire::worker::{Finish, Outcome, Report};
use trainyard_wire::{RunId, RunState, Timestamp, WebhookId};

use super::world::{TOKEN, World, job, report};

const HOUR: i64 = 3_600_000;

fn everything() -> CreateWebhook {
    let url = "http://hooks.example.org/".to_owned();
    CreateWebhook { url, name: None, states: all_ends(), project: None, tags: [].into() }
}

impl World {
    async fn webhook(&self, webhook: CreateWebhook) -> Webhook {
        self.store.create_webhook(webhook, WebhookSecret::random().unwrap()).await.unwrap()
    }

    /// What was told, oldest first.
    async fn told(&self, webhook: WebhookId) -> Vec<(String, Option<RunId>)> {
        let deliveries = self.deliveries(webhook).await;
        deliveries.into_iter().rev().map(|delivery| (delivery.kind, delivery.run_id)).collect()
    }

    async fn deliveries(&self, webhook: WebhookId) -> Vec<Delivery> {
        self.store.deliveries(webhook, None, 1000).await.unwrap().unwrap().items
    }

    async fn waiting(&self, webhook: WebhookId) -> Vec<WaitingDelivery> {
        self.store.waiting_deliveries(webhook, 1000).await.unwrap()
    }

    /// The body of the only message that waits.
    async fn message(&self, webhook: WebhookId) -> Value {
        let waiting = self.waiting(webhook).await;
        assert_eq!(waiting.len(), 1);
        serde_json::from_str(&waiting[0].body).unwrap()
    }

    async fn act(&self, run: RunId, action: Action) {
        self.store.run_action(run, action).await.unwrap();
    }
}

fn failure() -> Attempted {
    Attempted::Failed { status: Some(503), error: "the receiver answered 503".to_owned() }
}

#[tokio::test]
async fn every_way_in_which_a_run_ends_is_told_once() {
    let world = World::new().await;
    let webhook = world.webhook(everything()).await.id;

    let succeeded = world.submit_and_claim().await;
    world.finish(&succeeded, Outcome::Succeeded).await;
    // A report that comes again is no second end.
    world.finish(&succeeded, Outcome::Succeeded).await;
    let failed = world.submit_and_claim().await;
    world.finish(&failed, Outcome::Failed).await;
    let given_back = world.submit_and_claim().await;
    world.finish(&given_back, Outcome::Released).await;
    let lost = given_back.run_id;
    for _ in 0..3 {
        world.claim().await;
        world.expire().await;
    }
    assert_eq!(world.state(lost).await, RunState::Failed);
    let queued = world.submit().await;
    world.act(queued, Action::Cancel).await;
    let paused = world.submit().await;
    world.act(paused, Action::Pause).await;
    world.act(paused, Action::Cancel).await;
    let running = world.submit_and_claim().await;
    world.act(running.run_id, Action::Cancel).await;
    world.finish(&running, Outcome::Cancelled).await;
    let external = world.store.open_external(NewExternalRun::default()).await.unwrap();
    let update = RunUpdate { finished_at: Some(Timestamp(1_700_000_000_000)), ..EndState::Failed.into() };
    world.store.update_external(external, update, Late::Refused).await.unwrap();
    // Whoever tries again ends again.
    world.act(failed.run_id, Action::Retry).await;
    let again = world.claim().await;
    assert_eq!(again.run_id, failed.run_id);
    world.finish(&again, Outcome::Succeeded).await;

    let expected = [
        ("run.succeeded", succeeded.run_id),
        ("run.failed", failed.run_id),
        ("run.failed", lost),
        ("run.cancelled", queued),
        ("run.cancelled", paused),
        ("run.cancelled", running.run_id),
        ("run.failed", external),
        ("run.succeeded", failed.run_id),
    ];
    assert_eq!(world.told(webhook).await, expected.map(|(kind, run)| (kind.to_owned(), Some(run))));
    let of_external = world.waiting(webhook).await.into_iter().find(|message| message.body.contains("external")).unwrap();
    let body: Value = serde_json::from_str(&of_external.body).unwrap();
    assert_eq!(body["data"]["finished_at"], "2023-11-14T22:13:20Z");
    let ids: std::collections::BTreeSet<_> = world.waiting(webhook).await.into_iter().map(|message| message.message_id).collect();
    assert_eq!(ids.len(), expected.len());
}

#[tokio::test]
async fn a_run_that_executes_another_again_is_told_to_nobody() {
    let world = World::new().await;
    let original = world.submit_and_claim().await;
    world.finish(&original, Outcome::Succeeded).await;
    let webhook = world.webhook(everything()).await.id;
    world.store.verify(original.run_id, false).await.unwrap();
    let again = world.claim().await;
    world.finish(&again, Outcome::Succeeded).await;
    world.store.conclude_verifications().await.unwrap();
    assert_eq!(world.told(webhook).await, []);
}

#[tokio::test]
async fn a_webhook_is_told_of_what_it_asked_for() {
    let world = World::new().await;
    let failed = world.webhook(CreateWebhook { states: vec![EndState::Failed], ..everything() }).await.id;
    let project = world.webhook(CreateWebhook { project: Some("a".to_owned()), ..everything() }).await.id;
    let tags = [("owner".to_owned(), "ada".to_owned()), ("topic".to_owned(), "b".to_owned())];
    let tagged = world.webhook(CreateWebhook { tags: tags.clone().into(), ..everything() }).await.id;
    let mut runs = Vec::new();
    for (name, tags, outcome) in [
        (Some("a"), &tags[..], Outcome::Succeeded),
        (Some("ab"), &tags[..1], Outcome::Failed),
        (None, &[("owner".to_owned(), "eve".to_owned()), tags[1].clone()], Outcome::Succeeded),
    ] {
        let new = NewJob { project: name.map(str::to_owned), tags: tags.iter().cloned().collect(), ..job(1) };
        world.store.submit(new).await.unwrap();
        let run = world.claim().await;
        world.finish(&run, outcome).await;
        runs.push(run.run_id);
    }
    let of = async |webhook| world.told(webhook).await.into_iter().filter_map(|(_, run)| run).collect::<Vec<_>>();
    assert_eq!(of(failed).await, [runs[1]]);
    assert_eq!(of(project).await, [runs[0]]);
    assert_eq!(of(tagged).await, [runs[0]]);
}

#[tokio::test]
async fn a_message_tells_of_the_run_and_what_is_too_long_is_left_out() {
    let world = World::new().await;
    let webhook = world.webhook(everything()).await.id;
    let run = world.submit_and_claim().await;
    let result = json!({"loss": 0.25, "weights": vec![0.123456789; 5000]});
    let end = Finish { outcome: Outcome::Failed, stop_reason: None, error: Some("é".repeat(5000)), result: Some(result) };
    let metrics = vec![super::world::batch("loss", &[(1, 0.5), (2, f64::NAN)])];
    let last = Report { finish: Some(end), metrics, ..report(run.attempt) };
    world.store.report(TOKEN, run.run_id, last).await.unwrap();
    let message = world.message(webhook).await;
    let stored = world.run(run.run_id).await;
    let data = &message["data"];
    assert_eq!((&message["type"], &data["kind"], &data["attempt"]), (&json!("run.failed"), &json!("regression"), &json!(1)));
    assert_eq!(data["summary"]["loss"]["min"], 0.5);
    assert_eq!((&data["result"], &data["left_out"]), (&Value::Null, &json!(["result"])));
    assert_eq!(data["error"].as_str().unwrap().chars().count(), 2000);
    assert_eq!(data["finished_at"], serde_json::to_value(stored.finished_at).unwrap());
    assert!(message.to_string().len() < 20_000);
}

#[tokio::test]
async fn a_message_waits_for_its_receiver_for_about_a_day_and_is_given_up_then() {
    let world = World::new().await;
    let webhook = world.webhook(everything()).await.id;
    world.store.ping_webhook(webhook).await.unwrap();
    let first = world.waiting(webhook).await.pop().unwrap();
    let mut now = world.store.steady_now();
    assert!(first.due <= now, "the first time at once");
    let begun = now;
    let mut attempts = 0;
    loop {
        world.store.note_attempt(first.id, failure(), now, 0.5).await.unwrap();
        attempts += 1;
        let delivery = world.deliveries(webhook).await.pop().unwrap();
        assert_eq!((delivery.attempts, delivery.last_status), (attempts, Some(503)));
        assert_eq!(delivery.last_error.as_deref(), Some("the receiver answered 503"));
        let Some(next) = delivery.next_attempt_at else {
            assert_eq!(delivery.state, DeliveryState::GivenUp);
            break;
        };
        assert_eq!(delivery.state, DeliveryState::Waiting);
        assert!(next > now);
        let waiting = world.waiting(webhook).await.pop().unwrap();
        assert_eq!((waiting.due, &waiting.message_id), (next, &first.message_id));
        now = next;
    }
    assert_eq!(attempts, 10);
    assert!((20 * HOUR..26 * HOUR).contains(&(now.0 - begun.0)), "{} h", (now.0 - begun.0) / HOUR);
    assert!(world.waiting(webhook).await.is_empty());
    // What comes late changes nothing.
    world.store.note_attempt(first.id, Attempted::Delivered { status: 200 }, now, 0.5).await.unwrap();
    assert_eq!(world.deliveries(webhook).await[0].state, DeliveryState::GivenUp);
}

#[tokio::test]
async fn messages_outlive_a_restart_and_a_clock_that_was_wrong() {
    let world = World::new().await;
    let webhook = world.webhook(everything()).await.id;
    let run = world.submit_and_claim().await;
    world.finish(&run, Outcome::Succeeded).await;
    world.store.ping_webhook(webhook).await.unwrap();
    let before = world.waiting(webhook).await;
    let year = Timestamp(world.store.steady_now().0 + 365 * 24 * HOUR);
    world.store.note_attempt(before[0].id, failure(), year, 0.5).await.unwrap();
    let world = world.restart().await;
    let mut after = world.waiting(webhook).await;
    after.sort_by_key(|message| message.id);
    let same = |message: &WaitingDelivery| (message.id, message.message_id.clone(), message.body.clone(), message.secret.clone());
    assert_eq!(after.iter().map(same).collect::<Vec<_>>(), before.iter().map(same).collect::<Vec<_>>());
    assert!(after[0].due.0 <= world.store.steady_now().0 + 10 * HOUR, "due in a year");
}

#[tokio::test]
async fn a_webhook_that_is_gone_takes_its_messages_with_it() {
    let world = World::new().await;
    let (gone, deleted) = (world.webhook(everything()).await.id, world.webhook(everything()).await.id);
    for webhook in [gone, gone, deleted] {
        world.store.ping_webhook(webhook).await.unwrap();
    }
    let first = world.waiting(gone).await.remove(0);
    world.store.note_attempt(first.id, Attempted::Gone { status: 410 }, world.store.steady_now(), 0.5).await.unwrap();
    assert!(world.deliveries(gone).await.iter().all(|delivery| delivery.state == DeliveryState::GivenUp));
    assert!(matches!(world.store.ping_webhook(gone).await, Err(WebhookError::Disabled)));
    assert_eq!(world.store.active_webhooks().await.unwrap(), [deleted]);
    let run = world.submit_and_claim().await;
    world.finish(&run, Outcome::Succeeded).await;
    assert_eq!((world.told(gone).await.len(), world.told(deleted).await.len()), (2, 2));
    assert!(world.store.delete_webhook(deleted).await.unwrap());
    assert!(!world.store.delete_webhook(deleted).await.unwrap());
    assert!(world.waiting(deleted).await.is_empty());
    assert_eq!(world.store.deliveries(deleted, None, 10).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_delivered_goes_after_a_week_and_what_waits_stays() {
    let world = World::new().await;
    let webhook = world.webhook(everything()).await.id;
    for _ in 0..3 {
        world.store.ping_webhook(webhook).await.unwrap();
    }
    let now = world.store.steady_now();
    for message in &world.waiting(webhook).await[..2] {
        world.store.note_attempt(message.id, Attempted::Delivered { status: 204 }, now, 0.5).await.unwrap();
    }
    let week = Duration::from_secs(7 * 24 * 3600).as_millis() as i64;
    assert_eq!(world.store.prune_deliveries(Timestamp(now.0 + week - HOUR)).await.unwrap(), 0);
    assert_eq!(world.store.prune_deliveries(Timestamp(now.0 + week + HOUR)).await.unwrap(), 2);
    assert_eq!(world.deliveries(webhook).await.len(), 1);
}

#[tokio::test]
async fn the_outbox_is_bounded() {
    let world = World::new().await;
    let webhook = world.webhook(everything()).await.id;
    let accepted = world.submit_many(10_000).await;
    world.store.job_action(accepted.id, Action::Cancel).await.unwrap();
    world.store.ping_webhook(webhook).await.unwrap();
    // One too many waits: the oldest is given up, and kept no longer than the newest thousand are.
    assert_eq!(world.store.prune_deliveries(world.store.prudent_now()).await.unwrap(), 2);
    let waiting = world.store.waiting_deliveries(webhook, 20_000).await.unwrap();
    assert_eq!(waiting.len(), 10_000);
    for _ in 1..MOST_WEBHOOKS {
        world.webhook(everything()).await;
    }
    let one_more = world.store.create_webhook(everything(), WebhookSecret::random().unwrap()).await;
    assert!(matches!(one_more, Err(WebhookError::TooMany)));
}
