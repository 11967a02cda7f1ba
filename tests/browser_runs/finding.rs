//! Order, pages, filters and views.

use fantoccini::key::Key;
use fantoccini::{Client as Browser, Locator};
use trainyard_wire::client::RunQuery;

use crate::hands::{GotoHash as _, choose, click, first_rows, run, total};
use crate::support::Yard;
use crate::support::browser::{holds, shows};

pub(crate) async fn order_and_pages(browser: &Browser) {
    click(browser, "th.cell-name .sort").await;
    first_rows(browser, "the runs by name", &[1, 2, 3]).await;
    assert_eq!(run(browser, "return document.querySelector('th.cell-name').getAttribute('aria-sort')").await, "ascending");
    click(browser, "th.cell-name .sort").await;
    first_rows(browser, "the runs by name, backwards", &[10_000, 9999]).await;
    assert_eq!(run(browser, "return location.hash").await, "#/?sort=-name");
    choose(browser, "#filter-state", "succeeded").await;
    click(browser, "th.cell-last .sort").await;
    holds(
        browser,
        "the losses are in order",
        "const shown = [...document.querySelectorAll('td.cell-last .strong')].map((it) => Number(it.textContent));
         return shown.length === 50 && shown.every((it, at) => at === 0 || shown[at - 1] <= it) && location.hash.includes('metric.loss.last')",
    )
    .await;
    choose(browser, "#filter-sort", "param.optimizer.learning_rate").await;
    choose(browser, "#filter-state", "").await;
    first_rows(browser, "the runs by their learning rate", &[1, 2, 3]).await;
    click(browser, ".sort-controls button").await;
    holds(browser, "backwards", "return location.hash === '#/?sort=-param.optimizer.learning_rate'").await;

    browser.goto_hash("#/").await;
    first_rows(browser, "the newest runs again", &[10_000]).await;
    browser.find(Locator::LinkText("Next page")).await.unwrap().click().await.unwrap();
    first_rows(browser, "the next page", &[9950, 9949]).await;
    total(browser, "51–100 of 10000 runs").await;
    browser.back().await.unwrap();
    first_rows(browser, "the first page", &[10_000]).await;
}

pub(crate) async fn filters(browser: &Browser, yard: &Yard) {
    choose(browser, "#filter-state", "running").await;
    total(browser, "1 run").await;
    let progress = run(browser, "return document.querySelector('td.cell-progress').textContent").await;
    assert_eq!(progress, "25 % · 1 min 15 s left");
    choose(browser, "#filter-state", "failed").await;
    total(browser, "1–50 of 200 runs").await;
    choose(browser, "#filter-project", "project 1").await;
    total(browser, "1–50 of 100 runs").await;
    assert_eq!(run(browser, "return location.hash").await, "#/?state=failed&project=project+1");
    browser.refresh().await.unwrap();
    total(browser, "1–50 of 100 runs").await;
    assert_eq!(run(browser, "return document.querySelector('#filter-project').value").await, "project 1");

    browser.goto_hash("#/").await;
    let search = browser.find(Locator::Css("#filter-q")).await.unwrap();
    search.send_keys("sweep 7").await.unwrap();
    total(browser, "1–50 of 1000 runs").await;
    assert_eq!(run(browser, "return document.activeElement.id").await, "filter-q");
    click(browser, ".more-filters summary").await;
    let tag = browser.find(Locator::Css("#filter-tag")).await.unwrap();
    tag.send_keys(&format!("sweep:7, nothing{}", char::from(Key::Enter))).await.unwrap();
    shows(browser, ".empty:not([hidden])").await;
    browser.goto_hash("#/?metric=loss%3C0.01&kind=regression&optimizer=gd&sort=metric.loss.last").await;
    let query = RunQuery { metrics: vec!["loss<0.01".to_owned()], limit: Some(1000), ..RunQuery::default() };
    let found = yard.client.runs(&query).await.unwrap().items.len();
    assert!(found > 3);
    total(browser, &format!("{found} runs")).await;
    assert_eq!(run(browser, "return document.querySelector('#filter-metric').value").await, "loss<0.01");
}

pub(crate) async fn views(browser: &Browser, yard: &Yard) {
    click(browser, ".views button:not([hidden])").await;
    let name = browser.find(Locator::Css("dialog input")).await.unwrap();
    name.send_keys(&format!("small losses{}", char::from(Key::Enter))).await.unwrap();
    holds(browser, "the view is picked", "return document.querySelector('#view').value === 'small losses'").await;
    let views = yard.client.views().await.unwrap().items;
    assert_eq!(views.len(), 1);
    browser.goto_hash("#/").await;
    first_rows(browser, "the newest runs", &[10_000]).await;
    choose(browser, "#view", "small losses").await;
    holds(browser, "the view's address", "return location.hash.includes('sort=metric.loss.last')").await;
    browser.find(Locator::XPath("//button[text()='Delete view']")).await.unwrap().click().await.unwrap();
    holds(browser, "no view", "return document.querySelector('#view').value === ''").await;
    assert!(yard.client.views().await.unwrap().items.is_empty());
    click(browser, ".toast-undo").await;
    holds(browser, "the view again", "return document.querySelector('#view').value === 'small losses'").await;
    browser.goto_hash("#/").await;
}
