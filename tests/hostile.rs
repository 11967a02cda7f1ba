//! Hostile input against a real server: names that want out of their folder, bodies that are no jobs, uploads that lie.
//!
//! Everything is refused as the client's mistake, nothing lands where it does not belong, and the server's memory stays. How long each
//! answer took is printed; with `TRAINYARD_SIEGE=1` an answer after more than 50 ms fails too (`TRAINYARD_BINARY` names the binary
//! that is measured).
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::corpus::{names, specs};
use support::memory::Peak;
use support::{Yard, jobs};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use trainyard_wire::Attempt;
use trainyard_wire::client::Client;
use trainyard_wire::worker::{ClaimRequest, Register};

/// What an answer to hostile input may take, and what the server may grow by.
const SOON: Duration = Duration::from_millis(50);
const GROWTH: u64 = 32 << 20;

/// Asks one thing after another and notes how long the answers took.
struct Siege {
    yard: Yard,
    http: reqwest::Client,
    times: Vec<(Duration, String)>,
    peak: Peak,
}

impl Siege {
    async fn begin() -> Self {
        let yard = Yard::server(&[]).await;
        let http = reqwest::Client::new();
        // What a server takes once it has worked at all is no growth.
        let run = yard.submit(&jobs::quick()).await;
        for path in ["/v1/runs", "/metrics", "/", "/v1/openapi.json"] {
            yard.request(Method::GET, path).send().await.unwrap().bytes().await.unwrap();
        }
        assert_eq!(run.0, 1);
        let peak = Peak::since_now(yard.process.pid());
        Self { yard, http, times: Vec::new(), peak }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.yard.url)).bearer_auth(&self.yard.token)
    }

    /// The answer's status and text.
    async fn ask(&mut self, what: &str, request: RequestBuilder) -> (StatusCode, String) {
        let start = Instant::now();
        let response = request.send().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let status = response.status();
        let text = response.text().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        self.times.push((start.elapsed(), what.to_owned()));
        self.check(what, &text);
        (status, text)
    }

    /// Asks for something that is to be refused.
    async fn refused(&mut self, what: &str, request: RequestBuilder) {
        let (status, text) = self.ask(what, request).await;
        assert!(status.is_client_error(), "{what}: {status} {text}");
    }

    /// Sends bytes as they are, and answers what comes back. Where they are `cut`, the connection has no more of them.
    async fn raw(&mut self, what: &str, bytes: &[u8], cut: bool) -> String {
        let start = Instant::now();
        let mut stream = TcpStream::connect(self.yard.url.trim_start_matches("http://")).await.unwrap();
        // The server may have refused and closed before everything is sent.
        let _ = stream.write_all(bytes).await;
        if cut {
            let _ = stream.shutdown().await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        self.times.push((start.elapsed(), what.to_owned()));
        let text = String::from_utf8_lossy(&answer).into_owned();
        self.check(what, &text);
        text
    }

    /// No answer holds what is nobody's business.
    fn check(&self, what: &str, text: &str) {
        for secret in [self.yard.token.as_str(), "root:x:0:0", "SQLite format 3"] {
            assert!(!text.contains(secret), "{what} let out {secret:?}: {text}");
        }
    }

    /// What holds in the end, whatever was asked.
    async fn end(mut self, most: usize) {
        let growth = self.peak.growth();
        assert!(self.yard.process.is_running(), "the server has ended");
        let (status, _) = self.ask("the last question", self.request(Method::GET, "/v1/runs")).await;
        assert_eq!(status, StatusCode::OK);
        let log = self.yard.process.stderr();
        assert!(!log.contains("panicked") && !log.contains("server error"), "{log}");
        self.times.sort();
        let count = self.times.len();
        let (longest, what) = self.times[count - 1].clone();
        println!(
            "{count} questions; median {:?}, 99 % {:?}, longest {longest:?} ({what}); the server grew by {} kB",
            self.times[count / 2].0,
            self.times[count * 99 / 100].0,
            growth / 1024
        );
        assert!(count >= most, "only {count}");
        assert!(growth <= GROWTH, "the server grew by {growth} bytes");
        if std::env::var_os("TRAINYARD_SIEGE").is_some() {
            let late: Vec<_> = self.times.iter().filter(|(time, _)| *time > SOON).collect();
            assert!(late.is_empty(), "{} late: {late:?}", late.len());
        }
    }
}

/// All files under `folder`.
fn files(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => drop(found.insert(path.display().to_string())),
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn no_name_leads_out_of_its_place() {
    let mut siege = Siege::begin().await;
    // A run that a worker of the test's own holds, with a file.
    let token = std::fs::read_to_string(siege.yard.data_dir().join("worker.token")).unwrap().trim().to_owned();
    let worker = Client::new(&siege.yard.url, Some(token.clone())).unwrap();
    let worker_id = worker.register(&Register::cpu("test")).await.unwrap().worker_id;
    let claimed = worker.claim(&ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 0.0 }).await.unwrap().runs.remove(0);
    let bytes = b"weights".as_slice();
    worker.put_artifact(claimed.run_id, Attempt(1), "model.safetensors", &hex(bytes), None, bytes.into()).await.unwrap();
    let before = files(siege.yard.folder.path());

    let hostile = names::hostile();
    assert!(hostile.len() >= 500, "{} names", hostile.len());
    for name in &hostile {
        let shown: String = name.chars().take(60).collect();
        let escaped = names::encoded(name);
        if !escaped.is_empty() {
            let path = format!("/v1/worker/runs/1/artifacts/{escaped}?attempt=1&sha256={}", hex(b"x"));
            let put = siege.http.put(format!("{}{path}", siege.yard.url)).bearer_auth(&token).body("x");
            siege.refused(&format!("an artifact put as {shown:?}"), put).await;
        }
        for folder in ["/v1/runs/1/artifacts/", "/v1/datasets/", "/assets/", "/docs/"] {
            // These are the resources themselves.
            // And a client resolves these two by itself.
            if !matches!(name.as_str(), "" | "." | "..") {
                siege.refused(&format!("{folder} of {shown:?}"), siege.request(Method::GET, &format!("{folder}{escaped}"))).await;
            }
            let Some(raw) = names::raw(name).filter(|raw| !raw.is_empty()) else { continue };
            let head = format!(
                "GET {folder}{raw} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
                siege.yard.token
            );
            let answer = siege.raw(&format!("{folder} of {shown:?} as it stands"), head.as_bytes(), false).await;
            assert!(answer.starts_with("HTTP/1.1 4"), "{folder}{raw}: {answer}");
        }
        let form = reqwest::multipart::Form::new()
            .text("name", name.clone())
            .part("csv", reqwest::multipart::Part::text("a,b\n1,2\n").file_name(name.clone()));
        siege.refused(&format!("a dataset called {shown:?}"), siege.request(Method::POST, "/v1/datasets").multipart(form)).await;
        let mut job = jobs::quick();
        job["spec"]["problem"] = json!({"source": "dataset", "name": name, "target": name});
        siege.refused(&format!("a problem of the dataset {shown:?}"), siege.request(Method::POST, "/v1/jobs").json(&job)).await;
    }
    let after = files(siege.yard.folder.path());
    let new: Vec<_> = after.difference(&before).filter(|path| !path.contains("trainyard.db-")).collect();
    // The contents of a refused put stay until they are swept, under their hash.
    let swept = |path: &&&String| path.ends_with(&hex(b"x"));
    assert!(new.iter().filter(|path| !swept(path)).count() == 0, "{new:?}");
    assert_eq!(siege.yard.artifact_names(claimed.run_id).await, ["model.safetensors"]);
    siege.end(5 * 500).await;
}

#[tokio::test]
async fn no_body_that_is_no_job_does_any_harm() {
    let mut siege = Siege::begin().await;
    let mut refused = 0;
    for body in specs::hostile().into_iter().chain(specs::huge()).chain([specs::wide_sweep()]) {
        let request = siege.request(Method::POST, "/v1/jobs?dry_run=true").header("content-type", "application/json").body(body.bytes);
        let (status, text) = siege.ask(&body.what, request).await;
        let fits = status.is_client_error() || (body.may_be_valid && status == StatusCode::OK);
        assert!(fits, "{}: {status} {text}", body.what);
        if status.is_client_error() {
            let problem: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", body.what));
            assert!(text.len() < 20_000, "{}: the answer repeats what was sent: {} bytes", body.what, text.len());
            assert_eq!(problem["status"], status.as_u16());
            refused += 1;
        }
    }
    println!("{refused} bodies were refused");
    assert!(refused >= 2000, "{refused}");
    assert_eq!(siege.yard.client.runs(&Default::default()).await.unwrap().items.len(), 1);
    siege.end(2000).await;
}

/// A form of one file, written by hand: `head` stands in its part's head, and the form ends with `end`.
fn form(head: &str, content: &[u8], end: &str) -> Vec<u8> {
    let mut body = b"--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nset\r\n--b\r\n".to_vec();
    body.extend(head.as_bytes());
    body.extend(b"\r\n\r\n");
    body.extend(content);
    body.extend(end.as_bytes());
    body
}

fn upload_head(token: &str, length: impl std::fmt::Display) -> Vec<u8> {
    let head = "POST /v1/datasets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: multipart/form-data; boundary=b";
    format!("{head}\r\nAuthorization: Bearer {token}\r\n{length}\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn no_upload_that_lies_is_taken() {
    const CSV: &str = "Content-Disposition: form-data; name=\"csv\"; filename=\"t.csv\"";
    const TRAIN: &str = "Content-Disposition: form-data; name=\"train\"; filename=\"t.bin\"";
    const END: &str = "\r\n--b--\r\n";
    let mut siege = Siege::begin().await;
    let token = siege.yard.token.clone();
    let before = files(siege.yard.folder.path());
    let record = |label: u8| [vec![label], vec![7; 3072]].concat();
    let png = |width: u32, height: u32| {
        let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        png.extend(width.to_be_bytes());
        png.extend(height.to_be_bytes());
        png.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
        png
    };
    let tensors = |length: u64| {
        [length.to_le_bytes().to_vec(), b"{\"a\":{\"dtype\":\"F64\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,9]}}".to_vec()]
            .concat()
    };
    let mut contents: Vec<(String, &str, Vec<u8>)> = Vec::new();
    for (width, height) in [(1, 1), (u32::MAX, u32::MAX), (1 << 31, 1), (0, 0)] {
        for head in [CSV, TRAIN] {
            contents.push((format!("a PNG of {width} x {height}"), head, png(width, height)));
        }
    }
    for length in [0, 8, 100 << 20, 1 << 40, u64::MAX] {
        for head in [CSV, TRAIN] {
            contents.push((format!("safetensors with a head of {length} bytes"), head, tensors(length)));
        }
    }
    let text = |text: String| text.into_bytes();
    contents.extend([
        ("a table of 100000 columns".to_owned(), CSV, text(format!("{}\n1\n", (0..100_000).map(|n| format!("c{n},")).collect::<String>()))),
        ("a name of a megabyte".to_owned(), CSV, text(format!("a,{}\n1,2\n", "b".repeat(1 << 20)))),
        ("a quotation that never ends".to_owned(), CSV, text(format!("a,b\n1,\"{}", "2".repeat(4 << 20)))),
        ("a line of 17 MiB".to_owned(), CSV, vec![b'1'; 17 << 20]),
        ("lines of nothing".to_owned(), CSV, vec![b'\n'; 4 << 20]),
        ("commas".to_owned(), CSV, vec![b','; 4 << 20]),
        ("NUL".to_owned(), CSV, vec![0; 1 << 20]),
        ("numbers that are none".to_owned(), CSV, text("a,b\n1,NaN\n".to_owned())),
        ("an infinite number".to_owned(), CSV, text("a,b\n1,1e999\n".to_owned())),
        ("rows of other lengths".to_owned(), CSV, text("a,b\n1,2\n1,2,3\n".to_owned())),
        ("too many rows".to_owned(), CSV, text(format!("a,b\n{}", "1,2\n".repeat(1_000_001)))),
        ("not UTF-8".to_owned(), CSV, b"\xff\xfe,\x80\n1,2\n".to_vec()),
        ("a label over 9".to_owned(), TRAIN, record(10)),
        ("a cut record".to_owned(), TRAIN, [record(1), record(2)[..3000].to_vec()].concat()),
        ("gzip".to_owned(), TRAIN, [b"\x1f\x8b\x08\0".to_vec(), vec![0; 5000]].concat()),
        ("nothing".to_owned(), CSV, Vec::new()),
        ("no images".to_owned(), TRAIN, Vec::new()),
    ]);
    for (what, head, content) in &contents {
        let body = form(head, content, END);
        let request =
            siege.request(Method::POST, "/v1/datasets").header("content-type", "multipart/form-data; boundary=b").body(body.clone());
        siege.refused(what, request).await;
    }

    // Uploads that break off, at every kind of place; and those that say another length than they have.
    let good = form(CSV, b"a,b\n1,2\n3,4\n", END);
    for end in 0..good.len() {
        let head = upload_head(&token, format!("Content-Length: {}", good.len()));
        let answer = siege.raw(&format!("cut off after {end} bytes"), &[&head, &good[..end]].concat(), true).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "cut off after {end} bytes: {answer}");
    }
    let lies = [
        ("a length that is no number", "Content-Length: many".to_owned()),
        ("a negative length", "Content-Length: -1".to_owned()),
        ("a length over 64 bits", "Content-Length: 99999999999999999999".to_owned()),
        ("a length of 1 TiB", format!("Content-Length: {}", 1u64 << 40)),
        ("a length that is too long", format!("Content-Length: {}", good.len() + 10)),
        ("a length that is too short", format!("Content-Length: {}", good.len() - 10)),
        ("two lengths", format!("Content-Length: {}\r\nContent-Length: 5", good.len())),
        ("a length and pieces", format!("Content-Length: {}\r\nTransfer-Encoding: chunked", good.len())),
        ("pieces that are none", "Transfer-Encoding: chunked".to_owned()),
        ("an unknown encoding", "Transfer-Encoding: gzip".to_owned()),
    ];
    for (what, lie) in lies {
        let answer = siege.raw(what, &[upload_head(&token, lie), good.clone()].concat(), true).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
    for (what, pieces) in [
        ("a piece of another size", "5\r\nabcdefgh\r\n0\r\n\r\n".to_owned()),
        ("a piece of 2^64 bytes", "FFFFFFFFFFFFFFFFF\r\nabc".to_owned()),
        ("a piece without end", "fffff\r\nabc".to_owned()),
        ("an extension without end", format!("5;{}", "x".repeat(1 << 20))),
    ] {
        let answer = siege.raw(what, &[upload_head(&token, "Transfer-Encoding: chunked"), pieces.into_bytes()].concat(), true).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
    for (what, body) in [
        ("a boundary that never comes", vec![b'x'; 4 << 20]),
        ("a part's head without end", [b"--b\r\n".to_vec(), vec![b'x'; 4 << 20]].concat()),
        ("a part without a head", b"--b\r\n\r\nx\r\n--b--\r\n".to_vec()),
        ("a field that there is not", form("Content-Disposition: form-data; name=\"../csv\"", b"x", END)),
        (
            "ten thousand fields",
            format!("--b\r\n{}", "Content-Disposition: form-data; name=\"name\"\r\n\r\nset\r\n--b\r\n".repeat(10_000)).into_bytes(),
        ),
        ("no end", form(CSV, b"a,b\n1,2\n", "")),
    ] {
        let request = siege.request(Method::POST, "/v1/datasets").header("content-type", "multipart/form-data; boundary=b").body(body);
        siege.refused(what, request).await;
    }
    let after = files(siege.yard.folder.path());
    let new: Vec<_> = after.difference(&before).filter(|path| !path.contains("trainyard.db-")).collect();
    assert!(new.is_empty(), "something was kept: {new:?}");
    assert_eq!(siege.yard.request(Method::GET, "/v1/datasets").send().await.unwrap().json::<Value>().await.unwrap()["items"], json!([]));
    siege.end(200).await;
}
