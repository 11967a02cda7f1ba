//! Pictures of every page, light and dark, wide and narrow, and what axe-core finds on them. Run by `scripts/screenshots`.

use std::path::PathBuf;

use serde_json::{Value, json};
use trainyard_wire::RunState;

use crate::support::browser::{holds, shows};
use crate::support::jobs;
use crate::{Desk, seeds};

/// Width in pixels, and how it is called.
const WIDTHS: [(u32, &str); 2] = [(1400, "wide"), (400, "narrow")];
/// Tallest picture, in pixels.
const MOST_HEIGHT: u64 = 5_000;

#[tokio::test]
#[ignore = "makes pictures; scripts/screenshots runs it"]
async fn every_page_is_looked_at() {
    let folder = PathBuf::from(std::env::var("TRAINYARD_SCREENSHOTS").expect("TRAINYARD_SCREENSHOTS names a folder"));
    std::fs::create_dir_all(&folder).unwrap();
    let axe = std::env::var("TRAINYARD_AXE").ok().map(|path| std::fs::read_to_string(path).unwrap());
    let Some(desk) = Desk::open(1).await else { return };
    let pages = pages(&desk).await;

    let mut violations = Vec::new();
    for theme in ["light", "dark"] {
        desk.tell(&format!("localStorage.setItem('theme', '{theme}')")).await;
        for (width, what) in WIDTHS {
            for (name, fragment, ready) in &pages {
                desk.browser.set_window_size(width, 1000).await.unwrap();
                // Another page first, so that the fragment alone is not all that changes.
                desk.browser.goto("about:blank").await.unwrap();
                desk.visit(fragment).await;
                for selector in ready {
                    shows(&desk.browser, selector).await;
                }
                holds(
                    &desk.browser,
                    "all pictures are loaded",
                    "return [...document.querySelectorAll('main img:not([hidden])')].every((it) => it.complete && it.naturalWidth > 0)",
                )
                .await;
                let height = desk.tell("return document.documentElement.scrollHeight").await.as_u64().unwrap().clamp(700, MOST_HEIGHT);
                desk.browser.set_window_size(width, u32::try_from(height).unwrap() + 140).await.unwrap();
                // Two frames: the first lays out, the second has painted it.
                desk.browser
                    .execute_async(
                        "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done(true)))",
                        vec![],
                    )
                    .await
                    .unwrap();
                let overflow = desk.tell("return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
                if overflow.as_i64() > Some(0) {
                    violations.push(format!("{name} {theme} {what}: {overflow} pixels wider than the window"));
                }
                let picture = desk.browser.screenshot().await.unwrap();
                std::fs::write(folder.join(format!("{name}-{theme}-{what}.png")), picture).unwrap();
                if let Some(axe) = &axe {
                    violations.extend(axe_violations(&desk, axe).await.into_iter().map(|found| format!("{name} {theme} {what}: {found}")));
                }
            }
        }
    }
    desk.is_quiet("422").await;
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
    println!(
        "{} pictures in {}, {}",
        pages.len() * 4,
        folder.display(),
        if axe.is_some() { "axe-core found nothing" } else { "axe-core was not run" }
    );
    desk.close().await;
}

/// Name, address, and what must be there before a picture is taken.
type Page = (&'static str, String, Vec<&'static str>);

/// Trains something of each kind; the pages that show it.
async fn pages(desk: &Desk) -> Vec<Page> {
    let yard = &desk.yard;
    let descent = json!({"name": "descent on a well-conditioned problem", "tags": {"topic": "theory", "owner": "ada"},
        "spec": {"kind": "regression", "problem": {"source": "synthetic", "n": 50, "d": 10, "condition": 20, "noise": 0.1},
            "optimizer": {"name": "gd", "learning_rate": 0.2}, "steps": 1000}});
    let (_, descents) = seeds::done(yard, &descent).await;
    let (sweep, _) = seeds::done(yard, &seeds::seeded_sweep(&[0.12, 0.1, 0.05, 0.01])).await;
    let (networks, colours) = seeds::done(yard, &seeds::networks(&["pool_upsample", "conv_transpose", "unet"], 6)).await;
    let (_, unrolled) = seeds::done(yard, &jobs::hypergradient()).await;
    let (_, pair) = seeds::done(yard, &jobs::regularization_pair(json!({"name": "momentum", "learning_rate": 0.1}))).await;
    let mut diverging = jobs::two_unknowns(json!({"name": "gd", "learning_rate": 0.9}));
    diverging["name"] = json!("over the stability limit");
    let diverged = yard.submit(&diverging).await;
    yard.until(diverged, RunState::Failed).await;

    let plots = ".js-plotly-plot .scatterlayer .trace";
    vec![
        ("runs", "#/".to_owned(), vec!["table.runs tbody tr:nth-child(5)"]),
        ("run-regression", format!("#/runs/{}", descents[0]), vec![plots, "section[aria-label='Certificates']:not([hidden])"]),
        (
            "run-colourization",
            format!("#/runs/{}", colours[2]),
            vec![plots, "#sample:not([hidden])", "section[aria-label='Network']:not([hidden])"],
        ),
        ("run-hypergradient", format!("#/runs/{}", unrolled[0]), vec![plots, ".drawing img"]),
        ("run-pair", format!("#/runs/{}", pair[0]), vec![plots]),
        ("run-diverged", format!("#/runs/{diverged}"), vec![plots, ".run-head .notice.error:not([hidden])"]),
        (
            "compare-sweep",
            format!("#/compare?job={sweep}"),
            vec![
                "section[aria-label='Parallel coordinates'] .scatterlayer .trace",
                "section[aria-label='Last values'] .scatterlayer .trace",
            ],
        ),
        ("compare-networks", format!("#/compare?job={networks}"), vec![plots, ".compare-picture img[src]"]),
        ("submit", "#/submit".to_owned(), vec!["section[aria-label='What would run'][data-state='right'] dd"]),
        ("submit-like", format!("#/submit?like={}", colours[0]), vec!["section[aria-label='What would run'][data-state='right'] dd"]),
    ]
}

/// What axe-core finds, in a line each.
async fn axe_violations(desk: &Desk, axe: &str) -> Vec<String> {
    desk.browser.execute(axe, vec![]).await.unwrap();
    let run = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((it) => done(it.violations), (error) => done(String(error)))";
    let found = desk.browser.execute_async(run, vec![]).await.unwrap();
    let Value::Array(found) = found else { return vec![format!("axe-core failed: {found}")] };
    let line = |violation: &Value| {
        let nodes = violation["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let first: Vec<String> = nodes.iter().take(3).map(|node| format!("{} {}", node["target"], node["any"][0]["message"])).collect();
        format!("{} at {} places: {}", violation["id"], nodes.len(), first.join("; "))
    };
    found.iter().map(line).collect()
}
