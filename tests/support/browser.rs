//! Headless Chromium, driven through chromedriver.
//!
//! Where there is no Chromium or no chromedriver a test prints that it was skipped and passes, unless `TRAINYARD_REQUIRE_BROWSER=1`.

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
use tempfile::TempDir;

use super::{PATIENCE, Yard, eventually};

/// The address that `up` printed, with its token.
pub fn dashboard_address(yard: &Yard) -> String {
    let printed = yard.process.stdout();
    let address = printed.lines().find_map(|line| line.strip_prefix("dashboard")).unwrap();
    address.trim().to_owned()
}

/// Waits until an element is there.
pub async fn shows(browser: &Browser, selector: &str) {
    if browser.wait().at_most(PATIENCE).for_element(Locator::Css(selector)).await.is_err() {
        let page = browser.execute("return document.body.innerText", vec![]).await;
        panic!("no {selector} after {PATIENCE:?}; the page reads {page:#?}; its console has {:#?}", console_errors(browser).await);
    }
}

/// Waits until a script answers true.
pub async fn holds(browser: &Browser, what: &str, script: &str) {
    eventually(what, async || (browser.execute(script, vec![]).await.unwrap() == Value::Bool(true)).then_some(())).await;
}

/// What the browser's console has had of errors since the last call; refusals by the content security policy are among them.
pub async fn console_errors(browser: &Browser) -> Vec<Value> {
    let entries = browser.issue_cmd(ConsoleLog).await.unwrap();
    entries.as_array().unwrap().iter().filter(|entry| entry["level"] == "SEVERE").cloned().collect()
}

/// The requests of the present page that were answered with an error, as far as the browser remembers them.
pub async fn failed_requests(browser: &Browser) -> Vec<Value> {
    let script = "return performance.getEntriesByType('resource').filter((it) => it.responseStatus >= 400)
        .map((it) => `${it.responseStatus} ${it.name}`)";
    browser.execute(script, vec![]).await.unwrap().as_array().unwrap().clone()
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
pub fn chromium() -> Option<PathBuf> {
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
pub struct Driver {
    address: String,
    leader: Child,
    folder: TempDir,
}

impl Driver {
    pub async fn start() -> Self {
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

    pub async fn open(&self, chromium: &Path) -> Browser {
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
