//! Webhooks: who may be called, what is sent and what a receiver's answer means.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap as Headers, StatusCode as Status};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::Semaphore;
use trainyard_wire::Timestamp;

use super::problems::figure;
use super::world::{Answer, World};

/// What a receiver was sent: its headers and its body.
type Received = (Headers, String);

/// A server that receives messages.
#[derive(Clone)]
struct Receiver {
    address: std::net::SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    answer: Arc<Mutex<(Status, String)>>,
    /// Each answer takes a permit.
    leave: Arc<Semaphore>,
    at_once: Arc<AtOnce>,
}

/// How many requests are being answered, and the most of them so far.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl AtOnce {
    fn begin(self: Arc<Self>) -> OnTheWay {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        OnTheWay(self)
    }
}

struct OnTheWay(Arc<AtOnce>);

impl Drop for OnTheWay {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            received: Arc::default(),
            answer: Arc::new(Mutex::new((Status::OK, String::new()))),
            leave: Arc::new(Semaphore::new(1000)),
            at_once: Arc::default(),
        };
        let router = Router::new().route("/hook", post(Self::take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    async fn take(State(this): State<Self>, headers: Headers, body: Bytes) -> (Status, [(&'static str, String); 1], &'static str) {
        let _on_the_way = Arc::clone(&this.at_once).begin();
        this.received.lock().unwrap().push((headers, String::from_utf8(body.to_vec()).unwrap()));
        this.leave.acquire().await.unwrap().forget();
        let (status, location) = this.answer.lock().unwrap().clone();
        (status, [("location", location)], "a secret of the receiver")
    }

    fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    fn answers(&self, status: u16, location: &str) {
        *self.answer.lock().unwrap() = (Status::from_u16(status).unwrap(), location.to_owned());
    }

    /// All messages, once there are so many.
    async fn received(&self, count: usize) -> Vec<Received> {
        eventually("messages", async || Some(self.received.lock().unwrap().clone()).filter(|received| received.len() >= count)).await
    }
}

async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A server that may call these receivers.
async fn world(receivers: &[&Receiver]) -> World {
    World::start_with(|config| {
        config.webhook_hosts = receivers.iter().map(|receiver| receiver.address.to_string().parse().unwrap()).collect();
    })
    .await
}

async fn create(world: &World, body: Value) -> Value {
    world.post("/v1/webhooks", &body).await.expect(StatusCode::CREATED)
}

/// Opens an external run and ends it; answers its id.
async fn end_run(world: &World, state: &str) -> i64 {
    let opened = world.post("/v1/runs", &json!({"name": "outside", "tags": {"owner": "ada"}})).await.expect(StatusCode::CREATED);
    let id = opened["id"].as_i64().unwrap();
    let ended = world.post(&format!("/v1/runs/{id}/finish"), &json!({"state": state})).await;
    assert!(ended.status.is_success(), "{ended:?}");
    id
}

async fn deliveries(world: &World, webhook: &Value) -> Vec<Value> {
    let page = world.get(&format!("/v1/webhooks/{}/deliveries", webhook["webhook"]["id"])).await.expect(StatusCode::OK);
    page["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn nobody_may_be_called_unless_the_operator_says_so() {
    let world = World::start().await;
    let refused = world.post("/v1/webhooks", &json!({"url": "http://127.0.0.1:9/", "states": [], "name": ""})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = refused.problem().errors;
    assert_eq!(errors.iter().map(|error| error.pointer.as_str()).collect::<Vec<_>>(), ["/url", "/name", "/states"]);
    assert!(errors[0].detail.contains("--webhook-host"), "{}", errors[0].detail);
    for body in [json!({}), json!({"url": 1}), json!({"url": "http://127.0.0.1:9/", "states": ["running"]})] {
        assert_eq!(world.post("/v1/webhooks", &body).await.problem().status, 422);
    }
    assert_eq!(world.get("/v1/webhooks").await.expect(StatusCode::OK), json!({"items": []}));
}

#[tokio::test]
async fn a_webhook_shows_its_secret_once() {
    let receiver = Receiver::start().await;
    let world = world(&[&receiver]).await;
    let made = create(&world, json!({"url": receiver.url(), "name": "hook", "states": ["failed", "succeeded", "failed"]})).await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() == 6 + 44, "{secret}");
    assert_eq!(made["webhook"]["states"], json!(["succeeded", "failed"]));
    let id = made["webhook"]["id"].as_i64().unwrap();
    for path in ["/v1/webhooks".to_owned(), format!("/v1/webhooks/{id}"), format!("/v1/webhooks/{id}/deliveries")] {
        let shown = world.get(&path).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert!(!shown.text().contains(&secret[6..]), "{path}");
    }
    assert_eq!(world.get(&format!("/v1/webhooks/{id}")).await.expect(StatusCode::OK), made["webhook"]);
    let gone = Answer::of(world.request(Method::DELETE, &format!("/v1/webhooks/{id}"))).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    for path in [format!("/v1/webhooks/{id}"), format!("/v1/webhooks/{id}/deliveries")] {
        assert_eq!(world.get(&path).await.problem().status, 404);
    }
    // The number of one that is gone is never given to another.
    assert!(create(&world, json!({"url": receiver.url()})).await["webhook"]["id"].as_i64().unwrap() > id);
}

#[tokio::test]
async fn the_end_of_a_run_is_told_and_signed() {
    let receiver = Receiver::start().await;
    let world = world(&[&receiver]).await;
    let made = create(&world, json!({"url": receiver.url(), "states": ["failed"], "tags": {"owner": "ada"}})).await;
    end_run(&world, "succeeded").await;
    let id = end_run(&world, "failed").await;
    let pinged = world.post(&format!("/v1/webhooks/{}/test", made["webhook"]["id"]), &json!({})).await.expect(StatusCode::ACCEPTED);
    let mut received = receiver.received(2).await;
    received.sort_by_key(|(_, body)| body.contains("\"ping\""));

    let key = STANDARD.decode(&made["secret"].as_str().unwrap()["whsec_".len()..]).unwrap();
    for (headers, body) in &received {
        let header = |name: &str| headers[name].to_str().unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{signature}"));
        assert_eq!(header("content-type"), "application/json");
    }
    let message: Value = serde_json::from_str(&received[0].1).unwrap();
    let run = world.get(&format!("/v1/runs/{id}")).await.expect(StatusCode::OK);
    assert_eq!(message["type"], "run.failed");
    for (told, known) in [("run_id", "id"), ("job_id", "job_id"), ("name", "name"), ("state", "state"), ("tags", "tags")] {
        assert_eq!(message["data"][told], run[known], "{told}");
    }
    assert_eq!(message["data"]["finished_at"], run["finished_at"]);
    assert_eq!((&message["data"]["path"], &message["data"]["stop_reason"]), (&json!(format!("/v1/runs/{id}")), &json!("error")));
    // Nobody said where the server is reached.
    assert!(message["data"].get("url").is_none() && message["data"].get("page").is_none(), "{message}");
    let ping: Value = serde_json::from_str(&received[1].1).unwrap();
    assert_eq!((&ping["type"], &ping["data"]["webhook_id"]), (&json!("ping"), &made["webhook"]["id"]));
    assert_eq!(received[1].0["webhook-id"].to_str().unwrap(), pinged["message_id"].as_str().unwrap());

    let told = eventually("both to be noted", async || {
        Some(deliveries(&world, &made).await).filter(|told| told.iter().all(|delivery| delivery["state"] == "delivered"))
    })
    .await;
    let kinds: Vec<_> = told.iter().map(|delivery| delivery["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ping", "run.failed"]);
    assert_eq!((&told[1]["run_id"], &told[1]["last_status"], &told[1]["attempts"]), (&json!(id), &json!(200), &json!(1)));
    let page = world.get(&format!("/v1/webhooks/{}/deliveries?limit=1", made["webhook"]["id"])).await;
    let next = page.header("link").split(['<', '>']).nth(1).unwrap().to_owned();
    let rest = world.get(&next).await;
    assert!(!rest.headers.contains_key("link"));
    assert_eq!(rest.expect(StatusCode::OK)["items"], json!([told[1]]));
    let figures = world.get("/metrics").await;
    assert!(figure(figures.text(), "trainyard_webhook_deliveries_total{outcome=\"delivered\"}") >= 2.0);
}

#[tokio::test]
async fn a_message_has_the_runs_address_where_the_operator_says_how_the_server_is_reached() {
    let receiver = Receiver::start().await;
    let world = World::start_with(|config| {
        config.webhook_hosts = vec![receiver.address.to_string().parse().unwrap()];
        config.public_url = Some("https://example.org/trainyard/".parse().unwrap());
    })
    .await;
    create(&world, json!({"url": receiver.url()})).await;
    let id = end_run(&world, "succeeded").await;
    let message: Value = serde_json::from_str(&receiver.received(1).await[0].1).unwrap();
    assert_eq!(message["data"]["path"], format!("/v1/runs/{id}"));
    assert_eq!(message["data"]["url"], format!("https://example.org/trainyard/v1/runs/{id}"));
    assert_eq!(message["data"]["page"], format!("https://example.org/trainyard/#/runs/{id}"));
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_but_itself() {
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.leave.forget_permits(1000);
    let world = world(&[&slow, &fast]).await;
    let slows = create(&world, json!({"url": slow.url()})).await;
    for _ in 0..3 {
        create(&world, json!({"url": slow.url()})).await;
    }
    let fasts = create(&world, json!({"url": fast.url()})).await;
    for _ in 0..12 {
        end_run(&world, "succeeded").await;
    }
    // All of it while nothing that went to the slow one was answered.
    fast.received(12).await;
    eventually("all to be noted", async || {
        deliveries(&world, &fasts).await.iter().all(|delivery| delivery["state"] == "delivered").then_some(())
    })
    .await;
    let waiting = deliveries(&world, &slows).await;
    assert!(waiting.len() == 12 && waiting.iter().all(|delivery| delivery["state"] == "waiting"), "{waiting:?}");
    // Four webhooks, each with four messages on the way.
    assert!(slow.at_once.most.load(Ordering::SeqCst) <= 16, "{:?}", slow.at_once.most);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nothing_of_an_answer_is_shown() {
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let world = world(&[&first, &second]).await;
    let made = create(&world, json!({"url": first.url()})).await;
    for (answered, status) in [301, 302, 303, 307, 308, 500].into_iter().enumerate() {
        first.answers(status, &second.url());
        world.post(&format!("/v1/webhooks/{}/test", made["webhook"]["id"]), &json!({})).await.expect(StatusCode::ACCEPTED);
        first.received(answered + 1).await;
        let delivery = eventually("it to be noted", async || {
            deliveries(&world, &made).await.into_iter().next().filter(|delivery| delivery["attempts"] == 1)
        })
        .await;
        assert_eq!((&delivery["state"], &delivery["last_status"]), (&json!("waiting"), &json!(status)));
        assert!(!delivery.to_string().contains("a secret of the receiver"), "{delivery}");
        let time = |name: &str| serde_json::from_value::<Timestamp>(delivery[name].clone()).unwrap().0;
        let seconds = (time("next_attempt_at") - time("last_attempt_at")) as f64 / 1000.0;
        assert!((3.9..7.0).contains(&seconds), "{seconds} s");
    }
    assert!(second.received.lock().unwrap().is_empty(), "a redirect was followed");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_more() {
    let receiver = Receiver::start().await;
    let world = world(&[&receiver]).await;
    receiver.answers(410, "");
    let made = create(&world, json!({"url": receiver.url()})).await;
    let path = format!("/v1/webhooks/{}", made["webhook"]["id"]);
    end_run(&world, "succeeded").await;
    eventually("it to be disabled", async || {
        let webhook = world.get(&path).await.expect(StatusCode::OK);
        (!webhook["disabled_at"].is_null() && webhook["waiting"] == 0).then_some(())
    })
    .await;
    end_run(&world, "succeeded").await;
    assert_eq!(world.post(&format!("{path}/test"), &json!({})).await.problem().status, 409);
    let told = deliveries(&world, &made).await;
    assert_eq!((told.len(), &told[0]["state"], &told[0]["last_status"]), (1, &json!("given_up"), &json!(410)));
}

#[tokio::test]
async fn a_message_to_nobody_says_why_and_waits() {
    // A port at which nobody listens.
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let world = World::start_with(|config| config.webhook_hosts = vec![closed.to_string().parse().unwrap()]).await;
    let made = create(&world, json!({"url": format!("http://{closed}/a-secret-path")})).await;
    world.post(&format!("/v1/webhooks/{}/test", made["webhook"]["id"]), &json!({})).await.expect(StatusCode::ACCEPTED);
    let delivery = eventually("it to be noted", async || {
        deliveries(&world, &made).await.into_iter().next().filter(|delivery| delivery["attempts"] != 0)
    })
    .await;
    let error = delivery["last_error"].as_str().unwrap();
    assert!(error.to_lowercase().contains("refused") && !error.contains("a-secret-path"), "{error}");
    assert_eq!(delivery["last_status"], Value::Null);
}
