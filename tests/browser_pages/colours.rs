//! What the page of a colourization says of its colours, and the form of a run.

use fantoccini::Locator;
use serde_json::json;

use crate::support::browser::{holds, shows};
use crate::{Desk, seeds};

#[tokio::test]
async fn a_colourization_shows_which_colours_it_takes_for_which_and_what_it_has_to_beat() {
    let Some(desk) = Desk::open(1).await else { return };
    let (job, runs) = seeds::done(&desk.yard, &seeds::networks(&["unet", "conv_transpose"], 3)).await;
    desk.visit(&format!("#/runs/{}", runs[0])).await;
    shows(&desk.browser, "section[aria-label='Colours taken for each other']:not([hidden]) .heatmaplayer image").await;
    let colours = serde_json::to_value(desk.yard.run(runs[0]).await.spec).unwrap()["num_colours"].clone();
    let table = "section[aria-label='Colours taken for each other'] tbody";
    assert_eq!(desk.tell(&format!("return document.querySelectorAll(\"{table} tr\").length")).await, colours);
    let swatch = desk
        .tell(&format!(
            "const row = document.querySelector(\"{table} tr\");
             const [, red, green, blue] = /#(..)(..)(..)/.exec(row.querySelector('code').textContent).map((it) => Number.parseInt(it, 16));
             return getComputedStyle(row.querySelector('.swatch')).backgroundColor === `rgb(${{red}}, ${{green}}, ${{blue}})`"
        ))
        .await;
    assert_eq!(swatch, json!(true));
    for (chart, baseline) in [
        ("loss", "colour frequencies"),
        ("validation accuracy", "majority colour"),
        ("colour error", "palette floor"),
        ("checkerboard", "truth"),
    ] {
        let card = format!("section[aria-label='Chart of {chart}']");
        holds(
            &desk.browser,
            &format!("the baseline of {chart}"),
            &format!("return document.querySelector(\"{card} .js-plotly-plot\")?.data?.some((it) => it.meta === 'level' && it.name === '{baseline}') === true"),
        )
        .await;
        let note = desk.text(&format!("{card} .chart-note")).await;
        assert!(note.contains(&format!("{baseline}: ")), "{chart}: {note}");
    }

    desk.visit(&format!("#/compare?job={job}&metric=checkerboard")).await;
    holds(
        &desk.browser,
        "the truth beside both networks",
        "return document.querySelector(\"section[aria-label='Curves'] .js-plotly-plot\")?.data?.filter((it) => it.meta === 'level').length === 1",
    )
    .await;
    desk.is_quiet("").await;
    desk.close().await;
}

#[tokio::test]
async fn a_run_is_renamed_and_noted_on_its_own_page() {
    let Some(desk) = Desk::open(0).await else { return };
    let run = desk.yard.submit(&crate::support::jobs::quick()).await;
    desk.visit(&format!("#/runs/{run}")).await;
    shows(&desk.browser, ".run-head [data-action='edit']").await;
    desk.click(".run-head [data-action='edit']").await;
    shows(&desk.browser, "dialog.editor").await;
    let fields = desk.browser.find_all(Locator::Css("dialog.editor > form > .field > input")).await.unwrap();
    for (field, text) in fields.iter().zip(["the one", "chosen"]) {
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }
    desk.write("dialog.editor textarea", "looks <b>good</b>").await;
    desk.browser.find(Locator::XPath("//dialog//button[text()='Add a tag']")).await.unwrap().click().await.unwrap();
    desk.write(".tag-row:last-child .tag-name", "keep").await;
    desk.browser.find(Locator::XPath("//dialog//button[text()='Save']")).await.unwrap().click().await.unwrap();
    holds(
        &desk.browser,
        "the page tells it",
        "const head = document.querySelector('.run-head');
         return head.querySelector('h1').textContent === 'the one' && head.querySelector('.head-notes').textContent === 'looks <b>good</b>'
             && [...head.querySelectorAll('.tag')].some((it) => it.textContent === 'keep') && head.querySelector('.facts').textContent.includes('chosen')",
    )
    .await;
    let after = desk.yard.run(run).await;
    assert_eq!((after.name.as_deref(), after.project.as_deref()), (Some("the one"), Some("chosen")));
    assert!(after.tags.contains_key("keep"));
    desk.is_quiet("").await;
    desk.close().await;
}
