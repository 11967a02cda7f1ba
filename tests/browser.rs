//! The dashboard in a real browser: headless Chromium, driven through chromedriver, against a real server and worker.
//!
//! Where there is no Chromium or no chromedriver the test prints that it was skipped and passes, unless `TRAINYARD_REQUIRE_BROWSER=1`.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client as Browser, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{PATIENCE, Yard, eventually, jobs};
use tempfile::TempDir;
use trainyard_wire::RunState;

const HOSTILE: &str = "<img src=x onerror=alert(1)>";

#[tokio::test]
async fn the_dashboard_follows_runs_from_their_submit_to_curves_and_pictures() {
    let Some(chromium) = chromium() else { return };
    let yard = Yard::up(&["--workers", "1"]).await;
    let driver = Driver::start().await;
    let browser = driver.open(&chromium).await;

    browser.goto(&dashboard_address(&yard)).await.unwrap();
    shows(&browser, ".empty:not([hidden])").await;
    let address = browser.current_url().await.unwrap();
    assert!(!address.as_str().contains("token"), "the token stayed in the address {address}");
    let kept = browser.execute("return [document.cookie, localStorage.length, sessionStorage.length]", vec![]).await.unwrap();
    assert_eq!(kept, json!(["", 0, 0]), "scripts can read the session");

    let (counterexample, colours) = (yard.submit(&counterexample()).await, yard.submit(&hostile_colourization()).await);
    for run in [counterexample, colours] {
        shows(&browser, &format!("tr[data-run='{run}'] .state[data-state='succeeded']")).await;
    }
    let name = browser.find(Locator::Css(&format!("tr[data-run='{colours}'] .run-name"))).await.unwrap();
    assert_eq!(name.text().await.unwrap(), HOSTILE);
    assert!(browser.find_all(Locator::Css("main img")).await.unwrap().is_empty(), "a name became an element");

    name.click().await.unwrap();
    shows(&browser, ".js-plotly-plot .scatterlayer .points path.point").await;
    shows(&browser, "#sample:not([hidden])").await;
    holds(&browser, "the picture is loaded", "const it = document.querySelector('#sample'); return it.complete && it.naturalWidth > 0")
        .await;
    assert_eq!(browser.find(Locator::Css("h1")).await.unwrap().text().await.unwrap(), HOSTILE);
    assert_eq!(browser.find_all(Locator::Css("main img")).await.unwrap().len(), 1, "a name became an element");

    browser.goto(&format!("{}/#/runs/{counterexample}?show=distance_to_minimum_norm", yard.url)).await.unwrap();
    shows(&browser, "section[aria-label='Chart of distance_to_minimum_norm'] .scatterlayer .lines path").await;
    shows(&browser, "section[aria-label='Chart of loss'] .scatterlayer .lines path").await;
    browser.find(Locator::Css("section[aria-label='Chart of loss'] [aria-label^='Logarithmic y']")).await.unwrap().click().await.unwrap();
    holds(
        &browser,
        "the value axis is linear",
        "return document.querySelector(\"section[aria-label='Chart of loss'] .js-plotly-plot\").layout.yaxis.type === 'linear'",
    )
    .await;

    let unrolled = yard.submit(&jobs::hypergradient()).await;
    yard.until(unrolled, RunState::Succeeded).await;
    browser.goto(&format!("{}/#/runs/{unrolled}", yard.url)).await.unwrap();
    shows(&browser, "section[aria-label='Chart of held bytes over k'] .scatterlayer .lines path").await;
    holds(
        &browser,
        "all drawings are loaded",
        "const them = [...document.querySelectorAll(\"section[aria-label='Drawings'] img\")];
         return them.length === 3 && them.every((it) => it.complete && it.naturalWidth > 0)",
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

#[tokio::test]
async fn values_are_written_as_people_read_them() {
    let Some(chromium) = chromium() else { return };
    let yard = Yard::server(&[]).await;
    let driver = Driver::start().await;
    let browser = driver.open(&chromium).await;
    browser.goto(&yard.url).await.unwrap();
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
    let mut job = jobs::two_unknowns(json!({"name": "rmsprop", "learning_rate": 0.01, "schedule": "cosine"}));
    job["name"] = json!("counterexample");
    job
}

fn hostile_colourization() -> Value {
    let mut job = jobs::colourization(3);
    job["name"] = json!(HOSTILE);
    job["tags"] = json!({"<b>tag</b>": "<i>value</i>"});
    job["spec"]["sample_every"] = json!(1);
    job
}

/// The address that `up` printed, with its token.
fn dashboard_address(yard: &Yard) -> String {
    let printed = yard.process.stdout();
    let address = printed.lines().find_map(|line| line.strip_prefix("dashboard")).unwrap();
    address.trim().to_owned()
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
    eventually(what, async || (browser.execute(script, vec![]).await.unwrap() == Value::Bool(true)).then_some(())).await;
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

/// chromedriver on a port that the system chose, with its browsers in a process group that ends with it.
struct Driver {
    address: String,
    leader: Child,
    folder: TempDir,
}

impl Driver {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let output = folder.path().join("chromedriver.stdout");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").process_group(0).stdout(File::create(&output).unwrap()).stderr(Stdio::null());
        let mut driver = Self { address: String::new(), leader: command.spawn().unwrap(), folder };
        let port = eventually("chromedriver's port", async || {
            assert!(driver.leader.try_wait().unwrap().is_none(), "chromedriver ended at its start");
            let printed = std::fs::read_to_string(&output).unwrap();
            let (_, rest) = printed.split_once("started successfully on port ")?;
            rest.split_once('.').map(|(port, _)| port.to_owned())
        })
        .await;
        driver.address = format!("http://127.0.0.1:{port}");
        driver
    }

    async fn open(&self, chromium: &Path) -> Browser {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000", &profile];
        let capabilities = json!({
            "goog:chromeOptions": {"binary": chromium, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is written as an object") };
        ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(&self.address).await.unwrap()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.leader.id()).unwrap());
        // The leader is not waited for yet, so the group's number cannot be anyone else's.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.leader.wait();
    }
}
