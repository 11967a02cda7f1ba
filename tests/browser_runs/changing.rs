//! Selecting runs and what is done to the selected ones, and the form of one run.

use fantoccini::{Client as Browser, Locator};
use serde_json::json;
use trainyard_wire::client::RunQuery;
use trainyard_wire::{RunId, RunState};

use crate::hands::{GotoHash as _, click, first_rows, run, selected, total};
use crate::support::browser::{holds, shows};
use crate::support::{self, Yard, jobs};

/// The state of runs, once all are in it.
async fn until(yard: &Yard, ids: &[i64], state: RunState) {
    for id in ids {
        support::eventually(&format!("run {id} to be {state}"), async || (yard.run(RunId(*id)).await.state == state).then_some(())).await;
    }
}

pub(crate) async fn selection(browser: &Browser, yard: &Yard) {
    first_rows(browser, "the newest runs", &[10_000, 9999, 9998, 9997]).await;
    let top = "return document.querySelector('table.runs').getBoundingClientRect().top + scrollY";
    let before = run(browser, top).await;
    click(browser, "tr[data-run='10000'] .select-box").await;
    assert_eq!(run(browser, top).await, before, "the bar of the selection moved the table");
    let last = browser.find(Locator::Css("tr[data-run='9997'] .select-box")).await.unwrap();
    let script = "document.querySelector(\"tr[data-run='9997'] .select-box\").dispatchEvent(new MouseEvent('click', {bubbles: true, shiftKey: true}))";
    run(browser, script).await;
    assert!(last.is_selected().await.unwrap());
    assert_eq!(selected(browser).await, json!([10_000, 9999, 9998, 9997]));
    assert_eq!(
        run(browser, "return document.querySelector('.selection-bar a').getAttribute('href')").await,
        "#/compare?runs=10000,9999,9998,9997"
    );
    let ids = [10_000, 9999, 9998, 9997];
    click(browser, ".selection-bar [data-action='pause']").await;
    until(yard, &ids, RunState::Paused).await;
    holds(browser, "the rows say so", "return document.querySelectorAll(\"tr .state[data-state='paused']\").length === 4").await;
    assert_eq!(selected(browser).await, json!(ids));
    click(browser, ".selection-bar [data-action='resume']:enabled").await;
    until(yard, &ids, RunState::Queued).await;
    click(browser, ".selection-bar [data-action='cancel']:enabled").await;
    click(browser, "dialog [value='yes']").await;
    until(yard, &ids, RunState::Cancelled).await;
    click(browser, ".selection-bar [data-action='retry']:enabled").await;
    until(yard, &ids, RunState::Queued).await;
    click(browser, ".selection-bar [data-action='cancel']:enabled").await;
    click(browser, "dialog [value='yes']").await;
    until(yard, &ids, RunState::Cancelled).await;
    holds(browser, "the rows say so", "return document.querySelectorAll(\"tr .state[data-state='cancelled']\").length === 4").await;

    click(browser, ".selection-bar [data-action='archive']:enabled").await;
    first_rows(browser, "the rows without the archived ones", &[9996]).await;
    total(browser, "1–50 of 9996 runs").await;
    browser.find(Locator::XPath("//div[@id='toasts']/div[last()]//button[text()='Undo']")).await.unwrap().click().await.unwrap();
    first_rows(browser, "the rows with them", &ids).await;
    click(browser, ".selection-bar [data-action='delete']:enabled").await;
    first_rows(browser, "the rows without the deleted ones", &[9996]).await;
    assert_eq!(yard.client.run(RunId(9999)).await.unwrap_err().status().map(|status| status.as_u16()), Some(404));
    holds(browser, "nothing is selected", "return document.querySelector('.selection-bar').hidden").await;
    browser.find(Locator::XPath("//div[@id='toasts']/div[last()]//button[text()='Undo']")).await.unwrap().click().await.unwrap();
    first_rows(browser, "the rows with them again", &ids).await;
}

pub(crate) async fn annotations(browser: &Browser, yard: &Yard) {
    // What was told of the last actions lies over the row's button.
    while let Ok(message) = browser.find(Locator::Css("#toasts p")).await {
        message.click().await.unwrap();
    }
    click(browser, "tr[data-run='9996'] [data-action='edit']").await;
    shows(browser, "dialog.editor").await;
    let fields = browser.find_all(Locator::Css("dialog.editor > form > .field > input")).await.unwrap();
    fields[0].clear().await.unwrap();
    fields[0].send_keys("the one").await.unwrap();
    fields[1].clear().await.unwrap();
    fields[1].send_keys("chosen").await.unwrap();
    browser.find(Locator::Css("dialog.editor textarea")).await.unwrap().send_keys("looks <b>good</b>").await.unwrap();
    browser.find(Locator::XPath("//dialog//button[text()='Add a tag']")).await.unwrap().click().await.unwrap();
    let tag = browser.find(Locator::Css(".tag-row:last-child .tag-name")).await.unwrap();
    tag.send_keys("keep").await.unwrap();
    // What comes in meanwhile does not touch the form.
    yard.submit(&jobs::quick()).await;
    shows(browser, "tr[data-run='10001']").await;
    assert_eq!(run(browser, "return document.activeElement.value").await, "keep");
    browser.find(Locator::XPath("//dialog//button[text()='Save']")).await.unwrap().click().await.unwrap();
    holds(
        browser,
        "the row tells it",
        "const row = document.querySelector(\"tr[data-run='9996']\");
         return row.querySelector('.run-name').textContent === 'the one' && row.querySelector('.run-notes').textContent === 'looks <b>good</b>'
             && row.querySelector('.run-project').textContent === 'chosen' && [...row.querySelectorAll('.tag')].some((tag) => tag.textContent === 'keep')",
    )
    .await;
    let run = yard.run(RunId(9996)).await;
    assert_eq!((run.name.as_deref(), run.project.as_deref()), (Some("the one"), Some("chosen")));
    assert_eq!(run.tags.get("sweep").map(String::as_str), Some("9"));
}

/// How many runs of sweep 8 are in a state and listed.
async fn count(yard: &Yard, state: RunState) -> usize {
    let query = RunQuery { tags: vec!["sweep:8".to_owned()], state: Some(state), limit: Some(1000), ..RunQuery::default() };
    yard.client.runs(&query).await.unwrap().items.len()
}

async fn says(browser: &Browser, selector: &str, text: &str) {
    let script = format!("return document.querySelector('{selector}')?.textContent.replaceAll('\\u202f', '').includes('{text}') === true");
    holds(browser, text, &script).await;
}

/// All that match are acted on, of which the page shows a twentieth.
pub(crate) async fn matching(browser: &Browser, yard: &Yard) {
    browser.goto_hash("#/?tag=sweep%3A8").await;
    total(browser, "1–50 of 1000 runs").await;
    click(browser, "tr[data-run='9000'] .select-box").await;
    assert_eq!(run(browser, "return document.querySelector('.selection-bar .offer').hidden").await, true);
    click(browser, "th .select-box").await;
    says(browser, ".selection-bar", "50 selected").await;
    says(browser, ".offer", "Select all 1000 that match").await;
    click(browser, ".offer").await;
    says(browser, ".selection-bar", "All 1000 that match are selected").await;
    browser.find(Locator::LinkText("Next page")).await.unwrap().click().await.unwrap();
    first_rows(browser, "the next page, selected too", &[8950]).await;
    assert_eq!(selected(browser).await.as_array().unwrap().len(), 50);

    click(browser, ".selection-bar [data-action='pause']").await;
    says(browser, "dialog h2", "Pause 1000 runs?").await;
    click(browser, "dialog [value='no']").await;
    holds(browser, "no dialog", "return document.querySelector('dialog') === null").await;
    assert_eq!(count(yard, RunState::Paused).await, 0);
    click(browser, ".selection-bar [data-action='pause']").await;
    click(browser, "dialog [value='yes']").await;
    says(browser, "#toasts", "1000 runs paused").await;
    assert_eq!(count(yard, RunState::Paused).await, 1000);
    holds(browser, "nothing is selected", "return document.querySelector('.selection-bar').hidden").await;

    // One taken out leaves those of the page.
    click(browser, "th .select-box").await;
    click(browser, ".offer").await;
    click(browser, "tr[data-run='8950'] .select-box").await;
    says(browser, ".selection-bar", "49 selected").await;
    click(browser, "tr[data-run='8950'] .select-box").await;
    click(browser, ".offer").await;
    click(browser, ".selection-bar [data-action='archive']").await;
    click(browser, "dialog [value='yes']").await;
    says(browser, "#toasts", "1000 runs archived").await;
    assert_eq!(count(yard, RunState::Paused).await, 0);
    browser.find(Locator::XPath("//div[@id='toasts']/div[last()]//button[text()='Undo']")).await.unwrap().click().await.unwrap();
    support::eventually("all runs to be back", async || (count(yard, RunState::Paused).await == 1000).then_some(())).await;

    click(browser, "th .select-box").await;
    click(browser, ".offer").await;
    click(browser, ".selection-bar [data-action='tag']").await;
    shows(browser, "dialog.editor").await;
    browser.find(Locator::Css("dialog .tag-name")).await.unwrap().send_keys("triage").await.unwrap();
    click(browser, "dialog [value='yes']").await;
    says(browser, "dialog h2", "Tag 1000 runs?").await;
    click(browser, "dialog [value='yes']").await;
    says(browser, "#toasts", "1000 runs tagged").await;
    assert_eq!(yard.run(RunId(8001)).await.tags.get("triage").map(String::as_str), Some(""));
    browser.goto_hash("#/").await;
    first_rows(browser, "the newest runs", &[10_000]).await;
    holds(browser, "nothing is selected", "return document.querySelector('.selection-bar').hidden").await;
}
