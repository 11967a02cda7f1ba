//! A proxy that treats requests as a bad network would, by seeded draws.
//!
//! A request may be lost on its way or be executed with its answer lost; either way the connection ends, by a reset or quietly. It may be
//! delayed, before or after. And it may be repeated: at once, or later, when the client has long gone on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::seeds::Draws;

/// How often what happens to a request, as shares of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// It never reaches the server.
    pub lost: f64,
    /// It is executed, and the answer is lost.
    pub answer_lost: f64,
    /// It reaches the server twice at once.
    pub repeated: f64,
    /// It reaches the server again later.
    pub repeated_late: f64,
    /// It, or its answer, is late.
    pub delayed: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { lost: 0.05, answer_lost: 0.05, repeated: 0.05, repeated_late: 0.05, delayed: 0.1 }
    }
}

/// The longest delay of a request that its client waits for, and of one that comes again later.
const DELAY: Duration = Duration::from_millis(50);
const LATE: Duration = Duration::from_millis(500);

/// What was done to requests.
#[derive(Debug, Default)]
pub struct Done {
    pub requests: AtomicU64,
    pub lost: AtomicU64,
    pub answers_lost: AtomicU64,
    pub repeated: AtomicU64,
    pub repeated_late: AtomicU64,
    pub delayed: AtomicU64,
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Network {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    http: reqwest::Client,
    faults: Faults,
    draws: Mutex<Draws>,
    done: Done,
    /// Requests that come again later.
    late: Mutex<Vec<JoinHandle<()>>>,
}

/// Why a client gets no answer.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lost, as the draws have it")
    }
}

impl std::error::Error for Lost {}

impl Network {
    /// Listens on a loopback port for a server at `upstream` (`http://…`).
    ///
    /// # Errors
    /// Where there is no port.
    pub async fn start(upstream: &str, faults: Faults, seed: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            http: crate::target::http(),
            faults,
            draws: Mutex::new(Draws::new(seed, u64::MAX)),
            done: Done::default(),
            late: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// What was done so far.
    pub fn done(&self) -> &Done {
        &self.shared.done
    }

    /// Waits until the requests that come again later have come.
    pub async fn settle(&self) {
        loop {
            let late = std::mem::take(&mut *self.shared.late.lock().unwrap_or_else(PoisonError::into_inner));
            if late.is_empty() {
                return;
            }
            for request in late {
                // One that panicked did not reach the server, as one that was lost.
                let _ = request.await;
            }
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let reset = shared.draw() < 0.5;
        let shared = Arc::clone(&shared);
        // Half of the connections end with a reset, whenever they end.
        let prepared = stream.set_nodelay(true).and_then(|()| if reset { stream.set_zero_linger() } else { Ok(()) });
        if prepared.is_err() {
            continue;
        }
        tokio::spawn(async move {
            let service = service_fn(move |request| handle(Arc::clone(&shared), request));
            // It ends in an error whenever a request is lost.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A request that was read whole and can be sent any number of times.
#[derive(Clone)]
struct Whole {
    parts: http::request::Parts,
    body: Bytes,
}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Err(Lost) };
    let whole = Whole { parts, body: body.to_bytes() };
    let plan = shared.plan();
    shared.done.requests.fetch_add(1, Ordering::Relaxed);
    if let Some(delay) = plan.before {
        tokio::time::sleep(delay).await;
    }
    if plan.lost {
        return Err(Lost);
    }
    let answer = shared.send(&whole).await;
    if plan.repeated {
        drop(shared.send(&whole).await);
    }
    if let Some(delay) = plan.again_after {
        let (shared_then, whole) = (Arc::clone(&shared), whole.clone());
        let late = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(shared_then.send(&whole).await);
        });
        shared.late.lock().unwrap_or_else(PoisonError::into_inner).push(late);
    }
    if let Some(delay) = plan.after {
        tokio::time::sleep(delay).await;
    }
    match answer {
        Some(answer) if !plan.answer_lost => Ok(answer),
        _ => Err(Lost),
    }
}

/// What happens to a request.
struct Plan {
    before: Option<Duration>,
    after: Option<Duration>,
    lost: bool,
    answer_lost: bool,
    repeated: bool,
    again_after: Option<Duration>,
}

impl Shared {
    fn draw(&self) -> f64 {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner).fraction()
    }

    fn plan(&self) -> Plan {
        let (faults, done) = (self.faults, &self.done);
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        let mut happens = |share: f64, count: &AtomicU64| {
            let happens = draws.fraction() < share;
            count.fetch_add(u64::from(happens), Ordering::Relaxed);
            happens
        };
        let delayed = happens(faults.delayed, &done.delayed);
        let lost = happens(faults.lost, &done.lost);
        let answer_lost = !lost && happens(faults.answer_lost, &done.answers_lost);
        let repeated = !lost && happens(faults.repeated, &done.repeated);
        let late = !lost && happens(faults.repeated_late, &done.repeated_late);
        let mut some = |longest: Duration, when: bool| when.then(|| longest.mul_f64(draws.fraction()));
        let before = some(DELAY, delayed);
        Plan { before, after: some(DELAY, delayed), lost, answer_lost, repeated, again_after: some(LATE, late) }
    }

    /// Sends the request on; `None` where the server does not answer.
    async fn send(&self, whole: &Whole) -> Option<Response<Full<Bytes>>> {
        let path = whole.parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = self.http.request(whole.parts.method.clone(), format!("{}{path}", self.upstream)).body(whole.body.clone());
        for (name, value) in &whole.parts.headers {
            if !matches!(name.as_str(), "host" | "content-length" | "transfer-encoding" | "connection") {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.ok()?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if !matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection") {
                response = response.header(name, value);
            }
        }
        response.body(Full::new(answer.bytes().await.ok()?)).ok()
    }
}
