//! The page that compares runs.

use fantoccini::Locator;
use serde_json::json;

use crate::support::browser::{holds, shows};
use crate::{Desk, seeds};

#[tokio::test]
async fn a_sweep_is_compared_by_curves_by_settings_and_by_seeds() {
    let Some(desk) = Desk::open(1).await else { return };
    let (job, runs) = seeds::done(&desk.yard, &seeds::seeded_sweep(&[0.1, 0.09, 0.001])).await;
    desk.visit(&format!("#/compare?job={job}")).await;
    for card in ["Curves", "Last values", "Parallel coordinates"] {
        shows(&desk.browser, &format!("section[aria-label='{card}'] .scatterlayer .trace")).await;
    }
    let verdicts = desk
        .tell("return [...document.querySelectorAll(\"section[aria-label='Groups of seeds'] .badge\")].map((it) => it.className)")
        .await;
    assert_eq!(verdicts, json!(["badge best", "badge noise", "badge differs"]));
    let rows = desk.browser.find_all(Locator::Css("section[aria-label='Runs'] tbody tr")).await.unwrap();
    assert_eq!(rows.len(), 9);
    let headings = desk.text("section[aria-label='Runs'] thead").await;
    assert!(headings.contains("optimizer.learning_rate") && headings.contains("seed") && !headings.contains("steps"), "{headings}");
    assert!(!desk.browser.find_all(Locator::Css("section[aria-label='Runs'] td.best")).await.unwrap().is_empty());

    // Another metric, in the address too.
    desk.browser.find(Locator::Css("#compare-metric")).await.unwrap().select_by_value("gradient_norm").await.unwrap();
    shows(&desk.browser, "section[aria-label='Curves'] [aria-label='Curves: gradient_norm of 9 runs']").await;
    assert!(desk.browser.current_url().await.unwrap().as_str().contains("metric=gradient_norm"));
    desk.browser.find(Locator::Css("#compare-x")).await.unwrap().select_by_value("seed").await.unwrap();
    shows(&desk.browser, "section[aria-label='Last values'] [aria-label='Last values: gradient_norm over seed']").await;

    desk.visit(&format!("#/compare?runs={},{}", runs[0], runs[3])).await;
    holds(&desk.browser, "two runs are compared", "return document.querySelectorAll(\"section[aria-label='Runs'] tbody tr\").length === 2")
        .await;
    desk.is_quiet("").await;
    desk.visit("#/compare?runs=1,77").await;
    shows(&desk.browser, ".notice a[href='#/']").await;
    desk.is_quiet("404").await;
    desk.close().await;
}

#[tokio::test]
async fn pictures_of_several_runs_go_through_the_epochs_in_step() {
    let Some(desk) = Desk::open(1).await else { return };
    let (job, _) = seeds::done(&desk.yard, &seeds::networks(&["unet", "pool_upsample"], 3)).await;
    desk.visit(&format!("#/compare?job={job}")).await;
    shows(&desk.browser, ".compare-picture[data-epoch='3'] + .compare-picture[data-epoch='3']").await;
    desk.tell("const it = document.querySelector('#compare-epoch'); it.value = 0; it.dispatchEvent(new Event('input'))").await;
    holds(
        &desk.browser,
        "both pictures are those of the first epoch",
        "const them = [...document.querySelectorAll('.compare-picture')];
         return them.length === 2 && them.every((it) => it.dataset.epoch === '1' && it.querySelector('img').naturalWidth > 0
             && it.querySelector('img').src.includes('epoch-001'))",
    )
    .await;
    desk.is_quiet("").await;
    desk.close().await;
}
