//! `GET /v1/events`: the stream, its replay, its bounds.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::world::{Answer, World};

/// A stream, read message by message.
struct Stream {
    response: reqwest::Response,
    text: String,
}

/// A message's id and its data; without data it is the remark at the beginning.
#[derive(Debug, PartialEq)]
struct Message {
    id: i64,
    data: Option<Value>,
}

impl Message {
    fn kind(&self) -> &str {
        self.data.as_ref().unwrap()["kind"].as_str().unwrap()
    }

    fn run(&self) -> i64 {
        self.data.as_ref().unwrap()["run_id"].as_i64().unwrap()
    }
}

impl Stream {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                let Some(id) = field("id: ") else { continue };
                let data = field("data: ").map(|data| serde_json::from_str(data).unwrap());
                return Some(Message { id: id.parse().unwrap(), data });
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk()).await.expect("a message");
            let Ok(Some(chunk)) = chunk else { return None };
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn kinds(&mut self, count: usize) -> Vec<(i64, String)> {
        let mut kinds = Vec::new();
        while kinds.len() < count {
            let message = self.next().await.expect("more messages");
            if message.data.is_some() {
                kinds.push((message.run(), message.kind().to_owned()));
            }
        }
        kinds
    }
}

/// A worker that takes the first run and tells a point of it.
async fn claim(world: &World) -> (i64, i64) {
    let register = json!({"pid": 1, "host": "here", "device": "cpu", "threads": 1, "version": "0"});
    let worker = world.post("/v1/worker/register", &register).await.expect(StatusCode::OK)["worker_id"].clone();
    let claim = json!({"worker_id": worker, "max": 1, "wait_seconds": 0.0});
    let claims = world.post("/v1/worker/claims", &claim).await.expect(StatusCode::OK);
    (claims["runs"][0]["run_id"].as_i64().unwrap(), claims["runs"][0]["attempt"].as_i64().unwrap())
}

async fn report(world: &World, (run, attempt): (i64, i64), step: u64, finish: bool) {
    let mut report = json!({"attempt": attempt, "metrics": [{"name": "loss", "steps": [step], "values": [0.5], "times": [0]}]});
    if finish {
        report["finish"] = json!({"outcome": "succeeded"});
    }
    world.post(&format!("/v1/worker/runs/{run}/reports"), &report).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_stream_tells_what_happens_to_its_runs_and_to_no_others() {
    let world = World::start().await;
    let (first, second) = (world.submit_run().await, world.submit_run().await);
    let mut stream = Stream::open(world.request(Method::GET, &format!("/v1/events?runs={first}"))).await;
    let mut all = Stream::open(world.request(Method::GET, "/v1/events")).await;
    let begin = stream.next().await.unwrap();
    assert_eq!(begin, Message { id: 2, data: None });

    let held = claim(&world).await;
    assert_eq!(held.0, first);
    world.post(&format!("/v1/runs/{second}/cancel"), &json!({})).await.expect(StatusCode::OK);
    report(&world, held, 1, false).await;
    report(&world, held, 2, true).await;

    let mine: Vec<(i64, String)> = ["claimed", "changed", "succeeded"].map(|kind| (first, kind.to_owned())).into();
    assert_eq!(stream.kinds(3).await, mine);
    let mut everyones = mine;
    everyones.insert(1, (second, "cancelled".to_owned()));
    assert_eq!(all.kinds(4).await, everyones);
}

#[tokio::test]
async fn a_client_that_comes_back_is_told_what_it_missed_in_order_and_nothing_twice() {
    let world = World::start().await;
    let (first, second) = (world.submit_run().await, world.submit_run().await);
    let held = claim(&world).await;
    for step in 1..=5 {
        report(&world, held, step, false).await;
    }
    world.post(&format!("/v1/runs/{second}/cancel"), &json!({})).await.expect(StatusCode::OK);

    let path = format!("/v1/events?runs={first},{second}");
    let mut stream = Stream::open(world.request(Method::GET, &format!("{path}&after_revision=0"))).await;
    let mut messages = Vec::new();
    while messages.len() < 6 {
        messages.extend(stream.next().await);
    }
    let of = |run, kind: &str| (run, kind.to_owned());
    let told: Vec<_> = messages[1..].iter().map(|message| (message.run(), message.kind().to_owned())).collect();
    // Five reports have become one change.
    let expected = [of(first, "queued"), of(second, "queued"), of(first, "claimed"), of(first, "changed"), of(second, "cancelled")];
    assert_eq!(told, expected);
    assert!(messages.windows(2).all(|pair| pair[0].id < pair[1].id), "{messages:?}");

    // Between the header and the parameter, which a browser repeats, the header is the news.
    let last = messages[3].id;
    let again = world.request(Method::GET, &format!("{path}&after_revision=0")).header("Last-Event-ID", last);
    let mut stream = Stream::open(again).await;
    assert_eq!(stream.next().await.unwrap(), Message { id: last, data: None });
    assert_eq!(stream.kinds(2).await, expected[3..]);
    report(&world, held, 9, true).await;
    assert_eq!(stream.kinds(1).await, [of(first, "succeeded")]);
}

#[tokio::test]
async fn a_commit_with_much_to_tell_reaches_a_subscriber_whole() {
    let world = World::start().await;
    let mut stream = Stream::open(world.request(Method::GET, "/v1/events")).await;
    let mut sweep = crate::world::regression();
    sweep["spec"]["problem"] = json!({"source": "synthetic", "n": 5, "d": 2, "condition": 3.0});
    sweep["sweep"] = json!({"seed": (0..1500).collect::<Vec<_>>()});
    world.post("/v1/jobs", &sweep).await.expect(StatusCode::CREATED);
    let told = stream.kinds(1500).await;
    assert!(told.iter().map(|(run, _)| *run).eq(1..=1500) && told.iter().all(|(_, kind)| kind == "queued"));
}

#[tokio::test]
async fn what_cannot_be_a_stream_is_refused() {
    let world = World::start_with(|config| config.limits.subscribers = 1).await;
    let run = world.submit_run().await;
    assert_eq!(world.get("/v1/events?runs=99").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/v1/events?runs=x").await.pointer(), "?runs");
    let wrong = world.request(Method::GET, "/v1/events").header("Last-Event-ID", "yesterday");
    assert_eq!(Answer::of(wrong).await.status, StatusCode::BAD_REQUEST);

    let path = format!("/v1/events?runs={run}");
    let stream = Stream::open(world.request(Method::GET, &path)).await;
    let answer = world.get(&path).await;
    assert_eq!((answer.status, answer.problem().status), (StatusCode::SERVICE_UNAVAILABLE, 503));
    drop(stream);
    // The place is free as soon as the server sees that the client has gone.
    loop {
        let response = world.request(Method::GET, &path).send().await.unwrap();
        if response.status() == StatusCode::OK {
            break;
        }
        world.post(&format!("/v1/runs/{run}/pause"), &json!({})).await.expect(StatusCode::OK);
        world.post(&format!("/v1/runs/{run}/resume"), &json!({})).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let world = World::start().await;
    let mut stream = Stream::open(world.request(Method::GET, "/v1/events")).await;
    stream.next().await.unwrap();
    let world = world.restart().await;
    assert_eq!(stream.next().await, None);
    world.submit_run().await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_connection_and_holds_nobody_up() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let world = World::start_with(|config| {
        config.limits.patience = Duration::from_millis(300);
        config.limits.subscribers = 2;
    })
    .await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stalled = socket.connect(world.server().address()).await.unwrap();
    let request = format!("GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", world.admin());
    stalled.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 16];
    stalled.read_exact(&mut first).await.unwrap();
    assert!(first.starts_with(b"HTTP/1.1 200"));

    // Far more than the system's buffers hold, so that the server's writes stop; the other reader has it all.
    let mut reader = Stream::open(world.request(Method::GET, "/v1/events")).await;
    let mut sweep = crate::world::regression();
    sweep["spec"]["problem"] = json!({"source": "synthetic", "n": 5, "d": 2, "condition": 3.0});
    sweep["sweep"] = json!({"seed": (0..2500).collect::<Vec<_>>()});
    let mut told = 0;
    for _ in 0..20 {
        world.post("/v1/jobs", &sweep).await.expect(StatusCode::CREATED);
        told += reader.kinds(2500).await.len();
    }
    assert_eq!(told, 50_000);
    // Its place among the two that there are becomes free.
    let another = async || world.request(Method::GET, "/v1/events").send().await.unwrap().status();
    tokio::time::timeout(Duration::from_secs(60), async {
        while another().await != StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("the stalled reader to be dropped");
    // What it had been sent before is all it can still read.
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), stalled.read_to_end(&mut rest)).await;
    ended.expect("the end of the connection").ok();
}
