//! The page while runs come in, by the keyboard alone, and on small screens.

use std::time::Instant;

use fantoccini::Client as Browser;
use fantoccini::key::Key;
use serde_json::json;
use trainyard_wire::RunId;

use crate::hands::{GotoHash as _, click, press, run, selected};
use crate::support::browser::{holds, shows};
use crate::support::{Yard, jobs};

pub(crate) async fn live(browser: &Browser, yard: &Yard) {
    run(browser, "document.querySelector(\"tr[data-run='9990'] .run-name\").focus()").await;
    click(browser, "tr[data-run='9991'] .select-box").await;
    run(browser, "document.querySelector(\"tr[data-run='9990'] .run-name\").focus()").await;
    let begun = Instant::now();
    let new = yard.submit(&jobs::quick()).await;
    shows(browser, &format!("tr[data-run='{new}']")).await;
    println!("a new run was in the table {:?} after its submit", begun.elapsed());
    assert_eq!(run(browser, "return document.activeElement.closest('tr').dataset.run").await, "9990");
    assert_eq!(selected(browser).await, json!([9991]));
    yard.client.run_action(RunId(9990), "cancel").await.unwrap();
    shows(browser, "tr[data-run='9990'] .state[data-state='cancelled']").await;
    assert_eq!(run(browser, "return document.activeElement.closest('tr').dataset.run").await, "9990");
    holds(browser, "the connection", "return document.querySelector('#connection').dataset.state === 'live'").await;

    // A reader who has scrolled stays where they are while runs come in above.
    run(browser, "document.querySelector(\"tr[data-run='9960']\").scrollIntoView({block: 'center'})").await;
    let place = "return Math.round(document.querySelector(\"tr[data-run='9970']\").getBoundingClientRect().top)";
    let before = run(browser, place).await;
    let new = yard.submit(&jobs::quick()).await;
    shows(browser, &format!("tr[data-run='{new}']")).await;
    assert_eq!(run(browser, place).await, before);
    run(browser, "scrollTo(0, 0)").await;
}

/// Where events cannot be had, the page polls.
pub(crate) async fn without_events(browser: &Browser, yard: &Yard) {
    run(browser, "window.EventSource = undefined").await;
    browser.goto_hash("#/runs/1").await;
    shows(browser, ".run-head").await;
    browser.goto_hash("#/").await;
    shows(browser, "tr[data-run]").await;
    let new = yard.submit(&jobs::quick()).await;
    shows(browser, &format!("tr[data-run='{new}']")).await;
}

pub(crate) async fn keyboard(browser: &Browser) {
    press(browser, &['j']).await;
    assert_eq!(run(browser, "return document.activeElement.closest('tr').dataset.run").await, "9989");
    press(browser, &['k', 'k', 'x']).await;
    assert_eq!(selected(browser).await, json!([]));
    press(browser, &['x', 'j', 'x']).await;
    assert_eq!(selected(browser).await, json!([9991, 9990]));
    press(browser, &[Key::Escape.into()]).await;
    assert_eq!(selected(browser).await, json!([]));
    press(browser, &['?']).await;
    shows(browser, "dialog[open] .keys").await;
    press(browser, &[Key::Escape.into()]).await;
    holds(browser, "no dialog", "return document.querySelector('dialog') === null").await;
    press(browser, &['/']).await;
    assert_eq!(run(browser, "return document.activeElement.id").await, "filter-q");
    press(browser, &['j']).await;
    assert_eq!(run(browser, "return document.querySelector('#filter-q').value").await, "j");
    press(browser, &[Key::Backspace.into()]).await;
    run(browser, "document.querySelector(\"tr[data-run='9995'] .run-name\")?.focus()").await;
    holds(browser, "all runs", "return location.hash === '#/'").await;
    shows(browser, "tr[data-run='9995']").await;
    run(browser, "document.querySelector(\"tr[data-run='9995'] .run-name\").focus()").await;
    press(browser, &[Key::Enter.into()]).await;
    holds(browser, "the run's page", "return location.hash === '#/runs/9995'").await;
    browser.back().await.unwrap();
    shows(browser, "tr[data-run]").await;
}

pub(crate) async fn narrow(browser: &Browser) {
    for (width, height) in [(390, 844), (820, 1180), (1400, 1000)] {
        browser.set_window_size(width, height).await.unwrap();
        shows(browser, "tr[data-run]").await;
        let overflow = run(browser, "return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(overflow, 0, "the page is wider than {width}");
    }
    let unnamed = run(
        browser,
        "return [...document.querySelectorAll('main input, main select, main textarea, main button')]
             .filter((it) => !it.labels?.length && !it.getAttribute('aria-label') && !it.textContent.trim()).map((it) => it.outerHTML)",
    );
    assert_eq!(unnamed.await, json!([]));
}
