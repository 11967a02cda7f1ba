//! The dashboard in a real browser: headless Chromium, driven through chromedriver, against a real server and worker.
//!
//! Where there is no Chromium or no chromedriver the test prints that it was skipped and passes, unless `TRAINYARD_REQUIRE_BROWSER=1`.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client as Browser, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use trainyard_wire::client::Client;

/// How long a process may take to say where it listens, and the page to show what it should.
const PATIENCE: Duration = Duration::from_secs(60);
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_follows_runs_from_their_submit_to_curves_and_pictures() {
    let Some(chromium) = chromium() else { return };
    let yard = Yard::start();
    let driver = Driver::start();
    let browser = driver.open(&chromium).await;

    browser.goto(&yard.dashboard).await.unwrap();
    shows(&browser, ".empty").await;
    let address = browser.current_url().await.unwrap();
    assert!(!address.as_str().contains("token"), "the token stayed in the address {address}");
    let kept = browser.execute("return [document.cookie, localStorage.length, sessionStorage.length]", vec![]).await.unwrap();
    assert_eq!(kept, json!(["", 0, 0]), "scripts can read the session");

    let (counterexample, colours) = (yard.submit(&counterexample()).await, yard.submit(&colourization()).await);
    for run in [counterexample, colours] {
        shows(&browser, &format!("tr[data-run='{run}'] .state[data-state='succeeded']")).await;
    }
    let name = browser.find(Locator::Css(&format!("tr[data-run='{colours}'] .run-name"))).await.unwrap();
    assert_eq!(name.text().await.unwrap(), HOSTILE);
    assert!(browser.find_all(Locator::Css("main img")).await.unwrap().is_empty(), "a name became an element");

    name.click().await.unwrap();
    shows(&browser, ".js-plotly-plot .scatterlayer .points path.point").await;
    shows(&browser, "#sample:not([hidden])").await;
    holds(&browser, "the picture is loaded", "const it = document.querySelector('#sample'); return it.complete && it.naturalWidth > 0").await;
    assert_eq!(browser.find(Locator::Css("h1")).await.unwrap().text().await.unwrap(), HOSTILE);
    assert_eq!(browser.find_all(Locator::Css("main img")).await.unwrap().len(), 1, "a name became an element");

    browser.goto(&format!("{}#/runs/{counterexample}?show=distance_to_minimum_norm", yard.address)).await.unwrap();
    shows(&browser, "section[aria-label='Chart of distance_to_minimum_norm'] .scatterlayer .lines path").await;
    shows(&browser, "section[aria-label='Chart of loss'] .scatterlayer .lines path").await;
    browser.find(Locator::Css("section[aria-label='Chart of loss'] [aria-pressed='false']")).await.unwrap().click().await.unwrap();
    holds(
        &browser,
        "the step axis is logarithmic",
        "return document.querySelector(\"section[aria-label='Chart of loss'] .js-plotly-plot\").layout.xaxis.type === 'log'",
    )
    .await;

    let complaints = console_errors(&browser).await;
    assert!(complaints.is_empty(), "the console has errors: {complaints:#?}");

    browser.find(Locator::Css("#sign-out")).await.unwrap().click().await.unwrap();
    shows(&browser, "form.sign-in").await;
    browser.refresh().await.unwrap();
    shows(&browser, "form.sign-in").await;
    browser.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_written_as_people_read_them() {
    let Some(chromium) = chromium() else { return };
    let yard = Yard::start();
    let driver = Driver::start();
    let browser = driver.open(&chromium).await;
    browser.goto(&yard.address).await.unwrap();
    let script = "const done = arguments[arguments.length - 1];
        import('/assets/js/format.js').then((format) => done([
            [0, 1, 12345, 0.1, -0.25, 1.5e-9, 123456789012, 'NaN', 'Infinity', '-Infinity'].map((value) => format.formatNumber(value)),
            [0.4, 59.7, 185, 7800, 100000].map(format.formatDuration),
            [0.5812, 'NaN'].map(format.formatPercent),
            [512, 2048, 5000000].map(format.formatBytes),
        ]), (error) => done(String(error)))";
    let written = browser.execute_async(script, vec![]).await.unwrap();
    let expected = json!([
        ["0", "1", "12\u{202f}345", "0.1", "−0.25", "1.5e-9", "1.235e11", "NaN", "∞", "−∞"],
        ["0.4 s", "1 min 00 s", "3 min 05 s", "2 h 10 min", "1 d 3 h"],
        ["58.1 %", "NaN"],
        ["512 B", "2.0 KiB", "4.8 MiB"],
    ]);
    assert_eq!(written, expected);
    browser.close().await.unwrap();
}

fn counterexample() -> Value {
    json!({"name": "counterexample", "spec": {
        "kind": "regression", "problem": {"source": "inline", "x": [[2, 1]], "t": [2]},
        "optimizer": {"name": "rmsprop", "learning_rate": 0.01, "schedule": "cosine"}, "steps": 2000}})
}

fn colourization() -> Value {
    json!({"name": HOSTILE, "tags": {"<b>tag</b>": "<i>value</i>"}, "spec": {
        "kind": "colourization", "dataset": {"name": "synthetic", "train_images": 60, "val_images": 20, "size": 16},
        "network": {"name": "unet", "num_filters": 4}, "num_colours": 6, "optimizer": {"name": "adam", "learning_rate": 0.01},
        "batch_size": 20, "epochs": 3}})
}

/// Waits until an element is there.
async fn shows(browser: &Browser, selector: &str) {
    if browser.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await.is_err() {
        let page = browser.execute("return document.body.innerText", vec![]).await;
        panic!("no {selector} after {PATIENCE:?}; the page reads {page:#?}; its console has {:#?}", console_errors(browser).await);
    }
}

/// Waits until a script answers true.
async fn holds(browser: &Browser, what: &str, script: &str) {
    let deadline = Instant::now() + PATIENCE;
    while browser.execute(script, vec![]).await.unwrap() != Value::Bool(true) {
        assert!(Instant::now() < deadline, "not so after {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the browser's console has had of errors since the last call; refusals by the content security policy are among them.
async fn console_errors(browser: &Browser) -> Vec<Value> {
    let entries = browser.issue_cmd(ConsoleLog).await.unwrap();
    entries.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE").cloned().collect()
}

/// chromedriver's command that empties the console's log.
#[derive(Debug)]
struct ConsoleLog;

impl WebDriverCompatibleCommand for ConsoleLog {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (reqwest::Method, Option<String>) {
        (reqwest::Method::POST, Some(json!({"type": "browser"}).to_string()))
    }
}

/// The browser's program, if it and chromedriver are installed.
fn chromium() -> Option<PathBuf> {
    let found = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"].into_iter().find_map(program);
    let found = found.filter(|_| program("chromedriver").is_some());
    if found.is_none() {
        assert!(std::env::var_os("TRAINYARD_REQUIRE_BROWSER").is_none_or(|value| value != "1"), "no Chromium with chromedriver");
        println!("skipped: no Chromium with chromedriver is installed");
    }
    found
}

fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// `trainyard up` with one worker, in a folder of its own.
struct Yard {
    dashboard: String,
    address: String,
    token: String,
    _process: Group,
    _folder: TempDir,
}

impl Yard {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainyard"));
        command.args(["up", "--listen", "127.0.0.1:0", "--workers", "1", "--data-dir"]).arg(&data);
        let (process, dashboard) = Group::start(&mut command, &folder.path().join("up.log"), |line| {
            line.strip_prefix("dashboard").map(|url| url.trim().to_owned())
        });
        let address = dashboard.split('#').next().unwrap().to_owned();
        let token = std::fs::read_to_string(data.join("admin.token")).unwrap().trim().to_owned();
        Self { dashboard, address, token, _process: process, _folder: folder }
    }

    /// Submits a job of one run.
    async fn submit(&self, job: &Value) -> i64 {
        let client = Client::new(&self.address, Some(self.token.clone())).unwrap();
        client.submit(job.to_string().into_bytes(), None).await.unwrap().run_ids[0].0
    }
}

/// chromedriver on a port that the system chose.
struct Driver {
    address: String,
    profile: TempDir,
    _process: Group,
}

impl Driver {
    fn start() -> Self {
        let profile = TempDir::new().unwrap();
        let (process, port) = Group::start(Command::new("chromedriver").arg("--port=0"), &profile.path().join("driver.log"), |line| {
            Some(line.strip_prefix("ChromeDriver was started successfully on port ")?.trim_end_matches('.').to_owned())
        });
        Self { address: format!("http://127.0.0.1:{port}"), profile, _process: process }
    }

    async fn open(&self, chromium: &Path) -> Browser {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let options = json!({"binary": chromium, "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000", profile]});
        let Value::Object(capabilities) = json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}) else { unreachable!() };
        ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&self.address).await.unwrap()
    }
}

/// A process in a group of its own, which ends with it.
struct Group {
    leader: Child,
}

impl Group {
    /// Starts `command` and waits for the line of its output that `find` knows; its errors go to `log`.
    fn start(command: &mut Command, log: &Path, find: impl Fn(&str) -> Option<String>) -> (Self, String) {
        let mut leader = command.process_group(0).stdout(Stdio::piped()).stderr(File::create(log).unwrap()).spawn().unwrap();
        let lines = read_lines(leader.stdout.take().unwrap());
        let group = Self { leader };
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            if let Some(found) = find(&line) {
                return (group, found);
            }
        }
        panic!("{command:?} did not say where it listens: {}", std::fs::read_to_string(log).unwrap());
    }
}

/// The lines of a pipe; it is read to its end, so that the process never waits for it.
fn read_lines(pipe: ChildStdout) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // The receiver is gone once the line it wanted was found.
            let _ = send.send(line);
        }
    });
    receive
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.leader.id()).unwrap());
        let _ = killpg(group, Signal::SIGTERM);
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.leader.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.leader.wait();
    }
}
