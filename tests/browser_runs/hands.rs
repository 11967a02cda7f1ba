//! What a reader does with the page, and what they look at.

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::{Client as Browser, Locator};
use serde_json::{Value, json};

use crate::support::browser::{console_errors, failed_requests, holds, shows};

pub(crate) async fn run(browser: &Browser, script: &str) -> Value {
    browser.execute(script, vec![]).await.unwrap()
}

pub(crate) async fn click(browser: &Browser, selector: &str) {
    shows(browser, selector).await;
    browser.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
}

pub(crate) async fn choose(browser: &Browser, selector: &str, value: &str) {
    let select = browser.find(Locator::Css(selector)).await.unwrap();
    select.select_by_value(value).await.unwrap();
}

/// Keys, to whatever has the focus.
pub(crate) async fn press(browser: &Browser, keys: &[char]) {
    let actions = keys.iter().fold(KeyActions::new("keyboard".to_owned()), |actions, &value| {
        actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
    });
    browser.perform_actions(actions).await.unwrap();
}

/// Waits until the first rows of the table are these runs.
pub(crate) async fn first_rows(browser: &Browser, what: &str, ids: &[i64]) {
    let script = format!(
        "return JSON.stringify([...document.querySelectorAll('tr[data-run]')].slice(0, {}).map((row) => Number(row.dataset.run))) === '{}'",
        ids.len(),
        json!(ids),
    );
    holds(browser, what, &script).await;
}

pub(crate) async fn total(browser: &Browser, text: &str) {
    holds(browser, text, &format!("return document.querySelector('.run-total').textContent.replaceAll('\\u202f', '') === '{text}'")).await;
}

pub(crate) async fn selected(browser: &Browser) -> Value {
    run(browser, "return [...document.querySelectorAll('tr[aria-selected] ')].map((row) => Number(row.dataset.run))").await
}

pub(crate) async fn nothing_went_wrong(browser: &Browser) {
    let complaints = console_errors(browser).await;
    assert!(complaints.is_empty(), "the console has errors: {complaints:#?}");
    let failed = failed_requests(browser).await;
    assert!(failed.is_empty(), "requests failed: {failed:#?}");
}

/// Going to another route of the page that is open.
pub(crate) trait GotoHash {
    async fn goto_hash(&self, hash: &str);
}

impl GotoHash for Browser {
    async fn goto_hash(&self, hash: &str) {
        self.execute("location.hash = arguments[0]", vec![json!(hash)]).await.unwrap();
        tokio::task::yield_now().await;
    }
}
