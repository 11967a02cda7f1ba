//! The page of runs in a real browser, on a store of ten thousand; see [`support::browser`] for where there is no browser.
//!
//! One test walks through all of it, because filling the store takes longer than the walk.
#![allow(clippy::unwrap_used)]

mod support;

use std::time::Instant;

use fantoccini::actions::{InputSource as _, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::{Client as Browser, Locator};
use serde_json::{Value, json};
use support::browser::{Driver, chromium, console_errors, dashboard_address, failed_requests, holds, shows};
use support::{Yard, jobs};
use trainyard_wire::client::{Client, RunQuery};
use trainyard_wire::metric::SeriesBatch;
use trainyard_wire::run::Progress;
use trainyard_wire::worker::{ClaimRequest, Finish, Outcome, Register, Report, Reports, RunReport};
use trainyard_wire::{Number, RunId, RunState};

/// Ten sweeps of a thousand runs. The first 2,000 have ended, every tenth of them badly, with losses; one runs; the others wait.
async fn filled() -> Yard {
    // The run that runs has no worker that would keep it.
    let yard = Yard::server(&["--lease-seconds", "3600"]).await;
    for sweep in 0..10 {
        let mut job = jobs::two_unknowns(json!({"name": "gd", "learning_rate": 0.1}));
        (job["name"], job["project"]) = (json!(format!("sweep {sweep}")), json!(format!("project {}", sweep % 3)));
        job["tags"] = json!({"sweep": sweep.to_string()});
        job["sweep"] = json!({
            "optimizer.learning_rate": (1..=100).map(|rate| f64::from(rate) / 1000.0).collect::<Vec<_>>(),
            "seed": (0..10).collect::<Vec<_>>(),
        });
        assert_eq!(yard.submit_all(&job).await.len(), 1000);
    }
    let token = std::fs::read_to_string(yard.data_dir().join("worker.token")).unwrap().trim().to_owned();
    let worker = Client::new(&yard.url, Some(token)).unwrap();
    let worker_id = worker.register(&Register::cpu("filler")).await.unwrap().worker_id;
    let mut ended = 0;
    while ended < 2000 {
        let claim = ClaimRequest { worker_id, max: 64.min(2000 - ended), small: false, wait_seconds: 0.0 };
        let runs = worker.claim(&claim).await.unwrap().runs;
        let reports = runs.iter().map(|run| {
            let outcome = if run.run_id.0 % 10 == 0 { Outcome::Failed } else { Outcome::Succeeded };
            let finish = Finish { outcome, stop_reason: None, error: None, result: None };
            let loss = ((run.run_id.0 * 7919) % 2003) as f64 / 1000.0;
            let report = Report { metrics: vec![points("loss", &[2.0, loss])], finish: Some(finish), ..told(run.attempt) };
            RunReport { run_id: run.run_id, report }
        });
        ended += runs.len() as u32;
        let answers = worker.report_all(&Reports { reports: reports.collect() }).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
    let running = worker.claim(&ClaimRequest { worker_id, max: 1, small: false, wait_seconds: 0.0 }).await.unwrap().runs.remove(0);
    let progress = Progress { step: 5000, total_steps: 20_000, epoch: None, eta_seconds: Some(75.0) };
    worker.report(running.run_id, &Report { progress: Some(progress), ..told(running.attempt) }).await.unwrap();
    yard
}

fn told(attempt: trainyard_wire::Attempt) -> Report {
    Report { attempt, metrics: Vec::new(), progress: None, logs: Vec::new(), certificates: Vec::new(), left_out: Vec::new(), finish: None }
}

fn points(name: &str, values: &[f64]) -> SeriesBatch {
    SeriesBatch {
        name: name.to_owned(),
        steps: (1..=values.len() as u64).collect(),
        values: values.iter().copied().map(Number).collect(),
        times: vec![1_700_000_000_000; values.len()],
    }
}

async fn run(browser: &Browser, script: &str) -> Value {
    browser.execute(script, vec![]).await.unwrap()
}

async fn click(browser: &Browser, selector: &str) {
    shows(browser, selector).await;
    browser.find(Locator::Css(selector)).await.unwrap().click().await.unwrap();
}

async fn choose(browser: &Browser, selector: &str, value: &str) {
    let select = browser.find(Locator::Css(selector)).await.unwrap();
    select.select_by_value(value).await.unwrap();
}

/// Keys, to whatever has the focus.
async fn press(browser: &Browser, keys: &[char]) {
    let actions = keys.iter().fold(KeyActions::new("keyboard".to_owned()), |actions, &value| {
        actions.then(KeyAction::Down { value }).then(KeyAction::Up { value })
    });
    browser.perform_actions(actions).await.unwrap();
}

/// Waits until the first rows of the table are these runs.
async fn first_rows(browser: &Browser, what: &str, ids: &[i64]) {
    let script = format!(
        "return JSON.stringify([...document.querySelectorAll('tr[data-run]')].slice(0, {}).map((row) => Number(row.dataset.run))) === '{}'",
        ids.len(),
        json!(ids),
    );
    holds(browser, what, &script).await;
}

async fn total(browser: &Browser, text: &str) {
    holds(browser, text, &format!("return document.querySelector('.run-total').textContent.replaceAll('\\u202f', '') === '{text}'")).await;
}

async fn selected(browser: &Browser) -> Value {
    run(browser, "return [...document.querySelectorAll('tr[aria-selected] ')].map((row) => Number(row.dataset.run))").await
}

async fn nothing_went_wrong(browser: &Browser) {
    let complaints = console_errors(browser).await;
    assert!(complaints.is_empty(), "the console has errors: {complaints:#?}");
    let failed = failed_requests(browser).await;
    assert!(failed.is_empty(), "requests failed: {failed:#?}");
}

#[tokio::test]
async fn ten_thousand_runs_are_found_ordered_selected_and_changed() {
    let Some(chromium) = chromium() else { return };
    let yard = filled().await;
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

    order_and_pages(&browser).await;
    filters(&browser, &yard).await;
    views(&browser, &yard).await;
    selection(&browser, &yard).await;
    annotations(&browser, &yard).await;
    live(&browser, &yard).await;
    keyboard(&browser).await;
    without_events(&browser, &yard).await;
    narrow(&browser).await;
    nothing_went_wrong(&browser).await;
    browser.close().await.unwrap();
}

async fn order_and_pages(browser: &Browser) {
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

async fn filters(browser: &Browser, yard: &Yard) {
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

async fn views(browser: &Browser, yard: &Yard) {
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

/// The state of runs, once all are in it.
async fn until(yard: &Yard, ids: &[i64], state: RunState) {
    for id in ids {
        support::eventually(&format!("run {id} to be {state}"), async || (yard.run(RunId(*id)).await.state == state).then_some(())).await;
    }
}

async fn selection(browser: &Browser, yard: &Yard) {
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

async fn annotations(browser: &Browser, yard: &Yard) {
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

async fn live(browser: &Browser, yard: &Yard) {
    run(browser, "document.querySelector(\"tr[data-run='9990'] .run-name\").focus()").await;
    click(browser, "tr[data-run='9991'] .select-box").await;
    run(browser, "document.querySelector(\"tr[data-run='9990'] .run-name\").focus()").await;
    let begun = Instant::now();
    let new = yard.submit(&jobs::quick()).await;
    shows(browser, &format!("tr[data-run='{new}']")).await;
    println!("a new run was in the table {:?} after its submit", begun.elapsed());
    assert_eq!(run(browser, "return document.activeElement.closest('tr').dataset.run").await, "9990");
    assert_eq!(selected(browser).await, json!([9991]));
    yard.client.run_action(RunId(9990), "cancel").await.unwrap();
    shows(browser, "tr[data-run='9990'] .state[data-state='cancelled']").await;
    assert_eq!(run(browser, "return document.activeElement.closest('tr').dataset.run").await, "9990");
    holds(browser, "the connection", "return document.querySelector('#connection').dataset.state === 'live'").await;

    // A reader who has scrolled stays where they are while runs come in above.
    run(browser, "document.querySelector(\"tr[data-run='9960']\").scrollIntoView({block: 'center'})").await;
    let place = "return Math.round(document.querySelector(\"tr[data-run='9970']\").getBoundingClientRect().top)";
    let before = run(browser, place).await;
    let new = yard.submit(&jobs::quick()).await;
    shows(browser, &format!("tr[data-run='{new}']")).await;
    assert_eq!(run(browser, place).await, before);
    run(browser, "scrollTo(0, 0)").await;
}

/// Where events cannot be had, the page polls.
async fn without_events(browser: &Browser, yard: &Yard) {
    run(browser, "window.EventSource = undefined").await;
    browser.goto_hash("#/runs/1").await;
    shows(browser, ".run-head").await;
    browser.goto_hash("#/").await;
    shows(browser, "tr[data-run]").await;
    let new = yard.submit(&jobs::quick()).await;
    shows(browser, &format!("tr[data-run='{new}']")).await;
}

async fn keyboard(browser: &Browser) {
    press(browser, &['j']).await;
    assert_eq!(run(browser, "return document.activeElement.closest('tr').dataset.run").await, "9989");
    press(browser, &['k', 'k', 'x']).await;
    assert_eq!(selected(browser).await, json!([]));
    press(browser, &['x', 'j', 'x']).await;
    assert_eq!(selected(browser).await, json!([9991, 9990]));
    press(browser, &[Key::Escape.into()]).await;
    assert_eq!(selected(browser).await, json!([]));
    press(browser, &['?']).await;
    shows(browser, "dialog[open] .keys").await;
    press(browser, &[Key::Escape.into()]).await;
    holds(browser, "no dialog", "return document.querySelector('dialog') === null").await;
    press(browser, &['/']).await;
    assert_eq!(run(browser, "return document.activeElement.id").await, "filter-q");
    press(browser, &['j']).await;
    assert_eq!(run(browser, "return document.querySelector('#filter-q').value").await, "j");
    press(browser, &[Key::Backspace.into()]).await;
    run(browser, "document.querySelector(\"tr[data-run='9995'] .run-name\")?.focus()").await;
    holds(browser, "all runs", "return location.hash === '#/'").await;
    shows(browser, "tr[data-run='9995']").await;
    run(browser, "document.querySelector(\"tr[data-run='9995'] .run-name\").focus()").await;
    press(browser, &[Key::Enter.into()]).await;
    holds(browser, "the run's page", "return location.hash === '#/runs/9995'").await;
    browser.back().await.unwrap();
    shows(browser, "tr[data-run]").await;
}

async fn narrow(browser: &Browser) {
    for (width, height) in [(390, 844), (820, 1180), (1400, 1000)] {
        browser.set_window_size(width, height).await.unwrap();
        shows(browser, "tr[data-run]").await;
        let overflow = run(browser, "return document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(overflow, 0, "the page is wider than {width}");
    }
    let unnamed = run(
        browser,
        "return [...document.querySelectorAll('main input, main select, main textarea, main button')]
             .filter((it) => !it.labels?.length && !it.getAttribute('aria-label') && !it.textContent.trim()).map((it) => it.outerHTML)",
    );
    assert_eq!(unnamed.await, json!([]));
}

/// Going to another route of the page that is open.
trait GotoHash {
    async fn goto_hash(&self, hash: &str);
}

impl GotoHash for Browser {
    async fn goto_hash(&self, hash: &str) {
        self.execute("location.hash = arguments[0]", vec![json!(hash)]).await.unwrap();
        tokio::task::yield_now().await;
    }
}
