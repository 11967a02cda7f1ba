//! Texts that carry scripts, wherever users and workers may put them, shown by the dashboard in a real browser: as text, every one.
//!
//! The list shows all of them; of the pages of single runs every eighth is opened, all with `TRAINYARD_SIEGE=1`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;

use fantoccini::{Client as Browser, Locator};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use support::browser::{Driver, chromium, dashboard_address, shows};
use support::corpus::scripts;
use support::{Yard, eventually, jobs};
use trainyard_wire::client::Client;
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::{Certificate, LeftOut, LogLevel, LogLine};
use trainyard_wire::worker::{ClaimRequest, ClaimedRun, Finish, Outcome, Register, Report};
use trainyard_wire::{Number, RunId, StopReason, Timestamp};

/// A worker that says scripts wherever it says anything.
struct HostileWorker {
    client: Client,
    texts: Vec<String>,
}

impl HostileWorker {
    async fn work(&self, yard: &Yard, runs: usize) {
        let text = |index: usize| self.texts[index % self.texts.len()].clone();
        let register =
            Register { host: text(0), device: text(1), version: text(2), build: text(3), instructions: text(4), ..Register::cpu("") };
        let worker_id = self.client.register(&register).await.unwrap().worker_id;
        for index in 0..runs {
            let claim = ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 0.0 };
            let claimed = self.client.claim(&claim).await.unwrap().runs.remove(0);
            self.report(&claimed, index * 7, text).await;
        }
        assert!(yard.client.workers().await.unwrap().items.iter().any(|worker| worker.host == text(0)));
    }

    async fn report(&self, claimed: &ClaimedRun, first: usize, text: impl Fn(usize) -> String) {
        let name: String = text(first).chars().take(190).collect();
        let report = Report {
            attempt: claimed.attempt,
            metrics: vec![SeriesBatch { name, steps: vec![1, 2], values: vec![Number(1.0), Number(0.5)], times: vec![0, 1] }],
            progress: None,
            logs: vec![LogLine { time: Timestamp(0), level: LogLevel::Error, message: text(first + 1) }],
            certificates: vec![Certificate {
                claim: text(first + 2),
                formula: text(first + 3),
                predicted: Number(1.0),
                measured: Number(2.0),
                tolerance: Number(0.0),
                holds: false,
                source: text(first + 4),
            }],
            left_out: vec![LeftOut { claim: text(first + 5), reason: text(first + 6) }],
            finish: Some(Finish {
                outcome: Outcome::Failed,
                stop_reason: Some(StopReason::Error),
                error: Some(text(first + 1)),
                result: Some(json!({ text(first): text(first + 1) })),
            }),
        };
        let svg = drawing(first);
        let sha256: String = Sha256::digest(svg.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let put =
            self.client.put_artifact(claimed.run_id, claimed.attempt, "samples/epoch-001.svg", &sha256, None, svg.into_bytes().into());
        put.await.unwrap();
        self.client.report(claimed.run_id, &report).await.unwrap();
    }
}

/// A drawing that runs a script where it is opened as a page of its own.
fn drawing(number: usize) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9' onload='document.documentElement.setAttribute(\"data-{0}\", \"{number}\")'>
         <script>document.documentElement.setAttribute('data-{0}', '{number}')</script><rect width='9' height='9'/></svg>",
        scripts::MARK
    )
}

/// What in this page is there because a text was taken for markup, or ran.
async fn traces(browser: &Browser) -> Value {
    let script = "const elements = 'script, iframe, object, embed, base, meta, link, template, marquee, video, audio, style, math, noscript, textarea';
        const main = document.querySelector('main');
        return [window[arguments[0]] ?? null,
            [...main.querySelectorAll(elements)].map((it) => it.outerHTML),
            [...main.querySelectorAll('[onerror], [onload], [onfocus], [onclick], [ontoggle], [onbegin], [onstart]')].map((it) => it.outerHTML),
            [...main.querySelectorAll('[href^=\"javascript:\" i], [src^=\"javascript:\" i], [formaction]')].map((it) => it.outerHTML)]";
    browser.execute(script, vec![json!(scripts::MARK)]).await.unwrap()
}

async fn texts_of(browser: &Browser, selector: &str) -> Vec<String> {
    let script = "return [...document.querySelectorAll(arguments[0])].map((it) => it.textContent)";
    serde_json::from_value(browser.execute(script, vec![json!(selector)]).await.unwrap()).unwrap()
}

#[tokio::test]
async fn texts_that_carry_scripts_are_shown_and_not_run() {
    let Some(chromium) = chromium() else { return };
    let yard = Yard::server(&[]).await;
    let texts = scripts::hostile();
    assert!(texts.len() >= 200, "{}", texts.len());
    let mut runs: Vec<RunId> = Vec::new();
    for text in &texts {
        let mut job = jobs::quick();
        (job["name"], job["tags"]) = (json!(text), json!({ "tag": text }));
        if text.chars().count() <= 100 {
            job["tags"][text] = json!(text);
        }
        runs.push(yard.submit(&job).await);
    }
    let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap().trim().to_owned();
    let hostile = HostileWorker { client: Client::new(&yard.url, Some(token)).unwrap(), texts: texts.clone() };
    hostile.work(&yard, 40).await;

    let driver = Driver::start().await;
    let browser = driver.open(&chromium).await;
    browser.goto(&dashboard_address(&yard)).await.unwrap();
    let nothing = json!([null, [], [], []]);
    let mut shown = BTreeSet::new();
    while shown.len() < texts.len() {
        let before = shown.len();
        // A page of the list is there once it shows names that the one before it did not.
        let names = eventually("the next names in the list", async || {
            let names = texts_of(&browser, "tr[data-run] .run-name").await;
            names.iter().any(|name| !shown.contains(name)).then_some(names)
        })
        .await;
        shown.extend(names);
        assert!(shown.len() > before);
        assert_eq!(traces(&browser).await, nothing);
        if shown.len() < texts.len() {
            let next = browser.find(Locator::LinkText("Next page")).await.unwrap();
            next.click().await.unwrap();
        }
    }
    assert_eq!(shown, texts.iter().cloned().collect());

    let every = if std::env::var_os("TRAINYARD_SIEGE").is_some() { 1 } else { 8 };
    for (run, text) in runs.iter().zip(&texts).step_by(every) {
        browser.goto(&format!("{}/#/runs/{run}", yard.url)).await.unwrap();
        let heading = eventually("the run's heading", async || texts_of(&browser, "h1").await.into_iter().find(|it| it == text)).await;
        assert_eq!(heading, *text);
        assert_eq!(traces(&browser).await, nothing, "{text}");
    }
    // What the worker said: its log, its certificates, its error.
    shows(&browser, "h1").await;
    let first = runs[0];
    browser.goto(&format!("{}/#/runs/{first}", yard.url)).await.unwrap();
    eventually("the worker's words", async || {
        let body = texts_of(&browser, "main").await.concat();
        [1, 2, 3].into_iter().all(|index| body.contains(&texts[index])).then_some(())
    })
    .await;
    assert_eq!(traces(&browser).await, nothing);

    // A drawing opened by itself, with the session's cookie.
    browser.goto(&format!("{}/v1/runs/{first}/artifacts/samples/epoch-001.svg", yard.url)).await.unwrap();
    let mark = browser.execute(
        "return [document.documentElement.tagName, document.documentElement.getAttribute(arguments[0])]",
        vec![json!(format!("data-{}", scripts::MARK))],
    );
    assert_eq!(mark.await.unwrap(), json!(["svg", null]));
    browser.close().await.unwrap();
}
