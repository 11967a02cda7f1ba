//! Webhooks end to end: real processes, a receiver, and what docs/webhooks.md tells receivers to do.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::receiver::{Answer, Message, Receiver};
use support::{Yard, eventually, jobs};
use trainyard_wire::RunState;
use trainyard_wire::webhook::{CreateWebhook, DeliveryState, all_ends};

const DOCUMENTATION: &str = include_str!("../docs/webhooks.md");

fn everything(url: String) -> CreateWebhook {
    CreateWebhook { url, name: None, states: all_ends(), project: None, tags: [].into() }
}

/// The first block of a language in the documentation.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    DOCUMENTATION.split_once(&begin).and_then(|(_, rest)| rest.split_once("```")).unwrap_or_else(|| panic!("no {language} block")).0
}

/// Whether the verification that the documentation shows takes the message.
fn verifies(secret: &str, message: &Message, now: i64) -> bool {
    let script = format!(
        "{}\nimport sys\nasked = json.load(sys.stdin)\ntime.time = lambda: asked['now']\n\
         sys.exit(0 if verify(asked['secret'], asked['headers'], asked['body'].encode()) else 3)\n",
        block("python")
    );
    let mut python = Command::new("python3").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let asked = json!({"secret": secret, "headers": message.headers, "body": message.body, "now": now});
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    match python.wait().unwrap().code() {
        Some(0) => true,
        Some(3) => false,
        code => panic!("the verification of the documentation ended with {code:?}"),
    }
}

#[tokio::test]
async fn the_end_of_a_run_is_told_although_the_server_is_killed_between_the_end_and_the_message() {
    let receiver = Receiver::start(Answer::Never).await;
    let host = receiver.host();
    let options = ["--webhook-host", host.as_str()];
    let mut yard = Yard::server(&options).await;
    let created = yard.client.create_webhook(&everything(receiver.url())).await.unwrap();
    let worker = yard.worker("worker");
    let run = yard.submit(&jobs::quick()).await;
    yard.until(run, RunState::Succeeded).await;
    // The message is on its way and nobody has answered it: the server dies.
    let unanswered = receiver.until(1).await;
    yard.process.signal(Signal::SIGKILL);
    yard.process.wait().await;
    drop(worker);
    receiver.answers(Answer::Status(204));
    yard.restart_server(&options).await;
    eventually("the message to be delivered", async || {
        let told = yard.client.deliveries(created.webhook.id, 10).await.unwrap().items;
        assert_eq!((told.len(), told[0].run_id), (1, Some(run)));
        (told[0].state == DeliveryState::Delivered && told[0].last_status == Some(204)).then_some(())
    })
    .await;
    let received = receiver.received();
    let ids: std::collections::BTreeSet<_> = received.iter().map(|message| &message.headers["webhook-id"]).collect();
    assert_eq!(ids.len(), 1, "a message that comes again has the same id");
    assert!(received.len() >= 2 && received.iter().all(|message| message.body == unanswered[0].body));
    let body: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["run_id"]), (&json!("run.succeeded"), &json!(run)));
    assert_eq!(body["data"]["result"], yard.run(run).await.result.unwrap());
}

#[tokio::test]
async fn an_end_that_was_acknowledged_when_the_server_died_is_told_by_the_next_one() {
    // Nobody listens there until the server is dead.
    let receiver = Receiver::start(Answer::Status(200)).await;
    let host = receiver.host();
    let mut yard = Yard::server(&[]).await;
    // Webhooks outlive the flag that allowed them; without it nothing is sent.
    yard.process.signal(Signal::SIGKILL);
    yard.restart_server(&["--webhook-host", &host]).await;
    let created = yard.client.create_webhook(&everything(receiver.url())).await.unwrap();
    yard.process.signal(Signal::SIGKILL);
    yard.restart_server(&[]).await;
    let run = yard.submit(&jobs::quick()).await;
    yard.client.run_action(run, "cancel").await.unwrap();
    eventually("the server to refuse", async || {
        let told = yard.client.deliveries(created.webhook.id, 10).await.unwrap().items;
        told[0].last_error.as_ref().is_some_and(|error| error.contains("--webhook-host")).then_some(())
    })
    .await;
    assert_eq!(receiver.received(), []);
    yard.process.signal(Signal::SIGKILL);
    yard.restart_server(&["--webhook-host", &host]).await;
    let received = receiver.until(1).await;
    let body: Value = serde_json::from_str(&received[0].body).unwrap();
    assert_eq!((&body["type"], &body["data"]["run_id"]), (&json!("run.cancelled"), &json!(run)));
}

#[tokio::test]
async fn what_the_documentation_tells_receivers_to_do_takes_messages_and_no_forgeries() {
    let receiver = Receiver::start(Answer::Status(200)).await;
    let yard = Yard::server(&["--webhook-host", &receiver.host()]).await;
    let made = yard.cli(&["webhooks", "create", &receiver.url(), "--state", "failed,cancelled", "--tag", "owner=ada"]).await;
    let shown = made.stderr.clone();
    let secret = made.success().trim().to_owned();
    assert!(secret.starts_with("whsec_") && shown.contains("failed, cancelled"), "{shown}");
    yard.cli(&["webhooks", "test", "1"]).await.success();
    let message = receiver.until(1).await.remove(0);
    let now: i64 = message.headers["webhook-timestamp"].parse().unwrap();

    assert!(verifies(&secret, &message, now));
    assert!(verifies(&secret, &message, now + 60));
    assert!(!verifies(&secret, &message, now + 3600), "a message that is old");
    assert!(!verifies("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &message, now), "another key");
    let other = Message { body: message.body.replace("ping", "pong"), ..message.clone() };
    assert!(!verifies(&secret, &other, now), "another body");
    for header in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut other = message.clone();
        other.headers.get_mut(header).unwrap().insert(3, '1');
        assert!(!verifies(&secret, &other, now), "another {header}");
    }

    eventually("it to be noted", async || yard.cli(&["webhooks", "deliveries", "1"]).await.success().contains("delivered").then_some(()))
        .await;
    let listed = yard.cli(&["webhooks", "list"]).await.success();
    assert!(listed.contains(&receiver.url()) && listed.contains("owner=ada") && !listed.contains(&secret), "{listed}");
    let refused = yard.cli(&["webhooks", "create", "http://169.254.169.254/latest/meta-data/"]).await;
    assert!(refused.code == Some(4) && refused.stderr.contains("--webhook-host"), "{refused:?}");
    assert!(yard.cli(&["webhooks", "delete", "1"]).await.success().contains("deleted"));
    assert_eq!(yard.cli(&["webhooks", "deliveries", "1"]).await.code, Some(4));
}
