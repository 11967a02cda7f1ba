//! Clients that are slow on purpose: heads and bodies that drip, connections that say nothing, answers that nobody takes, polls that wait.
//!
//! Each kind is closed within ten seconds, and honest clients are served meanwhile. Those that wait with
//! the server's leave (a long poll) are answered when their time is up. How many there are, and for how long, is
//! `TRAINYARD_SLOW_CONNECTIONS` (60) and `TRAINYARD_SLOW_SECONDS` (one round); with `TRAINYARD_SIEGE=1` the bounds on time are asserted:
//!
//! `TRAINYARD_SIEGE=1 TRAINYARD_SLOW_CONNECTIONS=1000 TRAINYARD_SLOW_SECONDS=60 cargo test --test slow -- --nocapture`
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use support::{Yard, jobs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long the server waits for a client.
const PATIENCE: Duration = Duration::from_secs(8);
/// Within which a slow client is closed.
const BOUND: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slowness {
    /// Connects and says nothing.
    Silent,
    /// Sends a byte of its head each second.
    Head,
    /// Sends a byte of its body each second.
    Body,
    /// Asks, and asks nothing more.
    Idle,
    /// Asks for much and takes nothing.
    Reader,
}

const KINDS: [Slowness; 5] = [Slowness::Silent, Slowness::Head, Slowness::Body, Slowness::Idle, Slowness::Reader];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// Connects, is slow, and answers how long the server put up with it.
async fn be_slow(address: &str, token: &str, kind: Slowness) -> Duration {
    let Ok(mut stream) = TcpStream::connect(address).await else { return Duration::ZERO };
    let ask = |request: &str, rest: &str| format!("{request} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{rest}\r\n");
    let start = Instant::now();
    let first = match kind {
        Slowness::Silent => String::new(),
        Slowness::Head => "GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nX-Slow: ".to_owned(),
        Slowness::Body => ask("POST /v1/jobs", "Content-Type: application/json\r\nContent-Length: 100000\r\n"),
        Slowness::Idle => ask("GET /healthz", ""),
        // So many answers that no socket holds them; they are asked for in one go.
        Slowness::Reader => ask("GET /assets/plotly.min.js", "").repeat(20),
    };
    let drips = matches!(kind, Slowness::Head | Slowness::Body);
    if stream.write_all(first.as_bytes()).await.is_err() {
        return start.elapsed();
    }
    let (mut read, mut write) = stream.into_split();
    let closed = async {
        if kind == Slowness::Reader {
            // Takes nothing, and looks whether the connection is still there.
            while read.as_ref().take_error().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            return start.elapsed();
        }
        let mut piece = [0; 4096];
        while read.read(&mut piece).await.is_ok_and(|count| count > 0) {}
        start.elapsed()
    };
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if drips && write.write_all(b"x").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        waited = closed => waited,
        () = drip => unreachable!("dripping does not end"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_closed_and_honest_ones_served_meanwhile() {
    let connections = number("TRAINYARD_SLOW_CONNECTIONS", 60) as usize;
    let seconds = number("TRAINYARD_SLOW_SECONDS", 1);
    let yard = Arc::new(Yard::server(&[]).await);
    let run = yard.submit(&jobs::quick()).await;
    let address = yard.url.trim_start_matches("http://").to_owned();
    let end = Instant::now() + Duration::from_secs(seconds);
    let slow: Vec<_> = (0..connections)
        .map(|index| {
            let (address, token, kind) = (address.clone(), yard.token.clone(), KINDS[index % KINDS.len()]);
            tokio::spawn(async move {
                let mut longest = Duration::ZERO;
                loop {
                    let closed = tokio::time::timeout(6 * PATIENCE, be_slow(&address, &token, kind)).await;
                    longest = longest.max(closed.unwrap_or_else(|_| panic!("a client that is slow by its {kind:?} is never closed")));
                    if Instant::now() >= end {
                        return (kind, longest);
                    }
                }
            })
        })
        .collect();
    // Those who wait with the server's leave, for a run that nobody trains.
    let polls: Vec<_> = (0..connections / 5)
        .map(|_| {
            let poll = yard.request(Method::GET, &format!("/v1/runs/{run}")).header("prefer", "wait=5");
            tokio::spawn(async move { poll.send().await.unwrap().status() })
        })
        .collect();

    let honest = tokio::spawn({
        let yard = Arc::clone(&yard);
        async move {
            let (http, mut times) = (reqwest::Client::new(), Vec::new());
            while Instant::now() < end + PATIENCE {
                // Every second one opens a connection of its own.
                let client = if times.len() % 2 == 0 { http.clone() } else { reqwest::Client::new() };
                let start = Instant::now();
                let answer = client.get(format!("{}/v1/runs", yard.url)).bearer_auth(&yard.token).send().await.unwrap();
                assert!(answer.status().is_success(), "{}", answer.status());
                answer.bytes().await.unwrap();
                times.push(start.elapsed());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            times.sort();
            times
        }
    });
    let mut longest = std::collections::BTreeMap::new();
    for one in slow {
        let (kind, waited) = one.await.unwrap();
        let longest = longest.entry(format!("{kind:?}")).or_insert(Duration::ZERO);
        *longest = waited.max(*longest);
    }
    for poll in polls {
        assert!(poll.await.unwrap().is_success());
    }
    let times = honest.await.unwrap();
    let share = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{connections} slow connections for {seconds} s; longest until closed: {longest:?}");
    println!("{} honest requests: median {:?}, 99 % {:?}, longest {:?}", times.len(), share(50), share(99), share(100));
    assert!(!times.is_empty());
    if std::env::var_os("TRAINYARD_SIEGE").is_some() {
        assert!(longest.values().all(|waited| *waited <= BOUND), "{longest:?}");
        assert!(share(99) <= Duration::from_millis(100), "{:?}", share(99));
    }
}
