//! The page of runs in a real browser, on a store of ten thousand; see [`support::browser`] for where there is no browser.
//!
//! One test walks through all of it, because filling the store takes longer than the walk.
#![allow(clippy::unwrap_used)]

mod changing;
mod finding;
mod hands;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod using;

use hands::{first_rows, nothing_went_wrong, run, total};
use support::browser::{Driver, chromium, dashboard_address, shows};

#[tokio::test]
async fn ten_thousand_runs_are_found_ordered_selected_and_changed() {
    let Some(chromium) = chromium() else { return };
    let yard = store::filled().await;
    let driver = Driver::start().await;
    let browser = driver.open(&chromium).await;
    browser.goto(&dashboard_address(&yard)).await.unwrap();
    first_rows(&browser, "the newest runs", &[10_000, 9999, 9998]).await;
    total(&browser, "1–50 of 10000 runs").await;

    // From a navigation to the first rows, as the browser measures it. The bound is that of a machine that does other things too.
    browser.refresh().await.unwrap();
    shows(&browser, "tr[data-run]").await;
    let paints = run(&browser, "return [performance.getEntriesByName('first-contentful-paint')[0].startTime, performance.now()]").await;
    println!("first paint and first rows after {paints} ms");

    finding::order_and_pages(&browser).await;
    finding::filters(&browser, &yard).await;
    finding::views(&browser, &yard).await;
    changing::selection(&browser, &yard).await;
    changing::matching(&browser, &yard).await;
    changing::annotations(&browser, &yard).await;
    using::live(&browser, &yard).await;
    using::keyboard(&browser).await;
    using::without_events(&browser, &yard).await;
    using::narrow(&browser).await;
    nothing_went_wrong(&browser).await;
    browser.close().await.unwrap();
}
