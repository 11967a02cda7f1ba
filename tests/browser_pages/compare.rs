//! The page that compares runs.

use fantoccini::Locator;
use fantoccini::actions::{InputSource as _, MouseActions, PointerAction};
use fantoccini::key::Key;
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
    assert_eq!(desk.tell("return document.querySelector('.compare-tools').hidden").await, true);
    desk.is_quiet("404").await;
    desk.visit("#/nothing").await;
    shows(&desk.browser, ".notice a[href='#/']").await;
    assert!(desk.text(".notice").await.contains("no such page"));
    desk.close().await;
}

/// Runs of the table that are not faded.
const KEPT: &str = "[...document.querySelectorAll(\"section[aria-label='Runs'] tbody tr:not([data-faded])\")].length";

/// Drags along an axis of the parallel coordinates, from one height to another (0 to 1); a click where they are the same.
async fn brush(desk: &Desk, axis: usize, from: f64, to: f64) {
    let place = desk
        .tell(&format!(
            "const it = document.querySelectorAll('.brush-axis')[{axis}];
             it.scrollIntoView({{block: 'center'}});
             const {{x, width, bottom, height}} = it.getBoundingClientRect();
             return [x + width / 2, bottom - {from} * height, bottom - {to} * height]"
        ))
        .await;
    let at = |index: usize| place[index].as_f64().unwrap();
    let drag = MouseActions::new("mouse".to_owned())
        .then(PointerAction::MoveTo { duration: None, x: at(0), y: at(1) })
        .then(PointerAction::Down { button: 0 })
        .then(PointerAction::MoveTo { duration: None, x: at(0), y: at(2) })
        .then(PointerAction::Up { button: 0 });
    desk.browser.perform_actions(drag).await.unwrap();
}

#[tokio::test]
async fn a_drag_along_an_axis_keeps_the_runs_within_it_and_so_do_fields() {
    let Some(desk) = Desk::open(1).await else { return };
    let (job, _) = seeds::done(&desk.yard, &seeds::seeded_sweep(&[0.1, 0.09, 0.001])).await;
    desk.visit(&format!("#/compare?job={job}")).await;
    shows(&desk.browser, ".brush-axis:nth-child(3)").await;
    shows(&desk.browser, "section[aria-label='Runs'] tbody tr:nth-child(9)").await;
    let keeps = async |count: usize| holds(&desk.browser, &format!("{count} runs are kept"), &format!("return {KEPT} === {count}")).await;
    keeps(9).await;
    brush(&desk, 0, 0.9, 1.1).await;
    keeps(6).await;
    brush(&desk, 1, 0.6, 0.4).await;
    keeps(2).await;
    assert_eq!(desk.text(".brush-controls summary").await, "Ranges 2 of 9 runs");
    let drawn = "const plot = document.querySelector(\"section[aria-label='Parallel coordinates'] .js-plotly-plot\");
        return [true, false].map((faded) => new Set(plot.data.filter((trace) => (trace.meta === 'faded') === faded)
            .flatMap((trace) => trace.customdata.filter(Boolean))).size)";
    assert_eq!(desk.tell(drawn).await, json!([7, 2]));

    // A click takes the range of its axis away.
    brush(&desk, 0, 0.5, 0.5).await;
    keeps(3).await;
    // The same without a pointer.
    desk.click(".brush-controls summary").await;
    assert_eq!(desk.tell("return document.querySelector(\"[aria-label='optimizer.learning_rate from']\").value").await, "");
    let field = desk.browser.find(Locator::Css("[aria-label='optimizer.learning_rate to']")).await.unwrap();
    field.send_keys(&format!("0.05{}", char::from(Key::Tab))).await.unwrap();
    keeps(1).await;
    desk.click("[aria-label='Take away the range of seed']").await;
    keeps(3).await;
    desk.browser.find(Locator::XPath("//button[text()='Clear all']")).await.unwrap().click().await.unwrap();
    keeps(9).await;
    assert_eq!(desk.tell(drawn).await, json!([0, 9]));
    desk.is_quiet("").await;
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
