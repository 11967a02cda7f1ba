//! What a reader feels: how soon a page shows something, how soon a chart follows its run, how soon an event is there, and that none is
//! lost. What is exact is checked whenever the tests run. With `TRAINYARD_SIEGE=1` the store has its full size, times are printed as a
//! table, and one that is over its limit fails (`TRAINYARD_BINARY` names the binary that is measured).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use trainyard_wire::RunId;

use crate::line::Line;
use crate::seeds::{self, Going};
use crate::support::browser::{console_errors, failed_requests, holds, shows};
use crate::support::{Yard, eventually, jobs};
use crate::{Desk, support::PATIENCE};

/// How many runs, points and repetitions there are.
struct Size {
    runs: u64,
    points: u64,
    /// Of the sweep that is compared: learning rates, and seeds of each.
    sweep: (u64, u64),
    /// How often a page is opened, a chart followed, and an event waited for.
    openings: usize,
    updates: usize,
    events: usize,
}

const WHOLE: Size = Size { runs: 10_000, points: 1_000_000, sweep: (100, 10), openings: 7, updates: 20, events: 100 };
const SHORT: Size = Size { runs: 120, points: 3_000, sweep: (10, 3), openings: 2, updates: 3, events: 10 };

/// In milliseconds: from the beginning of a navigation to the first real data on the screen; from a figure's arrival to the frame that shows
/// it; from the acknowledgement of a report to the event in the page.
const USEFUL: f64 = 1000.0;
const DRAWN: f64 = 100.0;
const HEARD: f64 = 100.0;

fn is_siege() -> bool {
    std::env::var_os("TRAINYARD_SIEGE").is_some()
}

/// Times of one kind, and what they must not exceed.
struct Times {
    what: String,
    limit: Option<f64>,
    milliseconds: Vec<f64>,
}

impl Times {
    fn new(what: impl Into<String>, limit: Option<f64>, milliseconds: Vec<f64>) -> Self {
        assert!(!milliseconds.is_empty());
        Self { what: what.into(), limit, milliseconds }
    }

    fn is_within(&self) -> bool {
        self.limit.is_none_or(|limit| self.milliseconds.iter().all(|time| *time <= limit))
    }
}

/// Prints the times; in a siege all have to be within their limits.
fn tell(times: &[Times]) {
    println!("{:44} {:>4} {:>9} {:>9} {:>9}   limit", "ms", "n", "first", "median", "max");
    for Times { what, limit, milliseconds } in times {
        let mut sorted = milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        let (median, most) = (sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
        let limit = limit.map_or_else(String::new, |limit| format!("{limit:.0}"));
        println!("{what:44} {:>4} {:>9.1} {median:>9.1} {most:>9.1}   {limit}", sorted.len(), milliseconds[0]);
    }
    if is_siege() {
        let late: Vec<&str> = times.iter().filter(|times| !times.is_within()).map(|times| times.what.as_str()).collect();
        assert!(late.is_empty(), "over the limit: {late:?}");
    }
}

/// A desk at a server whose runs keep their worker, which is this test.
async fn desk() -> Option<Desk> {
    crate::support::browser::chromium()?;
    Desk::at(Yard::server(&["--lease-seconds", "3600"]).await).await
}

/// Begins to note the page's own marks and measures (server/assets/js/timing.js): name, start, duration, detail.
const OBSERVE: &str = "window.noted = [];
    new PerformanceObserver((list) => {
        for (const it of list.getEntries()) window.noted.push([it.name, it.startTime, it.duration, it.detail]);
    }).observe({entryTypes: ['mark', 'measure']});";

/// Opens a page from nothing, until `charts` charts are drawn; answers when it was useful and when its charts stood, from the beginning of the
/// navigation.
async fn open(desk: &Desk, fragment: &str, charts: usize) -> (f64, f64) {
    desk.browser.goto("about:blank").await.unwrap();
    desk.visit(fragment).await;
    holds(&desk.browser, "the page is useful", "return performance.getEntriesByName('useful').length === 1").await;
    let drawn = format!(
        "return [...document.querySelectorAll('.js-plotly-plot')].filter((it) => it.querySelector('.scatterlayer .trace')).length >= {charts}
             && ({charts} === 0 || performance.getEntriesByName('chart').length === 1)"
    );
    holds(&desk.browser, "the charts are drawn", &drawn).await;
    let script = "const chart = performance.getEntriesByName('chart')[0];
        return [performance.getEntriesByName('useful')[0].startTime, chart ? chart.startTime + chart.duration : 0]";
    let times = desk.tell(script).await;
    (times[0].as_f64().unwrap(), times[1].as_f64().unwrap())
}

/// Nothing is in the console and no request of the present page failed.
async fn is_clean(desk: &Desk) {
    let complaints = console_errors(&desk.browser).await;
    assert!(complaints.is_empty(), "the console has errors: {complaints:#?}");
    let failed = failed_requests(&desk.browser).await;
    assert!(failed.is_empty(), "requests failed: {failed:#?}");
}

#[tokio::test]
async fn every_page_is_soon_useful_without_an_error_or_a_request_that_fails() {
    let size = if is_siege() { WHOLE } else { SHORT };
    let Some(desk) = desk().await else { return };
    let mut going = Going::begin(&desk.yard, size.points).await;
    let job = seeds::told_sweep(&desk.yard, size.sweep, 150).await;
    seeds::waiting(&desk.yard, size.runs).await;

    let pages = [
        ("runs", "#/".to_owned(), 0),
        ("run", format!("#/runs/{}", going.run), 1),
        ("compare", format!("#/compare?job={job}"), 3),
        ("submit", "#/submit".to_owned(), 0),
    ];
    let mut times = Vec::new();
    for (name, fragment, charts) in pages {
        let (mut useful, mut drawn) = (Vec::new(), Vec::new());
        for _ in 0..size.openings {
            let (first, last) = open(&desk, &fragment, charts).await;
            useful.push(first);
            drawn.push(last);
            is_clean(&desk).await;
        }
        times.push(Times::new(format!("{name}: first real data"), Some(USEFUL), useful));
        if charts > 0 {
            times.push(Times::new(format!("{name}: charts"), None, drawn));
        }
    }
    times.push(live_chart(&desk, &mut going, size.updates).await);
    times.push(heard(&desk, &mut going, size.events).await);
    tell(&times);
    desk.close().await;
}

/// Follows the chart of a run that goes on: each report is seen, and how long after its figure came.
async fn live_chart(desk: &Desk, going: &mut Going, updates: usize) -> Times {
    open(desk, &format!("#/runs/{}", going.run), 1).await;
    desk.tell(OBSERVE).await;
    for _ in 0..updates {
        let last = going.report(50).await;
        holds(
            &desk.browser,
            "the chart has the newest point",
            &format!(
                "const plot = document.querySelector(\"section[aria-label='Chart of loss'] .js-plotly-plot\");
                 return plot.data.find((trace) => trace.meta === 'raw:0').x.at(-1) === {last}"
            ),
        )
        .await;
    }
    let drawn = async || {
        let noted = desk.tell("return window.noted.filter((it) => it[0] === 'chart').map((it) => it[2])").await;
        let drawn: Vec<f64> = noted.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
        (drawn.len() >= updates).then_some(drawn)
    };
    let drawn = eventually("all updates to be measured", drawn).await;
    is_clean(desk).await;
    Times::new("run: from a figure's arrival to its frame", Some(DRAWN), drawn)
}

/// How long after the acknowledgement of each report its event was handled in the page of runs.
async fn heard(desk: &Desk, going: &mut Going, events: usize) -> Times {
    open(desk, "#/", 0).await;
    desk.tell(OBSERVE).await;
    follow(desk, &mut async || going.report(1).await).await;
    let mut times = Vec::new();
    for _ in 0..events {
        going.report(1).await;
        let acknowledged = milliseconds(SystemTime::now());
        let revision = desk.yard.run(going.run).await.revision.0;
        let at = eventually("the event in the page", async || ids_and_times(desk).await.into_iter().find(|it| it.0 == revision)).await.1;
        times.push(at - acknowledged);
    }
    is_clean(desk).await;
    Times::new("runs: from an acknowledgement to its event", Some(HEARD), times)
}

fn milliseconds(time: SystemTime) -> f64 {
    1e3 * time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// The events that the page has handled: ids, and when by the wall clock, in milliseconds.
async fn ids_and_times(desk: &Desk) -> Vec<(i64, f64)> {
    // The page's own clock may have drifted from the wall clock since it began.
    let script = "const drift = performance.timeOrigin + performance.now() - Date.now();
        return window.noted.filter((it) => it[0] === 'event').map((it) => [Number(it[3]), performance.timeOrigin + it[1] - drift])";
    let noted = desk.tell(script).await;
    noted.as_array().unwrap().iter().map(|it| (it[0].as_i64().unwrap(), it[1].as_f64().unwrap())).collect()
}

/// Changes something until the page hears of it: its stream has begun then.
async fn follow(desk: &Desk, change: &mut impl AsyncFnMut() -> u64) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while ids_and_times(desk).await.is_empty() {
        assert!(std::time::Instant::now() < deadline, "the page hears of nothing");
        change().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Rounds of what a broken connection is tried with.
const ROUNDS: usize = 4;

#[tokio::test]
async fn after_a_dropped_connection_no_event_is_missing_and_none_is_there_twice() {
    let Some(desk) = desk().await else { return };
    let mut going = Going::begin(&desk.yard, 100).await;
    let line = Line::to(&desk.yard.url).await;
    desk.browser.goto(&format!("{}/#token={}", line.url, desk.yard.token)).await.unwrap();
    shows(&desk.browser, &format!("tr[data-run='{}']", going.run)).await;
    desk.tell(OBSERVE).await;
    follow(&desk, &mut async || going.report(1).await).await;
    let begun = ids_and_times(&desk).await[0].0;

    let rounds = if is_siege() { 10 * ROUNDS } else { ROUNDS };
    let mut submitted: Vec<RunId> = Vec::new();
    for round in 0..rounds {
        // Cut between two events, and in the middle of many.
        for event in 0..6 {
            submitted.push(desk.yard.submit(&jobs::quick()).await);
            going.report(1).await;
            if event == round % 6 {
                // After the last event of a round the page may still be on its way back.
                eventually("a connection to cut", async || (line.cut() > 0).then_some(())).await;
            }
        }
        let last = desk.yard.events(*submitted.last().unwrap()).await.last().unwrap().revision.0;
        eventually("the page to hear of the last submit", async || {
            ids_and_times(&desk).await.iter().any(|(id, _)| *id == last).then_some(())
        })
        .await;
    }
    let heard: Vec<i64> = ids_and_times(&desk).await.into_iter().map(|(id, _)| id).collect();
    assert!(heard.is_sorted_by(|one, other| one < other), "events are out of order or there twice: {heard:?}");
    for run in &submitted {
        for event in desk.yard.events(*run).await {
            assert!(heard.contains(&event.revision.0), "the page did not hear of {event:?} (it heard from {begun} on)");
        }
    }
    // What the page shows is what there is, each run once.
    let newest: Vec<i64> = submitted.iter().rev().take(20).map(|run| run.0).collect();
    let rows = format!("[...document.querySelectorAll('tr[data-run]')].slice(0, {}).map((row) => Number(row.dataset.run))", newest.len());
    holds(&desk.browser, "the newest runs are there, each once", &format!("return JSON.stringify({rows}) === '{}'", json!(newest))).await;
    // Requests that were cut off are told by the browser itself.
    let others = |entry: &Value| !entry["message"].as_str().unwrap_or_default().contains("net::ERR_");
    let complaints: Vec<Value> = console_errors(&desk.browser).await.into_iter().filter(others).collect();
    assert!(complaints.is_empty(), "the console has errors: {complaints:#?}");
    desk.close().await;
}
