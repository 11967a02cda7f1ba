//! Many dashboards that look at one busy run, each asking every second what its page asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http::StatusCode;
use serde_json::Value;
use trainyard_wire::RunId;
use trainyard_wire::run::Progress;
use trainyard_wire::worker::Report as RunReport;

use crate::Target;
use crate::report::{Bound, Report, Times};
use crate::seeds::Draws;
use crate::target::http;
use crate::trainer::{Held, Trainer, batch, queue, report, success};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub seed: u64,
    pub dashboards: u64,
    /// Points of each metric in a report.
    pub points: u64,
    pub time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { seed: 1, dashboards: 200, points: 50, time: Duration::from_secs(30) }
    }
}

/// Between two reports of the worker, and between the end of a dashboard's poll and its next one.
const REPORT_EVERY: Duration = Duration::from_millis(200);
const POLL_EVERY: Duration = Duration::from_secs(1);
/// How long everybody is left to connect, and a dashboard to see the end.
const SETTLE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);
/// Those of the run's page, and others.
const METRICS: [&str; 4] = ["loss", "gradient_norm", "residual_norm", "weight_norm"];

/// What the worker has done so far.
#[derive(Debug, Default)]
struct Told {
    /// Acknowledged points of each metric.
    points: AtomicU64,
    ended: AtomicBool,
}

/// What dashboards have counted.
#[derive(Clone, Debug, Default)]
struct Counts {
    polls: u64,
    new: u64,
    unchanged: u64,
    bytes: u64,
    times: Times,
}

/// Every dashboard sees, whenever it asks, at least what was acknowledged before it asked, and in the end everything; and what their
/// asking costs the server is measured.
///
/// # Errors
/// What the server answers, and where a dashboard is shown less than was acknowledged.
pub async fn run(target: &Target, settings: Settings) -> anyhow::Result<Report> {
    let Settings { seed, dashboards, time, .. } = settings;
    queue(&target.admin()?, "polling", 1).await?;
    let trainer = Trainer::register(target).await?;
    let held = trainer.claim_all(1).await?[0];
    let told = Arc::new(Told::default());
    let worker = tokio::spawn({
        let (trainer, told) = (trainer.clone(), Arc::clone(&told));
        async move {
            tokio::select! {
                done = train(&trainer, held, settings, &told) => done,
                () = trainer.keep(held) => unreachable!("heartbeats do not end by themselves"),
            }
        }
    });
    // What the worker costs without anybody who looks.
    tokio::time::sleep(SETTLE.min(time)).await;
    let alone = share_of_a_core(target, time / 3).await;

    let looking: Vec<_> = (0..dashboards)
        .map(|index| tokio::spawn(look(Dashboard::open(target, held.run), Arc::clone(&told), Draws::new(seed, index))))
        .collect();
    tokio::time::sleep(SETTLE.min(time)).await;
    let together = share_of_a_core(target, time).await;
    told.ended.store(true, Ordering::Release);
    worker.await??;
    let seen = tokio::time::timeout(PATIENCE, try_join_all(looking)).await.context("a dashboard does not see the end")??;

    let mut counts = Counts::default();
    for of_dashboard in seen {
        let of_dashboard = of_dashboard?;
        counts.polls += of_dashboard.polls;
        counts.new += of_dashboard.new;
        counts.unchanged += of_dashboard.unchanged;
        counts.bytes += of_dashboard.bytes;
        counts.times.extend(of_dashboard.times);
    }
    let mut report = Report::new("polling", seed);
    report.tell("dashboards", dashboards as f64, "");
    report.tell("polls", counts.polls as f64, "");
    report.tell("answers 200", counts.new as f64, "");
    report.tell("answers 304", counts.unchanged as f64, "");
    report.tell("bytes of a poll", counts.bytes as f64 / counts.polls as f64 / 1e3, "kB");
    report.times("poll", &mut counts.times, None);
    if let Some((alone, together)) = alone.zip(together) {
        report.tell("server, the worker alone", 100.0 * alone, "% of a core");
        report.tell("server, with dashboards", 100.0 * together, "% of a core");
        report.promise("of that the dashboards", 100.0 * (together - alone), "% of a core", Bound::AtMost(20.0));
    }
    Ok(report)
}

/// The CPU time that the server takes in a stretch of time, as a share of it; `None` where it is no process of its own.
async fn share_of_a_core(target: &Target, time: Duration) -> Option<f64> {
    let (before, begun) = (target.cpu_seconds(), Instant::now());
    tokio::time::sleep(time).await;
    Some((target.cpu_seconds()? - before?) / begun.elapsed().as_secs_f64())
}

/// Reports until the scenario ends, then ends the run.
async fn train(trainer: &Trainer, held: Held, settings: Settings, told: &Told) -> anyhow::Result<()> {
    let mut draws = Draws::new(settings.seed, u64::MAX);
    let mut step = 0;
    while !told.ended.load(Ordering::Acquire) {
        let metrics = METRICS.map(|name| batch(name, step + 1, settings.points, &mut draws));
        step += settings.points;
        let progress = Progress { step, total_steps: 1_000_000, epoch: None, eta_seconds: Some(60.0) };
        let body = RunReport { metrics: metrics.into(), progress: Some(progress), ..report(held.attempt) };
        trainer.client.report(held.run, &body).await?;
        told.points.store(step, Ordering::Release);
        tokio::time::sleep(REPORT_EVERY).await;
    }
    trainer.client.report(held.run, &success(held.attempt)).await?;
    Ok(())
}

/// Polls until the run is seen to have ended; everything has to be seen by then.
async fn look(mut dashboard: Dashboard, told: Arc<Told>, mut draws: Draws) -> anyhow::Result<Counts> {
    tokio::time::sleep(POLL_EVERY.mul_f64(draws.fraction())).await;
    loop {
        let acknowledged = told.points.load(Ordering::Acquire);
        let begun = Instant::now();
        let ended = dashboard.poll().await?;
        dashboard.counts.times.add(begun.elapsed());
        dashboard.counts.polls += 1;
        ensure!(
            dashboard.points >= acknowledged,
            "a dashboard shows {} points of the loss where {acknowledged} were acknowledged before it asked",
            dashboard.points
        );
        if ended {
            let all = told.points.load(Ordering::Acquire);
            ensure!(dashboard.points == all, "a dashboard shows {} points in the end, and {all} were told", dashboard.points);
            return Ok(dashboard.counts);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// A page of one run, as far as the server sees it (server/assets/js/run.js).
struct Dashboard {
    http: reqwest::Client,
    target: Target,
    path: String,
    tags: HashMap<String, String>,
    /// Of the last event that it knows.
    last_event: i64,
    ended: bool,
    /// Of the run when the list of charts was asked for.
    metrics: Vec<String>,
    charts: Vec<String>,
    /// Of the loss, as the chart's answer counts them.
    points: u64,
    counts: Counts,
}

impl Dashboard {
    fn open(target: &Target, run: RunId) -> Self {
        Self {
            http: http(),
            target: target.clone(),
            path: format!("/v1/runs/{run}"),
            tags: HashMap::new(),
            last_event: 0,
            ended: false,
            metrics: Vec::new(),
            charts: Vec::new(),
            points: 0,
            counts: Counts::default(),
        }
    }

    /// Asks for the run, and if that changed, for all that the page shows of it. Answers whether the run has ended.
    async fn poll(&mut self) -> anyhow::Result<bool> {
        let path = self.path.clone();
        let Some(run) = self.ask(&path).await? else { return Ok(self.ended) };
        let run: Value = serde_json::from_slice(&run)?;
        self.ended = run["state"] == "succeeded";
        for name in ["artifacts", "certificates", "logs?limit=1000"] {
            self.ask(&format!("{path}/{name}")).await?;
        }
        // Always asked for without a condition: its address says what is known.
        let events = self.get(&format!("{path}/events?limit=1000&after_revision={}", self.last_event), None).await?;
        let events: Value = serde_json::from_slice(&events.context("events without a condition are answered")?)?;
        for event in events["items"].as_array().context("a page of events")? {
            let revision = event["revision"].as_i64().context("an event's revision")?;
            ensure!(revision > self.last_event, "the event of revision {revision} came after {}", self.last_event);
            self.last_event = revision;
        }
        // The list of charts follows from the metrics that there are.
        let metrics: Vec<String> = run["summary"].as_object().context("a run's summary")?.keys().cloned().collect();
        if self.charts.is_empty() || metrics != self.metrics {
            self.metrics = metrics;
            let charts = self.get(&format!("{path}/charts"), None).await?.context("a list without a condition is answered")?;
            let charts: Value = serde_json::from_slice(&charts)?;
            let standing = charts["charts"].as_array().context("a list of charts")?.iter().filter(|chart| chart["standing"] == true);
            let address = |chart: &Value| {
                let word = |field: &str| chart[field].as_str().unwrap_or_default();
                format!("{path}/charts/{}.json?x={}&y={}", word("name"), word("x"), word("y"))
            };
            self.charts = standing.map(address).collect();
        }
        for address in self.charts.clone() {
            let Some(figure) = self.ask(&address).await? else { continue };
            if address.contains("/charts/loss.json") {
                let figure: Value = serde_json::from_slice(&figure)?;
                self.points = figure["facts"]["series"][0]["points"].as_u64().context("the points of a chart")?;
            }
        }
        Ok(self.ended)
    }

    /// What is new at an address; `None` where nothing is.
    async fn ask(&mut self, address: &str) -> anyhow::Result<Option<Bytes>> {
        let tag = self.tags.get(address).cloned();
        self.get(address, tag).await
    }

    async fn get(&mut self, address: &str, tag: Option<String>) -> anyhow::Result<Option<Bytes>> {
        let request = self.http.get(format!("{}{address}", self.target.url)).bearer_auth(&self.target.admin_token);
        let request = match tag {
            Some(tag) => request.header(http::header::IF_NONE_MATCH, tag),
            None => request,
        };
        let answer = request.send().await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED => {
                self.counts.unchanged += 1;
                return Ok(None);
            }
            status => bail!("{address} was answered {status}"),
        }
        self.counts.new += 1;
        if let Some(tag) = answer.headers().get(http::header::ETAG) {
            self.tags.insert(address.to_owned(), tag.to_str()?.to_owned());
        }
        let body = answer.bytes().await?;
        self.counts.bytes += body.len() as u64;
        Ok(Some(body))
    }
}
