//! The dashboard in a real browser against a real server and worker; see [`support::browser`] for where there is none.
#![allow(clippy::unwrap_used)]

mod support;

use fantoccini::Locator;
use serde_json::{Value, json};
use support::browser::{Driver, chromium, console_errors, dashboard_address, holds, shows};
use support::{Yard, jobs};
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
async fn the_page_of_a_queued_run_says_what_it_waits_for_until_it_is_taken() {
    let Some(chromium) = chromium() else { return };
    let yard = Yard::server(&[]).await;
    let driver = Driver::start().await;
    let browser = driver.open(&chromium).await;
    browser.goto(&dashboard_address(&yard)).await.unwrap();
    let run = yard.submit(&jobs::quick()).await;
    browser.goto(&format!("{}/#/runs/{run}", yard.url)).await.unwrap();
    shows(&browser, ".run-wait:not([hidden])").await;
    let told = browser.find(Locator::Css(".run-wait")).await.unwrap().text().await.unwrap();
    assert!(told.contains("no worker is connected"), "{told}");
    let _worker = yard.worker("worker");
    shows(&browser, ".run-head .state[data-state='succeeded']").await;
    shows(&browser, ".run-wait[hidden]").await;
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
