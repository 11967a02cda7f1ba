//! The page of one run.

use serde_json::json;

use crate::support::browser::{holds, shows};
use crate::{Desk, seeds};

const PLOT: &str = "document.querySelector(\"section[aria-label='Chart of loss'] .js-plotly-plot\")";

#[tokio::test]
async fn a_long_run_shows_its_spikes_and_nan_and_comes_finer_the_closer_one_looks() {
    let Some(desk) = Desk::open(0).await else { return };
    let run = seeds::long_run(&desk.yard, 60_000).await;
    desk.visit(&format!("#/runs/{run}")).await;
    shows(&desk.browser, "section[aria-label='Chart of loss'] .scatterlayer .lines path").await;
    let kinds = desk.tell(&format!("return {PLOT}.data.map((trace) => trace.meta)")).await;
    assert_eq!(kinds, json!(["edge:0", "band:0", "raw:0", "smooth:0", "mark:0"]));
    let highest = desk.tell(&format!("return Math.max(...{PLOT}.data[1].y)")).await;
    assert_eq!(highest, json!(1000), "the spike is not in the band");
    let note = desk.text("section[aria-label='Chart of loss'] .chart-note").await;
    assert!(note.contains("loss is NaN at step 30001") && note.contains("zoom in"), "{note}");

    // Zoomed in until points are few enough, there is no band any more.
    desk.tell(&format!("Plotly.relayout({PLOT}, {{'xaxis.range[0]': 29900, 'xaxis.range[1]': 30100}})")).await;
    holds(
        &desk.browser,
        "single points are drawn",
        &format!("const raw = {PLOT}.data.find((trace) => trace.meta === 'raw:0'); return raw.x.length === 201 && raw.x[0] === 29900"),
    )
    .await;
    assert_eq!(desk.tell(&format!("return {PLOT}.layout.xaxis.range.map(Math.round)")).await, json!([29900, 30100]), "the zoom was lost");
    desk.tell(&format!("Plotly.relayout({PLOT}, {{'xaxis.autorange': true}})")).await;
    holds(&desk.browser, "the whole curve is back", &format!("return {PLOT}.data.length === 5 && {PLOT}.data[2].x.at(-1) === 59999")).await;

    desk.click("section[aria-label='Chart of loss'] [aria-label^='Logarithmic y']").await;
    holds(&desk.browser, "the value axis is linear", &format!("return {PLOT}.layout.yaxis.type === 'linear'")).await;
    desk.tell("const it = document.querySelector('#smoothing'); it.value = 0; it.dispatchEvent(new Event('input')); it.dispatchEvent(new Event('change'))")
        .await;
    holds(&desk.browser, "no smoothed curve", &format!("return !{PLOT}.data.some((trace) => trace.meta.startsWith('smooth'))")).await;
    assert!(desk.browser.current_url().await.unwrap().as_str().contains("smooth=0"));
    desk.is_quiet("").await;
    desk.close().await;
}

#[tokio::test]
async fn a_run_tells_its_certificates_its_attempts_its_worker_and_its_network() {
    let Some(desk) = Desk::open(1).await else { return };
    let descent = json!({"name": "descent", "spec": {"kind": "regression", "problem": {"source": "synthetic", "n": 30, "d": 5, "condition": 10, "noise": 0.1},
        "optimizer": {"name": "gd", "learning_rate": 0.1}, "steps": 200}});
    let (_, runs) = seeds::done(&desk.yard, &descent).await;
    desk.visit(&format!("#/runs/{}", runs[0])).await;
    for card in ["Certificates", "Attempts", "Worker", "Spec", "Events", "Theory", "Summary"] {
        shows(&desk.browser, &format!("section[aria-label='{card}']:not([hidden])")).await;
    }
    holds(&desk.browser, "measured and predicted curves", &format!("return {PLOT}.data.some((trace) => trace.line.dash === 'dash')")).await;
    assert_eq!(desk.text("section[aria-label='Attempts'] tbody td:nth-child(5)").await, "succeeded");
    assert!(desk.text("section[aria-label='Certificates'] tbody .formula").await.contains('η'));
    desk.click("a[href='#/submit?like=1']").await;
    shows(&desk.browser, "#spec-optimizer-learning_rate").await;

    let (_, runs) = seeds::done(&desk.yard, &seeds::networks(&["unet"], 1)).await;
    desk.visit(&format!("#/runs/{}", runs[0])).await;
    shows(&desk.browser, "section[aria-label='Network'] tbody tr:nth-child(5)").await;
    assert!(desk.text("section[aria-label='Network'] thead").await.contains("Sees"));
    desk.is_quiet("").await;
    desk.close().await;
}

#[tokio::test]
async fn the_colours_that_a_reader_chose_stay() {
    let Some(desk) = Desk::open(0).await else { return };
    let background = "return getComputedStyle(document.body).backgroundColor";
    let before = desk.tell(background).await;
    desk.click("#theme").await;
    let after = desk.tell(background).await;
    assert_ne!(before, after);
    desk.browser.refresh().await.unwrap();
    shows(&desk.browser, ".top-nav a[aria-current]").await;
    assert_eq!(desk.tell(background).await, after);
    desk.click("#theme").await;
    assert_eq!(desk.tell(background).await, before);
    desk.is_quiet("").await;
    desk.close().await;
}
